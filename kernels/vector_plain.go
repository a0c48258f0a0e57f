package kernels

import "math"

// The loops of vectors in plain Go: what a machine without the others runs.

func plainAdd(y, a, b []float32) {
	for len(y) >= 8 && len(a) >= 8 && len(b) >= 8 {
		p, q, r := (*[8]float32)(y), (*[8]float32)(a), (*[8]float32)(b)
		p[0], p[1], p[2], p[3] = q[0]+r[0], q[1]+r[1], q[2]+r[2], q[3]+r[3]
		p[4], p[5], p[6], p[7] = q[4]+r[4], q[5]+r[5], q[6]+r[6], q[7]+r[7]
		y, a, b = y[8:], a[8:], b[8:]
	}
	for i := range y {
		y[i] = a[i] + b[i]
	}
}

func plainMul(y, a, b []float32) {
	a, b = a[:len(y)], b[:len(y)]
	for i := range y {
		y[i] = a[i] * b[i]
	}
}

func plainMulAdd(y, a, b []float32) {
	a, b = a[:len(y)], b[:len(y)]
	for i := range y {
		y[i] += a[i] * b[i]
	}
}

func plainAffine(y, x []float32, m, a float32) {
	for i, v := range x[:len(y)] {
		y[i] = m*v + a
	}
}

func plainAxpy(y, x []float32, a float32) {
	for i, v := range x[:len(y)] {
		y[i] += a * v
	}
}

func plainAdam(p, m, v, ema, g []float32, scale, b1, c1, b2, c2, root, eps, keep, step, rate float32) {
	plainAdamAlone(p, m, v, g, scale, b1, c1, b2, c2, root, eps, keep, step)
	for i, pi := range p {
		ema[i] += rate * (pi - ema[i])
	}
}

func plainAdamAlone(p, m, v, g []float32, scale, b1, c1, b2, c2, root, eps, keep, step float32) {
	m, v, g = m[:len(p)], v[:len(p)], g[:len(p)]
	for i, gi := range g {
		gi *= scale
		mi := b1*m[i] + c1*gi
		vi := b2*v[i] + c2*(gi*gi)
		p[i] = p[i]*keep - step*(mi/(float32(math.Sqrt(float64(vi)))*root+eps))
		m[i], v[i] = mi, vi
	}
}

// Four sums hide the additions' latency.
func plainSum(x []float32) float64 {
	var s0, s1, s2, s3 float64
	for len(x) >= 4 {
		s0, s1, s2, s3 = s0+float64(x[0]), s1+float64(x[1]), s2+float64(x[2]), s3+float64(x[3])
		x = x[4:]
	}
	for _, v := range x {
		s0 += float64(v)
	}
	return (s0 + s1) + (s2 + s3)
}

func plainSquares(x []float32, mean float32) float64 {
	var s0, s1, s2, s3 float64
	for len(x) >= 4 {
		a, b, c, d := float64(x[0]-mean), float64(x[1]-mean), float64(x[2]-mean), float64(x[3]-mean)
		s0, s1, s2, s3 = s0+a*a, s1+b*b, s2+c*c, s3+d*d
		x = x[4:]
	}
	for _, v := range x {
		d := float64(v - mean)
		s0 += d * d
	}
	return (s0 + s1) + (s2 + s3)
}

func plainDot(x, y []float32) float64 {
	var s0, s1, s2, s3 float64
	for len(x) >= 4 && len(y) >= 4 {
		s0, s1 = s0+float64(x[0])*float64(y[0]), s1+float64(x[1])*float64(y[1])
		s2, s3 = s2+float64(x[2])*float64(y[2]), s3+float64(x[3])*float64(y[3])
		x, y = x[4:], y[4:]
	}
	for i, v := range x {
		s0 += float64(v) * float64(y[i])
	}
	return (s0 + s1) + (s2 + s3)
}

func plainGreatest(x []float32) float32 {
	most := x[0]
	for _, v := range x {
		most = max(most, v)
	}
	return most
}

func plainExps(y, x []float32, most, scale float32) float64 {
	sum := 0.
	for i, v := range x[:len(y)] {
		y[i] = exp32((v - most) * scale)
		sum += float64(y[i])
	}
	return sum
}

// exp2of32 is 2^x, and 2^-126 for less than that.
func exp2of32(x float32) float32 { return float32(math.Exp2(float64(max(x, -126)))) }

// plainSoftmaxColumns takes the rows of x [rows,c] into an online softmax of each column: with the
// greatest value of it so far, most, and the sum of the exponentials relative to it, total, x
// becomes 2^(x-most), and factor what earlier exponentials have to be multiplied with.
func plainSoftmaxColumns(x, most, total, factor []float32, rows, c int) {
	for i := range c {
		before := most[i]
		for r := range rows {
			most[i] = max(most[i], x[r*c+i])
		}
		factor[i] = exp2of32(before - most[i])
		total[i] *= factor[i]
		for r := range rows {
			x[r*c+i] = exp2of32(x[r*c+i] - most[i])
			total[i] += x[r*c+i]
		}
	}
}

