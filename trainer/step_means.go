package trainer

import (
	"context"
	"fmt"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/ranks"
)

// stepMeans averages the code means of a step's batches over all ranks, see model.CodeMeans. The
// entropy of the average is a term of the loss, so it has to be known before any backward pass: the
// plan of each batch runs up to its means first.
//
// Of a rank with several batches the encoder runs twice, but for one batch: activations are
// kept of the last one alone.
type stepMeans struct {
	part    part
	own     [][]float32   // of this rank's batches, weighted
	summer  *ranks.Summer // nil in a process on its own
	average []float32
	ready   bool // average is that of the step
	resumed int  // number of the batch whose plan stopped at its means; -1: none
}

// newStepMeans returns nil for a network without such means, and for steps of one batch.
func newStepMeans(net model.Network, p part, g *ranks.Group) *stepMeans {
	tok, ok := net.(*model.Tokenizer)
	if !ok || p.tree.Leaves == 1 || tok.Config.StepMeans() == 0 {
		return nil
	}
	m := &stepMeans{part: p, average: make([]float32, tok.Config.StepMeans()), resumed: -1}
	for range p.to - p.from {
		m.own = append(m.own, make([]float32, len(m.average)))
	}
	if g.Size() > 1 {
		m.summer = ranks.NewSummer(g, p.tree, len(m.average))
	}
	return m
}

// Measures reports whether each batch of a step has to be measured, and the step averaged, before it runs.
func (s *Stepper) Measures() bool { return s.means != nil }

// Measure runs the plan of the batch that was fed, number n of its step, up to its code means.
// Run goes on from there if it is called for this batch next.
func (s *Stepper) Measure(n int, m Position) error {
	p := s.fed
	if p == nil {
		panic("trainer: Measure without Feed")
	}
	if err := p.SetStep(model.StepPosition{Seed: s.cfg.Train.Seed, Step: m.Step, Batch: n, Batches: s.cfg.Train.Accumulate}); err != nil {
		return err
	}
	if p.measure == nil {
		var err error
		if p.measure, err = kernels.Record(s.be, func() { p.Plan.EnqueueRange(0, p.Means) }); err != nil {
			return err
		}
	}
	if err := p.measure(); err != nil {
		return err
	}
	own := s.means.own[n-s.part.from]
	if err := s.be.Read(own, p.Buffer(model.CodeMeans)); err != nil {
		return err
	}
	weight := float32(s.factor("codebook_entropy", n))
	for i := range own {
		own[i] *= weight
	}
	s.means.resumed, s.means.ready = n, false
	return nil
}

// Average makes the mean over all batches of the step, once this rank has measured all of its own.
func (s *Stepper) Average(ctx context.Context) error {
	m := s.means
	if err := m.sum(ctx); err != nil {
		return fmt.Errorf("code means of the step: %w", err)
	}
	for i := range m.average {
		m.average[i] /= float32(m.part.tree.Leaves)
	}
	m.ready = true
	return nil
}

// sum adds up the batches, in the order of the tree.
func (m *stepMeans) sum(ctx context.Context) error {
	nodes := m.part.tree.Nodes(m.part.from, m.part.to)
	sums := m.part.tree.Sums(m.part.from, m.own)
	if m.summer == nil {
		copy(m.average, sums[0])
		return nil
	}
	own := make([]float32, 0, len(nodes)*len(m.average))
	for _, s := range sums {
		own = append(own, s...)
	}
	return m.summer.Sum(ctx, own, m.average)
}

// resume writes the step's means to a batch's program, and returns the launch at which its plan goes on.
func (m *stepMeans) resume(be kernels.Backend, p *program, n int) (from int, err error) {
	if m == nil || p.Means == 0 {
		return 0, nil
	}
	if !m.ready {
		panic("trainer: Run without Average")
	}
	if m.resumed == n {
		from = p.Means
	}
	m.resumed = -1
	m.ready = n != m.part.to-1
	return from, be.Write(p.Buffer(model.StepMeans), m.average)
}
