package machine

import (
	"cmp"
	"slices"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// life is the stretch of instructions during which a place holds a value that is
// still needed. Values that follow each other in place share one life.
type life struct {
	nodes    []*G.Node
	at       []int // where each begins, in words from the place's start
	size     int   // float32 words
	from, to int   // first write, last read, as positions in the program
	off      int
}

const line = 16 // values of a cache line: places start on one

func newLife(n *G.Node, words, from, to int) *life {
	return &life{nodes: []*G.Node{n}, at: []int{0}, size: ceilLine(words), from: from, to: to}
}

func ceilLine(words int) int { return (words + line - 1) / line * line }

// add is that n is in the place too, at words from its start, until to.
func (l *life) add(n *G.Node, at, to int) {
	l.nodes, l.at, l.to = append(l.nodes, n), append(l.at, at), max(l.to, to)
}

// place gives every value that is not bound a place in one arena, so that values
// needed at the same time do not overlap.
func (p *Plan) place(prog []instr, half, keep map[*G.Node]bool) error {
	words := func(n *G.Node) int {
		if half[n] {
			return (size(n) + 1) / 2
		}
		return size(n)
	}
	last := map[*G.Node]int{}
	for i, in := range prog {
		for _, a := range in.args {
			last[a] = i
		}
	}
	lives := map[*G.Node]*life{}
	var all []*life
	for i, in := range prog {
		for _, o := range p.loads[i] {
			all = append(all, newLife(o.node, size(o.node), i, last[o.node]))
		}
		for _, n := range in.results() {
			p.stats.ValueBytes += 4 * int64(words(n))
			if p.buffers[n] != nil {
				continue
			}
			to := last[n]
			if keep[n] {
				to = len(prog)
			}
			if lives[n] = inherits(in, i, to, lives, keep, words); lives[n] == nil {
				lives[n] = newLife(n, words(n), i, to)
				all = append(all, lives[n])
			}
		}
	}
	arena := arrange(all, len(prog))
	buf, err := p.be.Alloc(arena)
	if err != nil {
		return err
	}
	p.stats.ArenaBytes = 4 * int64(arena)
	for _, l := range all {
		for i, n := range l.nodes {
			p.buffers[n] = buf.Slice(l.off+l.at[i], l.off+l.at[i]+words(n))
		}
	}
	return nil
}

// arrange places lives of a program of n instructions and returns the size of the arena. The
// largest go first (Pisarchyk and Lee, "Efficient memory management for deep neural net inference",
// 2020). Where the arena is larger than what is needed at once, it climbs, from that order and
// from the one in which they are made: the life that ends the arena goes first, a number of times.
// The smallest arena is the result.
func arrange(all []*life, n int) int {
	needed := make([]int, n)
	for i := range needed {
		for _, l := range all {
			if l.from <= i && i <= l.to {
				needed[i] += l.size
			}
		}
	}
	bySize := slices.Clone(all)
	slices.SortStableFunc(bySize, func(a, b *life) int { return cmp.Compare(b.size, a.size) })
	best, least := slices.Clone(bySize), arrangeIn(bySize)
	for _, order := range [][]*life{bySize, slices.Clone(all)} {
		for range climbs {
			if n == 0 || least == slices.Max(needed) {
				break
			}
			if arena := arrangeIn(order); arena < least {
				least = arena
				copy(best, order)
			}
			end := slices.MaxFunc(order, func(a, b *life) int { return cmp.Compare(a.off+a.size, b.off+b.size) })
			i := slices.Index(order, end)
			copy(order[1:i+1], order[:i])
			order[0] = end
		}
	}
	return arrangeIn(best)
}

// climbs is how many orders are tried: of the published networks' halves, 17 frames of 128×128, none needs more than 10.
const climbs = 20

// arrangeIn gives each of some lives in turn the lowest place that is free as long as it is
// needed, and returns the size of the arena.
func arrangeIn(order []*life) (arena int) {
	for k, l := range order {
		var busy []*life
		for _, o := range order[:k] {
			if o.from <= l.to && l.from <= o.to {
				busy = append(busy, o)
			}
		}
		slices.SortFunc(busy, func(a, b *life) int { return cmp.Compare(a.off, b.off) })
		l.off = 0
		for _, o := range busy {
			if l.off+l.size <= o.off {
				break
			}
			l.off = max(l.off, o.off+o.size)
		}
		arena = max(arena, l.off+l.size)
	}
	return arena
}

// inherits returns the life that the result of in can go on with, until to: a sum or a blend may be
// written over a summand that is needed no longer, an activation or a norm over its input. A clip with
// more frames in front may be around the clip, which stays as it is.
func inherits(in instr, i, to int, lives map[*G.Node]*life, keep map[*G.Node]bool, words func(n *G.Node) int) *life {
	s, _ := kernels.Plain(in.spec)
	sides := overwrites(s)
	for side := 1; side <= sides; side++ {
		a := in.args[side]
		l := lives[a]
		if l == nil || l.to != i || keep[a] || sides == 2 && in.args[1] == in.args[2] || words(a) != words(in.args[0]) {
			continue
		}
		if _, sum := s.(kernels.Add); sum {
			in.args[1], in.args[side] = a, in.args[1] // Add allows its first summand only
		}
		l.add(in.args[0], l.at[slices.Index(l.nodes, a)], to)
		return l
	}
	if !padsFront(s) {
		return nil
	}
	x, y := in.args[1], in.args[0]
	l, front := lives[x], words(y)-words(x)
	if l == nil || slices.Max(l.at) > 0 || front < 1 || front%line != 0 || (size(y)-size(x))%front != 0 { // stored alike
		return nil
	}
	for k := range l.at {
		l.at[k] = front
	}
	l.size += front
	l.add(y, 0, to)
	return l
}

// padsFront says that the end of a kernel's result is its source.
func padsFront(plain kernels.Spec) bool {
	switch s := plain.(type) {
	case kernels.PadFront:
		return s.N == 1
	case kernels.Pad:
		return s.N == 1 && s.PH == 0 && s.PW == 0
	}
	return false
}

// overwrites is how many of its first sources a kernel can be written over.
func overwrites(plain kernels.Spec) int {
	switch plain.(type) {
	case kernels.Add, kernels.Blend:
		return 2
	case kernels.Act, kernels.GroupNorm, kernels.LayerNorm:
		return 1
	}
	return 0
}
