package kernels

import "math"

// taylorTangent computes derivatives along a direction as taylor computes attention: with
// S the sum over pixels of phi(k)·[v,1] and dS its derivative, the numerators and the
// denominator of a query are U = phi(q)·S and their derivatives dU = dphi(q)·S + phi(q)·dS.
type taylorTangent struct {
	taylor
	kv    bool
	dres  []float32 // [pixelBlock,ldD] dU
	slope []float32 // [pixelBlock,ldD] gradients h of U
	rise  []float32 // [pixelBlock,ldD] gradients g of dU
	dS    []float32 // [f,ldD]
	ofS   []float32 // [f,ldD] gradient of S
	ofDS  []float32 // [f,ldD] gradient of dS
	extra []float32 // [pixelBlock,ldF] a second array of features
}

func newTaylorTangent(c *CPU, s LinearAttentionTangent) taylorTangent {
	t := taylorTangent{taylor: newTaylor(c, s.LinearAttention), kv: s.KV}
	c.reserve(t.size())
	return t
}

// size is the number of values in a worker's scratch.
func (t *taylorTangent) size() int {
	return pixelBlock*(2*t.ldF+5*t.ldD) + 5*t.f*t.ldD + (t.Dim+1)*t.ldF
}

// on is the same with the worker's arrays, all zero.
func (t taylorTangent) on(scratch []float32) taylorTangent {
	clear(scratch[:t.size()])
	own := pixelBlock*(t.ldF+2*t.ldD) + 2*t.f*t.ldD + (t.Dim+1)*t.ldF
	t.taylor = t.taylor.on(scratch[:own])
	scratch = scratch[own:]
	t.dres, t.slope, t.rise = carve(&scratch, pixelBlock*t.ldD), carve(&scratch, pixelBlock*t.ldD), carve(&scratch, pixelBlock*t.ldD)
	t.dS, t.ofS, t.ofDS = carve(&scratch, t.f*t.ldD), carve(&scratch, t.f*t.ldD), carve(&scratch, t.f*t.ldD)
	t.extra = carve(&scratch, pixelBlock*t.ldF)
	return t
}

// expandSlope writes the derivative of phi(scale·z) along dz.
func (t *taylorTangent) expandSlope(phi, z, dz []float32, scale float32) {
	phi[0] = 0
	at, square := 1+t.Dim, scale*scale
	for i, v := range z {
		phi[1+i] = scale * dz[i]
		phi[at] = math.Sqrt2 * square * v * dz[i]
		at++
		for j := i + 1; j < len(z); j++ {
			phi[at] = square * (v*dz[j] + dz[i]*z[j])
			at++
		}
	}
}

// addBend adds to dz the gradient that expandSlope's result has with respect to z, along
// the direction v: only products of two channels bend.
func (t *taylorTangent) addBend(dz, dphi, v []float32, scale float32) {
	at, square := 1+t.Dim, scale*scale
	for i := range v {
		dz[i] += math.Sqrt2 * square * v[i] * dphi[at]
		at++
		for j := i + 1; j < len(v); j++ {
			dz[i] += square * v[j] * dphi[at]
			dz[j] += square * v[i] * dphi[at]
			at++
		}
	}
}

// sums makes S and, if the direction is that of kv, dS.
func (t *taylorTangent) sums(v, kv []float32, frame, head int) {
	t.keys(kv, frame, head)
	if !t.kv {
		return
	}
	for p0 := 0; p0 < t.P; p0 += pixelBlock {
		n := min(pixelBlock, t.P-p0)
		for r := range n {
			t.expandSlope(t.phi[r*t.ldF:], t.vector(kv, 2, 0, frame, head, p0+r), t.vector(v, 2, 0, frame, head, p0+r), 1)
			t.values(r, t.vector(kv, 2, 1, frame, head, p0+r))
		}
		t.add(t.dS, n)
		for r := range n {
			t.expand(t.phi[r*t.ldF:], t.vector(kv, 2, 0, frame, head, p0+r), 1)
			t.values(r, t.vector(v, 2, 1, frame, head, p0+r))
			t.side[r*t.ldD+t.Dim] = 0
		}
		t.add(t.dS, n)
	}
}

