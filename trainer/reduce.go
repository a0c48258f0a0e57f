package trainer

import (
	"context"
	"fmt"

	"magvit/kernels"
	"magvit/model"
	"magvit/model/machine"
	"magvit/trainer/ranks"
	"magvit/trainer/usage"
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
// have the same bits for any number of ranks, and any division into buckets.
//
// A bucket is added up as soon as the plan of the last batch has its gradients, while the
// backward pass goes on. On a backend whose kernels run in Run, the CPU, sums go on between its launches;
// on a kernels.Collective, GPUs with NCCL, a second stream within the recorded step. On other
// backends all is added up after the backward pass.
type reducer struct {
	group   *ranks.Group
	part    part
	device  kernels.Collective  // nil: sums go through the host's memory
	bf16    bool                // gradients are sent as bfloat16
	records bool                // the backend is a kernels.Recorder
	plans   map[bool]*reduction // by whether the step is adversarial
	last    *reduction          // that of the last step
	begun   bool                // the sums of the step
	under   []*bucket           // whose sums are on their way
	sent    int                 // of these have sent this rank's shard

	send, recv kernels.Buffer // of one bucket, on the device
}

// reduction is the reduction of the sections that a step trains.
type reduction struct {
	optimizers []*optimizer
	buckets    [][]*bucket // of each optimizer's gradients, then of all scalars
	update     func() error
}

func newReducer(g *ranks.Group, s *Stepper) (*reducer, error) {
	r := &reducer{group: g, part: s.part, plans: map[bool]*reduction{}, bf16: s.cfg.Train.Reduce == "bf16"}
	_, r.records = s.be.(kernels.Recorder)
	c, ok := s.be.(kernels.Collective)
	if !ok {
		return r, nil
	}
	rank, size := c.Ranks()
	if size == 1 {
		return r, nil
	}
	if rank != g.Rank() || size != g.Size() {
		return nil, fmt.Errorf("trainer: the device is rank %d of %d, the process rank %d of %d", rank, size, g.Rank(), g.Size())
	}
	for i := range size {
		if nodes := s.part.tree.Nodes(s.part.tree.Part(i, size)); len(nodes) != 1 {
			return r, nil // the sums of several nodes of a rank go through the host's memory
		}
	}
	if r.bf16 {
		return nil, usage.Errorf("train.reduce: bf16: GPUs that are joined by NCCL send float32; want exact")
	}
	r.device = c
	return r, nil
}

// onDevice reports whether sums are a part of the recorded step.
func (r *reducer) onDevice() bool { return r != nil && r.device != nil }

// onHost reports whether kernels run in Run, so that the host's work may come between them.
func (r *reducer) onHost() bool { return r != nil && r.device == nil && !r.records }

// plan prepares the reduction of a step once.
func (r *reducer) plan(s *Stepper, adversarial bool) (p *reduction, err error) {
	if r.last = r.plans[adversarial]; r.last != nil {
		return r.last, nil
	}
	p = &reduction{optimizers: []*optimizer{s.optimizer}}
	if adversarial {
		p.optimizers = append(p.optimizers, s.adversary.optimizer)
	}
	var scalars []*bucket
	for _, o := range p.optimizers {
		var list []*bucket
		for _, b := range cut(o, int(s.cfg.Train.Bucket*1e6/4)) {
			if err := r.prepare(s.be, b); err != nil {
				return nil, err
			}
			list = append(list, b)
		}
		p.buckets = append(p.buckets, list)
		b := &bucket{of: o, to: line, scalars: true}
		if err := r.prepare(s.be, b); err != nil {
			return nil, err
		}
		scalars = append(scalars, b)
	}
	p.buckets = append(p.buckets, scalars)
	p.update, err = kernels.Record(s.be, func() { s.update(adversarial) })
	r.plans[adversarial], r.last = p, p
	return p, err
}

// each enqueues the last batch of a step, and calls f with each bucket once the values of this
// rank are in it.
func (r *reducer) each(p *reduction, programs []*model.Program, place batchPlace, f func(*bucket) error) error {
	for k, o := range p.optimizers {
		plan, at := programs[k].Plan, 0
		if k == 0 {
			at = place.from
		}
		for _, b := range p.buckets[k] {
			final := max(at, b.final(programs[k]))
			if err := r.run(plan, at, final); err != nil {
				return err
			}
			at = final
			if b.copy != nil {
				o.accumulateGradient(place.push, b.from, b.to, b.copy, b.add)
			}
			if err := f(b); err != nil {
				return err
			}
		}
		if err := r.run(plan, at, plan.Launches()); err != nil {
			return err
		}
		o.accumulateTerms(programs[k].Scalars, place.push)
	}
	for _, b := range p.buckets[len(p.optimizers)] {
		if err := f(b); err != nil {
			return err
		}
	}
	return nil
}

// run enqueues launches of a plan, and goes on with the sums between them.
func (r *reducer) run(plan *machine.Plan, from, to int) error {
	for i := from; i < to; i++ {
		plan.EnqueueRange(i, i+1)
		if err := r.advance(); err != nil {
			return err
		}
	}
	return nil
}

// enqueue is a step's last batch, with the sums over all ranks and the update.
func (r *reducer) enqueue(s *Stepper, plan *reduction, p, against *model.Program, place batchPlace) {
	_ = r.each(plan, []*model.Program{p, against}, place, func(b *bucket) error { // which returns no error
		r.device.Overlap(func() { b.device.Enqueue(b.node(0), r.send, r.recv) })
		return nil
	})
	r.device.Join()
	s.update(against != nil)
	if !s.state.Shard.Whole() {
		r.device.AllGather(s.state.Padded, s.state.OwnPadded())
	}
}

// overlap computes a step's last batch, and begins the sums over all ranks.
func (r *reducer) overlap(s *Stepper, p, against *model.Program, place batchPlace) error {
	plan, err := r.plan(s, against != nil)
	if err != nil {
		return err
	}
	r.begun = true
	return r.each(plan, []*model.Program{p, against}, place, func(b *bucket) error { return r.start(s.be, b) })
}

// start begins the sum of a bucket with this rank's values, which it reads unless they are in the host's memory.
func (r *reducer) start(be kernels.Backend, b *bucket) error {
	n := b.to - b.from
	if b.inPlace {
		b.square.Run(b.norm2, b.node(0))
	} else {
		for i := range r.part.nodes() {
			if err := be.Read(b.own[i*n:(i+1)*n], b.node(i)); err != nil {
				return err
			}
		}
	}
	b.summer.Start(b.own, b.total)
	r.under = append(r.under, b)
	return r.advance()
}

// advance goes on with the sums that are on their way, as far as it can without waiting.
func (r *reducer) advance() error {
	for r.sent < len(r.under) {
		sent, err := r.under[r.sent].summer.Advance()
		if err != nil || !sent {
			return err
		}
		r.sent++
	}
	return nil
}

// begin begins the sums of all buckets.
func (r *reducer) begin(s *Stepper) error {
	p, err := r.plan(s, s.adversary.active(s.position.Step))
	if err != nil {
		return err
	}
	r.begun = true
	for _, list := range p.buckets {
		for _, b := range list {
			if err := r.start(s.be, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// reduce waits for the step's sums, which it begins unless they have been, and enqueues the update.
func (r *reducer) reduce(ctx context.Context, s *Stepper) error {
	if !r.begun {
		if err := r.begin(s); err != nil {
			return err
		}
	}
	r.begun = false
	for _, b := range r.under {
		if err := b.summer.Wait(ctx); err != nil {
			return err
		}
		if b.inPlace {
			continue
		}
		if err := s.be.Write(b.node(0), b.total); err != nil {
			return err
		}
	}
	r.under, r.sent = r.under[:0], 0
	if err := r.last.update(); err != nil || s.state.Shard.Whole() {
		return err
	}
	return gatherArena(ctx, r.group, s.state, s.state.Params)
}

// nonFinite says that this rank's sums of the last step were not finite, "" if all were or they were not read.
func (r *reducer) nonFinite() string {
	for _, list := range r.last.buckets {
		for _, b := range list {
			values := b.own
			if b.inPlace {
				values = b.norm2.(kernels.Host)
			}
			for _, v := range values {
				if !finite(float64(v)) {
					return "before the sum its norm was not finite"
				}
			}
		}
	}
	return ""
}
