package kernels

import "math"

// pixelBlock is how many pixels' features a worker holds at once.
const pixelBlock = 64

// taylor computes linear attention of one frame and head at a time, through sums
// over the pixels of phi(k)·[v,1]: nothing grows with P².
type taylor struct {
	LinearAttention
	tiles tiles
	f     int // features
	ldF   int // padded to whole tiles
	ldD   int // Dim+1, padded
	zeros []float32

	// In the worker's scratch:
	phi  []float32 // [pixelBlock,ldF] features
	side []float32 // [pixelBlock,ldD] rows [v,1] or e, see errors
	res  []float32 // [pixelBlock,ldD] products of features
	sum  []float32 // [f,ldD] of phi(k)·[v,1]
	dsum []float32 // [f,ldD] of phi(q)·e
	sumT []float32 // [Dim+1,ldF], sum or dsum transposed
}

func newTaylor(c *CPU, s LinearAttention) taylor {
	t := taylor{LinearAttention: s, tiles: isaTiles[c.isa], f: s.features()}
	t.ldF, t.ldD = t.tiles.pad(t.f), t.tiles.pad(s.Dim+1)
	t.zeros = alignedFloats(max(t.ldF, t.ldD))
	c.reserve(pixelBlock*(t.ldF+2*t.ldD) + 2*t.f*t.ldD + (s.Dim+1)*t.ldF)
	return t
}

// on is the same with the worker's arrays, all zero.
func (t taylor) on(scratch []float32) taylor {
	clear(scratch[:pixelBlock*(t.ldF+2*t.ldD)+2*t.f*t.ldD+(t.Dim+1)*t.ldF])
	t.phi = carve(&scratch, pixelBlock*t.ldF)
	t.side, t.res = carve(&scratch, pixelBlock*t.ldD), carve(&scratch, pixelBlock*t.ldD)
	t.sum, t.dsum = carve(&scratch, t.f*t.ldD), carve(&scratch, t.f*t.ldD)
	t.sumT = carve(&scratch, (t.Dim+1)*t.ldF)
	return t
}

// scale is the factor of q.
func (t *taylor) scale() float32 { return float32(1 / math.Sqrt(float64(t.Dim))) }

// vector is that of a pixel in x, whose rows hold that many parts.
func (t *taylor) vector(x []float32, parts, part, frame, head, p int) []float32 {
	return x[(frame*t.P+p)*parts*t.width()+part*t.width()+head*t.Dim:][:t.Dim]
}

// expand writes phi(scale·z).
func (t *taylor) expand(phi, z []float32, scale float32) {
	phi[0] = 1
	at := 1 + t.Dim
	for i, v := range z {
		v *= scale
		phi[1+i] = v
		phi[at] = v * v * (1 / math.Sqrt2)
		at++
		for _, u := range z[i+1:] {
			phi[at] = v * u * scale
			at++
		}
	}
}

// slope writes dz, the product of dphi with the derivative of phi(scale·z) in z.
func (t *taylor) slope(dz, dphi, z []float32, scale float32) {
	for i := range dz {
		dz[i] = dphi[1+i]
	}
	at := 1 + t.Dim
	for i, v := range z {
		v *= scale
		dz[i] += math.Sqrt2 * v * dphi[at]
		at++
		for j := i + 1; j < len(z); j++ {
			dz[i] += dphi[at] * scale * z[j]
			dz[j] += dphi[at] * v
			at++
		}
	}
	for i := range dz {
		dz[i] *= scale
	}
}

// values makes row r of side [v,1].
func (t *taylor) values(r int, v []float32) {
	row := t.side[r*t.ldD:][:t.ldD]
	copy(row, v)
	row[t.Dim] = 1
}

// add adds the products of n rows of phi and side to a sum.
func (t *taylor) add(sum []float32, n int) {
	t.tiles.multiply(t.f, t.ldD, n, t.phi, 1, t.ldF, matrix{t.side, t.ldD}, sum, t.ldD, sum, t.ldD)
}

// keys fills sum from all pixels of a frame.
func (t *taylor) keys(kv []float32, frame, head int) {
	for p0 := 0; p0 < t.P; p0 += pixelBlock {
		n := min(pixelBlock, t.P-p0)
		for r := range n {
			t.expand(t.phi[r*t.ldF:], t.vector(kv, 2, 0, frame, head, p0+r), 1)
			t.values(r, t.vector(kv, 2, 1, frame, head, p0+r))
		}
		t.add(t.sum, n)
	}
}

// queries makes phi and res = phi·sum, numerators and denominator, of n pixels.
func (t *taylor) queries(q []float32, frame, head, p0, n int) {
	for r := range n {
		t.expand(t.phi[r*t.ldF:], t.vector(q, 1, 0, frame, head, p0+r), t.scale())
	}
	t.product(t.sum, n)
}

