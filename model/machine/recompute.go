package machine

import (
	"fmt"
	"slices"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// Recompute says which values a plan may make again, to the same bits, in place of
// holding them from the forward to the backward pass.
type Recompute int

const (
	RecomputeNone Recompute = iota
	// RecomputeAuto allows kernels of 4 % of the plan's cost in all, see cost.
	RecomputeAuto
	// RecomputeMax allows every kernel.
	RecomputeMax
)

// ParseRecompute reads none, auto or max.
func ParseRecompute(s string) (Recompute, error) {
	for r, word := range []string{"none", "auto", "max"} {
		if s == word {
			return Recompute(r), nil
		}
	}
	return 0, fmt.Errorf("recompute %q: want none, auto or max", s)
}

const (
	// balance is how many operations take the time of a byte that is read or written: two
	// cores of a Cascade Lake do 236 GFLOP/s and move 20 GB/s, and GPUs have more.
	balance = 12
	// autoFraction is how much of a plan's cost RecomputeAuto may add.
	autoFraction = .04
)

// cost is the time of a backend's kernel in operations: its work, or those that could be
// done while its arguments are moved.
func cost(be kernels.Backend, s kernels.Spec) int64 {
	return max(kernels.WorkOf(be, s), balance*kernels.Bytes(s))
}

// recomputation is a program in which some values are made twice.
type recomputation struct {
	be    kernels.Backend
	prog  []instr
	again map[*G.Node]*G.Node // the second value, by the first
	cost  int64               // added
}

// recompute lowers the peak of the values that are needed at the same time. It goes on as
// long as there is a value that is idle at the peak, and whose maker can run again before
// its next use, such that the peak does not rise: the one that saves the most memory for
// its cost first. The program of the least peak is the result. Values with a buffer in
// bound do not count: they are not in the arena.
func recompute(be kernels.Backend, prog []instr, keep map[*G.Node]bool, bound map[*G.Node]kernels.Buffer, how Recompute) []instr {
	if how == RecomputeNone {
		return prog
	}
	var total int64
	for _, in := range prog {
		total += cost(be, in.spec)
	}
	now := recomputation{be: be, prog: prog, again: map[*G.Node]*G.Node{}}
	best, least := now, newLiveness(prog, keep, bound).peak
	for {
		live := newLiveness(now.prog, keep, bound)
		var next recomputation
		var after liveness
		var most float64 // values that the peak is lower by, for each operation
		for _, n := range live.idle(now) {
			spec := now.prog[live.maker[n]].spec
			if how == RecomputeAuto && float64(now.cost+cost(be, spec)) > autoFraction*float64(total) {
				continue
			}
			try := now.with(n, live)
			l := newLiveness(try.prog, keep, bound)
			if !l.lower(live) {
				continue
			}
			if saved := float64(live.peak-l.peak) / float64(cost(be, spec)); next.prog == nil || saved > most || saved == most && l.lower(after) {
				next, after, most = try, l, saved
			}
		}
		if next.prog == nil {
			return best.prog
		}
		if now = next; after.peak < least {
			best, least = now, after.peak
		}
	}
}

// with makes n again before its first use after the peak.
func (r recomputation) with(n *G.Node, live liveness) recomputation {
	out := recomputation{be: r.be, prog: slices.Clone(r.prog), again: map[*G.Node]*G.Node{}, cost: r.cost}
	for a, b := range r.again {
		out.again[a] = b
	}
	at := live.next(n)
	again := Input(G.NewGraph(), "again", n.Shape()...)
	out.again[n] = again
	for i := at; i < len(out.prog); i++ {
		out.prog[i] = out.prog[i].reading(n, again)
	}
	out.insert(instr{r.prog[live.maker[n]].spec, slices.Clone(r.prog[live.maker[n]].args)}, again, at)
	out.cost += cost(r.be, r.prog[live.maker[n]].spec)
	return out
}

// insert makes a value at position at, and before that the arguments that are made again
// later. It returns the position after.
func (r *recomputation) insert(in instr, result *G.Node, at int) int {
	in.args[0] = result
	for k, a := range in.args[1:] {
		if second := r.again[a]; second != nil {
			a = second
			in.args[k+1] = a
		}
		if i := slices.IndexFunc(r.prog, func(p instr) bool { return p.args[0] == a }); i >= at {
			earlier := instr{r.prog[i].spec, slices.Clone(r.prog[i].args)}
			r.prog = slices.Delete(r.prog, i, i+1)
			at = r.insert(earlier, a, at)
		}
	}
	r.prog = slices.Insert(r.prog, at, in)
	return at + 1
}

// reading is the instruction with b in place of a source a.
func (in instr) reading(a, b *G.Node) instr {
	if !slices.Contains(in.sources(), a) {
		return in
	}
	in.args = slices.Clone(in.args)
	for i, n := range in.sources() {
		if n == a {
			in.sources()[i] = b
		}
	}
	return in
}

// liveness is when the values of a program are needed.
type liveness struct {
	prog   []instr
	maker  map[*G.Node]int
	uses   map[*G.Node][]int
	fixed  map[*G.Node]bool // outputs
	made   []*G.Node        // values of the arena, in the order of their makers
	peak   int              // values needed at the same time, at most
	at     int              // the first instruction at the peak
	atPeak int              // how many there are
}

func newLiveness(prog []instr, keep map[*G.Node]bool, bound map[*G.Node]kernels.Buffer) liveness {
	l := liveness{prog: prog, maker: map[*G.Node]int{}, uses: map[*G.Node][]int{}, fixed: keep}
	change := make([]int, len(prog)+1)
	for i, in := range prog {
		for _, a := range in.sources() {
			l.uses[a] = append(l.uses[a], i)
		}
		for _, n := range in.results() {
			if bound[n] == nil {
				l.maker[n] = i
				l.made = append(l.made, n)
			}
		}
	}
	for _, n := range l.made {
		last := l.maker[n]
		if u := l.uses[n]; len(u) > 0 {
			last = u[len(u)-1]
		}
		if keep[n] {
			last = len(prog) - 1
		}
		change[l.maker[n]] += size(n)
		change[last+1] -= size(n)
	}
	live := 0
	for i := range prog {
		live += change[i]
		switch {
		case live > l.peak:
			l.peak, l.at, l.atPeak = live, i, 1
		case live == l.peak:
			l.atPeak++
		}
	}
	return l
}

// lower compares peaks, and of the same peak how long it lasts.
func (l liveness) lower(than liveness) bool {
	return l.peak < than.peak || l.peak == than.peak && l.atPeak < than.atPeak
}

// idle are the values that are needed before and after the peak, not at it, and that
// could be made again: alone, not with other results of a kernel.
func (l liveness) idle(r recomputation) (nodes []*G.Node) {
	second := map[*G.Node]bool{}
	for _, b := range r.again {
		second[b] = true
	}
	for _, n := range l.made {
		if l.maker[n] < l.at && l.next(n) > l.at && !slices.Contains(l.uses[n], l.at) && !l.fixed[n] && r.again[n] == nil && !second[n] && len(l.prog[l.maker[n]].results()) == 1 {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// next is the first use of n after the peak; 0 if there is none.
func (l liveness) next(n *G.Node) int {
	for _, u := range l.uses[n] {
		if u > l.at {
			return u
		}
	}
	return 0
}