// block makes U in res and dU in dres of n pixels, phi their features and, if the
// direction is that of q, extra the derivatives of those.
func (t *taylorTangent) block(v, q []float32, frame, head, p0, n int) {
	t.queries(q, frame, head, p0, n)
	copy(t.dres, t.res) // dres is swapped in below
	if t.kv {
		t.product(t.dS, n)
	} else {
		for r := range n {
			t.expandSlope(t.extra[r*t.ldF:], t.vector(q, 1, 0, frame, head, p0+r), t.vector(v, 1, 0, frame, head, p0+r), t.scale())
		}
		t.phi, t.extra = t.extra, t.phi
		t.product(t.sum, n)
		t.phi, t.extra = t.extra, t.phi
	}
	t.res, t.dres = t.dres, t.res
}

// errors makes slope the gradients h of U and rise those of dU, g: with N and dN the
// numerators, Z and dZ the denominator,
//
//	g = [dt, -(dt·N)/Z]/Z,  h = [-dt·dZ, 2(dt·N)dZ/Z - dt·dN]/Z²
func (t *taylorTangent) errors(dt []float32, frame, head, p0, n int) {
	for r := range n {
		u, du := t.res[r*t.ldD:][:t.Dim+1], t.dres[r*t.ldD:][:t.Dim+1]
		g, h := t.rise[r*t.ldD:][:t.Dim+1], t.slope[r*t.ldD:][:t.Dim+1]
		inv, dz := 1/u[t.Dim], du[t.Dim]
		along, rising := float32(0), float32(0)
		for d, e := range t.vector(dt, 1, 0, frame, head, p0+r) {
			g[d] = e * inv
			h[d] = -e * dz * inv * inv
			along += e * u[d]
			rising += e * du[d]
		}
		g[t.Dim] = -along * inv * inv
		h[t.Dim] = (2*along*dz*inv - rising) * inv * inv
	}
}

// with calls do with rows as side.
func (t *taylorTangent) with(rows []float32, do func()) {
	side := t.side
	t.side = rows
	do()
	t.side = side
}

// backTo makes to the gradients of features: rows·sumᵀ.
func (t *taylorTangent) backTo(to, rows, sum []float32, n int) {
	t.transpose(sum)
	phi := t.phi
	t.phi = to
	t.with(rows, func() { t.back(n) })
	t.phi = phi
}

func (s LinearAttentionTangent) cpu(c *CPU) []stage {
	shared := newTaylorTangent(c, s)
	return []stage{{s.F * s.Heads, func(args [][]float32, task, worker int) {
		t, frame, head := shared.on(c.scratch[worker]), task/s.Heads, task%s.Heads
		t.sums(args[1], args[3], frame, head)
		for p0 := 0; p0 < s.P; p0 += pixelBlock {
			n := min(pixelBlock, s.P-p0)
			t.block(args[1], args[2], frame, head, p0, n)
			for r := range n {
				u, du := t.res[r*t.ldD:], t.dres[r*t.ldD:]
				inv := 1 / u[s.Dim]
				y := t.vector(args[0], 1, 0, frame, head, p0+r)
				for d := range y {
					y[d] = (du[d] - u[d]*inv*du[s.Dim]) * inv
				}
			}
		}
	}}}
}

func (s LinearAttentionTangentGradQ) cpu(c *CPU) []stage {
	shared := newTaylorTangent(c, s.LinearAttentionTangent)
	dphi := make([][]float32, c.workers)
	for i := range dphi {
		dphi[i] = make([]float32, pixelBlock*shared.ldF)
	}
	return []stage{{s.F * s.Heads, func(args [][]float32, task, worker int) {
		t, frame, head, of := shared.on(c.scratch[worker]), task/s.Heads, task%s.Heads, dphi[worker]
		t.sums(args[2], args[4], frame, head)
		for p0 := 0; p0 < s.P; p0 += pixelBlock {
			n := min(pixelBlock, s.P-p0)
			t.block(args[2], args[3], frame, head, p0, n)
			t.errors(args[1], frame, head, p0, n)
			t.backTo(t.phi, t.slope, t.sum, n)
			if s.KV {
				t.backTo(t.extra, t.rise, t.dS, n)
				for i, v := range t.extra[:n*t.ldF] {
					t.phi[i] += v
				}
			} else {
				t.backTo(of, t.rise, t.sum, n)
			}
			for r := range n {
				dq := t.vector(args[0], 1, 0, frame, head, p0+r)
				t.taylor.slope(dq, t.phi[r*t.ldF:], t.vector(args[3], 1, 0, frame, head, p0+r), t.scale())
				if !s.KV {
					t.addBend(dq, of[r*t.ldF:], t.vector(args[2], 1, 0, frame, head, p0+r), t.scale())
				}
			}
		}
	}}}
}

