package kernels

import (
	"cmp"
	"slices"
	"unsafe"
)

// winograd is a convolution with 3×3 taps of stride 1 over height and width by
// F(m×m,3×3): forward, or the gradient of the input, which is the convolution of the
// output's gradient with the weights in reverse. The taps in time are added in the
// transform domain.
//
// A task takes a block of tiles: it transforms the source's to V [planes][rows][C] in
// its workspace, multiplies them by U for a panel of result channels, and transforms
// the sums M [planes][rows][cols] to the result. A row is a tile of a frame.
//
// U is [planes][taps in time·C][cols] for each panel, in a workspace that all kernels of
// a backend share; each launch makes it. Where U of all panels is too large for that
// workspace, groups of panels follow one another, and each transforms the source again.
// A single block reads U once: its task makes some rows of it at a time, which stay in L2.
//
// A sum of more than maxWinogradSum products is a sum of such sums: the squared relative
// error grows with the number of products in one piece, by 1e-14 a product with
// F(4×4,3×3).
type winograd struct {
	*winogradForm
	winogradTiling
	tiles      tiles
	o, c       int              // channels of the result and of the source
	wide       int              // channels of all panels: more than o where these are few
	srcT       int              // frames of a clip of the source; 1 where each frame is computed on its own
	srcH, srcW int              // of the source
	ph, pw     int              // rows and columns of zeros before the source's
	offsets    []int            // of the taps in time: the source's frame less the result's
	runs       []winogradRun    // of a clip's result frames
	panels     []winogradSpan   // of result channels
	groups     [][]winogradSpan // of panels whose U are in memory at once
	once       bool             // U is read once
	order      []int            // of the taps in time, then: those that are on the most frames come first
	workers    []winogradWorker
	zeros      []float32 // a pixel outside of the source, and no bias
	ldv        int       // values from a row of V to the next
	vPlane     int       // from a plane of V to the next
	mPlane     int
}

// winogradSpan are the channels [at,at+n).
type winogradSpan struct{ at, n int }

// winogradRun are the result frames [from,to), for which the same taps in time are on
// frames of the source. Each of sums is added to those before.
type winogradRun struct {
	from, to int
	sums     [][]winogradPart
}

// winogradPart is a part of a sum: n channels of the source from c0, by a tap in time.
type winogradPart struct{ tap, c0, n int }

// winogradWorker is what a worker needs but floats.
type winogradWorker struct {
	pixels, r, s [36]*float32
	segments     []segment
	outside      []float32 // what is written beyond a frame
	bias, narrow []float32 // where there are fewer channels than a panel has: the bias, and a tile
}

const (
	maxWinogradSum = 384
	// winogradPad is added to a plane, so that its size is no multiple of a page: lines of
	// all planes would share a set of L1.
	winogradPad = 5 * 16
	// winogradPackRows is how many rows of U are made at once.
	winogradPackRows = 32
)

