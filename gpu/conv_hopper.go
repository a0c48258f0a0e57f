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
	brickLog   = 8       // a brick has 2^8 pixels,
	sumLog     = 6       // one that is summed over 2^6
	processors = 132     // of an H100: what work is divided for
)

// tensorConv is a convolution, or a phase of one, as conv_sm90a.cu computes it.
type tensorConv struct {
	n              int
	t, h, w        axis
	rows, channels int    // channels of the result, of the sum
	bricks         bricks // of results
	shared         int    // taps that read the same block
	wide           bool   // blocks have two tiles of rows
}

// axis is an Axis of conv_sm90a.cu.
type axis struct{ size, log, taps, dilation, pad, stride, first, step, places, apart, from int }

func (a axis) values() []any {
	return []any{a.size, a.log, a.taps, a.dilation, a.pad, a.stride, a.first, a.step, a.places, a.apart, a.from}
}

func forwardAxis(size, taps, dilation, pad, stride int) axis {
	return axis{size: size, taps: taps, dilation: dilation, pad: pad, stride: stride, step: 1, places: size, apart: 1}
}

// phases are the axes of a gradient with respect to so many inputs: inputs that lie a
// stride apart read the outputs as if there were no strides, through some of the taps.
// None if an input has no tap.
func phases(size, taps, dilation, pad, stride int) (all []axis) {
	for from := range min(stride, size) {
		a := axis{size: ceilDiv(size-from, stride), dilation: 1, stride: 1, step: 1, places: size, apart: stride, from: from}
		for k := range taps {
			if (from+pad-k*dilation)%stride != 0 {
				continue
			}
			switch a.taps++; a.taps {
			case 1:
				a.first, a.pad = k, (from+pad-k*dilation)/stride
			case 2:
				a.step = k - a.first
				a.dilation = a.step * dilation / stride
			}
		}
		if a.taps == 0 {
			return nil
		}
		all = append(all, a)
	}
	return all
}

func newTensorConv(log, n int, t, h, w axis, rows, channels int) tensorConv {
	lines := 1
	if log == brickLog && h.stride == 1 && h.dilation == 1 {
		lines = h.taps
	}
	b := bricksOf(log, n, t.size, h.size, w.size, lines)
	t.log, h.log, w.log = b.t, b.h, b.w
	return tensorConv{n, t, h, w, rows, channels, b, b.taps(lines), ceilDiv(rows, side)%2 == 0}
}

// tensorConvs are what computes a Spec: one, or one for each phase of a gradient's
// strides. None if it is no convolution, or none that copies can take.
func tensorConvs(s kernels.Spec) (all []tensorConv) {
	forward := func(s kernels.Conv, log int) []tensorConv {
		t, h, w := s.Out()
		c := newTensorConv(log, s.N, forwardAxis(t, s.KT, s.DT, s.PT, s.ST), forwardAxis(h, s.KH, 1, s.PH, s.SH), forwardAxis(w, s.KW, 1, s.PW, s.SW), s.O, s.C)
		if max(s.ST, s.SH, s.SW) > mostStep || slices.Max(c.box()) > mostBox {
			return nil
		}
		return []tensorConv{c}
	}
	switch s := s.(type) {
	case kernels.Conv:
		return forward(s, brickLog)
	case kernels.ConvGradW:
		return forward(s.Conv, sumLog)
	case kernels.ConvGradX:
		for _, t := range phases(s.T, s.KT, s.DT, s.PT, s.ST) {
			for _, h := range phases(s.H, s.KH, 1, s.PH, s.SH) {
				for _, w := range phases(s.W, s.KW, 1, s.PW, s.SW) {
					all = append(all, newTensorConv(brickLog, s.N, t, h, w, s.C, s.O))
				}
			}
		}
	}
	return all
}

// fillsTensorCores tells whether the sizes fill at least half of what is multiplied:
// the tensor cores are about twice as fast this way as by conv_mma.cu, which wastes less.
func fillsTensorCores(all []tensorConv) bool {
	var used, whole float64
	for _, c := range all {
		taps := float64(c.t.taps * c.h.taps * c.w.taps)
		used += taps * float64(c.n*c.t.size*c.h.size*c.w.size) * float64(c.rows*c.channels)
		whole += taps * float64(c.count()*c.bricks.pixels()) * float64(ceilDiv(c.rows, side)*side*ceilDiv(c.channels, side)*side)
	}
	return used >= .5*whole
}

