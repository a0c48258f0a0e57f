package kernels

// GateLoop is a gated recurrence over the frames of each pixel and channel (Katsch,
// "GateLoop: fully data-controlled linear recurrence for sequence modeling", 2023).
//
//	h_t = sigmoid(a_t) h_t-1 + kv_t,  y_t = q_t h_t,  nothing before the first frame
//
// Arguments: y [N,T,P,C]; qkva [N,T,P,3C], its channels the thirds q, kv and a.
type GateLoop struct{ N, T, P, C int } // clips, frames, pixels of a frame, channels

func (s GateLoop) Validate() error {
	return positive([]string{"N", "T", "P", "C", "3"}, s.N, s.T, s.P, s.C, 3)
}

func (s GateLoop) Args() []Arg {
	return []Arg{actOut("y", s.N, s.T, s.P, s.C), actIn("qkva", s.N, s.T, s.P, 3*s.C)}
}

func (s GateLoop) FLOPs() int64 { return 15 * int64(s.N*s.T*s.P) * int64(s.C) }

// eachLoop calls do for every pixel and channel of a clip; at says where the values
// of frame t stand.
func (s GateLoop) eachLoop(do func(at func(t int) (y, q, kv, a int))) {
	for n := range s.N {
		for p := range s.P {
			for c := range s.C {
				do(func(t int) (y, q, kv, a int) {
					row := (n*s.T+t)*s.P + p
					q = row*3*s.C + c
					return row*s.C + c, q, q + s.C, q + 2*s.C
				})
			}
		}
	}
}

func (s GateLoop) Grads() []Grad {
	return []Grad{grad("qkva", GateLoopGrad(s), "dy", "qkva")}
}

func (s GateLoop) Define(args ...[]float32) {
	y, x := args[0], args[1]
	s.eachLoop(func(at func(int) (y, q, kv, a int)) {
		h := 0.
		for t := range s.T {
			i, q, kv, a := at(t)
			h = sigmoid(float64(x[a]))*h + float64(x[kv])
			y[i] = float32(float64(x[q]) * h)
		}
	})
}

// GateLoopGrad is the gradient of GateLoop.
//
//	dh_t = q_t dy_t + sigmoid(a_t+1) dh_t+1
//	dq_t = dy_t h_t,  dkv_t = dh_t,  da_t = dh_t h_t-1 sigmoid'(a_t)
//
// Arguments: dqkva [N,T,P,3C]; dy [N,T,P,C], qkva like dqkva.
type GateLoopGrad struct{ N, T, P, C int }

func (s GateLoopGrad) Validate() error { return GateLoop(s).Validate() }
func (s GateLoopGrad) FLOPs() int64    { return 33 * int64(s.N*s.T*s.P) * int64(s.C) }

func (s GateLoopGrad) Args() []Arg {
	return []Arg{actOut("dqkva", s.N, s.T, s.P, 3*s.C), actIn("dy", s.N, s.T, s.P, s.C), actIn("qkva", s.N, s.T, s.P, 3*s.C)}
}

func (s GateLoopGrad) Grads() []Grad { return nil }

func (s GateLoopGrad) Define(args ...[]float32) {
	dx, dy, x := args[0], args[1], args[2]
	h := make([]float64, s.T+1) // h[t+1] is that of frame t
	GateLoop(s).eachLoop(func(at func(int) (y, q, kv, a int)) {
		for t := range s.T {
			_, _, kv, a := at(t)
			h[t+1] = sigmoid(float64(x[a]))*h[t] + float64(x[kv])
		}
		dh := 0.
		for t := s.T - 1; t >= 0; t-- {
			i, q, kv, a := at(t)
			g := sigmoid(float64(x[a]))
			dh += float64(x[q]) * float64(dy[i])
			dx[q] = float32(float64(dy[i]) * h[t+1])
			dx[kv] = float32(dh)
			dx[a] = float32(dh * h[t] * g * (1 - g))
			dh *= g
		}
	})
}

// A task is a few pixels of a clip. The backward pass goes forward first and
// leaves h where dq will be.

func (s GateLoop) cpu(c *CPU) []stage {
	c.reserve(s.C)
	step := c.vec().gateStep
	return s.pixels(func(args [][]float32, row, worker int) {
		h := c.scratch[worker][:s.C]
		clear(h)
		for range s.T {
			step(h, args[0][row*s.C:][:s.C], third(args[1], row, 0, s.C), third(args[1], row, 1, s.C), third(args[1], row, 2, s.C))
			row += s.P
		}
	})
}

// pixels splits the pixels into tasks; do gets the first row of each.
func (s GateLoop) pixels(do func(args [][]float32, row, worker int)) []stage {
	n := s.N * s.P
	per := rowsPerTask(3 * s.T * s.C)
	return []stage{{ceilDiv(n, per), func(args [][]float32, task, worker int) {
		from, to := span(task, n, per)
		for p := from; p < to; p++ {
			do(args, p/s.P*s.T*s.P+p%s.P, worker)
		}
	}}}
}

// third is a third of a row of 3c values.
func third(x []float32, row, k, c int) []float32 { return x[(3*row+k)*c:][:c] }

func (s GateLoopGrad) cpu(c *CPU) []stage {
	c.reserve(s.C)
	n, v := s.C, c.vec()
	ones, none := make([]float32, n), make([]float32, n)
	for i := range ones {
		ones[i] = 1
	}
	return GateLoop(s).pixels(func(args [][]float32, row, worker int) {
		dx, x := args[0], args[2]
		last := row + (s.T-1)*s.P
		carry := c.scratch[worker][:n]
		clear(carry)
		for r := row; r <= last; r += s.P {
			v.gateStep(carry, third(dx, r, 0, n), ones, third(x, r, 1, n), third(x, r, 2, n))
		}
		clear(carry)
		for r := last; r >= row; r -= s.P {
			before := none // h of the frame before
			if r > row {
				before = third(dx, r-s.P, 0, n)
			}
			v.gateBack(carry, third(dx, r, 0, n), third(dx, r, 1, n), third(dx, r, 2, n), args[1][r*n:][:n], third(x, r, 0, n), third(x, r, 2, n), before)
		}
	})
}
