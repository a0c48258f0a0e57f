package kernels

import "math"

// LinearAttention weighs the values of a frame's pixels by the second-order
// Taylor expansion of the exponential (Arora et al., "Simple linear attention
// language models balance the recall-throughput tradeoff", 2024). In each frame
// and head
//
//	s_ij = q_i·k_j/sqrt(Dim),  w_ij = 1 + s_ij + s_ij²/2,  y_i = sum_j w_ij v_j / sum_j w_ij
//
// A weight is ((1+s)²+1)/2, at least 1/2, so the denominator needs no floor. (The
// reference's, 1e-5, is never reached.)
//
// Arguments: y [F,P,Heads·Dim]; q like y, kv [F,P,2·Heads·Dim], its channels
// ordered (kv, head, dim).
type LinearAttention struct {
	F, P       int // frames, pixels of a frame
	Heads, Dim int
}

func (s LinearAttention) Validate() error {
	if err := positive([]string{"Heads", "Dim", "Dim"}, s.Heads, s.Dim, s.Dim); err != nil {
		return err
	}
	return positive([]string{"F", "P", "Heads", "Dim", "2"}, s.F, s.P, s.Heads, s.Dim, 2)
}

func (s LinearAttention) width() int { return s.Heads * s.Dim }

// features is how many numbers phi(z) has, phi(q)·phi(k) being a weight: 1, z_i,
// z_i²/sqrt(2) and z_i z_j for i < j.
func (s LinearAttention) features() int { return 1 + s.Dim + s.Dim*(s.Dim+1)/2 }

func (s LinearAttention) wide(arg func(string, ...int) Arg, name string, parts int) Arg {
	return arg(name, s.F, s.P, parts*s.width())
}

func (s LinearAttention) Args() []Arg {
	return []Arg{s.wide(actOut, "y", 1), s.wide(actIn, "q", 1), s.wide(actIn, "kv", 2)}
}

// products counts the operations of n products of the features of all pixels with Dim+1 numbers.
func (s LinearAttention) products(n int64) int64 {
	return 2 * n * int64(s.F*s.P*s.Heads) * int64(s.features()) * int64(s.Dim+1)
}

// FLOPs counts sums over features, linear in P.
func (s LinearAttention) FLOPs() int64 { return s.products(2) }

func (s LinearAttention) Grads() []Grad {
	return []Grad{grad("q", LinearAttentionGradQ{s}, "dy", "q", "kv"), grad("kv", LinearAttentionGradKV{s}, "dy", "q", "kv")}
}

func (s LinearAttention) Define(args ...[]float32) {
	y, kv := args[0], args[2]
	s.eachQuery(args[1], kv, func(query, head int, w []float64, _ []float64, sum float64) {
		for d := range s.Dim {
			v := 0.
			for j := range w {
				v += w[j] * float64(kv[s.key(query, j, 1, head)+d])
			}
			y[query*s.width()+head*s.Dim+d] = float32(v / sum)
		}
	})
}

// key is where key (part 0) or value (1) j of a query's frame starts in kv.
func (s LinearAttention) key(query, j, part, head int) int {
	return (query/s.P*s.P+j)*2*s.width() + part*s.width() + head*s.Dim
}

// eachQuery gives a query's weights w, their logits and their sum.
func (s LinearAttention) eachQuery(q, kv []float32, do func(query, head int, w, logits []float64, sum float64)) {
	w, logits := make([]float64, s.P), make([]float64, s.P)
	for query := range s.F * s.P {
		for h := range s.Heads {
			sum := 0.
			for j := range w {
				logits[j] = 0
				for d := range s.Dim {
					logits[j] += float64(q[query*s.width()+h*s.Dim+d]) * float64(kv[s.key(query, j, 0, h)+d])
				}
				logits[j] /= math.Sqrt(float64(s.Dim))
				w[j] = 1 + logits[j] + logits[j]*logits[j]/2
				sum += w[j]
			}
			do(query, h, w, logits, sum)
		}
	}
}

// LinearAttentionGradQ is the gradient of LinearAttention with respect to q.
//
//	dw_ij = dy_i·(v_j - y_i)/sum_l w_il,  ds_ij = dw_ij (1 + s_ij),  dq_i = sum_j ds_ij k_j/sqrt(Dim)
//
// Arguments: dq [F,P,Heads·Dim]; dy and q like dq, kv [F,P,2·Heads·Dim].
type LinearAttentionGradQ struct{ LinearAttention }

func (s LinearAttentionGradQ) Args() []Arg {
	return []Arg{s.wide(actOut, "dq", 1), s.wide(actIn, "dy", 1), s.wide(actIn, "q", 1), s.wide(actIn, "kv", 2)}
}

func (s LinearAttentionGradQ) FLOPs() int64 { return s.products(3) }

func (s LinearAttentionGradQ) Grads() []Grad {
	return LinearAttentionTangent{LinearAttention: s.LinearAttention}.gradsOf("ddq")
}

func (s LinearAttentionGradQ) Define(args ...[]float32) {
	dq, _ := s.gradients(args[1], args[2], args[3])
	for i, v := range dq {
		args[0][i] = float32(v)
	}
}

// LinearAttentionGradKV is the gradient of LinearAttention with respect to kv; ds
// as in LinearAttentionGradQ,
//
//	dk_j = sum_i ds_ij q_i/sqrt(Dim),  dv_j = sum_i w_ij dy_i / sum_l w_il
//
// Arguments: dkv [F,P,2·Heads·Dim]; dy [F,P,Heads·Dim], q like dy, kv like dkv.
type LinearAttentionGradKV struct{ LinearAttention }

func (s LinearAttentionGradKV) Args() []Arg {
	return []Arg{s.wide(actOut, "dkv", 2), s.wide(actIn, "dy", 1), s.wide(actIn, "q", 1), s.wide(actIn, "kv", 2)}
}

func (s LinearAttentionGradKV) FLOPs() int64 { return s.products(5) }

func (s LinearAttentionGradKV) Grads() []Grad {
	return LinearAttentionTangent{LinearAttention: s.LinearAttention, KV: true}.gradsOf("ddkv")
}

func (s LinearAttentionGradKV) Define(args ...[]float32) {
	_, dkv := s.gradients(args[1], args[2], args[3])
	for i, v := range dkv {
		args[0][i] = float32(v)
	}
}

// gradients are both in float64.
func (s LinearAttention) gradients(dy, q, kv []float32) (dq, dkv []float64) {
	dq, dkv = make([]float64, len(q)), make([]float64, len(kv))
	root := math.Sqrt(float64(s.Dim))
	s.eachQuery(q, kv, func(query, head int, w, logits []float64, sum float64) {
		at := query*s.width() + head*s.Dim
		g := dy[at:][:s.Dim]
		dw, mean := make([]float64, s.P), 0.
		for j := range w {
			for d, v := range g {
				dw[j] += float64(v) * float64(kv[s.key(query, j, 1, head)+d])
			}
			mean += w[j] * dw[j] / sum
		}
		for j := range w {
			ds := (dw[j] - mean) / sum * (1 + logits[j])
			k, v := s.key(query, j, 0, head), s.key(query, j, 1, head)
			for d := range g {
				dq[at+d] += ds * float64(kv[k+d]) / root
				dkv[k+d] += ds * float64(q[at+d]) / root
				dkv[v+d] += w[j] * float64(g[d]) / sum
			}
		}
	})
	return dq, dkv
}