// count is the number of bricks.
func (c tensorConv) count() int { return c.bricks.count(c.n, c.t.size, c.h.size, c.w.size) }

// steps is how many products of 64 terms a sum has.
func (c tensorConv) steps() int { return c.t.taps * c.h.taps * c.w.taps * ceilDiv(c.channels, side) }

// tiles is the number of tiles of so many bricks, or groups of four columns. The two
// warpgroups of a block share one and have channels of their own, or the other way round.
func (c tensorConv) tiles(n int) int {
	if c.wide {
		return n * ceilDiv(c.rows, side) / 2
	}
	return ceilDiv(n, 2) * ceilDiv(c.rows, side)
}

// tensorCores plans what conv_sm90a.cu computes on so many processors, if the sizes are
// worth it.
func (p *program) tensorCores(s kernels.Spec, processors int, worth func([]tensorConv) bool) bool {
	all := tensorConvs(s)
	if all == nil || !worth(all) {
		return false
	}
	switch s := s.(type) {
	case kernels.Conv:
		r := null
		if s.Residual {
			r = arg(4)
		}
		x, w := p.boxes(arg(1), inputs(s), all[0]), p.weights(s)
		p.tensorBricks("conv", all[0], processors, []operand{arg(0), arg(3), r}, []tensorMap{x, w}, s.Act)
	case kernels.ConvGradX:
		dy, w := p.mapped(arg(1), results(s.Conv)), p.weights(s.Conv)
		for _, c := range all {
			dy.box = c.box()
			p.tensorBricks("conv_grad_x", c, processors, append([]operand{arg(0)}, behind(s)...), []tensorMap{dy, w}, s.Act)
		}
	case kernels.ConvGradW:
		c, k := all[0], s.KT*s.KH*s.KW
		dense := c
		dense.t.stride, dense.h.stride, dense.w.stride = 1, 1, 1
		dy, x := p.boxes(arg(1), results(s.Conv), dense), p.boxes(arg(2), inputs(s.Conv), c)
		tiles, n := c.tiles(ceilDiv(k*ceilDiv(s.C, side), 4)), s.Args()[0].Len()
		parts, size := splitBricks(c.count(), tiles)
		dw := arg(0)
		if parts > 1 {
			dw = p.reserve(parts * n)
		}
		grid := line(tiles)
		grid[1] = uint32(parts)
		rings := ringsOfSum(c.wide)
		p.add("conv_grad_w_sm90a", grid, line(3*128), []operand{dw}, c.values(rings, waves{part: size})...)
		p.with(rings.size(0), dy, x)
		if parts > 1 {
			p.columns("sum_rows", arg(0), []operand{dw}, parts, n, parts)
		}
	}
	return true
}

// values are the fields of hopper::Size.
func (c tensorConv) values(r rings, w waves) []any {
	v := append(append(c.t.values(), c.h.values()...), c.w.values()...)
	wide := 0
	if c.wide {
		wide = 1
	}
	return append(v, c.n, c.rows, c.channels, wide, c.shared, r.a.stages, r.b.stages, w.units, w.whole, w.parts, w.part)
}

// tensorBricks adds a kernel for a tile of results at a time, and one that adds up the parts of
// those sums that are split.
func (p *program) tensorBricks(kernel string, c tensorConv, processors int, results []operand, maps []tensorMap, act kernels.Activation) {
	w, rings := wavesOf(c.tiles(c.count()), c.steps(), c.shared, processors), ringsOfBricks(c)
	slabs := null
	if w.units > w.whole {
		slabs = p.reserve((w.units - w.whole) * slab)
	}
	values := append(c.values(rings, w), act, p.halfOf(results))
	pointers := append(slices.Clone(results), slabs)
	p.add(kernel+"_sm90a", line(min(w.units, processors)), line(3*128), pointers, values...)
	p.with(rings.size(staging), maps...)
	if w.units > w.whole {
		p.add(kernel+"_sum_sm90a", line((w.units-w.whole)/w.parts*16), line(threads), pointers, values...)
	}
}
