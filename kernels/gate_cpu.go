package kernels

import "math"

// pooling is FramePool's softmax over the pixels of a frame, taken a piece of pixels
// at a time so that few frames are many tasks and x is read once. A piece weighs its
// pixels by e_p = exp(s_p - m), s_p = x_p·k and m its greatest; a frame's sums are
// those of its pieces times exp(m - greatest of all m).
//
// Products with k and dctx and sums over pixels are float64: gradients after a gate
// are small differences of large terms.
type pooling struct {
	FramePool
	*vectors
	per, pieces, ld int

	logits [][]float64 // of a worker, [per]
	e      []float32   // [F·P]
	along  []float64   // [F·P], x_p·dctx
	weight [][]float32 // of a worker, [per]: e or a times (along - its mean)

	// Of a piece.
	most, sum []float64 // m; Σ e
	sumAlong  []float64 // Σ e·along
	ctx       []float64 // [ld], Σ e·x
	slope     []float64 // [ld], Σ weight·x

	// Of a frame.
	greatest, total, mean []float64 // of m; Σ e; Σ e·along / Σ e
}

func newPooling(c *CPU, s FramePool) *pooling {
	p := &pooling{FramePool: s, vectors: c.vec(), per: min(rowsPerTask(s.C), s.P), ld: padded(s.C)}
	p.pieces = ceilDiv(s.P, p.per)
	n := s.F * p.pieces
	p.e, p.along = make([]float32, s.F*s.P), make([]float64, s.F*s.P)
	p.most, p.sum, p.sumAlong = make([]float64, n), make([]float64, n), make([]float64, n)
	p.ctx, p.slope = make([]float64, n*p.ld), make([]float64, n*p.ld)
	p.greatest, p.total, p.mean = make([]float64, s.F), make([]float64, s.F), make([]float64, s.F)
	for range c.workers {
		p.logits, p.weight = append(p.logits, make([]float64, p.per)), append(p.weight, make([]float32, p.per))
	}
	return p
}

// pixels of a piece, from the first of its frame.
func (p *pooling) pixels(piece int) (frame, from, to int) {
	from, to = span(piece%p.pieces, p.P, p.per)
	return piece / p.pieces, from, to
}

// attend computes e of a piece, and along unless dctx is nil.
func (p *pooling) attend(piece, worker int, x, k, dctx []float32) {
	f, from, to := p.pixels(piece)
	logits, first := p.logits[worker][:to-from], f*p.P+from
	if rows := x[first*p.C:]; dctx == nil {
		p.rowDots(logits, rows, k, len(logits), p.C)
	} else {
		p.rowPairs(logits, p.along[first:], rows, k, dctx[f*p.C:][:p.C], len(logits), p.C)
	}
	most := math.Inf(-1)
	for _, v := range logits {
		most = max(most, v)
	}
	e := p.e[first:][:len(logits)]
	for i, v := range logits {
		e[i] = float32(v - most)
	}
	p.most[piece], p.sum[piece] = most, p.exps(e, e, 0, 1)
	if dctx != nil {
		sum := 0.
		for i, v := range e {
			sum += float64(v) * p.along[first+i]
		}
		p.sumAlong[piece] = sum
	}
}

// join computes what a frame's pieces have in common. scale is the factor of a piece's
// sums.
func (p *pooling) join(f int) {
	p.greatest[f] = math.Inf(-1)
	for _, m := range p.most[f*p.pieces:][:p.pieces] {
		p.greatest[f] = max(p.greatest[f], m)
	}
	p.total[f], p.mean[f] = 0, 0
	for i := f * p.pieces; i < (f+1)*p.pieces; i++ {
		p.total[f] += p.scale(i) * p.sum[i]
		p.mean[f] += p.scale(i) * p.sumAlong[i]
	}
	p.mean[f] /= p.total[f]
}

func (p *pooling) scale(piece int) float64 {
	return math.Exp(p.most[piece] - p.greatest[piece/p.pieces])
}

func (s FramePool) cpu(c *CPU) []stage {
	return newPooling(c, s).context(1, 2, func([][]float32, int) {})
}