func (s LinearAttentionTangentGradKV) cpu(c *CPU) []stage {
	shared := newTaylorTangent(c, s.LinearAttentionTangent)
	return []stage{{s.F * s.Heads, func(args [][]float32, task, worker int) {
		t, frame, head := shared.on(c.scratch[worker]), task/s.Heads, task%s.Heads
		v, kv := args[2], args[4]
		t.sums(v, kv, frame, head)
		for p0 := 0; p0 < s.P; p0 += pixelBlock {
			n := min(pixelBlock, s.P-p0)
			t.block(v, args[3], frame, head, p0, n)
			t.errors(args[1], frame, head, p0, n)
			t.with(t.slope, func() { t.add(t.ofS, n) })
			if s.KV {
				t.with(t.rise, func() { t.add(t.ofDS, n) })
				continue
			}
			t.phi, t.extra = t.extra, t.phi
			t.with(t.rise, func() { t.add(t.ofS, n) })
			t.phi, t.extra = t.extra, t.phi
		}
		for p0 := 0; p0 < s.P; p0 += pixelBlock {
			t.ofKeys(args[0], v, kv, frame, head, p0, min(pixelBlock, s.P-p0))
		}
	}}}
}

// ofKeys writes the gradients of n pixels' keys and values, from those of S and dS: of
// phi(k) ofS·[v,1] + ofDS·[dv,0], of dphi(k) ofDS·[v,1], of v ofSᵀ·phi(k) + ofDSᵀ·dphi(k).
func (t *taylorTangent) ofKeys(dkv, along, kv []float32, frame, head, p0, n int) {
	key := func(x []float32, part, r int) []float32 { return t.vector(x, 2, part, frame, head, p0+r) }
	for r := range n {
		t.expand(t.phi[r*t.ldF:], key(kv, 0, r), 1)
	}
	t.product(t.ofS, n)
	for r := range n {
		copy(key(dkv, 1, r), t.res[r*t.ldD:])
	}
	if t.kv {
		for r := range n {
			t.expandSlope(t.phi[r*t.ldF:], key(kv, 0, r), key(along, 0, r), 1)
		}
		t.product(t.ofDS, n)
		for r := range n {
			for d := range t.Dim {
				key(dkv, 1, r)[d] += t.res[r*t.ldD+d]
			}
		}
	}
	for r := range n {
		t.values(r, key(kv, 1, r))
	}
	t.backTo(t.phi, t.side, t.ofS, n)
	if t.kv {
		t.backTo(t.extra, t.side, t.ofDS, n) // of dphi(k)
		for r := range n {
			bent := t.rise[r*t.ldD:][:t.Dim] // free by now
			clear(bent)
			t.addBend(bent, t.extra[r*t.ldF:], key(along, 0, r), 1)
			t.values(r, key(along, 1, r))
			t.side[r*t.ldD+t.Dim] = 0
		}
		t.backTo(t.extra, t.side, t.ofDS, n)
		for i, v := range t.extra[:n*t.ldF] {
			t.phi[i] += v
		}
	}
	for r := range n {
		dk := key(dkv, 0, r)
		t.taylor.slope(dk, t.phi[r*t.ldF:], key(kv, 0, r), 1)
		if t.kv {
			for d, v := range t.rise[r*t.ldD:][:t.Dim] {
				dk[d] += v
			}
		}
	}
}
