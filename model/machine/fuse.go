package machine

import (
	"cmp"
	"slices"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// usage is the instructions that make and use the values of a program.
type usage struct {
	maker map[*G.Node]int // index of the instruction
	uses  map[*G.Node]int // arguments
	keep  map[*G.Node]bool
}

func usageOf(prog []instr, keep map[*G.Node]bool) usage {
	u := usage{map[*G.Node]int{}, map[*G.Node]int{}, keep}
	for i, in := range prog {
		for _, n := range in.results() {
			u.maker[n] = i
		}
		for _, a := range in.sources() {
			u.uses[a]++
		}
	}
	return u
}

// only returns the instruction that makes n, if n has one use alone.
func (u usage) only(n *G.Node) (int, bool) {
	i, ok := u.maker[n]
	return i, ok && u.uses[n] == 1 && !u.keep[n]
}

// fuse merges instructions for which there is one kernel, where the values between them
// have no other use:
//
//	Conv, Act                           Conv with that activation; so does GroupNorm
//	Conv, Add                           Conv with the other summand as residual; so do
//	                                    ConvGradX, RMSNormGradX and FrameGate
//	ConvGradX, ActGrad                  ConvGradX times the slope of the activation in front
//	ConvGradX, GEGLUGrad                ConvGradGEGLU, where the convolution has one tap
//	FrameGate, FramePoolGradX, Add      SqueezeExciteGradX
//	SqueezeExciteGradX, ActGrad         the same times the slope, where what it squeezes is
//	                                    the activation's output
//	SqueezeExciteGradX, FramePoolGradK  SqueezeExciteGrad, where the backend fuses gradients;
//	                                    FramePool then gives what that reads
//	RMSNormGradX, RMSNormGradGamma  RMSNormGrad, where the backend fuses gradients
//	AttentionGrad, AttentionGradMem     AttentionBackward, and Attention AttentionStats, which
//	                                    gives what that reads
//	Act, Shuffle                        Shuffle with that activation, if its slope is taken
//	                                    from its input
//	Shuffle, ActGrad                    ShuffleGrad, likewise; see shuffleGrads
//
// The merged instruction takes the place of the last one. Of two gradients that are
// added up the later one takes the other, if it can: nothing else then has to wait.
func fuse(be kernels.Backend, prog []instr, keep map[*G.Node]bool) []instr {
	prog = regroup(prog, keep)
	u := usageOf(prog, keep)
	gone := make([]bool, len(prog))
	for i, in := range prog {
		merged, replaces := u.merge(prog, in)
		for _, j := range replaces {
			prog[i], gone[j] = merged, true
		}
	}
	out := attention(without(prog, gone))
	if kernels.FusesGradients(be) {
		out = rmsNormGrads(squeezeExcite(out))
	}
	return out
}

// without is the program without the instructions that are gone.
func without(prog []instr, gone []bool) (out []instr) {
	for i, in := range prog {
		if !gone[i] {
			out = append(out, in)
		}
	}
	return out
}

// squeezeExcite computes both gradients of squeeze-excite at once, with what the forward pass
// knows of its softmax.
func squeezeExcite(prog []instr) []instr {
	gone := make([]bool, len(prog))
	for i, in := range prog {
		s, ok := in.spec.(kernels.SqueezeExciteGradX)
		if !ok {
			continue
		}
		dctx, x, k := in.args[3], in.args[4], in.args[5]
		pool := slices.IndexFunc(prog, func(o instr) bool {
			_, alone := o.spec.(kernels.FramePool)
			_, shared := o.spec.(kernels.FramePoolStats)
			return (alone || shared) && slices.Equal(o.sources(), []*G.Node{x, k})
		})
		gradK := slices.IndexFunc(prog, func(o instr) bool {
			_, ok := o.spec.(kernels.FramePoolGradK)
			return ok && slices.Equal(o.sources(), []*G.Node{dctx, x, k})
		})
		if pool < 0 || gradK < 0 || readBetween(prog, gradK, i) {
			continue
		}
		if f, ok := prog[pool].spec.(kernels.FramePool); ok {
			lse := Input(G.NewGraph(), "lse", f.F)
			prog[pool] = instr{kernels.FramePoolStats(f), []*G.Node{prog[pool].args[0], lse, x, k}}
		}
		args := []*G.Node{in.args[0], prog[gradK].args[0]}
		args = append(args, in.args[1:]...)
		prog[i], gone[gradK] = instr{kernels.SqueezeExciteGrad(s), append(args, prog[pool].args[:2]...)}, true
	}
	return without(prog, gone)
}

// rmsNormGrads computes both gradients of a norm at once.
func rmsNormGrads(prog []instr) []instr {
	gone := make([]bool, len(prog))
	for i, in := range prog {
		s, ok := in.spec.(kernels.RMSNormGradX)
		if !ok {
			continue
		}
		gamma := slices.IndexFunc(prog, func(o instr) bool {
			_, ok := o.spec.(kernels.RMSNormGradGamma)
			return ok && slices.Equal(o.sources(), in.args[1:3])
		})
		if gamma < 0 || readBetween(prog, gamma, i) {
			continue
		}
		prog[i], gone[gamma] = instr{kernels.RMSNormGrad(s), slices.Insert(slices.Clone(in.args), 1, prog[gamma].args[0])}, true
	}
	return without(prog, gone)
}

// attention computes both gradients of attention at once, with what the forward pass knows of
// its softmax.
func attention(prog []instr) []instr {
	gone := make([]bool, len(prog))
	find := func(s kernels.Spec, sources []*G.Node) int {
		return slices.IndexFunc(prog, func(o instr) bool { return o.spec == s && slices.Equal(o.sources(), sources) })
	}
	for i, in := range prog {
		s, ok := in.spec.(kernels.AttentionGrad)
		if !ok {
			continue
		}
		forward := find(s.Attention, in.args[2:])
		if forward < 0 {
			continue
		}
		at, results := i, in.args[:1:1]
		if s.Memory > 0 {
			j := find(kernels.AttentionGradMem(s), in.sources())
			if j < 0 || readBetween(prog, min(i, j), max(i, j)) {
				continue
			}
			at, results = max(i, j), append(results, prog[j].args[0])
			gone[min(i, j)] = true
		}
		y := prog[forward].args[0]
		lse := Input(G.NewGraph(), "lse", s.Heads, s.N, s.T, s.P)
		prog[forward] = instr{kernels.AttentionStats(s), slices.Insert(slices.Clone(prog[forward].args), 1, lse)}
		prog[at] = instr{kernels.AttentionBackward(s), slices.Concat(results, in.sources(), []*G.Node{y, lse})}
	}
	return without(prog, gone)
}

// readBetween reports whether an instruction between i and the later one j reads a result of i.
func readBetween(prog []instr, i, j int) bool {
	for _, in := range prog[min(i, j):j] {
		for _, n := range prog[i].results() {
			if slices.Contains(in.sources(), n) {
				return true
			}
		}
	}
	return false
}

// merge is what in becomes together with instructions whose results it alone uses, and
// which these are.
func (u usage) merge(prog []instr, in instr) (merged instr, replaces []int) {
	if _, sum := in.spec.(kernels.Add); sum {
		if merged, replaces = u.excite(prog, in); replaces == nil {
			merged, replaces = u.residual(prog, in)
		}
		return merged, replaces
	}
	if len(in.args) < 2 {
		return in, nil
	}
	i, ok := u.only(in.args[1])
	if !ok {
		return in, nil
	}
	spec, args := joined(prog[i], in)
	if spec == nil {
		return in, nil
	}
	return instr{spec, append([]*G.Node{in.args[0]}, args...)}, []int{i}
}

// joined is the kernel of two instructions, the second of which takes the result of the
// first as its first argument, and what it reads; nil if there is none.
func joined(first, second instr) (kernels.Spec, []*G.Node) {
	reads := first.args[1:]
	switch s := second.spec.(type) {
	case kernels.Act:
		if c, ok := first.spec.(kernels.Conv); ok && c.Act == kernels.None && !c.Residual {
			c.Act = s.Kind
			return c, reads
		}
		if g, ok := first.spec.(kernels.GroupNorm); ok && g.Act == kernels.None {
			g.Act = s.Kind
			return g, reads
		}
	case kernels.Shuffle:
		if a, ok := first.spec.(kernels.Act); ok && s.Act == kernels.None && !a.Kind.FromOutput() {
			s.Act = a.Kind
			return s, reads
		}
	case kernels.GEGLUGrad:
		if c, ok := first.spec.(kernels.ConvGradX); ok && c.KT*c.KH*c.KW == 1 && c.Act == kernels.None && !c.Residual {
			return kernels.ConvGradGEGLU(c), append(slices.Clone(reads), second.args[2])
		}
	case kernels.ActGrad:
		at := second.args[2]
		switch c := first.spec.(type) {
		case kernels.ConvGradX:
			if c.Act == kernels.None && s.Kind.FromOutput() {
				c.Act = s.Kind
				return c, slices.Insert(slices.Clone(reads), 2, at) // in front of a residual
			}
		case kernels.SqueezeExciteGradX:
			if c.Act == kernels.None && s.Kind.FromOutput() && at == reads[3] {
				c.Act = s.Kind
				return c, reads
			}
		case kernels.Shuffle:
			if c.Act == kernels.None && !s.Kind.FromOutput() {
				c.Down, c.Act = !c.Down, s.Kind
				return kernels.ShuffleGrad{Shuffle: c}, append(slices.Clone(reads), at)
			}
		}
	}
	return nil, nil
}

// residual is the later one of the two summands of in whose kernel can add the other.
func (u usage) residual(prog []instr, in instr) (merged instr, replaces []int) {
	for side := 1; side <= 2; side++ {
		j, ok := u.only(in.args[side])
		if !ok || replaces != nil && j < replaces[0] {
			continue
		}
		if c := withResidual(prog[j].spec); c != nil {
			args := append([]*G.Node{in.args[0]}, prog[j].args[1:]...)
			merged, replaces = instr{c, append(args, in.args[3-side])}, []int{j}
		}
	}
	return merged, replaces
}

// excite is the gradient of squeeze-excite if in adds up the gate's and the context's,
// and which instructions it replaces.
func (u usage) excite(prog []instr, in instr) (merged instr, replaces []int) {
	for side := 1; side <= 2; side++ {
		i, ok1 := u.only(in.args[side])
		j, ok2 := u.only(in.args[3-side])
		if !ok1 || !ok2 {
			continue
		}
		gate, ok1 := prog[i].spec.(kernels.FrameGate)
		pool, ok2 := prog[j].spec.(kernels.FramePoolGradX)
		if ok1 && ok2 && gate == (kernels.FrameGate{F: pool.F, P: pool.P, C: pool.C}) {
			args := append([]*G.Node{in.args[0]}, prog[i].args[1:]...)
			return instr{kernels.SqueezeExciteGradX{F: pool.F, P: pool.P, C: pool.C}, append(args, prog[j].args[1:]...)}, []int{i, j}
		}
	}
	return instr{}, nil
}

// withResidual is the kernel that also adds its last argument, nil if there is none.
func withResidual(s kernels.Spec) kernels.Spec {
	switch c := s.(type) {
	case kernels.Conv:
		if !c.Residual {
			c.Residual = true
			return c
		}
	case kernels.ConvGradX:
		if !c.Residual && c.Act == kernels.None {
			c.Residual = true
			return c
		}
	case kernels.FrameGate:
		if !c.Residual {
			c.Residual = true
			return c
		}
	case kernels.RMSNormGradX:
		if !c.Residual {
			c.Residual = true
			return c
		}
	}
	return nil
}

// regroup orders the summands of sums of three and more: those that no kernel adds to
// its result come first, so that only they need an Add. Each Add follows as soon as both of
// its summands have been made.
func regroup(prog []instr, keep map[*G.Node]bool) []instr {
	u := usageOf(prog, keep)
	inner := map[*G.Node]bool{} // sums that are a summand and nothing else
	for _, in := range prog {
		if _, ok := in.spec.(kernels.Add); ok {
			for _, a := range in.args[1:] {
				if i, ok := u.only(a); ok {
					_, inner[a] = prog[i].spec.(kernels.Add)
				}
			}
		}
	}
	gone := make([]bool, len(prog))
	after := map[int][]instr{}
	for i, in := range prog {
		if _, ok := in.spec.(kernels.Add); !ok || inner[in.args[0]] {
			continue
		}
		var summands, sums []*G.Node
		var visit func(i int)
		visit = func(i int) {
			for _, a := range prog[i].args[1:] {
				if inner[a] {
					visit(u.maker[a])
				} else {
					summands = append(summands, a)
				}
			}
			sums = append(sums, prog[i].args[0])
			gone[i] = true
		}
		visit(i)
		slices.SortStableFunc(summands, func(a, b *G.Node) int {
			return cmp.Compare(u.rank(prog, a), u.rank(prog, b))
		})
		total, at := summands[0], u.made(summands[0])
		for k, a := range summands[1:] {
			at = max(at, u.made(a))
			after[at] = append(after[at], instr{in.spec, []*G.Node{sums[k], total, a}})
			total = sums[k]
		}
	}
	out := after[-1]
	for i, in := range prog {
		if !gone[i] {
			out = append(out, in)
		}
		out = append(out, after[i]...)
	}
	return out
}

// made is the instruction that makes n, -1 for an input.
func (u usage) made(n *G.Node) int {
	if i, ok := u.maker[n]; ok {
		return i
	}
	return -1
}

// rank orders summands as they are made; those that a kernel can add something to come
// after the others.
func (u usage) rank(prog []instr, n *G.Node) int {
	at := u.made(n)
	if i, ok := u.only(n); ok && withResidual(prog[i].spec) != nil {
		at += len(prog)
	}
	return at
}