// plainWeights writes the softmax's weights of m keys, p = 2^(k·q + lse), and the slopes of their
// logits, ds = p·(v·dy + mean). A query is a column of p and ds [m,queryBlock], of q and dy [dim,ld],
// and of lse and mean [ld]; a key is a row of k and v [m,dim].
func plainWeights(p, ds, k, v, q, dy, lse, mean []float32, m, dim, ld int) {
	for j := range m {
		p, ds := p[j*queryBlock:][:ld], ds[j*queryBlock:][:ld]
		clear(p)
		clear(ds)
		for d := range dim {
			plainAxpy(p, q[d*ld:][:ld], k[j*dim+d])
			plainAxpy(ds, dy[d*ld:][:ld], v[j*dim+d])
		}
		for i := range p {
			p[i] = exp2of32(p[i] + lse[i])
			ds[i] = p[i] * (ds[i] + mean[i])
		}
	}
}

func plainTransposed(y []float32, ldy int, x []float32, ldx, rows, cols int, m float32) {
	for j := range cols {
		for i := range rows {
			y[j*ldy+i] = m * x[i*ldx+j]
		}
	}
}

func plainRowSums(sums []float64, x []float32, rows, c int) {
	for r := range rows {
		sums[r] = plainSum(x[r*c:][:c])
	}
}

func plainRowSquares(sums []float64, x, mean []float32, rows, c int) {
	for r := range rows {
		sums[r] = plainSquares(x[r*c:][:c], mean[r])
	}
}

func plainRowDots(xy []float64, x, y []float32, rows, c int) {
	for r := range rows {
		xy[r] = plainDot(x[r*c:][:c], y)
	}
}

func plainRowPairs(xy, xz []float64, x, y, z []float32, rows, c int) {
	for r := range rows {
		row := x[r*c:][:c]
		xy[r], xz[r] = plainDot(row, y), plainDot(row, z)
	}
}

func plainRowAlong(sums, along []float64, dy, x, gamma, mean []float32, rows, c int) {
	for r := range rows {
		x, m := x[r*c:][:len(gamma)], mean[r]
		s0, s1 := 0., 0.
		for i, v := range dy[r*c:][:len(gamma)] {
			g := float64(v * gamma[i])
			s0 += g
			s1 += g * float64(x[i]-m)
		}
		sums[r], along[r] = s0, s1
	}
}

func plainRowStandardise(y, x, gamma, beta, mean, scale []float32, rows, c int) {
	beta = beta[:len(gamma)]
	for r := range rows {
		y, m, k := y[r*c:][:len(gamma)], mean[r], scale[r]
		for i, v := range x[r*c:][:len(gamma)] {
			y[i] = (v-m)*k*gamma[i] + beta[i]
		}
	}
}

func plainRowScale(y, x, gamma, scale []float32, rows, c int) {
	for r := range rows {
		y, k := y[r*c:][:len(gamma)], scale[r]
		for i, v := range x[r*c:][:len(gamma)] {
			y[i] = v * k * gamma[i]
		}
	}
}

func plainRowMul(y, x, g []float32, rows, c int) {
	for r := range rows {
		plainMul(y[r*c:][:c], x[r*c:][:c], g)
	}
}

func plainRowSlope(dx, dy, x, gamma, mean, u, v, w []float32, rows, c int) {
	for r := range rows {
		dx, dy, m := dx[r*c:][:len(gamma)], dy[r*c:][:len(gamma)], mean[r]
		for i, xi := range x[r*c:][:len(gamma)] {
			dx[i] = u[r]*(dy[i]*gamma[i]) + (v[r]*(xi-m) + w[r])
		}
	}
}

func plainRowMix(y, a, b, u, v []float32, rows, c int) {
	b = b[:len(a)]
	for r := range rows {
		y := y[r*c:][:len(a)]
		for i, ai := range a {
			y[i] = u[r]*ai + v[r]*b[i]
		}
	}
}

func plainWeighRows(sums []float64, x, weight []float32, rows, c int) {
	sums = sums[:c]
	for r, w := range weight[:rows] {
		w := float64(w)
		for j, v := range x[r*c:][:len(sums)] {
			sums[j] += w * float64(v)
		}
	}
}

func plainNormRows(sums []float64, dy, x, mean, scale []float32, rows, c int) {
	sums = sums[:c]
	for r := range rows {
		dy, m, k := dy[r*c:][:len(sums)], mean[r], scale[r]
		for j, v := range x[r*c:][:len(sums)] {
			sums[j] += float64(dy[j]) * float64((v-m)*k)
		}
	}
}

func plainAddRows(sums []float64, x []float32, rows, c int) {
	sums = sums[:c]
	for r := range rows {
		for j, v := range x[r*c:][:len(sums)] {
			sums[j] += float64(v)
		}
	}
}

