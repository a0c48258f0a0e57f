package trainer

import (
	"fmt"

	"magvit/kernels"
	"magvit/trainer/checkpoint"
)

// buffers changes the network's state that has no gradient, such as a learned codebook, at
// the end of each step. Its values are also those of the average of the parameters.
type buffers struct {
	kernels   []kernels.Kernel
	args      [][]kernels.Buffer
	copy      kernels.Kernel // to the average; nil without one
	now, then kernels.Buffer
}

// newBuffers prepares the updates of a section. statistics is an arena with the sums over a
// step's batches, guard a scalar that is finite if the step is applied. It returns nil for a section without buffers.
func newBuffers(s *checkpoint.State, of checkpoint.Section, statistics, guard kernels.Buffer) (b *buffers, err error) {
	if of.Trained == of.To {
		return nil, nil
	}
	b = &buffers{then: s.EMA.Slice(of.Trained, of.To), now: s.Params.Slice(of.Trained, of.To)}
	for _, u := range s.Updates {
		if at := s.Offsets[u.Buffers[0]]; at < of.Trained || at >= of.To {
			continue
		}
		k, err := s.Backend.Prepare(u.Spec)
		if err != nil {
			return nil, fmt.Errorf("trainer: %w", err)
		}
		var args []kernels.Buffer
		for _, arena := range []kernels.Buffer{s.Params, statistics} {
			for _, i := range u.Buffers {
				args = append(args, arena.Slice(s.Offsets[i], s.Offsets[i]+s.Layout.Params[i].Len()))
			}
		}
		b.kernels, b.args = append(b.kernels, k), append(b.args, append(args, guard))
	}
	if !s.Average {
		return b, nil
	}
	if b.copy, err = s.Backend.Prepare(kernels.Affine{Len: of.To - of.Trained, Mul: 1}); err != nil {
		return nil, fmt.Errorf("trainer: %w", err)
	}
	return b, nil
}

// update enqueues the updates.
func (b *buffers) update() {
	for i, k := range b.kernels {
		k.Run(b.args[i]...)
	}
	if b.copy != nil {
		b.copy.Run(b.then, b.now)
	}
}
