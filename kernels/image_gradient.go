package kernels

import "math"

// ImageGradientLoss is the weighted mean error of the gradients of frames: of the
// differences between neighbouring pixels, down and to the right. With e = x - target
//
//	loss = Σ_p weight_p mean_c (|e[h+1,w,c] - e[h,w,c]| + |e[h,w+1,c] - e[h,w,c]|) / Σ_p weight_p
//
// for p = (n,h,w), and 0 if all weights are. Differences across an edge count as 0. This is
// the gradient difference loss of Mathieu, Couprie, LeCun (2016) with signed gradients.
// Arguments: loss scalar; x [N,H,W,C], target [N,H,W,C], weight [N,H,W].
type ImageGradientLoss struct{ N, H, W, C int }

func (s ImageGradientLoss) Validate() error {
	return positive([]string{"N", "H", "W", "C"}, s.N, s.H, s.W, s.C)
}

func (s ImageGradientLoss) FLOPs() int64 { return 7 * int64(s.N*s.H*s.W) * int64(s.C) }

func (s ImageGradientLoss) Args() []Arg {
	return []Arg{out("loss"), in("x", s.N, s.H, s.W, s.C), in("target", s.N, s.H, s.W, s.C), in("weight", s.N, s.H, s.W)}
}

func (s ImageGradientLoss) Grads() []Grad {
	return []Grad{grad("x", ImageGradientLossGrad(s), "dloss", "x", "target", "weight")}
}

// differences are those of pixel p, down and to the right, and where they lead to.
func (s ImageGradientLoss) differences(p int) (to [2]int, inside [2]bool) {
	return [2]int{p + s.W, p + 1}, [2]bool{p/s.W%s.H+1 < s.H, p%s.W+1 < s.W}
}

func (s ImageGradientLoss) Define(args ...[]float32) {
	x, target, weight := args[1], args[2], args[3]
	e := func(p, c int) float64 { return float64(x[p*s.C+c]) - float64(target[p*s.C+c]) }
	sum, total := 0., 0.
	for p, w := range weight {
		total += float64(w)
		to, inside := s.differences(p)
		for k := range to {
			for c := 0; c < s.C && inside[k]; c++ {
				sum += float64(w) * math.Abs(e(to[k], c)-e(p, c)) / float64(s.C)
			}
		}
	}
	args[0][0] = 0
	if total != 0 {
		args[0][0] = float32(sum / total)
	}
}

// ImageGradientLossGrad is dx = dloss·dloss/dx of ImageGradientLoss; the slope of |d| at 0 is 0.
// Arguments: dx [N,H,W,C]; dloss scalar, x [N,H,W,C], target [N,H,W,C], weight [N,H,W].
type ImageGradientLossGrad struct{ N, H, W, C int }

func (s ImageGradientLossGrad) Validate() error { return ImageGradientLoss(s).Validate() }
func (s ImageGradientLossGrad) FLOPs() int64    { return 12 * int64(s.N*s.H*s.W) * int64(s.C) }

func (s ImageGradientLossGrad) Args() []Arg {
	return []Arg{out("dx", s.N, s.H, s.W, s.C), in("dloss"), in("x", s.N, s.H, s.W, s.C), in("target", s.N, s.H, s.W, s.C), in("weight", s.N, s.H, s.W)}
}

func (s ImageGradientLossGrad) Grads() []Grad { return nil }

func (s ImageGradientLossGrad) Define(args ...[]float32) {
	dx, dloss, x, target, weight := args[0], float64(args[1][0]), args[2], args[3], args[4]
	total := 0.
	for _, w := range weight {
		total += float64(w)
	}
	sum := make([]float64, len(dx))
	for p, w := range weight {
		to, inside := ImageGradientLoss(s).differences(p)
		for k := range to {
			for c := 0; c < s.C && inside[k] && total != 0; c++ {
				i, j := to[k]*s.C+c, p*s.C+c
				d := float64(w) * absSlope(float64(x[i])-float64(target[i])-(float64(x[j])-float64(target[j])))
				sum[i] += d
				sum[j] -= d
			}
		}
	}
	for i, v := range sum {
		dx[i] = 0
		if total != 0 {
			dx[i] = float32(dloss * v / (float64(s.C) * total))
		}
	}
}