func plainMulRows(sums []float64, a, b []float32, rows, c int) {
	sums = sums[:c]
	for r := range rows {
		b := b[r*c:][:len(sums)]
		for j, v := range a[r*c:][:len(sums)] {
			sums[j] += float64(v) * float64(b[j])
		}
	}
}

func plainGateStep(h, y, q, kv, a []float32) {
	y, q, kv, a = y[:len(h)], q[:len(h)], kv[:len(h)], a[:len(h)]
	for i, v := range h {
		v = sigmoid32(a[i])*v + kv[i]
		h[i], y[i] = v, q[i]*v
	}
}

// plainGateBack goes one frame back in GateLoopGrad: dq holds h of this frame, before
// that of the one before, and carry becomes what dh adds to the latter.
func plainGateBack(carry, dq, dkv, da, dy, q, a, before []float32) {
	n := len(carry)
	dq, dkv, da, dy, q, a, before = dq[:n], dkv[:n], da[:n], dy[:n], q[:n], a[:n], before[:n]
	for i, dh := range carry {
		g := sigmoid32(a[i])
		dh += q[i] * dy[i]
		dq[i] *= dy[i]
		dkv[i], da[i] = dh, dh*before[i]*(g*(1-g))
		carry[i] = dh * g
	}
}

func plainGEGLU(y, u, g []float32) {
	u, g = u[:len(y)], g[:len(y)]
	for i, v := range g {
		cdf, _ := normal32(v)
		y[i] = u[i] * v * cdf
	}
}

func plainGEGLUGrad(du, dg, dy, u, g []float32) {
	dg, dy, u, g = dg[:len(du)], dy[:len(du)], u[:len(du)], g[:len(du)]
	for i, v := range g {
		cdf, density := normal32(v)
		d, ui := dy[i], u[i]
		du[i] = d * v * cdf
		dg[i] = d * ui * (cdf + v*density)
	}
}

func plainSquareError(x, target, weight []float32, overshoot float32) float64 {
	factors, sum := [2]float32{1, overshoot}, 0.
	target, weight = target[:len(x)], weight[:len(x)]
	for i, v := range x {
		d := v - target[i]
		sum += float64(weight[i]) * float64(d*d*factors[beyond(d, target[i])])
	}
	return sum
}

func plainAbsoluteError(x, target, weight []float32, overshoot float32) float64 {
	factors, sum := [2]float32{1, overshoot}, 0.
	target, weight = target[:len(x)], weight[:len(x)]
	for i, v := range x {
		d := v - target[i]
		sum += float64(weight[i]) * float64(max(d, -d)*factors[beyond(d, target[i])])
	}
	return sum
}

func plainSquareErrorSlope(dx, x, target, weight []float32, overshoot float32) {
	factors := [2]float32{1, overshoot}
	x, target, weight = x[:len(dx)], target[:len(dx)], weight[:len(dx)]
	for i, v := range x {
		d := v - target[i]
		dx[i] = 2 * d * (weight[i] * factors[beyond(d, target[i])])
	}
}

func plainAbsoluteErrorSlope(dx, x, target, weight []float32, overshoot float32) {
	factors := [2]float32{1, overshoot}
	x, target, weight = x[:len(dx)], target[:len(dx)], weight[:len(dx)]
	for i, v := range x {
		d := v - target[i]
		e := float32(number(d > 0) - number(d < 0))
		if d != d {
			e = d
		}
		dx[i] = e * (weight[i] * factors[beyond(d, target[i])])
	}
}

func plainQuads(a, b, c, d, px []float32, stride int) {
	b, c, d = b[:len(a)], c[:len(a)], d[:len(a)]
	for i := range a {
		p := (*[4]float32)(px[i*stride:])
		a[i], b[i], c[i], d[i] = p[0], p[1], p[2], p[3]
	}
}

func plainQuadsBack(a, b, c, d, px []float32, stride int) {
	b, c, d = b[:len(a)], c[:len(a)], d[:len(a)]
	for i := range a {
		p := (*[4]float32)(px[i*stride:])
		p[0], p[1], p[2], p[3] = a[i], b[i], c[i], d[i]
	}
}

func plainThirds(wide, deep []float32, n, f int) {
	for i := range n {
		p := (*[12]float32)(wide[12*i:])
		for c := range 3 {
			q := (*[4]float32)(deep[(3*i+c)*f:])
			p[c], p[3+c], p[6+c], p[9+c] = q[0], q[1], q[2], q[3]
		}
	}
}

func plainThirdsBack(wide, deep []float32, n, f int) {
	for i := range n {
		p := (*[12]float32)(wide[12*i:])
		for c := range 3 {
			q := (*[4]float32)(deep[(3*i+c)*f:])
			q[0], q[1], q[2], q[3] = p[c], p[3+c], p[6+c], p[9+c]
		}
	}
}
