package trainer

import (
	"fmt"
	"slices"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/ranks"
)

// bucket is a part of a section that is added up over the ranks at once: gradients, or the
// scalars of the loss.
type bucket struct {
	of       *optimizer
	from, to int // of an arena, or of the scalars
	scalars  bool
	params   []int // indices of the parameters in it

	copy, add  kernels.Kernel // of a batch's gradients to the step's; nil with one batch
	summer     *ranks.Summer
	own, total []float32 // sums of this rank and of all, on the host; in place both are the memory of node 0
	inPlace    bool
	square     kernels.Kernel      // of what this rank adds, in place
	norm2      kernels.Buffer      // the result of square
	device     *ranks.DeviceSummer // nil: sums go through the host's memory
}

// cut divides the gradients of an optimizer's section into buckets of at least size values, each of
// whole parameters, in the order in which a backward pass has them: from the last parameter
// to the first, with weight decay and then without. It is the same on all ranks.
func cut(o *optimizer, size int) (list []*bucket) {
	l, s := o.state.Layout, o.section
	for _, region := range [][2]int{{s.From, s.Decayed}, {s.Decayed, s.Trained}, {s.Trained, s.To}} {
		var inside []int
		for i := range l.Params {
			if at := l.Offsets[i]; region[0] <= at && at < region[1] {
				inside = append(inside, i)
			}
		}
		slices.SortFunc(inside, func(i, j int) int { return l.Offsets[j] - l.Offsets[i] })
		b := &bucket{of: o, to: region[1]}
		for k, i := range inside {
			b.params, b.from = append(b.params, i), l.Offsets[i]
			if k == len(inside)-1 || size > 0 && b.to-b.from >= size {
				list = append(list, b)
				b = &bucket{of: o, to: b.from}
			}
		}
	}
	return list
}

// final is the number of a program's launches after which all gradients of the bucket have
// their values.
func (b *bucket) final(p *model.Program) (n int) {
	for _, i := range b.params {
		n = max(n, p.Final[i])
	}
	return n
}

// node is this rank's sum number i, see ranks.Tree.
func (b *bucket) node(i int) kernels.Buffer {
	if b.scalars {
		return b.of.terms[i]
	}
	return b.of.sums[i].Slice(b.from, b.to)
}

// prepare makes the kernels and the memory of a bucket.
func (r *reducer) prepare(be kernels.Backend, b *bucket) (err error) {
	n := b.to - b.from
	prepare := func(s kernels.Spec) (k kernels.Kernel) {
		if err == nil {
			k, err = be.Prepare(s)
		}
		return k
	}
	if r.part.to-r.part.from > 1 && !b.scalars {
		b.copy, b.add = prepare(kernels.Affine{Len: n, Mul: 1}), prepare(kernels.Add{Len: n})
	}
	if r.device == nil {
		b.summer = ranks.NewSummer(r.group, r.part.tree, n)
		if r.bf16 && b.to <= b.of.section.Trained && !b.scalars {
			b.summer.RoundToBF16()
		}
		host, ok := b.node(0).(kernels.Host)
		if b.inPlace = ok && r.part.nodes() == 1; b.inPlace {
			b.own, b.total, b.square = host, host, prepare(kernels.SumSquares{Len: n})
			if err == nil {
				b.norm2, err = be.Alloc(1)
			}
		} else {
			b.own, b.total = make([]float32, n*r.part.nodes()), make([]float32, n)
		}
	} else {
		if err == nil {
			b.device, err = ranks.NewDeviceSummer(be, r.device, r.part.tree, n)
		}
		if err == nil && (r.send == nil || r.send.Len() < b.device.Workspace()) {
			if r.send, err = be.Alloc(b.device.Workspace()); err == nil {
				r.recv, err = be.Alloc(b.device.Workspace())
			}
		}
	}
	if err != nil {
		return fmt.Errorf("trainer: %w", err)
	}
	return nil
}

// Bucket is what several ranks add up at once.
type Bucket struct {
	Bytes    int64
	Launches int // of the plan of a step's last batch, after which it has its values
}

// Buckets are those of the tokenizer's, or other network's, gradients in the step that ran last, in the
// order in which ranks would add them up, and that of the loss and its terms.
func (s *Stepper) Buckets() (list []Bucket) {
	for _, b := range cut(s.optimizer, int(s.cfg.Train.Bucket*1e6/4)) {
		list = append(list, Bucket{4 * int64(b.to-b.from), b.final(s.ran.Program)})
	}
	return append(list, Bucket{4 * line, s.ran.Plan.Launches()})
}
