package gpu

import "magvit/kernels"

const convTile = 64 // TILE of conv.cu: results of a block, in both directions

// convolution plans what conv.cu computes.
func (p *program) convolution(s kernels.Spec) bool {
	switch s := s.(type) {
	case kernels.Conv:
		r := null
		if s.Residual {
			r = arg(4)
		}
		p.add("conv", tiles(outputs(s), s.O), line(threads), append(args(4), r), append(sizes(s), s.Act)...)
	case kernels.ConvGradX:
		p.add("conv_grad_x", samples(tiles(phasePixels(s.Conv), s.C), strides(s.Conv)), line(threads), append(args(3), behind(s)...), append(sizes(s.Conv), s.Act)...)
	case kernels.ConvGradW:
		n, weights := outputs(s.Conv), s.KT*s.KH*s.KW*s.C
		grid := tiles(weights, s.O)
		parts, size := split(n, int(grid[0]*grid[1]), 256)
		grid[2] = uint32(parts)
		dw := arg(0)
		if parts > 1 {
			dw = p.reserve(parts * s.O * weights)
		}
		p.add("conv_grad_w", grid, line(threads), []operand{dw, arg(1), arg(2)}, append(sizes(s.Conv), size)...)
		if parts > 1 {
			p.columns("sum_rows", arg(0), []operand{dw}, parts, s.O*weights, parts)
		}
	case kernels.ModConv:
		one := sample(s.Conv)
		p.add("conv", samples(tiles(outputs(one), s.O), s.N), line(threads), append(args(3), null, null), append(sizes(one), s.Act)...)
	case kernels.ModConvGradX:
		one := sample(s.Conv)
		p.add("conv_grad_x", samples(tiles(phasePixels(one), s.C), s.N*strides(one)), line(threads), append(args(3), null, null), append(sizes(one), kernels.None)...)
	case kernels.ModConvGradW: // a part of the sum is a sample
		grid := samples(tiles(s.KT*s.KH*s.KW*s.C, s.O), s.N)
		p.add("conv_grad_w", grid, line(threads), args(3), append(sizes(s.Conv), outputs(s.Conv)/s.N)...)
	default:
		return false
	}
	return true
}

// behind are the last arguments of a gradient, s and r, null where there are none.
func behind(s kernels.ConvGradX) []operand {
	at, r := null, null
	if s.Act != kernels.None {
		at = arg(3)
	}
	if s.Residual {
		r = arg(len(s.Args()) - 1)
	}
	return []operand{at, r}
}

// tiles is the grid for m results along x and n along y.
func tiles(m, n int) [3]uint32 {
	return [3]uint32{uint32(ceilDiv(m, convTile)), uint32(ceilDiv(n, convTile)), 1}
}

// samples is that grid for each of n samples.
func samples(grid [3]uint32, n int) [3]uint32 {
	grid[2] = uint32(n)
	return grid
}

// outputs is the number of output pixels of the batch.
func outputs(s kernels.Conv) int {
	t, h, w := s.Out()
	return s.N * t * h * w
}

// strides are how many places an input pixel can have among the strides, phasePixels
// the number of pixels of the first place, which has most.
func strides(s kernels.Conv) int { return s.ST * s.SH * s.SW }
func phasePixels(s kernels.Conv) int {
	return s.N * ceilDiv(s.T, s.ST) * ceilDiv(s.H, s.SH) * ceilDiv(s.W, s.SW)
}

// sizes are the fields of ConvSize.
func sizes(s kernels.Conv) []any {
	t, h, w := s.Out()
	return []any{s.N, s.T, s.H, s.W, s.C, t, h, w, s.O, s.KT, s.KH, s.KW, s.ST, s.SH, s.SW, s.DT, s.PT, s.PH, s.PW}
}
