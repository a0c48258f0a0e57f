package trainer

import (
	"fmt"
	"math"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/ranks"
)

// learningRate returns the learning rate of the step at a position.
func learningRate(t config.Train, p Position) float64 {
	if e := p.Extension; e != nil && p.Step >= e.Step {
		switch t.Extension {
		case "constant":
			return e.LR
		case "warmup":
			p.Step -= e.Step
			p.Progress = (p.Progress - e.Progress) / max(1-e.Progress, 1e-9)
		}
	}
	lr := t.LR
	if p.Step+1 < t.Warmup {
		lr *= float64(p.Step+1) / float64(t.Warmup)
	}
	if t.Schedule == "cosine" {
		lr *= t.Final + (1-t.Final)*(1+math.Cos(math.Pi*min(p.Progress, 1)))/2
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

// Position is the position of a step in the schedule.
type Position struct {
	Step                 int     // steps before it
	Updates              int     // of these, steps that were applied
	DiscriminatorUpdates int     // the same of the discriminator's steps
	Progress             float64 // fraction of the run that is done, in [0,1]

	Extension *checkpoint.Extension // where the run was made longer, nil: nowhere
}

// optimizer updates the parameters of a section from their gradients, all on the backend.
type optimizer struct {
	cfg     config.Train
	state   *checkpoint.State
	section checkpoint.Section

	gradient            kernels.Buffer   // sum over a step's batches, the first of sums
	sums, terms         []kernels.Buffer // of gradients and of a batch's scalars, see ranks.Tree; with one batch, sums is the graph's own
	copy, add           kernels.Kernel   // of gradients; nil with one batch
	results             kernels.Buffer   // of a step, at the positions below
	copyTerms, addTerms kernels.Kernel   // of a batch's scalars
	square              kernels.Kernel
	guard               kernels.Kernel
	hyper               kernels.Buffer // of the updates, in order, line values each
	updates             []update
	buffers             *buffers // nil: the section has none

	// Of two optimizers whose steps are applied together or not at all, see updateBoth:
	joint      kernels.Buffer // squared norm and loss of this one, then of the other
	copyPair   kernels.Kernel
	guardJoint kernels.Kernel
}

// Positions of a step's results.
const (
	guarded    = 0              // squared norm of the gradient, not finite where the norm or the loss is not finite
	norm2      = line - 1       // the squared norm alone
	scalars    = line           // sums of Program.Scalars, the loss first
	resultsLen = line + scalars // of line values each
	line       = model.MaxScalars
)

// update is AdamW on one part of the arenas; of this rank's shard, where moments are sharded.
type update struct {
	from, to int
	decay    float64
	kernel   kernels.Kernel
	args     []kernels.Buffer
}

// part is what this process computes of a step's batches: from up to to, added as tree says.
type part struct {
	tree     ranks.Tree
	from, to int
}

// all is the part of a process on its own.
func all(batches int) part { return part{ranks.Tree{Leaves: batches}, 0, batches} }

// nodes is the number of sums that a step leaves, see ranks.Tree.
func (p part) nodes() int { return len(p.tree.Nodes(p.from, p.to)) }

// push is what becomes of a batch's gradient, see ranks.Tree.Push.
type push struct{ depth, merges int }

func (p part) push(batch int) push {
	depth, merges := p.tree.Push(p.from, batch)
	return push{depth, merges}
}

// newOptimizer is the optimizer of a network without its discriminator.
func newOptimizer(cfg config.Train, s *checkpoint.State, p part) (*optimizer, error) {
	return newOptimizerOf(cfg, s, s.Section, p, nil)
}

// newOptimizerOf is the optimizer of a section. sums are the arenas of another section's
// optimizer where a step's gradients are added up, nil for arenas of its own.
func newOptimizerOf(cfg config.Train, s *checkpoint.State, section checkpoint.Section, p part, sums []kernels.Buffer) (*optimizer, error) {
	o := &optimizer{cfg: cfg, state: s, section: section, sums: sums}
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
	from, to := s.Own()
	for _, u := range []update{{from: section.From, to: section.Decayed, decay: cfg.WeightDecay}, {from: section.Decayed, to: section.Trained}} {
		if u.from, u.to = max(u.from, from), min(u.to, to); u.from < u.to {
			u.kernel = prepare(kernels.AdamW{Len: u.to - u.from, EMAEvery: cfg.EMA.UpdateEvery})
			o.updates = append(o.updates, u)
		}
	}
	depth := max(1, p.tree.Depth(p.from, p.to))
	if p.to-p.from > 1 {
		n := section.To - section.From
		o.copy, o.add = prepare(kernels.Affine{Len: n, Mul: 1}), prepare(kernels.Add{Len: n})
		for sums == nil && len(o.sums) < depth {
			o.sums = append(o.sums, alloc(s.Len))
		}
	} else {
		o.sums = []kernels.Buffer{s.Grads}
	}
	o.gradient = o.sums[0]
	o.results, o.hyper = alloc(resultsLen), alloc(max(1, len(o.updates))*line)
	if first != nil {
		return nil, first
	}
	o.terms = []kernels.Buffer{o.results.Slice(scalars, resultsLen)}
	for len(o.terms) < depth {
		o.terms = append(o.terms, alloc(line))
	}
	o.copyTerms, o.addTerms = prepare(kernels.Affine{Len: line, Mul: 1}), prepare(kernels.Add{Len: line})
	o.square, o.guard = prepare(kernels.SumSquares{Len: section.Trained - section.From}), prepare(kernels.WeightedSum{Len: 2, W: [4]float32{1, 0}})
	if first != nil {
		return nil, first
	}
	for i := range o.updates {
		u := &o.updates[i]
		u.args = []kernels.Buffer{s.Params.Slice(u.from, u.to), s.M.Slice(u.from-from, u.to-from), s.V.Slice(u.from-from, u.to-from),
			s.EMA.Slice(u.from, u.to), o.gradient.Slice(u.from, u.to)}
		u.args = append(u.args, o.results.Slice(guarded, guarded+1), o.hyper.Slice(i*line, i*line+kernels.HyperLen))
	}
	o.buffers, first = newBuffers(s, section, o.gradient, o.results.Slice(guarded, guarded+1))
	return o, first
}

// join prepares updateBoth of two optimizers.
func join(a, b *optimizer) (err error) {
	for _, o := range []*optimizer{a, b} {
		if o.joint, err = o.state.Backend.Alloc(4); err != nil {
			return fmt.Errorf("trainer: %w", err)
		}
		if o.copyPair, err = o.state.Backend.Prepare(kernels.Affine{Len: 2, Mul: 1}); err != nil {
			return fmt.Errorf("trainer: %w", err)
		}
		if o.guardJoint, err = o.state.Backend.Prepare(kernels.WeightedSum{Len: 4, W: [4]float32{1}}); err != nil {
			return fmt.Errorf("trainer: %w", err)
		}
	}
	return nil
}

// accumulate enqueues the addition of a batch's gradient and scalars to those of its step.
func (o *optimizer) accumulate(batch kernels.Buffer, p push) {
	o.accumulateTerms(batch, p)
	if o.copy != nil {
		o.accumulateGradient(p, o.section.From, o.section.To, o.copy, o.add)
	}
}

func (o *optimizer) accumulateTerms(batch kernels.Buffer, p push) {
	if p.merges == 0 {
		o.copyTerms.Run(o.terms[p.depth], batch)
		return
	}
	for i := p.depth - 1; i >= p.depth-p.merges; i-- {
		o.addTerms.Run(o.terms[i], o.terms[i], batch)
		batch = o.terms[i]
	}
}

// accumulateGradient is accumulate for the gradients from up to to of an arena, with kernels
// of that length.
func (o *optimizer) accumulateGradient(p push, from, to int, copy, add kernels.Kernel) {
	gradient := o.state.Grads.Slice(from, to)
	if p.merges == 0 {
		copy.Run(o.sums[p.depth].Slice(from, to), gradient)
		return
	}
	for i := p.depth - 1; i >= p.depth-p.merges; i-- {
		sum := o.sums[i].Slice(from, to)
		add.Run(sum, sum, gradient)
		gradient = sum
	}
}

// update enqueues the update of the parameters with the hyper-parameters written last.
//
// AdamW changes nothing if the norm is not finite: 0 times the loss makes it so.
func (o *optimizer) update() {
	o.measure()
	o.guard.Run(o.results.Slice(guarded, guarded+1), o.results.Slice(norm2, norm2+2))
	o.apply()
}

// measure enqueues the squared norm of the gradient.
func (o *optimizer) measure() {
	o.square.Run(o.results.Slice(norm2, norm2+1), o.gradient.Slice(o.section.From, o.section.Trained))
}

// apply enqueues the update with the guarded norm.
func (o *optimizer) apply() {
	for _, u := range o.updates {
		u.kernel.Run(u.args...)
	}
	if o.buffers != nil {
		o.buffers.update()
	}
}

// updateBoth enqueues the updates of two sections, none of which changes anything if a norm
// or a loss of either is not finite.
func updateBoth(a, b *optimizer) {
	a.measure()
	b.measure()
	for i, o := range []*optimizer{a, b} {
		other := []*optimizer{b, a}[i]
		o.copyPair.Run(o.joint.Slice(0, 2), o.results.Slice(norm2, norm2+2))
		o.copyPair.Run(o.joint.Slice(2, 4), other.results.Slice(norm2, norm2+2))
		o.guardJoint.Run(o.results.Slice(guarded, guarded+1), o.joint)
	}
	a.apply()
	b.apply()
}

// schedule writes the hyper-parameters of a step.
func (o *optimizer) schedule(m Position) error {
	c, k := o.cfg, float64(m.Updates+1)
	h := make([]float32, o.hyper.Len())
	for i, u := range o.updates {
		h := h[i*line:]
		h[kernels.HyperLR] = float32(learningRate(c, m))
		h[kernels.HyperRate1], h[kernels.HyperRate2] = float32(1-c.Betas[0]), float32(1-c.Betas[1])
		h[kernels.HyperEps], h[kernels.HyperDecay] = float32(c.Eps), float32(u.decay)
		h[kernels.HyperCorrect1] = float32(1 - math.Pow(c.Betas[0], k))
		h[kernels.HyperCorrect2] = float32(1 - math.Pow(c.Betas[1], k))
		h[kernels.HyperMaxNorm] = float32(c.ClipNorm)
		h[kernels.HyperEMARate] = float32(emaRate(c.EMA, m.Step))
		h[kernels.HyperScale] = 1 / float32(c.Accumulate)
	}
	return o.state.Backend.Write(o.hyper, h)
}

// flops returns the work of one step's update.
func (o *optimizer) flops() int64 {
	n := kernels.SumSquares{Len: o.section.Trained - o.section.From}.FLOPs()
	for _, u := range o.updates {
		n += kernels.AdamW{Len: u.to - u.from}.FLOPs()
	}
	return n
}

// read waits for the step's results: the means of Program.Scalars over
// its batches, and the norm of the mean gradient before clipping, which is not finite if
// the step was not applied.
func (o *optimizer) read() (norm float64, means [line]float64, err error) {
	var r [resultsLen]float32
	if err := o.state.Backend.Read(r[:], o.results); err != nil {
		return 0, means, err
	}
	n := float64(o.cfg.Accumulate)
	for i, x := range r[scalars:] {
		means[i] = float64(x) / n
	}
	return math.Sqrt(float64(r[guarded])) / n, means, nil
}
