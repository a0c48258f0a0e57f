package trainer

import (
	"context"

	"magvit/kernels"
	"magvit/trainer/ranks"
)

// partOf is what a rank computes of a step's batches.
func partOf(batches int, g *ranks.Group) part {
	p := part{tree: ranks.Tree{Leaves: batches}}
	p.from, p.to = p.tree.Part(g.Rank(), g.Size())
	return p
}

// reducer adds up, over all ranks, what a step's batches left: gradients, statistics of
// buffers such as learned codebooks, and the scalars of the loss.
//
// The sums are of a ranks.Tree, which is that of one process with all batches: so the weights
// have the same bits for any number of ranks.
type reducer struct {
	group  *ranks.Group
	part   part
	plans  map[bool]*reduction // by whether the step is adversarial
	memory []float32
	own    []float32 // sums of the last step, before those of other ranks
}

// reduction is the reduction of the sections that a step trains.
type reduction struct {
	optimizers []*optimizer
	n          int // values of all sections and their scalars
	summer     *ranks.Summer
	update     func() error // enqueues the update of the weights
}

func newReducer(g *ranks.Group, s *Stepper) *reducer {
	return &reducer{group: g, part: s.part, plans: map[bool]*reduction{}}
}

// plan prepares the reduction of a step once.
func (r *reducer) plan(s *Stepper, adversarial bool) (p *reduction, err error) {
	if p := r.plans[adversarial]; p != nil {
		return p, nil
	}
	p = &reduction{optimizers: []*optimizer{s.optimizer}}
	if adversarial {
		p.optimizers = append(p.optimizers, s.adversary.optimizer)
	}
	for _, o := range p.optimizers {
		p.n += o.section.To - o.section.From + line
	}
	p.summer = ranks.NewSummer(r.group, r.part.tree, p.n)
	p.update, err = kernels.Record(s.be, func() { s.update(adversarial) })
	r.plans[adversarial] = p
	return p, err
}

// reduce adds up the step's sums and enqueues the update.
func (r *reducer) reduce(ctx context.Context, s *Stepper) error {
	p, err := r.plan(s, s.adversary.active(s.position.Step))
	if err != nil {
		return err
	}
	nodes := r.part.nodes()
	if need := (nodes + 1) * p.n; len(r.memory) < need {
		r.memory = make([]float32, need)
	}
	own, total := r.memory[:nodes*p.n], r.memory[nodes*p.n:(nodes+1)*p.n]
	r.own = own
	rest := own
	for i := range nodes {
		for _, o := range p.optimizers {
			for _, from := range []kernels.Buffer{o.own(o.sums[i]), o.terms[i]} {
				if err := s.be.Read(rest[:from.Len()], from); err != nil {
					return err
				}
				rest = rest[from.Len():]
			}
		}
	}
	if err := p.summer.Sum(ctx, own, total); err != nil {
		return err
	}
	rest = total
	for _, o := range p.optimizers {
		for _, to := range []kernels.Buffer{o.own(o.sums[0]), o.terms[0]} {
			if err := s.be.Write(to, rest[:to.Len()]); err != nil {
				return err
			}
			rest = rest[to.Len():]
		}
	}
	return p.update()
}

// nonFinite names what is not finite in this rank's sums of the last step, "" if all is finite.
func (r *reducer) nonFinite() string {
	for _, v := range r.own {
		if !finite(float64(v)) {
			return "before the sum it was not finite"
		}
	}
	return ""
}
