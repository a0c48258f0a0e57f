package gpu

import (
	"fmt"

	"magvit/kernels"
)

const (
	mmaRows    = 128 // ROWS of conv_mma.cu: results of a block along x
	mmaThreads = 128
	mmaShared  = 48 << 10 // of its ring
	mmaTable   = 1 << 10  // of the gradient of the weights: where pixels read
	chunk      = 8        // values of 16 bytes
)

// products plans what conv_mma.cu computes: all convolutions, of operands that are
// packed in bfloat16 first.
func (p *program) products(s kernels.Spec) bool {
	switch s := s.(type) {
	case kernels.Conv:
		r := null
		if s.Residual {
			r = arg(4)
		}
		p.forward(s, 1, arg(3), r)
	case kernels.ConvGradX:
		p.gradX(s.Conv, 1, behind(s))
	case kernels.ConvGradW:
		p.gradW(s.Conv, 1)
	case kernels.ModConv:
		p.forward(sample(s.Conv), s.N, null, null)
	case kernels.ModConvGradX:
		p.gradX(sample(s.Conv), s.N, []operand{null, null})
	case kernels.ModConvGradW:
		p.gradW(sample(s.Conv), s.N)
	default:
		return false
	}
	return true
}

// sample is the convolution of one sample, where each has its own weights.
func sample(s kernels.Conv) kernels.Conv {
	s.N = 1
	return s
}

func (p *program) forward(s kernels.Conv, samples int, b, r operand) {
	x, s := p.input(s, samples, arg(1))
	w := p.pack(arg(2), samples*s.O*s.KT*s.KH*s.KW, s.C)
	p.tensor("conv_mma", columns(outputs(s)*samples, s.O), [3]int{outputs(s), s.O, samples}, []operand{arg(0), x, w, b, r}, append(padded(s), s.Act, p.halfOf([]operand{arg(0), null, r}))...)
}

func (p *program) gradX(s kernels.Conv, samples int, behind []operand) {
	taps, chunks := s.KT*s.KH*s.KW, ceilDiv(s.O, chunk)
	dy, w := p.pack(arg(1), samples*outputs(s), s.O), p.halves(samples*s.C*taps*chunks)
	p.each("transpose_bf16", samples*s.C*taps*chunks, []operand{w, arg(2)}, chunks, s.O, taps, s.C)
	values := append(padded(s), s.Act, p.halfOf(append([]operand{arg(0)}, behind...)))
	values[4], values[8] = s.C, chunks*chunk // channels of dx are not padded, those of dy are
	pixels := phasePixels(s)
	p.tensor("conv_grad_x_mma", columns(pixels*strides(s)*samples, s.C), [3]int{pixels, s.C, samples * strides(s)}, append([]operand{arg(0), dy, w}, behind...), values...)
}

func (p *program) gradW(s kernels.Conv, samples int) {
	dy := p.pack(arg(1), samples*outputs(s), s.O)
	x, s := p.input(s, samples, arg(2))
	taps, width := s.KT*s.KH*s.KW, 128
	if s.O <= 64 {
		width = 64
	}
	weights := taps * ceilDiv(s.C, chunk) * chunk
	parts, size := splitPixels(outputs(s), ceilDiv(weights, mmaRows)*ceilDiv(s.O, width)*samples, width)
	dw := arg(0)
	if parts > 1 {
		dw = p.reserve(samples * parts * s.O * taps * s.C)
	}
	values := padded(s)
	values[8] = ceilDiv(s.O, chunk) * chunk
	p.tensor("conv_grad_w_mma", width, [3]int{weights, s.O, samples * parts}, []operand{dw, dy, x}, append(values, s.O, s.C, size, parts)...)
	p.with(mmaShared + mmaTable)
	if parts > 1 {
		p.columns("sum_rows", arg(0), []operand{dw}, samples*parts, s.O*taps*s.C, parts)
	}
}