// product makes res = phi·sum.
func (t *taylor) product(sum []float32, n int) {
	t.tiles.multiply(n, t.ldD, t.f, t.phi, t.ldF, 1, matrix{sum, t.ldD}, t.zeros, 0, t.res, t.ldD)
}

// errors makes side the gradients e of numerators and denominator:
// [dy, -dy·y]/denominator.
func (t *taylor) errors(dy []float32, frame, head, p0, n int) {
	for r := range n {
		e, res := t.side[r*t.ldD:][:t.Dim+1], t.res[r*t.ldD:][:t.Dim+1]
		inv := 1 / res[t.Dim]
		along := float32(0)
		for d, g := range t.vector(dy, 1, 0, frame, head, p0+r) {
			e[d] = g * inv
			along += g * res[d]
		}
		e[t.Dim] = -along * inv * inv
	}
}

// transpose sets sumT to the transpose of a sum.
func (t *taylor) transpose(sum []float32) {
	for i := range t.f {
		for d, v := range sum[i*t.ldD:][:t.Dim+1] {
			t.sumT[d*t.ldF+i] = v
		}
	}
}

// back makes phi the gradients of features: side·sumT.
func (t *taylor) back(n int) {
	t.tiles.multiply(n, t.ldF, t.Dim+1, t.side, t.ldD, 1, matrix{t.sumT, t.ldF}, t.zeros, 0, t.phi, t.ldF)
}

func (s LinearAttention) cpu(c *CPU) []stage {
	shared := newTaylor(c, s)
	return []stage{{s.F * s.Heads, func(args [][]float32, task, worker int) {
		t, frame, head := shared.on(c.scratch[worker]), task/s.Heads, task%s.Heads
		t.keys(args[2], frame, head)
		for p0 := 0; p0 < s.P; p0 += pixelBlock {
			n := min(pixelBlock, s.P-p0)
			t.queries(args[1], frame, head, p0, n)
			for r := range n {
				res := t.res[r*t.ldD:]
				inv := 1 / res[s.Dim]
				y := t.vector(args[0], 1, 0, frame, head, p0+r)
				for d := range y {
					y[d] = res[d] * inv
				}
			}
		}
	}}}
}

func (s LinearAttentionGradQ) cpu(c *CPU) []stage {
	shared := newTaylor(c, s.LinearAttention)
	return []stage{{s.F * s.Heads, func(args [][]float32, task, worker int) {
		t, frame, head := shared.on(c.scratch[worker]), task/s.Heads, task%s.Heads
		t.keys(args[3], frame, head)
		t.transpose(t.sum)
		for p0 := 0; p0 < s.P; p0 += pixelBlock {
			n := min(pixelBlock, s.P-p0)
			t.queries(args[2], frame, head, p0, n)
			t.errors(args[1], frame, head, p0, n)
			t.back(n)
			for r := range n {
				t.slope(t.vector(args[0], 1, 0, frame, head, p0+r), t.phi[r*t.ldF:], t.vector(args[2], 1, 0, frame, head, p0+r), t.scale())
			}
		}
	}}}
}

func (s LinearAttentionGradKV) cpu(c *CPU) []stage {
	shared := newTaylor(c, s.LinearAttention)
	return []stage{{s.F * s.Heads, func(args [][]float32, task, worker int) {
		t, frame, head := shared.on(c.scratch[worker]), task/s.Heads, task%s.Heads
		kv := args[3]
		t.keys(kv, frame, head)
		for p0 := 0; p0 < s.P; p0 += pixelBlock {
			n := min(pixelBlock, s.P-p0)
			t.queries(args[2], frame, head, p0, n)
			t.errors(args[1], frame, head, p0, n)
			t.add(t.dsum, n)
		}
		t.transpose(t.dsum)
		for p0 := 0; p0 < s.P; p0 += pixelBlock {
			n := min(pixelBlock, s.P-p0)
			for r := range n {
				t.expand(t.phi[r*t.ldF:], t.vector(kv, 2, 0, frame, head, p0+r), 1)
				t.values(r, t.vector(kv, 2, 1, frame, head, p0+r))
			}
			t.product(t.dsum, n)
			t.back(n)
			for r := range n {
				copy(t.vector(args[0], 2, 1, frame, head, p0+r), t.res[r*t.ldD:])
				t.slope(t.vector(args[0], 2, 0, frame, head, p0+r), t.phi[r*t.ldF:], t.vector(kv, 2, 0, frame, head, p0+r), 1)
			}
		}
	}}}
}
