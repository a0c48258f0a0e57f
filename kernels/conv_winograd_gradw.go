package kernels

// winogradGrad is the gradient of a convolution's weights by F(m×m,3×3).
//
// A task makes the gradients for some input channels from some blocks of tiles. It
// transforms the input to V and the output's gradient to Y, in panels
// [planes][rows][cols] of channels. The products M of a panel of each, for all taps in
// time, are transformed to gradients and added to dw.
type winogradGrad struct {
	Conv
	*winogradForm
	winogradTiling
	tiles          tiles
	srcT           int // frames of a clip of the input; 1 where each frame is computed on its own
	offsets        []int
	x, y           []winogradSpan // panels of channels
	ranges         []winogradSpan // of x's panels
	parts, perPart int            // blocks of a part
	workers        []winogradWorker
	zeros          []float32
	xPlane, yPlane int // values of a plane of a panel
	mPlane         int
}

const (
	// winogradGradRows is about how many rows a block has: products of as many rows are
	// added up between two transforms of M.
	winogradGradRows = 80
	// winogradRange is how many channels of the input a task has at most: it holds them in
	// its workspace, and the output's gradient is transformed again for each range.
	winogradRange = 128
	// maxWinogradParts bounds the values of the parts of gradients that are added up.
	maxWinogradParts = 4 << 20
)

func newWinogradGrad(c *CPU, f *winogradForm, s Conv) *winogradGrad {
	g := &winogradGrad{Conv: s, winogradForm: f, tiles: isaTiles[c.isa], srcT: s.T}
	t, h, w := s.Out()
	for i := range s.KT {
		g.offsets = append(g.offsets, i*s.DT-s.PT)
	}
	alike := s.KT == 1 && s.PT == 0
	if alike {
		g.srcT = 1
	}
	g.winogradTiling = newWinogradTiling(f.m, s.N, [3]int{t, h, w}, alike, winogradGradRows, 1)
	g.x, g.y = g.split(s.C), g.split(s.O)
	blocks := g.blocks()
	per := max(1, winogradRange/g.x[0].n) // panels of a range
	for per > 1 && ceilDiv(len(g.x), per)*blocks < minTasks/2 {
		per /= 2
	}
	for at := 0; at < len(g.x); at += per {
		g.ranges = append(g.ranges, winogradSpan{at, min(per, len(g.x)-at)})
	}
	g.parts = max(1, min(ceilDiv(minTasks, len(g.ranges)), blocks, maxWinogradParts/(s.O*s.taps())))
	g.perPart = ceilDiv(blocks, g.parts)
	g.parts = ceilDiv(blocks, g.perPart)
	g.zeros = alignedFloats(max(s.C, s.O))
	g.workers = make([]winogradWorker, c.workers)
	for i := range g.workers {
		g.workers[i].segments = make([]segment, s.KT)
	}
	cols := g.x[0].n
	g.xPlane = winogradPlane(g.srcT * g.block * cols)
	g.yPlane = winogradPlane(g.frames * g.block * cols)
	g.mPlane = cols*cols + 5*16
	c.reserve(g.planes() * (per*g.xPlane + len(g.y)*g.yPlane + s.KT*g.mPlane))
	c.reserveShared((g.parts - 1) * s.O * s.taps())
	return g
}

// split cuts channels into panels as wide as tiles.
func (g *winogradGrad) split(channels int) []winogradSpan {
	var panels []winogradSpan
	for at := 0; at < channels; {
		cols := g.tiles.at(channels - at).cols
		panels = append(panels, winogradSpan{at, cols})
		at += cols
	}
	return panels
}