// halfOf has a bit for each of these arguments that lies in bfloat16.
func (p *program) halfOf(results []operand) (half int) {
	for i, o := range results {
		if p.isHalf(o) {
			half |= 1 << i
		}
	}
	return half
}

func (p *program) isHalf(o operand) bool { return o.arg >= 0 && p.half>>o.arg&1 != 0 }

// splitPixels divides a sum over n pixels among blocks of so many columns, tiles of which
// have all results, so that waves of blocks are full: the fewest parts that fill nine
// tenths of six waves or fewer. No part but the last has fewer than 256 pixels.
func splitPixels(n, tiles, width int) (parts, size int) {
	slots, most, best := wave, max(1, n/256), 0.
	if width == 64 {
		slots = wave / 2 * 3
	}
	for waves := 1; waves <= 6 && best < .9; waves++ {
		k := min(most, max(1, waves*slots/tiles))
		if full := float64(k*tiles) / float64(ceilDiv(k*tiles, slots)*slots); parts == 0 || full > best+.02 {
			best, parts = full, k
		}
	}
	size = ceilDiv(ceilDiv(n, parts), 32) * 32
	return ceilDiv(n, size), size
}

// columns is how many columns blocks have of m by n results: those whose waves take less
// time. Three narrow blocks share a processor, two wide ones, of twice the products; a
// narrow one loads half as much again for each, which is taken to cost a tenth.
func columns(m, n int) int {
	rows := ceilDiv(m, mmaRows)
	if ceilDiv(rows*ceilDiv(n, 64), wave/2*3)*33 < ceilDiv(rows*ceilDiv(n, 128), wave)*40 {
		return 64
	}
	return 128
}

// tensor adds a kernel of conv_mma.cu for size [m,n,z] results, in blocks of width columns.
func (p *program) tensor(kernel string, width int, size [3]int, pointers []operand, values ...any) {
	grid := samples(line(ceilDiv(size[0], mmaRows)*ceilDiv(size[1], width)), size[2])
	p.add(fmt.Sprintf("%s_%d", kernel, width), grid, line(mmaThreads), pointers, values...)
	p.with(mmaShared)
}

// padded are the fields of ConvSize, with C filled up to whole chunks.
func padded(s kernels.Conv) []any {
	s.C = ceilDiv(s.C, chunk) * chunk
	return sizes(s)
}

// typedAs is the name of the kernel for the type that x is stored in.
func (p *program) typedAs(kernel string, x operand) string {
	if p.isHalf(x) {
		return kernel + "_half"
	}
	return kernel
}

// halves takes scratch memory for n chunks of bfloat16.
func (p *program) halves(n int) operand { return p.reserve(n * chunk / 2) }

// pack rounds rows of c values, filled up to whole chunks. Where they lie like that it
// does nothing.
func (p *program) pack(x operand, rows, c int) operand {
	if p.isHalf(x) && c%chunk == 0 {
		return x
	}
	n := rows * ceilDiv(c, chunk)
	y := p.halves(n)
	p.each(p.typedAs("pack_bf16", x), n, []operand{y, x}, ceilDiv(c, chunk), c)
	return y
}

// input packs the input and returns the convolution that reads it. Where a pixel is
// less than a chunk, as in a stem, and that gives fewer terms, the taps of a line
// become channels: 24 instead of 7 times 8.
func (p *program) input(s kernels.Conv, samples int, x operand) (operand, kernels.Conv) {
	chunks := ceilDiv(s.KW*s.C, chunk)
	if s.C >= chunk || chunks >= s.KW {
		return p.pack(x, samples*s.N*s.T*s.H*s.W, s.C), s
	}
	_, _, w := s.Out()
	n := samples * s.N * s.T * s.H * w * chunks
	y := p.halves(n)
	p.each(p.typedAs("unfold_bf16", x), n, []operand{y, x}, chunks, s.W, s.C, w, s.KW, s.SW, s.PW)
	s.W, s.C, s.KW, s.SW, s.PW = w, s.KW*s.C, 1, 1, 0
	return y, s
}
