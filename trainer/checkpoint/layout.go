package checkpoint

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"magvit/model"
	"magvit/trainer/usage"
)

// Layout is the place of each parameter in an arena, one array of all parameters.
//
// Decayed parameters come first, so that the optimizer runs as two kernels, buffers last; a
// discriminator follows, in the same order. Every parameter starts at a multiple of 16
// values, a cache line. The padding between them is zero and stays zero.
type Layout struct {
	Params  []model.Param
	Offsets []int // by index of Params
	Section       // the network without its discriminator, the first values of an arena
	Len     int   // values of an arena
	Updates []model.Update

	Discriminator Section // the last values of an arena; empty without a discriminator
}

// Section is the part of an arena that one optimizer changes, by positions in the arena.
type Section struct {
	From    int
	Decayed int // end of the part that weight decay applies to
	Trained int // end of the part that the optimizer changes; buffers follow
	To      int
}

// NewLayout arranges the parameters of a network.
func NewLayout(net model.Network) Layout {
	params := net.Declared()
	l := Layout{Params: params, Offsets: make([]int, len(params)), Updates: net.Updates()}
	add := func(in func(p model.Param) bool) int {
		for i, p := range l.Params {
			if in(p) {
				l.Offsets[i] = l.Len
				l.Len += (p.Len() + 15) / 16 * 16
			}
		}
		return l.Len
	}
	section := func(discriminator bool) (s Section) {
		s.From = l.Len
		s.Decayed = add(func(p model.Param) bool { return p.Discriminator == discriminator && p.Decay })
		s.Trained = add(func(p model.Param) bool { return p.Discriminator == discriminator && !p.Decay && !p.Buffer })
		s.To = add(func(p model.Param) bool { return p.Discriminator == discriminator && p.Buffer })
		return s
	}
	l.Section, l.Discriminator = section(false), section(true)
	return l
}

// Part returns the values of parameter i in an arena.
func (l Layout) Part(arena []float32, i int) []float32 {
	return arena[l.Offsets[i]:][:l.Params[i].Len()]
}

// Initial returns an arena of first values. Those of a parameter depend on the seed and on
// its index alone, so all cores draw: one core takes 10 s for 10⁸ values.
func (l Layout) Initial(net model.Network, seed uint64) []float32 {
	arena := make([]float32, l.Len)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(l.Params); i = int(next.Add(1)) - 1 {
				net.Init(seed, i, l.Part(arena, i))
			}
		})
	}
	workers.Wait()
	return arena
}

// FirstNonFinite names the first value of an arena that is NaN or Inf, "" if there is none.
func (l Layout) FirstNonFinite(arena []float32) string {
	for i, p := range l.Params {
		for k, v := range l.Part(arena, i) {
			if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
				return fmt.Sprintf("%s[%d] = %v", p.Name, k, v)
			}
		}
	}
	return ""
}

// Fill returns the arena of the tensors with this prefix. The error lists missing and
// unknown tensors and those of another shape.
func (l Layout) Fill(tensors map[string]Tensor, prefix string) ([]float32, error) {
	arena := make([]float32, l.Len)
	own := map[string]Tensor{}
	for name, t := range tensors {
		if name, ok := strings.CutPrefix(name, prefix); ok && !(prefix == "" && strings.HasPrefix(name, AveragePrefix)) {
			own[name] = t
		}
	}
	if err := l.fits(shapesOf(own), prefix); err != nil {
		return nil, err
	}
	l.Overlay(arena, own)
	return arena, nil
}

// fits lists the tensors that do not fit, under names with a prefix, as an error.
func (l Layout) fits(shapes map[string][]int, prefix string) error {
	misfits := l.misfits(shapes)
	if len(misfits) == 0 {
		return nil
	}
	for i := range misfits {
		misfits[i] = prefix + misfits[i]
	}
	return usage.Errorf("tensors of another configuration: %s", Shorten(misfits))
}

// order is the indices of the parameters in the order of the arena.
func (l Layout) order() []int {
	order := make([]int, len(l.Params))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(l.Offsets[i], l.Offsets[j]) })
	return order
}

// Overlay copies the tensors that fit to an arena and counts them. misfits lists the
// others: missing, of another shape, unknown to the model.
func (l Layout) Overlay(arena []float32, tensors map[string]Tensor) (fitting int, misfits []string) {
	for i, p := range l.Params {
		if got, ok := tensors[p.Name]; ok && slices.Equal(got.Shape, p.Shape) {
			copy(l.Part(arena, i), got.Values)
			fitting++
		}
	}
	return fitting, l.misfits(shapesOf(tensors))
}

func shapesOf(tensors map[string]Tensor) map[string][]int {
	shapes := map[string][]int{}
	for name, t := range tensors {
		shapes[name] = t.Shape
	}
	return shapes
}

// misfits lists the tensors that are missing, of another shape, or unknown to the model.
func (l Layout) misfits(shapes map[string][]int) (misfits []string) {
	known := map[string]bool{}
	for _, p := range l.Params {
		known[p.Name] = true
		switch got, ok := shapes[p.Name]; {
		case !ok:
			misfits = append(misfits, p.Name+" is missing")
		case !slices.Equal(got, p.Shape):
			misfits = append(misfits, fmt.Sprintf("%s is %v, the model has %v", p.Name, got, p.Shape))
		}
	}
	var unknown []string
	for name := range shapes {
		if !known[name] {
			unknown = append(unknown, name+" is unknown to the model")
		}
	}
	slices.Sort(unknown)
	return append(misfits, unknown...)
}

// Shorten lists the first eight of a list and counts the rest.
func Shorten(list []string) string {
	const most = 8
	if len(list) <= most {
		return strings.Join(list, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(list[:most], "; "), len(list)-most)
}
