package kernels

import "math"

// LinearAttentionTangent is the derivative of LinearAttention along v, a direction of kv
// if KV, else of q. It is what the gradients of LinearAttention have as gradient with
// respect to dy. With dq, dk and dv the parts of the direction, 0 where it has none,
//
//	ds_ij = (dq_i·k_j + q_i·dk_j)/sqrt(Dim),  dw_ij = (1 + s_ij)·ds_ij
//	t_i = sum_j ((dw_ij - w_ij·dZ_i/Z_i) v_j + w_ij dv_j)/Z_i,  Z_i = sum_j w_ij,  dZ_i = sum_j dw_ij
//
// Arguments: t [F,P,Heads·Dim]; v like q or kv, q like t, kv [F,P,2·Heads·Dim].
type LinearAttentionTangent struct {
	LinearAttention
	KV bool
}

// direction is the argument v.
func (s LinearAttentionTangent) direction() Arg {
	if s.KV {
		return s.wide(in, "v", 2)
	}
	return s.wide(in, "v", 1)
}

func (s LinearAttentionTangent) Args() []Arg {
	return []Arg{s.wide(out, "t", 1), s.direction(), s.wide(in, "q", 1), s.wide(in, "kv", 2)}
}

func (s LinearAttentionTangent) FLOPs() int64 { return s.products(5) }

func (s LinearAttentionTangent) Grads() []Grad {
	along := Grad{Of: "v", Spec: LinearAttentionGradQ{s.LinearAttention}, Args: []string{"dt", "q", "kv"}}
	if s.KV {
		along.Spec = LinearAttentionGradKV{s.LinearAttention}
	}
	return []Grad{along,
		grad("q", LinearAttentionTangentGradQ{s}, "dt", "v", "q", "kv"),
		grad("kv", LinearAttentionTangentGradKV{s}, "dt", "v", "q", "kv")}
}

// gradsOf are the gradients of LinearAttentionGradQ or LinearAttentionGradKV, given the
// name of the gradient of its result.
func (s LinearAttentionTangent) gradsOf(v string) []Grad {
	return []Grad{
		grad("dy", s, v, "q", "kv"),
		grad("q", LinearAttentionTangentGradQ{s}, "dy", v, "q", "kv"),
		grad("kv", LinearAttentionTangentGradKV{s}, "dy", v, "q", "kv"),
	}
}

func (s LinearAttentionTangent) Define(args ...[]float32) {
	t, kv := args[0], args[3]
	s.eachQuery(args[2], kv, func(query, head int, w, logits []float64, sum float64) {
		dw, dsum := s.slopes(args[1], args[2], kv, query, head, logits)
		for d := range s.Dim {
			v := 0.
			for j := range w {
				v += (dw[j] - w[j]*dsum/sum) * float64(kv[s.key(query, j, 1, head)+d])
				if s.KV {
					v += w[j] * float64(args[1][s.key(query, j, 1, head)+d])
				}
			}
			t[query*s.width()+head*s.Dim+d] = float32(v / sum)
		}
	})
}

// slopes are the derivatives of a query's weights and of their sum.
func (s LinearAttentionTangent) slopes(v, q, kv []float32, query, head int, logits []float64) (dw []float64, sum float64) {
	dw = make([]float64, s.P)
	for j := range dw {
		dw[j] = (1 + logits[j]) * s.logitSlope(v, q, kv, query, head, j)
		sum += dw[j]
	}
	return dw, sum
}

// logitSlope is ds_ij.
func (s LinearAttentionTangent) logitSlope(v, q, kv []float32, query, head, j int) (ds float64) {
	at, key := query*s.width()+head*s.Dim, s.key(query, j, 0, head)
	for d := range s.Dim {
		if s.KV {
			ds += float64(q[at+d]) * float64(v[key+d])
		} else {
			ds += float64(v[at+d]) * float64(kv[key+d])
		}
	}
	return ds / math.Sqrt(float64(s.Dim))
}

// LinearAttentionTangentGradQ is the gradient of LinearAttentionTangent with respect to q.
// Arguments: dq [F,P,Heads·Dim]; dt like dq, v like q or kv, q like dq, kv [F,P,2·Heads·Dim].
type LinearAttentionTangentGradQ struct{ LinearAttentionTangent }