// context computes ctx; x and k are the positions of these arguments. After a frame's context
// it calls after.
func (p *pooling) context(x, k int, after func(args [][]float32, f int)) []stage {
	return []stage{
		{p.F * p.pieces, func(args [][]float32, piece, worker int) {
			p.attend(piece, worker, args[x], args[k], nil)
			f, from, to := p.pixels(piece)
			ctx, first := p.ctx[piece*p.ld:][:p.ld], f*p.P+from
			clear(ctx)
			p.weighRows(ctx, args[x][first*p.C:], p.e[first:], to-from, p.C)
		}},
		{p.F, func(args [][]float32, f, _ int) {
			p.join(f)
			for j := range p.C {
				sum := 0.
				for i := f * p.pieces; i < (f+1)*p.pieces; i++ {
					sum += p.scale(i) * p.ctx[i*p.ld+j]
				}
				args[0][f*p.C+j] = float32(sum / p.total[f])
			}
			after(args, f)
		}},
	}
}

func (s FramePoolStats) cpu(c *CPU) []stage {
	p := newPooling(c, FramePool(s))
	return p.context(2, 3, func(args [][]float32, f int) {
		args[1][f] = float32(p.greatest[f] + math.Log(p.total[f]))
	})
}

func (s FramePoolGradX) cpu(c *CPU) []stage {
	p := newPooling(c, FramePool(s))
	return p.gradX(1, 2, 3, func(args [][]float32, _, at, end, _ int) []float32 { return args[0][at:end] }, nil)
}

// SqueezeExciteGradX adds the gate's share while a piece is in the cache.
func (s SqueezeExciteGradX) cpu(c *CPU) []stage {
	p := newPooling(c, FramePool{s.F, s.P, s.C})
	c.reserve(p.per * s.C)
	return p.gradX(3, 4, 5,
		func(args [][]float32, f, at, end, worker int) []float32 { return c.scratch[worker][:end-at] },
		func(args [][]float32, f, at, end, worker int) {
			dx, pool := args[0][at:end], c.scratch[worker][:end-at]
			p.rowMul(dx, args[1][at:end], args[2][f*s.C:][:s.C], (end-at)/s.C, s.C)
			p.add(dx, dx, pool)
			if s.Act != None {
				c.gradSlice(s.Act, dx, dx, args[4][at:end])
			}
		})
}

// gradX is the gradient with respect to x; dctx, x and k are the positions of these arguments.
// A piece of it, of values at to end, goes to where to says, then after takes it.
func (p *pooling) gradX(dctx, x, k int, to func(args [][]float32, f, at, end, worker int) []float32, after func(args [][]float32, f, at, end, worker int)) []stage {
	return []stage{
		{p.F * p.pieces, func(args [][]float32, piece, worker int) {
			p.attend(piece, worker, args[x], args[k], args[dctx])
		}},
		{p.F, func(_ [][]float32, f, _ int) { p.join(f) }},
		{p.F * p.pieces, func(args [][]float32, piece, worker int) {
			f, from, end := p.pixels(piece)
			first, n := f*p.P+from, end-from
			scale, a, ds := p.scale(piece)/p.total[f], p.e[first:][:n], p.weight[worker][:n]
			for i, e := range a {
				w := float64(e) * scale
				a[i], ds[i] = float32(w), float32(w*(p.along[first+i]-p.mean[f]))
			}
			at, upto := first*p.C, (first+n)*p.C
			p.rowMix(to(args, f, at, upto, worker), args[dctx][f*p.C:][:p.C], args[k], a, ds, n, p.C)
			if after != nil {
				after(args, f, at, upto, worker)
			}
		}},
	}
}

