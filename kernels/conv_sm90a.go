package kernels

import "slices"

// What conv_sm90a.cu is compiled for.
const (
	sm90Side    = 64      // channels or pixels of a tile of operands
	sm90Tile    = 8 << 10 // bytes of such a tile in bfloat16
	sm90Threads = 3 * 128 // a producer warpgroup and two consumer warpgroups
	pixelsLog   = 8       // a tile of results has 2^8 pixels,
	sumLog      = 6       // one that is summed over 2^6
)

// sm90Form is a convolution, or a phase of one, as conv_sm90a.cu computes it.
type sm90Form struct {
	n              int
	t, h, w        sm90Axis
	rows, channels int       // channels of the result, of the sum
	tile           pixelTile // of results
	shared         int       // taps that read the same block of pixels
	wide           bool      // CTAs have two tiles of rows
}

// sm90Axis is AxisParams of conv_sm90a.cuh.
type sm90Axis struct{ Size, Log2, Taps, Dilation, Pad, Stride, FirstTap, TapStep, Extent, Spacing, Offset int }

// sm90Params is hopper::Params of conv_sm90a.cuh.
type sm90Params struct {
	T, H, W                                  sm90Axis
	N, M, C                                  int
	TwoMTiles, SharedTaps                    int
	StagesA, StagesB                         int
	WorkTiles, FullTiles, Splits, SplitSteps int
}

func forwardAxis(size, taps, dilation, pad, stride int) sm90Axis {
	return sm90Axis{Size: size, Taps: taps, Dilation: dilation, Pad: pad, Stride: stride, TapStep: 1, Extent: size, Spacing: 1}
}

// phaseAxes are the axes of a gradient with respect to size inputs: inputs that are a
// stride apart read the outputs as if there were no strides, through some of the taps.
// There are none if an input has no tap.
func phaseAxes(size, taps, dilation, pad, stride int) (all []sm90Axis) {
	for from := range min(stride, size) {
		a := sm90Axis{Size: ceilDiv(size-from, stride), Dilation: 1, Stride: 1, TapStep: 1, Extent: size, Spacing: stride, Offset: from}
		for k := range taps {
			if (from+pad-k*dilation)%stride != 0 {
				continue
			}
			switch a.Taps++; a.Taps {
			case 1:
				a.FirstTap, a.Pad = k, (from+pad-k*dilation)/stride
			case 2:
				a.TapStep = k - a.FirstTap
				a.Dilation = a.TapStep * dilation / stride
			}
		}
		if a.Taps == 0 {
			return nil
		}
		all = append(all, a)
	}
	return all
}

func newSM90Form(log, n int, t, h, w sm90Axis, rows, channels int) sm90Form {
	taps := 1
	if log == pixelsLog && h.Stride == 1 && h.Dilation == 1 {
		taps = h.Taps
	}
	b := pixelTileOf(log, n, t.Size, h.Size, w.Size, taps)
	t.Log2, h.Log2, w.Log2 = b.t, b.h, b.w
	return sm90Form{n, t, h, w, rows, channels, b, b.sharedTaps(taps), ceilDiv(rows, sm90Side)%2 == 0}
}

// sm90Forms is the form that computes a convolution, in a slice; it is empty if TMA
// copies cannot take its boxes.
func (s Conv) sm90Forms() []sm90Form { return s.forwardForm(pixelsLog) }

// sm90Forms is the form that computes a gradient of the weights, in a slice.
func (s ConvGradW) sm90Forms() []sm90Form { return s.forwardForm(sumLog) }

func (s Conv) forwardForm(log int) []sm90Form {
	t, h, w := s.Out()
	f := newSM90Form(log, s.N, forwardAxis(t, s.KT, s.DT, s.PT, s.ST), forwardAxis(h, s.KH, 1, s.PH, s.SH), forwardAxis(w, s.KW, 1, s.PW, s.SW), s.O, s.C)
	if max(s.ST, s.SH, s.SW) > maxStep || slices.Max(f.box()) > maxBox {
		return nil
	}
	return []sm90Form{f}
}

// sm90Forms are the forms that compute a gradient of the input, one for each phase of its
// strides; none if an input has no tap.
func (s ConvGradX) sm90Forms() (all []sm90Form) {
	for _, t := range phaseAxes(s.T, s.KT, s.DT, s.PT, s.ST) {
		for _, h := range phaseAxes(s.H, s.KH, 1, s.PH, s.SH) {
			for _, w := range phaseAxes(s.W, s.KW, 1, s.PW, s.SW) {
				all = append(all, newSM90Form(pixelsLog, s.N, t, h, w, s.C, s.O))
			}
		}
	}
	return all
}

// onHopper reports whether conv_sm90a.cu is to compute these forms.
func (p *Launches) onHopper(forms []sm90Form) bool {
	return p.precision == BF16 && p.arch == hopper && forms != nil && (p.always || fillsTensorCores(forms))
}

// fillsTensorCores reports whether the sizes fill at least half of what is multiplied:
// the tensor cores are about twice as fast this way as by conv_mma.cu, which wastes less.
func fillsTensorCores(forms []sm90Form) bool {
	var used, whole float64
	for _, f := range forms {
		taps := float64(f.t.Taps * f.h.Taps * f.w.Taps)
		used += taps * float64(f.n*f.t.Size*f.h.Size*f.w.Size) * float64(f.rows*f.channels)
		whole += taps * float64(f.pixelTiles()*f.tile.pixels()) * float64(ceilDiv(f.rows, sm90Side)*sm90Side*ceilDiv(f.channels, sm90Side)*sm90Side)
	}
	return used >= .5*whole
}

