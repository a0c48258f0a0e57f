package trainer

import (
	"errors"
	"fmt"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/data"
	"magvit/trainer/metrics"
)

// Stepper makes the steps of a training: Feed and Run for each of a step's batches,
// then Wait. Run enqueues a whole batch in one go: loss, gradients and, after the
// last one, their norm, new weights and their average.
//
// Feed may be called before Wait: the next batch goes up while a step is at work.
type Stepper struct {
	cfg      config.Config
	be       kernels.Backend
	net      model.Network
	state    *checkpoint.State
	solver   *solver
	programs map[data.Shape]*program
	fed, ran *program // of the batch that waits for Run, and of the last that ran
	values   []float32
}

// program is the training graph for a batch shape.
type program struct {
	*model.Program
	replay map[ends]func() error
}

// ends says whether a batch is the first of its step, and the last.
type ends struct{ first, last bool }

// Outcome is what a step came to: means over its batches.
type Outcome struct {
	Loss  float64
	Terms metrics.Terms
	Norm  float64 // of the gradient, before clipping; not finite if the step was not applied
}

// Applied says whether the step changed the weights: loss and gradient were finite.
func (o Outcome) Applied() bool { return finite(o.Norm) }

// NewStepper makes a training of a network from its first weights.
func NewStepper(be kernels.Backend, net model.Network, c config.Config) (*Stepper, error) {
	s, err := newStepper(be, net, c)
	if err != nil {
		return nil, err
	}
	return s, s.begin()
}

// newStepper makes a training whose weights are not set.
func newStepper(be kernels.Backend, net model.Network, c config.Config) (s *Stepper, err error) {
	s = &Stepper{cfg: c, be: be, net: net, programs: map[data.Shape]*program{}}
	if s.state, err = checkpoint.NewState(be, net); err != nil {
		return nil, err
	}
	s.solver, err = newSolver(c.Train, s.state)
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
	if err := s.be.Write(p.Buffer("video"), b.Video); err != nil {
		return err
	}
	if net, ok := s.net.(*model.Classifier); ok {
		err = s.teach(p.Program, b, net.Seen(b.T))
	} else {
		err = s.be.Write(p.Buffer("weight"), b.Weight)
	}
	if err == nil {
		s.fed = p
	}
	return err
}

// Run enqueues the work on the batch that was fed, number part of its step, from 0.
func (s *Stepper) Run(part int, m Moment) error {
	p := s.fed
	if p == nil {
		panic("trainer: Run without Feed")
	}
	s.fed, s.ran = nil, p
	if err := p.SetStep(model.StepPosition{Seed: s.cfg.Train.Seed, Step: m.Step, Batch: part, Batches: s.cfg.Train.Accumulate}); err != nil {
		return err
	}
	is := ends{part == 0, part == s.cfg.Train.Accumulate-1}
	if is.last {
		if err := s.solver.schedule(m); err != nil {
			return err
		}
	}
	if p.replay[is] == nil {
		replay, err := kernels.Record(s.be, func() {
			p.Plan.Enqueue()
			s.solver.take(p.Scalars, is.first)
			if is.last {
				s.solver.update()
			}
		})
		if err != nil {
			return err
		}
		p.replay[is] = replay
	}
	return p.replay[is]()
}

// Wait waits for the step.
func (s *Stepper) Wait() (o Outcome, err error) {
	if err := s.be.Sync(); err != nil {
		return o, err
	}
	norm, means, err := s.solver.read()
	o = Outcome{Loss: means[0], Norm: norm}
	for _, t := range s.ran.Terms {
		o.Terms = append(o.Terms, metrics.Term{Name: t.Name, Value: metrics.Number(means[t.At])})
	}
	return o, err
}

// used counts the different codes of the last batch that ran, 0 of a network without.
func (s *Stepper) used() (int, error) {
	from := s.ran.Buffer("codes")
	if from == nil {
		return 0, nil
	}
	s.values = sized(s.values, from.Len())
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
	if p := s.programs[of]; p != nil {
		return p, nil
	}
	shape := model.Shape{N: of.N, T: of.T, H: of.H, W: of.W}
	g, err := s.net.Training(shape)
	if err != nil {
		return nil, err
	}
	inUse := model.InUse(s.be)
	p, err := g.Compile(s.be, s.state.Params, s.state.Grads, s.state.Offsets)
	if err != nil {
		return nil, fmt.Errorf("train.batch: %w", model.ExplainMemory(s.net, s.be, shape, inUse, err))
	}
	s.programs[of] = &program{p, map[ends]func() error{}}
	return s.programs[of], nil
}

// Program is the training graph of the last batch that ran, and FLOPs the work of a step
// of one such batch, with the optimizer's.
func (s *Stepper) Program() *model.Program { return s.ran.Program }
func (s *Stepper) FLOPs() int64            { return s.ran.Plan.Stats().FLOPs() + s.solver.flops() }