// newWinograd is the convolution of a source [n,srcT,srcH,srcW,c] with weights whose taps
// in time are at offsets; the result is [n,t,h,w,o].
func newWinograd(c *CPU, f *winogradForm, n int, result, source [3]int, channels, sourceChannels, ph, pw int, offsets []int) *winograd {
	p := &winograd{
		winogradForm: f, tiles: isaTiles[c.isa], o: channels, c: sourceChannels, srcT: source[0], srcH: source[1], srcW: source[2],
		ph: ph, pw: pw, offsets: offsets,
	}
	alike := len(offsets) == 1 && offsets[0] == 0 && source[0] == result[0]
	rows := winogradClipRows
	if alike {
		p.srcT, rows = 1, winogradRows
		if p.planes()*p.o*p.c > winogradWide {
			rows = winogradWideRows
		}
	}
	tasks := minTasks / 4
	if p.planes()*len(offsets)*p.o*p.c > winogradWide {
		tasks = 1 // as each block reads U
	}
	p.winogradTiling = newWinogradTiling(f.m, n, result, alike, rows, tasks)
	for at := 0; at < p.o; {
		cols := p.tiles.at(p.o - at).cols
		p.panels = append(p.panels, winogradSpan{at, cols})
		at += cols
		p.wide = at
	}
	segments := 0 // of all sums
	for t := 0; t < p.frames; {
		r := winogradRun{from: t}
		first, last := p.taps(t)
		for t < p.frames {
			if a, b := p.taps(t); a != first || b != last {
				break
			}
			t++
		}
		r.to = t
		r.sums = winogradSums(first, last, p.c)
		for _, s := range r.sums {
			segments += len(s)
		}
		p.runs = append(p.runs, r)
	}
	p.zeros = alignedFloats(max(p.c, p.wide))
	p.workers = make([]winogradWorker, c.workers)
	for i := range p.workers {
		p.workers[i].segments, p.workers[i].outside = make([]segment, segments), alignedFloats(p.wide)
		if p.wide > p.o {
			p.workers[i].bias, p.workers[i].narrow = alignedFloats(p.wide), alignedFloats(p.side*p.side*p.wide)
		}
	}
	// Rows, and planes, an odd number of cache lines apart do not share the same lines of L1.
	p.ldv = (p.c+31)/32*32 + 16
	p.vPlane, p.mPlane = winogradPlane(p.srcT*p.block*p.ldv), winogradPlane(p.frames*p.block*p.panels[0].n)
	if p.once = p.blocks() == 1; p.once {
		p.groups = [][]winogradSpan{p.panels}
		for i := range offsets {
			p.order = append(p.order, i)
		}
		slices.SortStableFunc(p.order, func(i, j int) int {
			_, a := p.shared(i)
			_, b := p.shared(j)
			return b - a
		})
		c.reserve(p.planes()*(p.vPlane+p.mPlane+p.oncePlane(p.panels[0])) + 9*winogradPackRows*p.panels[0].n)
		return p
	}
	c.reserve(max(p.planes()*(p.vPlane+p.mPlane), 9*winogradPackRows*p.panels[0].n))
	p.group(cmp.Or(c.largeU, maxWinogradU))
	c.reserveShared(p.uSize(p.groups[0]))
	return p
}

// maxWinogradU is about how many values of U are in memory at once.
const maxWinogradU = 1 << 24

// group cuts the panels into groups of about equal size, each of one panel or of about most
// values of U. The first one is the largest.
func (p *winograd) group(most int) {
	per := ceilDiv(len(p.panels), ceilDiv(p.planes()*p.k()*p.o, most))
	for at := 0; at < len(p.panels); at += per {
		p.groups = append(p.groups, p.panels[at:min(at+per, len(p.panels))])
	}
}

// uSize is the number of values of U of a group.
func (p *winograd) uSize(group []winogradSpan) int {
	n := 0
	for _, panel := range group {
		n += p.planes() * p.uPlane(panel)
	}
	return n
}

// winogradPlane rounds the size of a plane up to an odd number of cache lines.
func winogradPlane(n int) int { return (n+1023)/1024*1024 + winogradPad }

// k is the number of rows of U.
func (p *winograd) k() int { return len(p.offsets) * p.c }

// uPlane is the size of a plane of a panel of U, u the panel.
func (p *winograd) uPlane(panel winogradSpan) int { return p.k()*panel.n + winogradPad }

// u is U of a panel of a group. All panels before the last one have the same width.
func (p *winograd) u(c *CPU, group []winogradSpan, panel winogradSpan) []float32 {
	before := panel.at - group[0].at
	return c.shared[p.planes()*(p.k()*before+winogradPad*(before/p.panels[0].n)):]
}

// taps are the taps in time [first,last) of result frame t that are on frames of the
// source.
func (p *winograd) taps(t int) (first, last int) {
	for i, d := range p.offsets {
		if uint(t+d) < uint(p.srcT) {
			if last == 0 {
				first = i
			}
			last = i + 1
		}
	}
	return first, last
}