// absSlope is the slope of |x|: 1, -1, or x itself for 0 and NaN.
func absSlope(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x
}

func (s ImageGradientLoss) cpu(c *CPU) []stage {
	c.reserve(2 * s.W * s.C)
	weigh := c.vec().sum
	line := s.W * s.C
	per := rowsPerTask(line)
	n := ceilDiv(s.N*s.H, per)
	errs, weights := make([]float64, n), make([]float64, n)
	return []stage{
		{n, func(args [][]float32, t, worker int) {
			from, to := span(t, s.N*s.H, per)
			scratch := c.scratch[worker]
			e, below := carve(&scratch, line), carve(&scratch, line)
			sum := 0.
			for row := from; row < to; row++ {
				weight := args[3][row*s.W:][:s.W]
				errorLine(e, args[1], args[2], row)
				last := row%s.H == s.H-1
				if last {
					copy(below, e)
				} else {
					errorLine(below, args[1], args[2], row+1)
				}
				for w, k := range weight {
					d := float32(0)
					for i := w * s.C; i < (w+1)*s.C; i++ {
						d += abs32(below[i] - e[i])
						if w+1 < s.W {
							d += abs32(e[i+s.C] - e[i])
						}
					}
					sum += float64(k) * float64(d)
				}
			}
			errs[t], weights[t] = sum, weigh(args[3][from*s.W:to*s.W])
		}},
		{1, func(args [][]float32, _, _ int) {
			args[0][0] = 0
			if total := sumOf(weights); total != 0 {
				args[0][0] = float32(sumOf(errs) / (total * float64(s.C)))
			}
		}},
	}
}

// errorLine writes x - target of a line.
func errorLine(e, x, target []float32, line int) {
	x, target = x[line*len(e):][:len(e)], target[line*len(e):][:len(e)]
	for i, v := range x {
		e[i] = v - target[i]
	}
}

func abs32(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

// absSlope32 is absSlope in float32, by the bits of x.
func absSlope32(x float32) float32 {
	if x == 0 || x != x {
		return x
	}
	return math.Float32frombits(math.Float32bits(x)&(1<<31) | math.Float32bits(1))
}

func (s ImageGradientLossGrad) cpu(c *CPU) []stage {
	line := s.W * s.C
	c.reserve(3 * line)
	weigh := c.vec().sum
	pixels := s.N * s.H * s.W
	weights := make([]float64, ceilDiv(pixels, block))
	scale := float32(0)
	per := rowsPerTask(line)
	return []stage{
		{len(weights), func(args [][]float32, t, _ int) {
			from, to := span(t, pixels, block)
			weights[t] = weigh(args[4][from:to])
		}},
		{1, func(args [][]float32, _, _ int) {
			scale = 0
			if total := sumOf(weights); total != 0 {
				scale = float32(float64(args[1][0]) / (total * float64(s.C)))
			}
		}},
		{ceilDiv(s.N*s.H, per), func(args [][]float32, t, worker int) {
			from, to := span(t, s.N*s.H, per)
			scratch := c.scratch[worker]
			above, e, below := carve(&scratch, line), carve(&scratch, line), carve(&scratch, line)
			for row := from; row < to; row++ {
				dx, weight := args[0][row*line:][:line], args[4][row*s.W:][:s.W]
				errorLine(e, args[2], args[3], row)
				first, last := row%s.H == 0, row%s.H == s.H-1
				before := weight
				if !first {
					errorLine(above, args[2], args[3], row-1)
					before = args[4][(row-1)*s.W:][:s.W]
				}
				if !last {
					errorLine(below, args[2], args[3], row+1)
				}
				for w, k := range weight {
					for i := w * s.C; i < (w+1)*s.C; i++ {
						d := float32(0)
						if !first {
							d += before[w] * absSlope32(e[i]-above[i])
						}
						if !last {
							d -= k * absSlope32(below[i]-e[i])
						}
						if w > 0 {
							d += weight[w-1] * absSlope32(e[i]-e[i-s.C])
						}
						if w+1 < s.W {
							d -= k * absSlope32(e[i+s.C]-e[i])
						}
						dx[i] = scale * d
					}
				}
			}
		}},
	}
}
