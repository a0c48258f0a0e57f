package trainer

import (
	"fmt"
	"math"

	"magvit/kernels"
)

// rate is the learning rate of the step that follows so many others, at a share
// of the run in [0,1].
func (t Train) rate(step int, progress float64) float64 {
	lr := t.LR
	if step+1 < t.Warmup {
		lr *= float64(step+1) / float64(t.Warmup)
	}
	if t.Schedule == "cosine" {
		lr *= t.Final + (1-t.Final)*(1+math.Cos(math.Pi*min(progress, 1)))/2
	}
	return lr
}

// emaRate is how far the average moves towards the weights after the step that
// follows so many others: 1 copies them, 0 leaves it.
//
// The rule is ema-pytorch's with power 2/3: the first call and those up to
// UpdateAfter copy, later ones have a decay that grows to Decay.
func (e EMA) emaRate(step int) float64 {
	switch {
	case e.Decay == 0, step%e.UpdateEvery != 0:
		return 0
	case step <= e.UpdateAfter:
		return 1
	}
	n := float64(step - e.UpdateAfter)
	return 1 - min(1-math.Pow(1+n, -2./3), e.Decay)
}

// solver turns gradients into changes of the parameters.
type solver struct {
	cfg   Train
	state *state

	gradient   kernels.Buffer // sum over a step's batches; with one batch, the graph's own
	clear, add kernels.Kernel // nil with one batch
	norm2      kernels.Buffer // squared norm of the gradient
	square     kernels.Kernel
	updates    []update
}

// update is AdamW on one part of the arenas.
type update struct {
	from, to int
	decay    float64
	kernel   kernels.Kernel
	hyper    kernels.Buffer
	args     []kernels.Buffer
}

func newSolver(cfg Train, s *state) (*solver, error) {
	v := &solver{cfg: cfg, state: s}
	var first error
	prepare := func(spec kernels.Spec) kernels.Kernel {
		k, err := s.be.Prepare(spec)
		if err != nil && first == nil {
			first = fmt.Errorf("trainer: %w", err)
		}
		return k
	}
	alloc := func(n int) kernels.Buffer {
		b, err := s.be.Alloc(n)
		if err != nil && first == nil {
			first = fmt.Errorf("trainer: %w", err)
		}
		return b
	}
	v.gradient, v.norm2, v.square = s.grads, alloc(1), prepare(kernels.SumSquares{Len: s.len})
	if cfg.Accumulate > 1 {
		v.gradient, v.clear, v.add = alloc(s.len), prepare(kernels.Fill{Len: s.len}), prepare(kernels.Add{Len: s.len})
	}
	for _, u := range []update{{from: 0, to: s.decayed, decay: cfg.WeightDecay}, {from: s.decayed, to: s.len}} {
		if u.from == u.to {
			continue
		}
		u.kernel, u.hyper = prepare(kernels.AdamW{Len: u.to - u.from}), alloc(kernels.HyperLen)
		if first != nil {
			return nil, first
		}
		for _, arena := range []kernels.Buffer{s.params, s.m, s.v, s.ema, v.gradient} {
			u.args = append(u.args, arena.Slice(u.from, u.to))
		}
		u.args = append(u.args, v.norm2, u.hyper)
		v.updates = append(v.updates, u)
	}
	return v, first
}

// accumulate takes the gradient of one of a step's batches.
func (v *solver) accumulate(part int) {
	if v.add == nil {
		return
	}
	if part == 0 {
		v.clear.Run(v.gradient)
	}
	v.add.Run(v.gradient, v.gradient, v.state.grads)
}

// norm is the norm of the mean gradient over a step's batches, before clipping.
func (v *solver) norm() (float64, error) {
	v.square.Run(v.norm2, v.gradient)
	var n [1]float32
	err := v.state.be.Read(n[:], v.norm2)
	return math.Sqrt(float64(n[0])) / float64(v.cfg.Accumulate), err
}

// apply changes the parameters; norm has been called. step counts the steps
// before this one, updates those among them that were applied.
func (v *solver) apply(step, updates int, progress float64) error {
	s, c := v.state, v.cfg
	k := float64(updates + 1)
	for _, u := range v.updates {
		var h [kernels.HyperLen]float32
		h[kernels.HyperLR] = float32(c.rate(step, progress))
		h[kernels.HyperRate1], h[kernels.HyperRate2] = float32(1-c.Betas[0]), float32(1-c.Betas[1])
		h[kernels.HyperEps], h[kernels.HyperDecay] = float32(c.Eps), float32(u.decay)
		h[kernels.HyperCorrect1] = float32(1 - math.Pow(c.Betas[0], k))
		h[kernels.HyperCorrect2] = float32(1 - math.Pow(c.Betas[1], k))
		h[kernels.HyperMaxNorm] = float32(c.ClipNorm)
		h[kernels.HyperEMARate] = float32(c.EMA.emaRate(step))
		h[kernels.HyperScale] = 1 / float32(c.Accumulate)
		if err := s.be.Write(u.hyper, h[:]); err != nil {
			return fmt.Errorf("trainer: %w", err)
		}
		u.kernel.Run(u.args...)
	}
	return nil
}