// winogradSums cuts the sum over the taps [first,last) and c channels into pieces.
func winogradSums(first, last, c int) [][]winogradPart {
	var sums [][]winogradPart
	size := (ceilDiv(c, ceilDiv(c, maxWinogradSum)) + 15) / 16 * 16
	sum := maxWinogradSum
	for i := first; i < last; i++ {
		for c0 := 0; c0 < c; c0 += size {
			part := winogradPart{i, c0, min(size, c-c0)}
			if sum += part.n; sum > maxWinogradSum {
				sums = append(sums, nil)
				sum = part.n
			}
			sums[len(sums)-1] = append(sums[len(sums)-1], part)
		}
	}
	return sums
}

// winogradEpilogue is what a kernel makes of the transformed sums.
type winogradEpilogue struct {
	bias, r, s int // the arguments' numbers; 0: there is none
	act        Activation
}

// stages are those that make U and the result, for each group of panels.
func (p *winograd) stages(c *CPU, fill winogradFill, e winogradEpilogue) (all []stage) {
	for i, group := range p.groups {
		if !p.once {
			all = append(all, p.packGroup(c, group, fill))
		}
		all = append(all, p.multiply(c, group, fill, e, i == len(p.groups)-1))
	}
	return all
}

// winogradFill lists where the 3×3 weights of rows of U begin, from row k of a tap in time on, for
// the channels of a panel, and returns for how many rows, which follow one another there. Weights
// that are not in place it copies to scratch.
type winogradFill func(list *[36]*float32, scratch, w []float32, tap, k, rows int, panel winogradSpan) (listed int)

// packGroup is the stage that makes U of a group.
func (p *winograd) packGroup(c *CPU, group []winogradSpan, fill winogradFill) stage {
	per := ceilDiv(p.c, winogradPackRows)
	return stage{tasks: len(group) * len(p.offsets) * per, do: func(args [][]float32, task, worker int) {
		panel := group[task/(len(p.offsets)*per)]
		tap, k := task/per%len(p.offsets), task%per*winogradPackRows
		u := p.u(c, group, panel)[(tap*p.c+k)*panel.n:]
		p.pack(u, p.uPlane(panel), &p.workers[worker], c.scratch[worker], args[2], fill, tap, k, min(winogradPackRows, p.c-k), panel)
	}}
}

// pack makes some rows of U, whose planes are that many values apart.
func (p *winograd) pack(u []float32, plane int, w *winogradWorker, scratch, weights []float32, fill winogradFill, tap, k, rows int, panel winogradSpan) {
	for i := 0; i < rows; {
		n := fill(&w.pixels, scratch, weights, tap, k+i, min(rows-i, winogradPackRows), panel)
		p.weights(&u[i*panel.n], plane, &w.pixels[0], 0, n*panel.n, 0)
		i += n
	}
}

// multiply is the stage that makes a group's channels of the result, of args[0] from args[1].
// The last group also applies an activation that the transforms do not have, to all. Where there are
// fewer blocks than workers, several tasks each take some panels of a block.
func (p *winograd) multiply(c *CPU, group []winogradSpan, fill winogradFill, e winogradEpilogue, last bool) stage {
	after, share := e.act != None && e.act != ELU, 1
	if !after {
		share = min(len(group), ceilDiv(c.workers, p.blocks()))
	}
	return stage{tasks: p.blocks() * share, do: func(args [][]float32, task, worker int) {
		w := &p.workers[worker]
		v := c.scratch[worker]
		m := v[p.planes()*p.vPlane:]
		s0, s := p.span(task / share)
		p.transformSource(w, v, args[1], s0, s)
		p.segments(w, s)
		part := task % share
		panels := group[part*len(group)/share : (part+1)*len(group)/share]
		for i, panel := range panels {
			if p.once {
				p.productsOnce(w, m, v, args[2], fill, panel, s)
			} else {
				p.products(c, w, m, v, group, panels[i:], s)
			}
			p.transformSums(w, e, args, m, panel, s0, s)
		}
		if last && after {
			p.activate(c, e, args, s0, s)
		}
	}}
}

