package trainer

import (
	"fmt"
	"math"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
)

// learningRate returns the learning rate of step (0-based) at progress in [0,1].
func learningRate(t config.Train, step int, progress float64) float64 {
	lr := t.LR
	if step+1 < t.Warmup {
		lr *= float64(step+1) / float64(t.Warmup)
	}
	if t.Schedule == "cosine" {
		lr *= t.Final + (1-t.Final)*(1+math.Cos(math.Pi*min(progress, 1)))/2
	}
	return lr
}

// emaRate returns the weight of the parameters in their average after step (0-based):
// 1 copies them, 0 leaves the average unchanged.
//
// The rule is ema-pytorch's with power 2/3: the first call and those up to
// UpdateAfter copy, later ones have a decay that grows to Decay.
func emaRate(e config.EMA, step int) float64 {
	switch {
	case e.Decay == 0, step%e.UpdateEvery != 0:
		return 0
	case step <= e.UpdateAfter:
		return 1
	}
	n := float64(step - e.UpdateAfter)
	return 1 - min(1-math.Pow(1+n, -2./3), e.Decay)
}

// Moment is where a training stands before a step.
type Moment struct {
	Step     int     // steps before it
	Updates  int     // those of them that were applied
	Progress float64 // share of the run, in [0,1]
}

// solver turns gradients into changes of the parameters, all on the backend.
type solver struct {
	cfg   config.Train
	state *checkpoint.State

	gradient   kernels.Buffer // sum over a step's batches; with one batch, the graph's own
	copy, add  kernels.Kernel // of gradients; nil with one batch
	results    kernels.Buffer // what a step comes to, at the positions below
	keep, more kernels.Kernel // copy and add of a batch's scalars
	square     kernels.Kernel
	guard      kernels.Kernel
	hyper      kernels.Buffer // of the updates, one behind the other
	updates    []update
	buffers    *buffers
}

// Positions of a step's results.
const (
	guarded    = 0              // squared norm of the gradient, not finite where that or the loss is not
	norm2      = line - 1       // the same before the loss is looked at
	scalars    = line           // sums of Program.Scalars, the loss first
	resultsLen = line + scalars // of line values each
	line       = model.MaxScalars
)

// update is AdamW on one part of the arenas.
type update struct {
	from, to int
	decay    float64
	kernel   kernels.Kernel
	args     []kernels.Buffer
}

func newSolver(cfg config.Train, s *checkpoint.State) (*solver, error) {
	v := &solver{cfg: cfg, state: s, gradient: s.Grads}
	var first error
	prepare := func(spec kernels.Spec) kernels.Kernel {
		k, err := s.Backend.Prepare(spec)
		if err != nil && first == nil {
			first = fmt.Errorf("trainer: %w", err)
		}
		return k
	}
	alloc := func(n int) kernels.Buffer {
		b, err := s.Backend.Alloc(n)
		if err != nil && first == nil {
			first = fmt.Errorf("trainer: %w", err)
		}
		return b
	}
	for _, u := range []update{{from: 0, to: s.Decayed, decay: cfg.WeightDecay}, {from: s.Decayed, to: s.Trained}} {
		if u.from < u.to {
			u.kernel = prepare(kernels.AdamW{Len: u.to - u.from})
			v.updates = append(v.updates, u)
		}
	}
	if cfg.Accumulate > 1 {
		v.gradient, v.copy, v.add = alloc(s.Len), prepare(kernels.Affine{Len: s.Len, Mul: 1}), prepare(kernels.Add{Len: s.Len})
	}
	v.results, v.hyper = alloc(resultsLen), alloc(len(v.updates)*line)
	v.keep, v.more = prepare(kernels.Affine{Len: line, Mul: 1}), prepare(kernels.Add{Len: line})
	v.square, v.guard = prepare(kernels.SumSquares{Len: s.Trained}), prepare(kernels.WeightedSum{Len: 2, W: [4]float32{1, 0}})
	if first != nil {
		return nil, first
	}
	for i := range v.updates {
		u := &v.updates[i]
		for _, arena := range []kernels.Buffer{s.Params, s.M, s.V, s.EMA, v.gradient} {
			u.args = append(u.args, arena.Slice(u.from, u.to))
		}
		u.args = append(u.args, v.results.Slice(guarded, guarded+1), v.hyper.Slice(i*line, i*line+kernels.HyperLen))
	}
	var err error
	v.buffers, err = newBuffers(s, v.gradient, v.results.Slice(guarded, guarded+1))
	return v, err
}

// take enqueues that the gradient and the scalars of one of a step's batches count.
func (v *solver) take(batch kernels.Buffer, first bool) {
	sum := v.results.Slice(scalars, resultsLen)
	if first {
		v.keep.Run(sum, batch)
	} else {
		v.more.Run(sum, sum, batch)
	}
	switch {
	case v.add == nil:
	case first:
		v.copy.Run(v.gradient, v.state.Grads)
	default:
		v.add.Run(v.gradient, v.gradient, v.state.Grads)
	}
}

// update enqueues the change of the parameters, by the hyper-parameters written last.
//
// AdamW changes nothing if the norm is not finite: 0 times the loss makes it so.
func (v *solver) update() {
	v.square.Run(v.results.Slice(norm2, norm2+1), v.gradient.Slice(0, v.state.Trained))
	v.guard.Run(v.results.Slice(guarded, guarded+1), v.results.Slice(norm2, norm2+2))
	for _, u := range v.updates {
		u.kernel.Run(u.args...)
	}
	v.buffers.update()
}

// schedule writes the hyper-parameters of a step.
func (v *solver) schedule(m Moment) error {
	c, k := v.cfg, float64(m.Updates+1)
	h := make([]float32, v.hyper.Len())
	for i, u := range v.updates {
		h := h[i*line:]
		h[kernels.HyperLR] = float32(learningRate(c, m.Step, m.Progress))
		h[kernels.HyperRate1], h[kernels.HyperRate2] = float32(1-c.Betas[0]), float32(1-c.Betas[1])
		h[kernels.HyperEps], h[kernels.HyperDecay] = float32(c.Eps), float32(u.decay)
		h[kernels.HyperCorrect1] = float32(1 - math.Pow(c.Betas[0], k))
		h[kernels.HyperCorrect2] = float32(1 - math.Pow(c.Betas[1], k))
		h[kernels.HyperMaxNorm] = float32(c.ClipNorm)
		h[kernels.HyperEMARate] = float32(emaRate(c.EMA, m.Step))
		h[kernels.HyperScale] = 1 / float32(c.Accumulate)
	}
	return v.state.Backend.Write(v.hyper, h)
}

// flops is the work of one step's update.
func (v *solver) flops() int64 {
	n := kernels.SumSquares{Len: v.state.Trained}.FLOPs()
	for _, u := range v.updates {
		n += kernels.AdamW{Len: u.to - u.from}.FLOPs()
	}
	return n
}

// read waits for the step's results. Scalars, those of Program.Scalars, are means over
// its batches, norm is that of the mean gradient before clipping; it is not finite if
// the step was not applied.
func (v *solver) read() (norm float64, means [line]float64, err error) {
	var r [resultsLen]float32
	if err := v.state.Backend.Read(r[:], v.results); err != nil {
		return 0, means, err
	}
	n := float64(v.cfg.Accumulate)
	for i, x := range r[scalars:] {
		means[i] = float64(x) / n
	}
	return math.Sqrt(float64(r[guarded])) / n, means, nil
}
