package trainer

import (
	"context"
	"errors"
	"fmt"

	"magvit/kernels"
	"magvit/model"
	"magvit/model/machine"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/data"
	"magvit/trainer/metrics"
	"magvit/trainer/ranks"
	"magvit/trainer/task"
)

// Stepper computes the steps of a training: Feed and Run for each of a step's batches,
// then Wait. Where Measures reports it, Feed and Measure for each of them and Average come
// first. Run enqueues a whole batch in one go: loss, gradients and, after the last one, their
// norm, new weights and their average.
//
// Feed may be called before Wait: the next batch is copied while a step is computed.
//
// Of several ranks each computes its part of a step's batches; Wait then adds up what all
// have computed, and each rank updates its copy of the weights.
type Stepper struct {
	cfg       config.Config
	be        kernels.Backend
	net       model.Network
	state     *checkpoint.State
	optimizer *optimizer
	task      task.Task
	adversary *adversary // of a network with a discriminator, else nil
	programs  map[programKey]*program
	step      int                  // of the batch that is fed next, from 0
	fed, ran  *program             // of the batch that was fed, and of the last that ran
	counts    []map[string]float64 // of the step's batches, see Weigh
	values    []float32
	position  Position   // of the step that runs
	part      part       // of a step's batches, of this rank
	reducer   *reducer   // nil in a process on its own
	means     *stepMeans // nil where no term of the loss depends on all batches of a step at once
}

// program is the training graph for a batch shape.
type program struct {
	*model.Program
	replay      map[batchPlace]func() error
	measure     func() error // the plan up to the code means
	adversarial bool         // the discriminator is trained after it
}

// programKey is what a training graph depends on.
type programKey struct {
	shape       data.Shape
	adversarial bool
}

// batchPlace tells what becomes of a batch's gradient, whether the batch is the last of this
// rank's in its step, whether its step has a gradient penalty, and at which launch its plan begins.
type batchPlace struct {
	push
	last, penalty bool
	from          int
}

// Outcome is the result of a step, means over its batches.
type Outcome struct {
	Loss  float64
	Terms metrics.Terms // those of the discriminator's loss last
	Norm  float64       // of the gradient, before clipping; not finite if the step was not applied

	Adversarial       bool    // the discriminator was trained too
	DiscriminatorNorm float64 // of its gradient, before clipping
}

// Applied reports whether the step changed the weights: loss and gradient were finite.
func (o Outcome) Applied() bool { return finite(o.Norm) }

// NewStepper starts a training of a network from its first weights.
func NewStepper(be kernels.Backend, net model.Network, c config.Config) (*Stepper, error) {
	return NewRankStepper(be, net, c, nil)
}

// NewRankStepper is NewStepper of one of the ranks that share the steps.
func NewRankStepper(be kernels.Backend, net model.Network, c config.Config, g *ranks.Group) (*Stepper, error) {
	s, err := newStepper(be, net, c, g)
	if err != nil {
		return nil, err
	}
	return s, s.begin()
}

// newStepper returns a training whose weights are not set. g are the ranks that share its
// steps, nil for none.
func newStepper(be kernels.Backend, net model.Network, c config.Config, g *ranks.Group) (s *Stepper, err error) {
	s = &Stepper{cfg: c, be: be, net: net, programs: map[programKey]*program{}, part: partOf(c.Train.Accumulate, g)}
	s.means = newStepMeans(net, s.part, g)
	if s.state, err = checkpoint.NewShardedState(be, net, shardOf(c.Train, g), c.Train.EMA.Decay > 0); err != nil {
		return nil, err
	}
	s.task = task.New(be, net, c, s.state.EMA)
	if s.optimizer, err = newOptimizer(c.Train, s.state, s.part); err != nil {
		return nil, err
	}
	if s.adversary, err = newAdversary(net, c, s.state, s.optimizer, s.part); err == nil && g.Size() > 1 {
		s.reducer, err = newReducer(g, s)
	}
	return s, err
}

// begin sets the weights and their average to the seed's.
func (s *Stepper) begin() error {
	first := s.state.Initial(s.net, s.cfg.Train.Seed)
	return errors.Join(s.be.Write(s.state.Params, first), s.be.Write(s.state.EMA, first))
}