// transformSource writes V.
func (p *winograd) transformSource(w *winogradWorker, v, x []float32, s0, s int) {
	size := p.srcH * p.srcW * p.c
	for t := range p.srcT {
		for q := range s {
			clip, top, left := p.place(s0 + q)
			winogradPixels(&w.pixels, p.size(), x[(clip*p.srcT+t)*size:], p.srcH, p.srcW, p.c, top-p.ph, left-p.pw, p.zeros)
			p.input(&v[(t*s+q)*p.ldv], p.vPlane, &w.pixels[0], 0, p.c, p.side*p.c)
		}
	}
}

// segments lists the parts of all sums for a block of s tiles a frame.
func (p *winograd) segments(w *winogradWorker, s int) {
	i := 0
	for _, r := range p.runs {
		for _, sum := range r.sums {
			for _, part := range sum {
				frame := r.from + p.offsets[part.tap]
				w.segments[i] = segment{4 * (frame*s*p.ldv + part.c0), part.tap*p.c + part.c0, part.n}
				i++
			}
		}
	}
}

// products writes M for the first of some panels of a group. While a plane is computed,
// the next one's values of U and V are fetched.
func (p *winograd) products(c *CPU, w *winogradWorker, m, v []float32, group, panels []winogradSpan, s int) {
	panel := panels[0]
	cols, u := panel.n, p.u(c, group, panel)
	size := p.srcT * s * p.ldv
	for plane := range p.planes() {
		a, b, to := v[plane*p.vPlane:][:p.vPlane], u[plane*p.uPlane(panel):][:p.k()*cols], m[plane*p.mPlane:][:p.mPlane]
		var f prefetch
		if plane+1 < p.planes() {
			f = prefetch{u[(plane+1)*p.uPlane(panel):][:p.k()*cols], v[(plane+1)*p.vPlane:][:size]}
		} else if len(panels) > 1 {
			f = prefetch{p.u(c, group, panels[1])[:p.k()*panels[1].n], v[:size]}
		}
		segments := w.segments
		for _, r := range p.runs {
			sums := to[r.from*s*cols:]
			add, sadd := p.zeros, 0
			for _, sum := range r.sums {
				p.tiles.run((r.to-r.from)*s, cols, segments[:len(sum)], 0, a, p.ldv, 1, matrix{b, cols}, add, sadd, sums, cols, &f)
				segments = segments[len(sum):]
				add, sadd = sums, cols
			}
			if len(r.sums) == 0 { // all taps in time are before the first frame or after the last
				clear(sums[:(r.to-r.from)*s*cols])
			}
		}
	}
}

// transformSums writes the result's channels of a panel.
func (p *winograd) transformSums(w *winogradWorker, e winogradEpilogue, args [][]float32, m []float32, panel winogradSpan, s0, s int) {
	size := p.h * p.w * p.o
	bias := p.zeros
	if e.bias > 0 {
		if bias = args[e.bias]; p.wide > p.o {
			copy(w.bias, bias)
			bias = w.bias
		}
	}
	after := e.act != None && e.act != ELU && e.bias > 0 // r is added by activate
	for i := range w.r[:p.side*p.side] {
		w.r[i] = &p.zeros[0]
	}
	for t := range p.frames {
		for q := range s {
			clip, top, left := p.place(s0 + q)
			at := (clip*p.frames + t) * size
			winogradPixels(&w.pixels, p.side, args[0][at:], p.h, p.w, p.o, top, left, w.outside)
			if e.r > 0 && !after {
				winogradPixels(&w.r, p.side, args[e.r][at:], p.h, p.w, p.o, top, left, p.zeros)
			}
			src := &m[(t*s+q)*panel.n]
			switch {
			case p.wide > p.o:
				for i := range p.side * p.side {
					w.s[i] = &w.narrow[i*p.wide]
				}
				p.output(&w.s[0], src, p.mPlane, &bias[0], &w.r[0], panel.at, panel.n, 0)
				n := min(panel.n, p.o-panel.at)
				for i, to := range w.pixels[:p.side*p.side] {
					copy(unsafe.Slice(valueAt(to, panel.at), n), w.narrow[i*p.wide+panel.at:])
				}
			case e.act == ELU && e.s > 0:
				winogradPixels(&w.s, p.side, args[e.s][at:], p.h, p.w, p.o, top, left, p.zeros)
				p.outputELUSlope(&w.pixels[0], src, p.mPlane, &w.r[0], &w.s[0], panel.at, panel.n, p.side*p.o)
			case e.act == ELU:
				p.outputELU(&w.pixels[0], src, p.mPlane, &bias[0], &w.r[0], panel.at, panel.n, p.side*p.o)
			default:
				p.output(&w.pixels[0], src, p.mPlane, &bias[0], &w.r[0], panel.at, panel.n, p.side*p.o)
			}
		}
	}
}

