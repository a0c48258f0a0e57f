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
	copy      kernels.Kernel // to the average; nil without buffers
	now, then kernels.Buffer
}

// newBuffers prepares the updates. statistics is an arena with the sums over a step's
// batches, guard a scalar that is finite if the step is applied.
func newBuffers(s *checkpoint.State, statistics, guard kernels.Buffer) (b *buffers, err error) {
	b = &buffers{}
	for _, u := range s.Updates {
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
	if s.Trained < s.To {
		if b.copy, err = s.Backend.Prepare(kernels.Affine{Len: s.To - s.Trained, Mul: 1}); err != nil {
			return nil, fmt.Errorf("trainer: %w", err)
		}
		b.then, b.now = s.EMA.Slice(s.Trained, s.To), s.Params.Slice(s.Trained, s.To)
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