func (s LinearAttentionTangentGradQ) FLOPs() int64  { return s.products(9) }
func (s LinearAttentionTangentGradQ) Grads() []Grad { return nil }

func (s LinearAttentionTangentGradQ) Args() []Arg {
	return []Arg{s.wide(out, "dq", 1), s.wide(in, "dt", 1), s.direction(), s.wide(in, "q", 1), s.wide(in, "kv", 2)}
}

func (s LinearAttentionTangentGradQ) Define(args ...[]float32) {
	dq, _ := s.gradients(args[1], args[2], args[3], args[4])
	for i, v := range dq {
		args[0][i] = float32(v)
	}
}

// LinearAttentionTangentGradKV is the gradient of LinearAttentionTangent with respect to kv.
// Arguments: dkv [F,P,2·Heads·Dim]; dt [F,P,Heads·Dim], v like q or kv, q like dt, kv like dkv.
type LinearAttentionTangentGradKV struct{ LinearAttentionTangent }

func (s LinearAttentionTangentGradKV) FLOPs() int64  { return s.products(12) }
func (s LinearAttentionTangentGradKV) Grads() []Grad { return nil }

func (s LinearAttentionTangentGradKV) Args() []Arg {
	return []Arg{s.wide(out, "dkv", 2), s.wide(in, "dt", 1), s.direction(), s.wide(in, "q", 1), s.wide(in, "kv", 2)}
}

func (s LinearAttentionTangentGradKV) Define(args ...[]float32) {
	_, dkv := s.gradients(args[1], args[2], args[3], args[4])
	for i, v := range dkv {
		args[0][i] = float32(v)
	}
}

// gradients are both in float64. With g = dt_i and D_j = g·v_j, dD_j = g·dv_j,
// M = sum_j w_j D_j/Z and A = sum_j dw_j D_j + w_j dD_j, the gradients are
//
//	of dw_j  (D_j - M)/Z
//	of w_j   dD_j/Z - A/Z² - D_j dZ/Z² + 2 M dZ/Z²
func (s LinearAttentionTangent) gradients(dt, along, q, kv []float32) (dq, dkv []float64) {
	dq, dkv = make([]float64, len(q)), make([]float64, len(kv))
	root := math.Sqrt(float64(s.Dim))
	dot := func(a, b []float32) (sum float64) {
		for d, v := range a {
			sum += float64(v) * float64(b[d])
		}
		return sum
	}
	s.eachQuery(q, kv, func(query, head int, w, logits []float64, z float64) {
		dw, dz := s.slopes(along, q, kv, query, head, logits)
		at := query*s.width() + head*s.Dim
		g := dt[at:][:s.Dim]
		ds, ofV, dv := make([]float64, s.P), make([]float64, s.P), make([]float64, s.P)
		m, a := 0., 0.
		for j := range w {
			ds[j] = s.logitSlope(along, q, kv, query, head, j)
			ofV[j] = dot(g, kv[s.key(query, j, 1, head):])
			if s.KV {
				dv[j] = dot(g, along[s.key(query, j, 1, head):])
			}
			m += w[j] * ofV[j] / z
			a += dw[j]*ofV[j] + w[j]*dv[j]
		}
		for j := range w {
			ofDW := (ofV[j] - m) / z
			ofW := (dv[j] - (a+ofV[j]*dz-2*m*dz)/z) / z
			ofS, ofDS := ofW*(1+logits[j])+ofDW*ds[j], ofDW*(1+logits[j])
			k, v := s.key(query, j, 0, head), s.key(query, j, 1, head)
			for d := range g {
				dq[at+d] += ofS * float64(kv[k+d]) / root
				dkv[k+d] += ofS * float64(q[at+d]) / root
				dkv[v+d] += (dw[j] - w[j]*dz/z) / z * float64(g[d])
				if s.KV {
					dq[at+d] += ofDS * float64(along[k+d]) / root
				} else {
					dkv[k+d] += ofDS * float64(along[at+d]) / root
				}
			}
		}
	})
	return dq, dkv
}