// activate applies an activation, or its slope, that the transforms do not have to the
// lines of a block, and adds what follows an activation.
func (p *winograd) activate(c *CPU, e winogradEpilogue, args [][]float32, s0, s int) {
	for t := range p.frames {
		for q := s0; q < s0+s; {
			clip, top, left := p.place(q)
			n := min(p.cols-left/p.side, s0+s-q) // tiles of a row
			q += n
			right := min(left+n*p.side, p.w)
			for h := top; h < min(top+p.side, p.h); h++ {
				at := (((clip*p.frames+t)*p.h+h)*p.w + left) * p.o
				to := at + (right-left)*p.o
				y := args[0][at:to]
				if e.s > 0 {
					c.gradSlice(e.act, y, y, args[e.s][at:to])
					continue
				}
				c.applySlice(e.act, y, y)
				if e.r > 0 {
					c.vec().add(y, y, args[e.r][at:to])
				}
			}
		}
	}
}

// winograd are the stages of the convolution by a form.
func (s Conv) winograd(c *CPU, f *winogradForm) []stage {
	t, h, w := s.Out()
	offsets := make([]int, s.KT)
	for i := range offsets {
		offsets[i] = i*s.DT - s.PT
	}
	p := newWinograd(c, f, s.N, [3]int{t, h, w}, [3]int{s.T, s.H, s.W}, s.O, s.C, s.PH, s.PW, offsets)
	e := winogradEpilogue{bias: 3, act: s.Act}
	if s.Residual {
		e.r = 4
	}
	return p.stages(c, func(list *[36]*float32, scratch, w []float32, tap, k, rows int, panel winogradSpan) int {
		n, apart := min(panel.n, s.O-panel.at), rows*panel.n // channels that there are, and values of a tap
		if n < panel.n {
			clear(scratch[:9*apart])
		}
		for q := range 9 {
			dst := scratch[q*apart:]
			c.vec().transposed(dst, panel.n, w[((panel.at*s.KT+tap)*9+q)*s.C+k:], s.taps(), n, rows, 1)
			list[q] = &dst[0]
		}
		return rows
	}, e)
}

// winograd are the stages of the gradient by a form.
func (s ConvGradX) winograd(c *CPU, f *winogradForm) []stage {
	t, h, w := s.Out()
	offsets := make([]int, s.KT)
	for i := range offsets {
		offsets[i] = s.PT - i*s.DT
	}
	p := newWinograd(c, f, s.N, [3]int{s.T, s.H, s.W}, [3]int{t, h, w}, s.C, s.O, 2-s.PH, 2-s.PW, offsets)
	e := winogradEpilogue{act: s.Act}
	next := 3
	if s.Act != None {
		e.s, next = next, next+1
	}
	if s.Residual {
		e.r = next
	}
	return p.stages(c, func(list *[36]*float32, _, w []float32, tap, k, _ int, panel winogradSpan) int {
		for q := range 9 {
			list[q] = &w[((k*s.KT+tap)*9+8-q)*s.C+panel.at]
		}
		return 1
	}, e)
}