// FramePoolGradK sums ds_p x_p = a_p (along_p - mean) x_p in one pass over x, before
// the frame's mean is known: a piece uses its own mean, and the difference of the two
// means times Σ e·x makes up for it.
func (s FramePoolGradK) cpu(c *CPU) []stage {
	p := newPooling(c, FramePool(s))
	return []stage{
		{s.F * p.pieces, func(args [][]float32, piece, worker int) {
			p.attend(piece, worker, args[2], args[3], args[1])
			f, from, to := p.pixels(piece)
			first, n := f*s.P+from, to-from
			x, e, weight := args[2][first*s.C:], p.e[first:][:n], p.weight[worker][:n]
			mean := p.sumAlong[piece] / p.sum[piece]
			for i, v := range e {
				weight[i] = float32(float64(v) * (p.along[first+i] - mean))
			}
			ctx, slope := p.ctx[piece*p.ld:][:p.ld], p.slope[piece*p.ld:][:p.ld]
			clear(ctx)
			clear(slope)
			p.weighRows(ctx, x, e, n, s.C)
			p.weighRows(slope, x, weight, n, s.C)
		}},
		{s.F, func(_ [][]float32, f, _ int) { p.join(f) }},
		{1, func(args [][]float32, _, _ int) {
			for j := range args[0] {
				sum := 0.
				for i := range s.F * p.pieces {
					f := i / p.pieces
					mean := p.sumAlong[i] / p.sum[i]
					sum += p.scale(i) / p.total[f] * (p.slope[i*p.ld+j] + (mean-p.mean[f])*p.ctx[i*p.ld+j])
				}
				args[0][j] = float32(sum)
			}
		}},
	}
}

// SqueezeExciteGrad reads a piece of x once: its gradient and its part of dk follow from the
// results of the forward pass.
func (s SqueezeExciteGrad) cpu(c *CPU) []stage {
	p := newPooling(c, FramePool{s.F, s.P, s.C})
	c.reserve(p.per * s.C)
	return []stage{
		{s.F * p.pieces, func(args [][]float32, piece, worker int) {
			dctx, x, k := args[4], args[5], args[6]
			p.attend(piece, worker, x, k, dctx)
			f, from, to := p.pixels(piece)
			first, n := f*s.P+from, to-from
			at, end := first*s.C, (first+n)*s.C
			d, mean, scale := dctx[f*s.C:][:s.C], 0., math.Exp(p.most[piece]-float64(args[8][f]))
			for c, v := range args[7][f*s.C:][:s.C] {
				mean += float64(v) * float64(d[c])
			}
			a, ds := p.e[first:][:n], p.weight[worker][:n]
			for i, e := range a {
				w := float64(e) * scale
				a[i], ds[i] = float32(w), float32(w*(p.along[first+i]-mean))
			}
			slope := p.slope[piece*p.ld:][:p.ld]
			clear(slope)
			p.weighRows(slope, x[at:], ds, n, s.C)
			dx, pool := args[0][at:end], c.scratch[worker][:end-at]
			p.rowMix(pool, d, k, a, ds, n, s.C)
			p.rowMul(dx, args[2][at:end], args[3][f*s.C:][:s.C], n, s.C)
			p.add(dx, dx, pool)
			if s.Act != None {
				c.gradSlice(s.Act, dx, dx, x[at:end])
			}
		}},
		{1, func(args [][]float32, _, _ int) {
			for j := range args[1] {
				sum := 0.
				for i := range s.F * p.pieces {
					sum += p.slope[i*p.ld+j]
				}
				args[1][j] = float32(sum)
			}
		}},
	}
}

func (s FrameGate) cpu(c *CPU) []stage {
	v := c.vec()
	per := min(rowsPerTask(s.C), s.P)
	pieces := ceilDiv(s.P, per)
	return []stage{{s.F * pieces, func(args [][]float32, t, _ int) {
		f := t / pieces
		from, to := span(t%pieces, s.P, per)
		at, end := (f*s.P+from)*s.C, (f*s.P+to)*s.C
		v.rowMul(args[0][at:end], args[1][at:end], args[2][f*s.C:][:s.C], to-from, s.C)
		if s.Residual {
			v.add(args[0][at:end], args[0][at:end], args[3][at:end])
		}
	}}}
}

func (s FrameGateGradG) cpu(c *CPU) []stage {
	mulRows := c.vec().mulRows
	return wideSums(c, s.F, s.P, s.C, func(acc []float64, args [][]float32, at, rows, width int) {
		mulRows(acc, args[1][at:at+rows*width], args[2][at:at+rows*width], rows, width)
	})
}