// sums writes the gradients of a range from the blocks [from,to).
func (g *winogradGrad) sums(w *winogradWorker, dw, dy, x []float32, r winogradSpan, from, to int, scratch []float32) {
	v := carve(&scratch, g.planes()*r.n*g.xPlane)
	y := carve(&scratch, g.planes()*len(g.y)*g.yPlane)
	m := scratch
	panels := g.x[r.at:][:r.n]
	c0, c1 := panels[0].at, panels[r.n-1].at+panels[r.n-1].n
	for row := range g.O * g.KT * 9 {
		clear(dw[row*g.C+c0 : row*g.C+c1])
	}
	for b := from; b < to; b++ {
		s0, s := g.span(b)
		g.transform(w, v, g.xPlane, g.input, g.size(), x, g.srcT, g.H, g.W, g.C, g.PH, g.PW, panels, s0, s)
		g.transform(w, y, g.yPlane, g.gradOutput, g.side, dy, g.frames, g.h, g.w, g.O, 0, 0, g.y, s0, s)
		for i, px := range panels {
			for j, py := range g.y {
				g.products(w, m, v[i*g.planes()*g.xPlane:], y[j*g.planes()*g.yPlane:], px.n, py.n, s)
				g.transformSums(w, dw, m, px, py)
			}
		}
	}
}

// transform writes the panels of the tiles of a block, of frames of h·w·c values.
func (g *winogradGrad) transform(w *winogradWorker, dst []float32, plane int, f func(dst *float32, plane int, src **float32, at, n, ahead int), side int,
	src []float32, frames, h, width, c, ph, pw int, panels []winogradSpan, s0, s int) {
	size := h * width * c
	for t := range frames {
		for q := range s {
			clip, top, left := g.place(s0 + q)
			winogradPixels(&w.pixels, side, src[(clip*frames+t)*size:], h, width, c, top-ph, left-pw, g.zeros)
			for i, p := range panels {
				f(&dst[i*g.planes()*plane+(t*s+q)*p.n], plane, &w.pixels[0], p.at, p.n, g.side*c)
			}
		}
	}
}

// products writes M [taps in time][planes][py][px] of a panel of V and one of Y. While a plane
// is computed, the next one's values are fetched.
func (g *winogradGrad) products(w *winogradWorker, m, v, y []float32, px, py, s int) {
	for i, d := range g.offsets {
		t0, t1 := max(0, -d), min(g.frames, g.srcT-d)
		w.segments[i] = segment{4 * t0 * s * py, (t0 + d) * s, max(0, t1-t0) * s}
	}
	for p := range g.planes() {
		a, b := y[p*g.yPlane:][:g.yPlane], v[p*g.xPlane:][:g.xPlane]
		var f prefetch
		if p+1 < g.planes() {
			f = prefetch{v[(p+1)*g.xPlane:][:g.srcT*s*px], y[(p+1)*g.yPlane:][:g.frames*s*py]}
		}
		for i := range g.offsets {
			to := m[(i*g.planes()+p)*g.mPlane:][:g.mPlane]
			if w.segments[i].k == 0 {
				clear(to)
				continue
			}
			g.tiles.run(py, px, w.segments[i:i+1], 0, a, 1, py, matrix{b, px}, g.zeros, 0, to, px, &f)
		}
	}
}

// transformSums adds the gradients of the weights of a panel of each.
func (g *winogradGrad) transformSums(w *winogradWorker, dw, m []float32, px, py winogradSpan) {
	for o := range py.n {
		for i := range g.KT {
			to := dw[((py.at+o)*g.KT+i)*9*g.C+px.at:]
			for e := range 9 {
				w.pixels[e] = &to[e*g.C]
			}
			g.gradWeights(&w.pixels[0], &m[i*g.planes()*g.mPlane+o*px.n], g.mPlane, 0, px.n, g.taps())
		}
	}
}

// winograd are the stages of the gradient by a form.
func (s ConvGradW) winograd(c *CPU, f *winogradForm) []stage {
	g := newWinogradGrad(c, f, s.Conv)
	k := s.O * s.taps()
	stages := []stage{{len(g.ranges) * g.parts, func(args [][]float32, task, worker int) {
		part := task / len(g.ranges)
		dw := args[0]
		if part > 0 {
			dw = c.shared[(part-1)*k:][:k]
		}
		from, to := span(part, g.blocks(), g.perPart)
		g.sums(&g.workers[worker], dw, args[1], args[2], g.ranges[task%len(g.ranges)], from, to, c.scratch[worker])
	}}}
	if g.parts > 1 {
		stages = append(stages, stage{s.O, func(args [][]float32, o, _ int) {
			dw := args[0][o*s.taps():][:s.taps()]
			for i := range g.parts - 1 {
				c.vec().add(dw, dw, c.shared[i*k+o*s.taps():][:s.taps()])
			}
		}})
	}
	return stages
}
