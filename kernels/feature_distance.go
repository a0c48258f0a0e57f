package kernels

import "math"

// featureEps is added to the length of features, as in the package lpips.
const featureEps = 1e-10

// FeatureDistance is a weighted distance between the features of two images, each pixel's
// scaled to unit length, as in LPIPS (Zhang et al. 2018).
//
//	d[n] = 1/P · Σ_p Σ_c w_c (u_c(f[n,p]) - u_c(g[n,p]))²,  u(f) = f/(|f| + 1e-10)
//
// Arguments: d [N]; f [N,P,C], g [N,P,C], w [C].
type FeatureDistance struct{ N, P, C int }

func (s FeatureDistance) Validate() error {
	return positive([]string{"N", "P", "C"}, s.N, s.P, s.C)
}

func (s FeatureDistance) FLOPs() int64 { return 10 * int64(s.N*s.P) * int64(s.C) }

func (s FeatureDistance) Args() []Arg {
	return []Arg{out("d", s.N), actIn("f", s.N, s.P, s.C), actIn("g", s.N, s.P, s.C), in("w", s.C)}
}

func (s FeatureDistance) Grads() []Grad {
	return []Grad{grad("f", FeatureDistanceGrad(s), "dd", "f", "g", "w"), grad("g", FeatureDistanceGrad(s), "dd", "g", "f", "w")}
}

// length is |f|.
func length(f []float32) float64 {
	sum := 0.
	for _, v := range f {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum)
}

func (s FeatureDistance) Define(args ...[]float32) {
	d, f, g, w := args[0], args[1], args[2], args[3]
	for n := range d {
		sum := 0.
		for p := n * s.P; p < (n+1)*s.P; p++ {
			a, b := f[p*s.C:][:s.C], g[p*s.C:][:s.C]
			ka, kb := 1/(length(a)+featureEps), 1/(length(b)+featureEps)
			for c, v := range w {
				e := float64(a[c])*ka - float64(b[c])*kb
				sum += float64(v) * e * e
			}
		}
		d[n] = float32(sum / float64(s.P))
	}
}

// FeatureDistanceGrad is the gradient of FeatureDistance with respect to f. That of features
// of length 0 is 0.
//
//	df_c = k·e_c - k²·f_c/|f|·Σ_j e_j f_j,  k = 1/(|f| + 1e-10),  e_c = 2/P·dd[n]·w_c·(u_c(f) - u_c(g))
//
// Arguments: df [N,P,C]; dd [N], f [N,P,C], g [N,P,C], w [C].
type FeatureDistanceGrad struct{ N, P, C int }

func (s FeatureDistanceGrad) Validate() error { return FeatureDistance(s).Validate() }
func (s FeatureDistanceGrad) FLOPs() int64    { return 16 * int64(s.N*s.P) * int64(s.C) }

func (s FeatureDistanceGrad) Args() []Arg {
	return []Arg{actOut("df", s.N, s.P, s.C), in("dd", s.N), actIn("f", s.N, s.P, s.C), actIn("g", s.N, s.P, s.C), in("w", s.C)}
}

func (s FeatureDistanceGrad) Grads() []Grad { return nil }

func (s FeatureDistanceGrad) Define(args ...[]float32) {
	df, dd, f, g, w := args[0], args[1], args[2], args[3], args[4]
	for p := range s.N * s.P {
		d, a, b := df[p*s.C:][:s.C], f[p*s.C:][:s.C], g[p*s.C:][:s.C]
		r := length(a)
		if r == 0 {
			clear(d)
			continue
		}
		ka, kb, by, along := 1/(r+featureEps), 1/(length(b)+featureEps), 2*float64(dd[p/s.P])/float64(s.P), 0.
		e := make([]float64, s.C)
		for c, v := range w {
			e[c] = by * float64(v) * (float64(a[c])*ka - float64(b[c])*kb)
			along += e[c] * float64(a[c])
		}
		for c, v := range e {
			d[c] = float32(ka*v - ka*ka*float64(a[c])/r*along)
		}
	}
}

// rows splits the pixels into tasks that do not cross images.
func (s FeatureDistance) rows() (perImage, per int) {
	per = rowsPerTask(s.C)
	return ceilDiv(s.P, per), per
}

func (s FeatureDistance) cpu(c *CPU) []stage {
	tasks, per := s.rows()
	sums := make([]float64, s.N*tasks)
	squares := c.vec().squares
	return []stage{
		{len(sums), func(args [][]float32, t, _ int) {
			n := t / tasks
			from, to := span(t%tasks, s.P, per)
			sum := 0.
			for p := n*s.P + from; p < n*s.P+to; p++ {
				a, b := args[1][p*s.C:][:s.C], args[2][p*s.C:][:s.C]
				ka, kb := featureScale(squares(a, 0)), featureScale(squares(b, 0))
				part := float32(0)
				for c, v := range args[3] {
					e := a[c]*ka - b[c]*kb
					part += v * e * e
				}
				sum += float64(part)
			}
			sums[t] = sum
		}},
		{1, func(args [][]float32, _, _ int) {
			for n := range args[0] {
				args[0][n] = float32(sumOf(sums[n*tasks:][:tasks]) / float64(s.P))
			}
		}},
	}
}

// featureScale is 1/(|f| + featureEps) of a sum of squares.
func featureScale(squares float64) float32 { return float32(1 / (math.Sqrt(squares) + featureEps)) }

func (s FeatureDistanceGrad) cpu(c *CPU) []stage {
	squares, dot := c.vec().squares, c.vec().dot
	return rowwise(s.N*s.P, s.C, func(args [][]float32, from, to int) {
		for p := from; p < to; p++ {
			d, a, b := args[0][p*s.C:][:s.C], args[2][p*s.C:][:s.C], args[3][p*s.C:][:s.C]
			length := squares(a, 0)
			if length == 0 {
				clear(d)
				continue
			}
			ka, kb := featureScale(length), featureScale(squares(b, 0))
			by := float32(2 * float64(args[1][p/s.P]) / float64(s.P))
			for c, v := range args[4] {
				d[c] = by * v * (a[c]*ka - b[c]*kb)
			}
			along := float32(dot(d, a) * float64(ka) / math.Sqrt(length))
			for c := range d {
				d[c] = ka * (d[c] - a[c]*along)
			}
		}
	})
}