// Feed writes the batch of the next Run; b may be changed after the call.
func (s *Stepper) Feed(b *data.Batch) error {
	p, err := s.program(b.Shape())
	if err != nil {
		return err
	}
	if video := p.Buffer("video"); video != nil {
		if err := s.be.Write(video, b.Video); err != nil {
			return err
		}
	}
	if err := s.task.Feed(p.Program, b); err != nil {
		return err
	}
	s.fed = p
	return nil
}

// Run enqueues the work on the batch that was fed, number n (0-based) of its step.
func (s *Stepper) Run(n int, m Position) error {
	p := s.fed
	if p == nil {
		panic("trainer: Run without Feed")
	}
	s.fed, s.ran, s.position = nil, p, m
	if err := p.SetStep(model.StepPosition{Seed: s.cfg.Train.Seed, Step: m.Step, Batch: n, Batches: s.cfg.Train.Accumulate}); err != nil {
		return err
	}
	if err := s.scale(p.Program, n); err != nil {
		return err
	}
	from, err := s.means.resume(s.be, p, n)
	if err != nil {
		return err
	}
	place := batchPlace{push: s.part.push(n), last: n == s.part.to-1, from: from}
	if s.step = m.Step; place.last {
		if err := s.schedule(m); err != nil {
			return err
		}
	}
	var against *model.Program
	if p.adversarial {
		place.penalty = s.adversary.penalizes(m.Step)
		if against, err = s.prepareDiscriminator(p, n, m, place); err != nil {
			return err
		}
	}
	if place.last && s.reducer.onHost() {
		return s.reducer.overlap(s, p.Program, against, place)
	}
	if p.replay[place] == nil {
		var sums *reduction
		if place.last && s.reducer.onDevice() {
			if sums, err = s.reducer.plan(s, against != nil); err != nil {
				return err
			}
		}
		replay, err := kernels.Record(s.be, func() {
			if sums != nil {
				s.reducer.enqueue(s, sums, p.Program, against, place)
				return
			}
			p.Plan.EnqueueRange(from, p.Plan.Launches())
			s.optimizer.accumulate(p.Scalars, place.push)
			if against != nil {
				against.Plan.Enqueue()
				s.adversary.optimizer.accumulate(against.Scalars, place.push)
			}
			if place.last && s.reducer == nil {
				s.update(against != nil)
			}
		})
		if err != nil {
			return err
		}
		p.replay[place] = replay
	}
	return p.replay[place]()
}

// Idle takes part in a step of which this rank has no batch.
func (s *Stepper) Idle(m Position) error {
	s.position = m
	if err := s.schedule(m); err != nil || !s.reducer.onHost() {
		return err
	}
	return s.reducer.begin(s) // when the other ranks do
}

// schedule writes the hyper-parameters of a step. The batch that is fed next is one of the
// step after it.
func (s *Stepper) schedule(m Position) error {
	s.step = m.Step + 1
	if err := s.optimizer.schedule(m); err != nil || !s.adversary.active(m.Step) {
		return err
	}
	return s.adversary.optimizer.schedule(s.adversary.position(m))
}

// update enqueues the update of all that a step trains.
func (s *Stepper) update(adversarial bool) {
	if adversarial {
		updateBoth(s.optimizer, s.adversary.optimizer)
	} else {
		s.optimizer.update()
	}
}

// prepareDiscriminator is the discriminator's program for a batch, with all that depends on
// the step.
func (s *Stepper) prepareDiscriminator(p *program, n int, m Position, place batchPlace) (*model.Program, error) {
	a := s.adversary
	d, err := a.program(p, place.penalty)
	if err != nil {
		return nil, err
	}
	a.ran = d
	if err := d.SetStep(model.StepPosition{Seed: s.cfg.Train.Seed, Step: m.Step, Batch: n, Batches: s.cfg.Train.Accumulate}); err != nil {
		return nil, err
	}
	return d, s.scale(d, n)
}

// Counts are what the terms of the loss are means over, of each of some batches.
func (s *Stepper) Counts(batches []*data.Batch) (all []map[string]float64) {
	for _, b := range batches {
		c := s.task.Counts(b)
		c[""] = float64(b.Shape().Pixels())
		all = append(all, c)
	}
	return all
}

// Weigh is given the Counts of all batches of the step that Run begins next. Each term of the
// loss is then a mean over all that counts in the step, as if its batches were one: a batch
// of short clips, or of few labels, counts less. Without it the batches count alike.
func (s *Stepper) Weigh(counts []map[string]float64) { s.counts = counts }

