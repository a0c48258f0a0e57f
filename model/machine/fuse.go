package machine

import (
	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// fuse merges pairs of instructions for which there is one kernel, where the value
// between them has no other use:
//
//	Conv, Act       →  Conv with that activation
//	Conv, Add       →  Conv with the other summand as residual
//	ConvGradX, ActGrad → ConvGradX times the slope of the activation in front
//
// The merged instruction stands where the second one stood.
func fuse(prog []instr, keep map[*G.Node]bool) []instr {
	uses := map[*G.Node]int{}
	maker := map[*G.Node]int{}
	for i, in := range prog {
		maker[in.args[0]] = i
		for _, a := range in.args[1:] {
			uses[a]++
		}
	}
	// only returns the instruction that makes n, if in is n's only use.
	only := func(n *G.Node) (int, bool) {
		i, ok := maker[n]
		return i, ok && uses[n] == 1 && !keep[n]
	}
	gone := make([]bool, len(prog))
	for i, in := range prog {
		switch s := in.spec.(type) {
		case kernels.Act:
			j, ok := only(in.args[1])
			if !ok {
				continue
			}
			if c, ok := prog[j].spec.(kernels.Conv); ok && c.Act == kernels.None && !c.Residual {
				c.Act = s.Kind
				prog[i] = instr{c, append([]*G.Node{in.args[0]}, prog[j].args[1:]...)}
				gone[j] = true
			}
		case kernels.Add:
			for side := 1; side <= 2; side++ {
				j, ok := only(in.args[side])
				if !ok {
					continue
				}
				if c, ok := prog[j].spec.(kernels.Conv); ok && !c.Residual {
					c.Residual = true
					args := append([]*G.Node{in.args[0]}, prog[j].args[1:]...)
					prog[i] = instr{c, append(args, in.args[3-side])}
					gone[j] = true
					break
				}
			}
		case kernels.ActGrad:
			j, ok := only(in.args[1])
			if !ok || !s.Kind.FromOutput() {
				continue
			}
			if c, ok := prog[j].spec.(kernels.ConvGradX); ok && c.Act == kernels.None {
				c.Act = s.Kind
				args := append([]*G.Node{in.args[0]}, prog[j].args[1:]...)
				prog[i] = instr{c, append(args, in.args[2])}
				gone[j] = true
			}
		}
	}
	var out []instr
	for i, in := range prog {
		if !gone[i] {
			out = append(out, in)
		}
	}
	return out
}
