package task

import (
	"context"
	"errors"

	"magvit/trainer/data"
	"magvit/trainer/ranks"
)

// ErrStopped ends an evaluation on all ranks, one of which was interrupted.
var ErrStopped = errors.New("interrupted on one of the ranks")

// Answers calls use with each batch of clips, see data.Each, and what compute answers to it, in
// order. An answer has as many bytes for each clip of its batch. Clips that cannot be read are listed.
//
// Of several ranks each computes every Size-th batch, and rank 0 alone calls use: with the
// answers that it would have computed itself, in the same order.
func Answers(ctx context.Context, g *ranks.Group, src data.Source, indices []int, cfg data.Config, batch int,
	compute func(*data.Batch) ([]byte, error), use func(*data.Batch, []byte) error) ([]*data.ClipError, error) {
	if g.Size() == 1 {
		return data.Each(ctx, src, indices, cfg, batch, func(b *data.Batch) error {
			answer, err := compute(b)
			if err != nil {
				return err
			}
			return use(b, answer)
		})
	}
	r := round{g: g, interrupted: ctx, ctx: context.WithoutCancel(ctx), use: use}
	unread, err := data.Each(r.ctx, src, indices, cfg, batch, func(b *data.Batch) (err error) {
		if r.n%r.g.Size() == r.g.Rank() {
			if r.answer, err = compute(b); err != nil {
				return err
			}
			r.perClip = len(r.answer) / b.N
		}
		r.clips = append(r.clips, b.N)
		if r.g.First() {
			r.batches = append(r.batches, b.Clone())
		}
		if r.n++; r.n%r.g.Size() == 0 {
			return r.end(r.g.Size())
		}
		return nil
	})
	if err == nil && r.n%r.g.Size() > 0 {
		err = r.end(r.n % r.g.Size())
	}
	return unread, err
}

// answers is Answers for the batches of an evaluation.
func (e Clips) answers(ctx context.Context, compute func(*data.Batch) ([]byte, error), use func(*data.Batch, []byte) error) ([]*data.ClipError, error) {
	return Answers(ctx, e.Ranks, e.Source, e.Indices, e.Data, EvalBatch, compute, use)
}

// round is a batch for each rank.
type round struct {
	g                *ranks.Group
	ctx, interrupted context.Context
	use              func(*data.Batch, []byte) error

	n       int           // batches so far
	batches []*data.Batch // of the round, on rank 0
	answer  []byte        // to this rank's batch
	clips   []int         // in each batch of the round
	perClip int           // bytes of an answer
}

// end brings the answers to n batches to rank 0.
func (r *round) end(n int) error {
	if stop, err := r.g.Any(r.ctx, r.interrupted.Err() != nil); err != nil || stop {
		return errors.Join(err, ErrStopped)
	}
	all, err := r.g.Collect(r.ctx, r.answer, func(rank int) int {
		if rank < n {
			return r.clips[rank] * r.perClip
		}
		return 0
	})
	r.answer, r.clips = nil, r.clips[:0]
	for i, b := range r.batches {
		if err != nil {
			return err
		}
		err = r.use(b, all[i])
	}
	r.batches = r.batches[:0]
	return err
}