// scale writes the factors of a batch's terms: its count by the mean of the step's batches.
func (s *Stepper) scale(p *model.Program, n int) error {
	for _, t := range p.Terms {
		to := p.Buffer(model.ScaleInput(t.Name))
		if to == nil {
			continue
		}
		if err := s.be.Write(to, []float32{float32(s.factor(t.Name, n))}); err != nil {
			return err
		}
	}
	return nil
}

// factor is that of a batch's term.
func (s *Stepper) factor(term string, n int) float64 {
	total := 0.
	for _, c := range s.counts {
		if _, named := c[term]; !named {
			term = ""
		}
		total += c[term]
	}
	if total > 0 {
		return s.counts[n][term] * float64(len(s.counts)) / total
	}
	return 1
}

// Wait waits for the step, of which all ranks have computed their batches. ctx ends the wait
// for other ranks.
func (s *Stepper) Wait(ctx context.Context) (o Outcome, err error) {
	if s.reducer != nil && !s.reducer.onDevice() {
		if err := s.reducer.reduce(ctx, s); err != nil {
			return o, err
		}
	}
	if err := s.be.Sync(); err != nil {
		return o, err
	}
	norm, means, err := s.optimizer.read()
	if err != nil {
		return o, err
	}
	o = Outcome{Loss: means[0], Norm: norm, Adversarial: s.adversary.active(s.position.Step)}
	if s.ran != nil {
		o.Terms = termsOf(nil, s.ran.Program, means)
	}
	if o.Adversarial {
		if o.DiscriminatorNorm, means, err = s.adversary.optimizer.read(); err != nil {
			return o, err
		}
		if s.ran != nil {
			o.Terms = termsOf(o.Terms, s.adversary.ran, means)
		}
	}
	return o, nil
}

// termsOf appends the terms of a program.
func termsOf(terms metrics.Terms, p *model.Program, means [line]float64) metrics.Terms {
	for _, t := range p.Terms {
		terms = append(terms, metrics.Term{Name: t.Name, Value: metrics.Number(means[t.At])})
	}
	return terms
}

// used counts the distinct codes of the last batch that ran here, 0 without codes.
func (s *Stepper) used() (int, error) {
	if s.ran == nil || s.ran.Buffer("codes") == nil {
		return 0, nil
	}
	from := s.ran.Buffer("codes")
	if cap(s.values) < from.Len() {
		s.values = make([]float32, from.Len())
	}
	s.values = s.values[:from.Len()]
	if err := s.be.Read(s.values, from); err != nil {
		return 0, err
	}
	seen := map[float32]bool{}
	for _, code := range s.values {
		seen[code] = true
	}
	return len(seen), nil
}

// program compiles the training graph for a batch shape once.
func (s *Stepper) program(of data.Shape) (*program, error) {
	key := programKey{of, s.adversary.active(s.step)}
	if p := s.programs[key]; p != nil {
		return p, nil
	}
	shape := model.Shape{N: of.N, T: of.T, H: of.H, W: of.W}
	build := s.net.Training
	if s.cfg.Train.Accumulate > 1 {
		build = s.net.TrainingPart
	}
	if key.adversarial {
		build = func(shape model.Shape) (*model.Graph, error) {
			return s.adversary.net.GeneratorStep(shape, s.cfg.Train.Accumulate > 1)
		}
	}
	g, err := build(shape)
	if err != nil {
		return nil, err
	}
	if g.Recompute, err = machine.ParseRecompute(s.cfg.Train.Recompute); err != nil {
		return nil, err
	}
	inUse := model.InUse(s.be)
	p, err := g.Compile(s.be, s.state.Params, s.state.Grads, s.state.Offsets)
	if err != nil {
		return nil, fmt.Errorf("train.batch: %w", model.ExplainMemory(s.net, s.be, shape, g.Recompute, inUse, err))
	}
	s.programs[key] = &program{Program: p, replay: map[batchPlace]func() error{}, adversarial: key.adversarial}
	return s.programs[key], nil
}

// Program returns the training graph of the last batch that ran, FLOPs the work of a step
// of one such batch with the optimizer's.
func (s *Stepper) Program() *model.Program { return s.ran.Program }
func (s *Stepper) FLOPs() int64 {
	n := s.ran.Plan.Stats().FLOPs() + s.optimizer.flops()
	if s.ran.adversarial {
		n += s.adversary.ran.Plan.Stats().FLOPs() + s.adversary.optimizer.flops()
	}
	return n
}
