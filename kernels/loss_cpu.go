package kernels

// lossChunk is how many values' weights stand ready at once: they stay in the first
// cache.
const lossChunk = 2048

// chunks calls do for the values [at,at+n) of some pixels, and the weights of these
// values times scale.
func (s ReconLoss) chunks(ready, weight []float32, from, to int, scale float64, do func(at, n int, weights []float32)) {
	per := max(lossChunk/s.C, 1)
	for p := from; p < to; p += per {
		n := min(per, to-p)
		w := ready[:n*s.C]
		spread(w, weight[p:p+n], s.C, scale)
		do(p*s.C, len(w), w)
	}
}

// spread writes scale·weight c times.
func spread(dst, weight []float32, c int, scale float64) {
	for i, v := range weight {
		k := float32(scale * float64(v))
		if c == 3 {
			d := (*[3]float32)(dst[3*i:])
			d[0], d[1], d[2] = k, k, k
			continue
		}
		d := dst[i*c:][:c]
		for j := range d {
			d[j] = k
		}
	}
}

func (s ReconLoss) cpu(c *CPU) []stage {
	c.reserve(max(lossChunk, s.C))
	v := c.vec()
	loss := v.lossSum[s.Kind]
	per := rowsPerTask(s.C)
	n := ceilDiv(s.Pixels, per)
	errs, weights := make([]float64, n), make([]float64, n)
	return []stage{
		{n, func(args [][]float32, t, worker int) {
			from, to := span(t, s.Pixels, per)
			sum := 0.
			s.chunks(c.scratch[worker], args[3], from, to, 1, func(at, n int, w []float32) {
				sum += loss(args[1][at:at+n], args[2][at:at+n], w, s.Overshoot)
			})
			errs[t], weights[t] = sum, v.sum(args[3][from:to])
		}},
		{1, func(args [][]float32, _, _ int) {
			args[0][0] = 0
			if total := sumOf(weights); total != 0 {
				args[0][0] = float32(sumOf(errs) / (total * float64(s.C)))
			}
		}},
	}
}

// beyond is 1 where the difference d leads out of [0,1] from a target at its end,
// else 0. It has no branches: the sign of d is as good as chance.
func beyond(d, target float32) int {
	return (number(target <= 0)&number(d < 0) | number(target >= 1)&number(d > 0)) & 1
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (s ReconLossGrad) cpu(c *CPU) []stage {
	c.reserve(max(lossChunk, s.C))
	v := c.vec()
	slope := v.lossSlope[s.Kind]
	weights := make([]float64, ceilDiv(s.Pixels, block))
	total := 0.
	per := rowsPerTask(s.C)
	return []stage{
		{len(weights), func(args [][]float32, t, _ int) {
			from, to := span(t, s.Pixels, block)
			weights[t] = v.sum(args[4][from:to])
		}},
		{1, func([][]float32, int, int) { total = sumOf(weights) }},
		{ceilDiv(s.Pixels, per), func(args [][]float32, t, worker int) {
			from, to := span(t, s.Pixels, per)
			if total == 0 {
				clear(args[0][from*s.C : to*s.C])
				return
			}
			scale := float64(args[1][0]) / (total * float64(s.C))
			ReconLoss(s).chunks(c.scratch[worker], args[4], from, to, scale, func(at, n int, w []float32) {
				slope(args[0][at:at+n], args[2][at:at+n], args[3][at:at+n], w, s.Overshoot)
			})
		}},
	}
}
