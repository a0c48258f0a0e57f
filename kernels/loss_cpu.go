package kernels

func (s ReconLoss) cpu(*CPU) []stage {
	per := rowsPerTask(s.C)
	n := blocks(s.Pixels, per)
	errs, weights := make([]float64, n), make([]float64, n)
	return []stage{
		{n, func(args [][]float32, t, _ int) {
			from, to := span(t, s.Pixels, per)
			x, target := args[1][from*s.C:to*s.C], args[2][from*s.C:to*s.C]
			sum, total := 0., 0.
			for p, w := range args[3][from:to] {
				sum += float64(w) * float64(s.pixel(x[p*s.C:][:s.C], target[p*s.C:][:s.C]))
				total += float64(w)
			}
			errs[t], weights[t] = sum, total
		}},
		{1, func(args [][]float32, _, _ int) {
			args[0][0] = 0
			if total := sumOf(weights); total != 0 {
				args[0][0] = float32(sumOf(errs) / (total * float64(s.C)))
			}
		}},
	}
}

// pixel is the sum of a pixel's errors.
func (s ReconLoss) pixel(x, target []float32) float32 {
	sum := float32(0)
	target = target[:len(x)]
	for c, v := range x {
		y := target[c]
		d := v - y
		e := d * d
		if s.Kind == L1 {
			e = max(d, -d)
		}
		if y <= 0 && d < 0 || y >= 1 && d > 0 {
			e *= s.Overshoot
		}
		sum += e
	}
	return sum
}

func (s ReconLossGrad) cpu(*CPU) []stage {
	weights := make([]float64, blocks(s.Pixels, block))
	total := 0.
	per := rowsPerTask(s.C)
	return []stage{
		{len(weights), func(args [][]float32, t, _ int) {
			from, to := span(t, s.Pixels, block)
			sum := 0.
			for _, w := range args[4][from:to] {
				sum += float64(w)
			}
			weights[t] = sum
		}},
		{1, func([][]float32, int, int) { total = sumOf(weights) }},
		{blocks(s.Pixels, per), func(args [][]float32, t, _ int) {
			from, to := span(t, s.Pixels, per)
			if total == 0 {
				clear(args[0][from*s.C : to*s.C])
				return
			}
			scale := float64(args[1][0]) / (total * float64(s.C))
			for p := from; p < to; p++ {
				s.pixel(args[0][p*s.C:][:s.C], args[2][p*s.C:][:s.C], args[3][p*s.C:][:s.C], float32(scale*float64(args[4][p])))
			}
		}},
	}
}

// pixel is dx = scale·slope of a pixel's errors.
func (s ReconLossGrad) pixel(dx, x, target []float32, scale float32) {
	dx, target = dx[:len(x)], target[:len(x)]
	for c, v := range x {
		y := target[c]
		d := v - y
		slope := 2 * d
		if s.Kind == L1 {
			slope = d
			if d > 0 {
				slope = 1
			} else if d < 0 {
				slope = -1
			}
		}
		if y <= 0 && d < 0 || y >= 1 && d > 0 {
			slope *= s.Overshoot
		}
		dx[c] = scale * slope
	}
}
