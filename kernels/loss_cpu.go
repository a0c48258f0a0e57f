package kernels

func (s ReconLoss) cpu(*CPU) []stage {
	per := rowsPerTask(s.C)
	n := blocks(s.Pixels, per)
	errs, weights := make([]float64, n), make([]float64, n)
	return []stage{
		{n, func(args [][]float32, t, _ int) {
			from, to := span(t, s.Pixels, per)
			errs[t], weights[t] = s.sum(args[1][from*s.C:to*s.C], args[2][from*s.C:to*s.C], args[3][from:to])
		}},
		{1, func(args [][]float32, _, _ int) {
			args[0][0] = 0
			if total := sumOf(weights); total != 0 {
				args[0][0] = float32(sumOf(errs) / (total * float64(s.C)))
			}
		}},
	}
}

// sum is the weighted sum of errors over some pixels and that of their weights.
func (s ReconLoss) sum(x, target, weight []float32) (sum, total float64) {
	factors := [2]float32{1, s.Overshoot}
	for p, w := range weight {
		row, want := x[p*s.C:][:s.C], target[p*s.C:][:s.C]
		e := float32(0)
		if s.Kind == L1 {
			for c, v := range row {
				d := v - want[c]
				e += max(d, -d) * factors[beyond(d, want[c])]
			}
		} else {
			for c, v := range row {
				d := v - want[c]
				e += d * d * factors[beyond(d, want[c])]
			}
		}
		sum += float64(w) * float64(e)
		total += float64(w)
	}
	return sum, total
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

func (s ReconLossGrad) cpu(*CPU) []stage {
	weights := make([]float64, blocks(s.Pixels, block))
	total := 0.
	per := rowsPerTask(s.C)
	return []stage{
		{len(weights), func(args [][]float32, t, _ int) {
			from, to := span(t, s.Pixels, block)
			weights[t] = plainSum(args[4][from:to])
		}},
		{1, func([][]float32, int, int) { total = sumOf(weights) }},
		{blocks(s.Pixels, per), func(args [][]float32, t, _ int) {
			from, to := span(t, s.Pixels, per)
			dx := args[0][from*s.C : to*s.C]
			if total == 0 {
				clear(dx)
				return
			}
			scale := float64(args[1][0]) / (total * float64(s.C))
			s.slopes(dx, args[2][from*s.C:to*s.C], args[3][from*s.C:to*s.C], args[4][from:to], scale)
		}},
	}
}

// slopes is dx = scale·weight·slope for some pixels.
func (s ReconLossGrad) slopes(dx, x, target, weight []float32, scale float64) {
	factors := [2]float32{1, s.Overshoot}
	for p, w := range weight {
		row, want, dst := x[p*s.C:][:s.C], target[p*s.C:][:s.C], dx[p*s.C:][:s.C]
		k := float32(scale * float64(w))
		if s.Kind == L1 {
			for c, v := range row {
				d := v - want[c]
				e := float32(number(d > 0) - number(d < 0))
				if d != d {
					e = d
				}
				dst[c] = k * e * factors[beyond(d, want[c])]
			}
		} else {
			for c, v := range row {
				d := v - want[c]
				dst[c] = k * (2 * d) * factors[beyond(d, want[c])]
			}
		}
	}
}
