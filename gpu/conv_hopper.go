package gpu

import (
	"slices"

	"magvit/kernels"
)

// hopper is the architecture that code for sm_90a runs on, and no other.
const hopper = "sm_90"

// What conv_sm90a.cu is made for.
const (
	side       = 64      // of a tile: channels, or pixels
	tile       = 8 << 10 // its bytes in bfloat16
	ringSlack  = 3 << 10 // to start both rings at a kilobyte, behind a barrier
	brickLog   = 8       // a brick has 2^8 pixels,
	sumLog     = 6       // one that is summed over 2^6
	mostLines  = 320     // pixels of a brick and the lines around it, for which there is memory
	processors = 132     // of an H100: what long sums are split for
)

// tensorConv is a convolution as conv_sm90a.cu computes it.
type tensorConv struct {
	conv           kernels.Conv
	n, t, h, w     int // pixels that bricks cover
	bricks         bricks
	rows, channels int // channels of the result, channels that a step reads
	taps           int // that read the same block
	wide           bool
}

func newTensorConv(s kernels.Conv, log, t, h, w, rows, channels int) tensorConv {
	lines := 1
	if log == brickLog {
		lines = s.KH
	}
	b := bricksOf(log, s.N, t, h, w, lines)
	return tensorConv{s, s.N, t, h, w, b, rows, channels, b.taps(lines), up(rows, side)%2 == 0}
}

// tensorConvOf is a Spec's; false if it is none, or has strides, which tensor copies
// have no boxes for.
func tensorConvOf(s kernels.Spec) (c tensorConv, ok bool) {
	switch s := s.(type) {
	case kernels.Conv:
		t, h, w := s.Out()
		c = newTensorConv(s, brickLog, t, h, w, s.O, s.C)
	case kernels.ConvGradX:
		if s.Residual {
			return c, false // conv_grad_x_sm90a adds none
		}
		c = newTensorConv(s.Conv, brickLog, s.T, s.H, s.W, s.C, s.O)
	case kernels.ConvGradW:
		t, h, w := s.Out()
		c = newTensorConv(s.Conv, sumLog, t, h, w, s.O, s.C)
	default:
		return c, false
	}
	return c, c.conv.ST == 1 && c.conv.SH == 1 && c.conv.SW == 1
}

// fillsTensorCores tells whether the sizes fill at least half of what is multiplied:
// the tensor cores are about twice as fast this way as by conv_mma.cu, which wastes less.
func fillsTensorCores(c tensorConv) bool {
	used := float64(c.n*c.t*c.h*c.w) / float64(c.count()*c.bricks.pixels())
	for _, n := range []int{c.rows, c.channels} {
		used *= float64(n) / float64(up(n, side)*side)
	}
	return used >= .5
}

// count is the number of bricks.
func (c tensorConv) count() int { return c.bricks.count(c.n, c.t, c.h, c.w) }

// bricks are boxes of 2^n clips, 2^t frames, 2^h rows and 2^w columns.
type bricks struct{ n, t, h, w int }

func (b bricks) pixels() int { return 1 << (b.n + b.t + b.h + b.w) }

// taps is how many of the taps of a column of the kernel can read the same block: one
// line of the brick after the other.
func (b bricks) taps(lines int) int {
	if b.n > 0 || b.t > 0 || b.w < 3 || (1<<b.h+lines-1)<<b.w > mostLines {
		return 1
	}
	return lines
}

// count is how many cover the pixels.
func (b bricks) count(n, t, h, w int) int {
	return up(n, 1<<b.n) * up(t, 1<<b.t) * up(h, 1<<b.h) * up(w, 1<<b.w)
}

// bricksOf are boxes of 2^log pixels of which the fewest cover all; of these those whose
// blocks are the fewest copies for a column of so many taps; of these the most compact.
func bricksOf(log, n, t, h, w, lines int) (best bricks) {
	var least [3]int
	for i := 0; i <= log; i++ {
		for j := 0; i+j <= log; j++ {
			for k := 0; i+j+k <= log; k++ {
				b := bricks{log - i - j - k, k, j, i}
				taps := b.taps(lines)
				cost := [3]int{b.count(n, t, h, w), b.pixels() * lines, (1<<b.t + 2) * (1<<b.h + 2) * (1<<b.w + 2) << b.n}
				if taps > 1 {
					cost[1] = (1<<b.h + taps - 1) << b.w
				}
				if best == (bricks{}) || slices.Compare(cost[:], least[:]) < 0 {
					best, least = b, cost
				}
			}
		}
	}
	return best
}