// pixelTiles is the number of tiles of pixels.
func (f sm90Form) pixelTiles() int { return f.tile.count(f.n, f.t.Size, f.h.Size, f.w.Size) }

// steps is the number of products of 64 terms in a sum.
func (f sm90Form) steps() int {
	return f.t.Taps * f.h.Taps * f.w.Taps * ceilDiv(f.channels, sm90Side)
}

// tiles is the number of CTA tiles of n tiles of pixels, or groups of four columns. The two
// consumer warpgroups of a CTA share one and have channels of their own, or the other way
// round.
func (f sm90Form) tiles(n int) int {
	if f.wide {
		return n * ceilDiv(f.rows, sm90Side) / 2
	}
	return ceilDiv(n, 2) * ceilDiv(f.rows, sm90Side)
}

// size is what the kernels get of a form, its pipelines and its schedule.
func (f sm90Form) size(l pipelines, s tileSchedule) sm90Params {
	return sm90Params{f.t, f.h, f.w, f.n, f.rows, f.channels, flag(f.wide), f.shared, l.a.stages, l.b.stages, s.units, s.whole, s.splits, s.steps}
}

type sm90ConvArgs struct {
	X, W TensorMap
	sm90ConvSumArgs
}

type sm90ConvSumArgs struct {
	Y, B, R, Workspace Operand
	S                  sm90Params
	Kind               Activation
	Half               int // a bit for each of y, _, r that is stored in bfloat16
}

func (s Conv) sm90(p *Launches, f sm90Form) {
	x, w := p.pixelMap(p.arg("x"), s.inputDims(), f), p.weightMap(s)
	y, r := p.arg("y"), p.optional("r")
	p.persistent("conv", f, 1, func(workspace Operand, size sm90Params) (any, any) {
		sum := sm90ConvSumArgs{y, p.arg("b"), r, workspace, size, s.Act, p.bf16Bits(y, Operand{}, r)}
		return sm90ConvArgs{x, w, sum}, sum
	})
}

type sm90ConvGradXArgs struct {
	DY, W TensorMap
	sm90ConvGradXSumArgs
}

type sm90ConvGradXSumArgs struct {
	DX, Saved, R, Workspace Operand
	S                       sm90Params
	Kind                    Activation
	Half                    int // a bit for each of dx, s, r that is stored in bfloat16
}

func (s ConvGradX) sm90(p *Launches, forms []sm90Form) {
	dy, w := p.packedMap(p.arg("dy"), s.outputDims()), p.weightMap(s.Conv)
	dx, at, r := p.arg("dx"), p.optional("s"), p.optional("r")
	for _, f := range forms {
		dy.Box = f.box()
		p.persistent("conv_grad_x", f, len(forms), func(workspace Operand, size sm90Params) (any, any) {
			sum := sm90ConvGradXSumArgs{dx, at, r, workspace, size, s.Act, p.bf16Bits(dx, at, r)}
			return sm90ConvGradXArgs{dy, w, sum}, sum
		})
	}
}

type sm90ConvGradWArgs struct {
	DY, X  TensorMap
	DW, DB Operand
	S      sm90Params
}

// sm90 also gives the gradient of the bias if the Spec has one.
func (s ConvGradW) sm90(p *Launches, f sm90Form) {
	k := s.KT * s.KH * s.KW
	dense := f
	dense.t.Stride, dense.h.Stride, dense.w.Stride = 1, 1, 1
	dy, x := p.pixelMap(p.arg("dy"), s.outputDims(), dense), p.pixelMap(p.arg("x"), s.inputDims(), f)
	tiles, n := f.tiles(ceilDiv(k*ceilDiv(s.C, sm90Side), 4)), p.args[0].Len()
	splits, size := splitPixelTiles(f.pixelTiles(), tiles, smCount)
	dw, db := p.arg("dw"), p.optional("db")
	partials, biases := p.partials(dw, splits, n), db
	if db != (Operand{}) {
		biases = p.partials(db, splits, s.O)
	}
	l := sumPipelines(f.wide)
	p.add("conv_grad_w_sm90a", grid2D(tiles, splits), grid1D(sm90Threads), sm90ConvGradWArgs{dy, x, partials, biases, f.size(l, tileSchedule{steps: size})}).Shared = l.size(0)
	p.addPartials(dw, partials, splits, splits, n)
	if db != (Operand{}) {
		p.addPartials(db, biases, splits, splits, s.O)
	}
}

// persistent adds a kernel whose CTAs loop over work tiles of results, and, where the
// schedule splits sums, the one that adds up the splits. args gives the arguments of both. The
// form is one of that many phases of a gradient.
func (p *Launches) persistent(kernel string, f sm90Form, phases int, args func(workspace Operand, size sm90Params) (main, sum any)) {
	s, l := scheduleOf(f.tiles(f.pixelTiles()), f.steps(), f.shared, p.smCount), pixelPipelines(f)
	var workspace Operand
	if s.units > s.whole {
		workspace = p.workspace((s.units - s.whole) * splitTile)
	}
	main, sum := args(workspace, f.size(l, s))
	one := p.add(kernel+"_sm90a", grid1D(min(s.units, p.smCount)), grid1D(sm90Threads), main)
	one.Shared, one.Phases = l.size(epilogueBytes), phases
	if s.units > s.whole {
		p.add(kernel+"_sum_sm90a", grid1D((s.units-s.whole)/s.splits*16), grid1D(threads), sum).Phases = phases
	}
}
