package trainer

import (
	"context"
	"fmt"

	"magvit/kernels"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/ranks"
)

// With train.shard_optimizer each rank keeps a shard of the moments, updates its shard of the
// parameters and of their average, and gathers the others' parameters (ZeRO-1). Gradients are
// added up as without it, so weights have the same bits. What follows moves shards.

// shardOf is the part of the optimizer's state that a rank keeps.
func shardOf(c config.Train, g *ranks.Group) checkpoint.Shard {
	if !c.ShardOptimizer || g.Size() == 1 {
		return checkpoint.Shard{}
	}
	return checkpoint.Shard{Rank: g.Rank(), Size: g.Size()}
}

// gatherArena gives all ranks the shards of an arena that others have updated.
func gatherArena(ctx context.Context, g *ranks.Group, s *checkpoint.State, b kernels.Buffer) error {
	if err := s.Backend.Sync(); err != nil {
		return err
	}
	host, inPlace := b.(kernels.Host)
	own, to := s.Own()
	if !inPlace {
		host = make(kernels.Host, s.Len)
		if own < to {
			if err := s.Backend.Read(host[own:to], b.Slice(own, to)); err != nil {
				return err
			}
		}
	}
	send, recv := make([][]byte, g.Size()), make([][]byte, g.Size())
	for r := range send {
		from, end := s.Shard.Of(r, s.Len)
		send[r], recv[r] = ranks.Bytes(host[own:to]), ranks.Bytes(host[from:end])
	}
	if err := g.Exchange(ctx, send, recv); err != nil || inPlace {
		return err
	}
	return s.Backend.Write(b, host)
}

// gatherState brings the average of the parameters up to date on all ranks, and the moments to
// the first one, before an evaluation or a checkpoint, once for each step.
func (t *training) gatherState(ctx context.Context) error {
	if t.state.Shard.Whole() || t.gathered == t.snap.Step {
		return nil
	}
	ctx = t.patient(ctx)
	if t.cfg.Train.EMA.Decay > 0 {
		if err := gatherArena(ctx, t.group, t.state, t.state.EMA); err != nil {
			return fmt.Errorf("gathering the average: %w", err)
		}
	}
	from, to := t.state.Own()
	var whole [][]float32
	for _, b := range []kernels.Buffer{t.state.M, t.state.V} {
		own, err := t.state.Read(b)
		if err != nil {
			return err
		}
		all, err := t.group.Collect(ctx, ranks.Bytes(own[:to-from]), func(rank int) int {
			from, to := t.state.Shard.Of(rank, t.state.Len)
			return 4 * (to - from)
		})
		if err != nil {
			return fmt.Errorf("gathering the optimizer's state: %w", err)
		}
		var arena []float32
		for _, shard := range all {
			arena = append(arena, ranks.Floats(shard)...)
		}
		whole = append(whole, arena)
	}
	if t.group.First() {
		t.state.Gathered = whole
	}
	t.gathered = t.snap.Step
	return nil
}

// scatterMoments gives each rank its shard of the moments that the first one has read.
func (t *training) scatterMoments(ctx context.Context) error {
	if any, err := t.group.Any(t.patient(ctx), t.state.Gathered != nil); err != nil || !any {
		return err // a run that begins: they are zero
	}
	from, to := t.state.Own()
	for i, b := range []kernels.Buffer{t.state.M, t.state.V} {
		own := make([]float32, to-from)
		send, recv := make([][]byte, t.group.Size()), make([][]byte, t.group.Size())
		if t.group.First() {
			whole := t.state.Gathered[i]
			copy(own, whole[from:to])
			for r := range send {
				a, b := t.state.Shard.Of(r, t.state.Len)
				send[r] = ranks.Bytes(whole[a:b])
			}
		} else {
			recv[0] = ranks.Bytes(own)
		}
		if err := t.group.Exchange(t.patient(ctx), send, recv); err != nil {
			return err
		}
		if from == to {
			continue
		}
		if err := t.be.Write(b, own); err != nil {
			return err
		}
	}
	t.state.Gathered = nil
	return nil
}