// tensorCores plans what conv_sm90a.cu computes, if the sizes are worth it.
func (p *program) tensorCores(s kernels.Spec, worth func(tensorConv) bool) bool {
	c, ok := tensorConvOf(s)
	if !ok || !worth(c) {
		return false
	}
	k := c.conv
	t, h, w := k.Out()
	input, taps := []int{k.C, k.W, k.H, k.T, k.N}, []int{k.C, k.KT * k.KH * k.KW, k.O, 1, 1}
	output := []int{k.O, w, h, t, k.N}
	switch s := s.(type) {
	case kernels.Conv:
		r := null
		if s.Residual {
			r = arg(4)
		}
		x, f := p.boxes(arg(1), input, c.box()), p.boxes(arg(2), taps, []uint32{side, 1, side, 1, 1})
		p.rings("conv_sm90a", c, c.blocks(c.count()), []operand{arg(0), arg(3), r}, []tensorMap{x, f}, s.Act)
	case kernels.ConvGradX:
		at := null
		if s.Act != kernels.None {
			at = arg(3)
		}
		dy, f := p.boxes(arg(1), output, c.box()), p.boxes(arg(2), taps, []uint32{side, 1, side, 1, 1})
		p.rings("conv_grad_x_sm90a", c, c.blocks(c.count()), []operand{arg(0), at}, []tensorMap{dy, f}, s.Act)
	case kernels.ConvGradW:
		dy, x := p.boxes(arg(1), output, c.box()), p.boxes(arg(2), input, c.box())
		grid := c.blocks(up(k.KT*k.KH*k.KW*up(k.C, side), 4))
		n := s.Args()[0].Len()
		parts, size := splitBricks(c.count(), int(grid[0]))
		dw := arg(0)
		if parts > 1 {
			dw = p.reserve(parts * n)
		}
		grid[1] = uint32(parts)
		p.rings("conv_grad_w_sm90a", c, grid, []operand{dw}, []tensorMap{dy, x}, size)
		if parts > 1 {
			p.columns("sum_rows", arg(0), []operand{dw}, parts, n, parts)
		}
	}
	return true
}

// box is the side of a brick along each axis, with the lines that taps share, and 64
// channels.
func (c tensorConv) box() []uint32 {
	return []uint32{side, 1 << c.bricks.w, 1<<c.bricks.h + uint32(c.taps) - 1, 1 << c.bricks.t, 1 << c.bricks.n}
}

// blocks is the grid for so many bricks, or groups of four columns. The two warpgroups
// of a block share one and have tiles of their own, or the other way round.
func (c tensorConv) blocks(n int) [3]uint32 {
	tiles := up(c.rows, side)
	if c.wide {
		tiles /= 2
	} else {
		n = up(n, 2)
	}
	return line(n * tiles)
}

// boxes rounds a tensor to bfloat16, innermost axis first and filled up to whole chunks,
// and gives the map of its boxes.
func (p *program) boxes(x operand, dims []int, box []uint32) tensorMap {
	rows := 1
	for _, d := range dims[1:] {
		rows *= d
	}
	m := tensorMap{operand: p.pack(x, rows, dims[0]), values: bf16Values, swizzle: swizzle128, box: box}
	bytes := uint64(up(dims[0], chunk) * 16)
	for i, d := range dims {
		if i > 0 {
			m.strides = append(m.strides, bytes)
			bytes *= uint64(d)
		}
		m.dims = append(m.dims, uint64(d))
	}
	return m
}

// rings adds a kernel of conv_sm90a.cu: last is what follows the fields of hopper::Size.
func (p *program) rings(kernel string, c tensorConv, grid [3]uint32, pointers []operand, maps []tensorMap, last any) {
	block := 4*tile + (c.taps-1)<<c.bricks.w*2*side
	wide, a, b := 0, ring{3, tile}, ring{3, 2 * block}
	switch {
	case c.wide && c.taps > 1:
		wide, a, b = 1, ring{6, 2 * tile}, ring{3, block}
	case c.wide:
		wide, a, b = 1, ring{4, 2 * tile}, ring{4, block}
	case c.taps > 1:
		a, b = ring{6, tile}, ring{2, 2 * block}
	}
	s, log := c.conv, c.bricks
	p.add(kernel, grid, line(3*128), pointers, c.n, c.t, c.h, c.w, c.rows, c.channels,
		s.KT, s.KH, s.KW, s.DT, s.PT, s.PH, s.PW, log.t, log.h, log.w, wide, c.taps, a.stages, b.stages, last)
	p.with(ringSlack+a.size()+b.size(), maps...)
}

// ring is stages in shared memory with two barriers each.
type ring struct{ stages, bytes int }

func (r ring) size() int { return r.stages * (r.bytes + 16) }

// splitBricks divides a sum over bricks among blocks so that waves of them, one block
// on each processor, are full: the fewest parts that fill nine tenths of six waves or
// fewer. No part but the last has fewer than 8 bricks.
func splitBricks(n, blocks int) (parts, size int) {
	most, best := max(1, n/8), 0.
	for waves := 1; waves <= 6 && best < .9; waves++ {
		k := min(most, max(1, waves*processors/blocks))
		full := float64(k*blocks) / float64(up(k*blocks, processors)*processors)
		if waves == 1 || full > best+.02 {
			best, parts = full, k
		}
	}
	size = up(n, parts)
	return up(n, size), size
}
