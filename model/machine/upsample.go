package machine

import (
	"slices"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// Where a Shuffle with an activation follows a convolution that nothing else reads, its gradient is
// computed in that of the input of the convolution behind it (kernels.ConvGradShuffle), if the channels
// of a phase follow one another. They do not in parameters: shuffleGrads gives the convolution in front
// its weights and bias in another order, and brings their gradients back.
func shuffleGrads(prog []instr, keep map[*G.Node]bool) []instr {
	for _, in := range slices.Clone(prog) {
		if s, ok := in.spec.(kernels.ShuffleGrad); ok {
			if u, ok := newUpsample(prog, in, s.Shuffle, keep); ok {
				prog = u.join(prog)
			}
		}
	}
	return prog
}

// upsample is a convolution, the Shuffle of its result x, and what reads the gradient dx of that.
type upsample struct {
	shuffle kernels.Shuffle
	x, dx   *G.Node
	back    int // the ConvGradX that makes what the ShuffleGrad reads
}

// newUpsample is that of a ShuffleGrad, if all that makes and reads the values can have them in another order.
func newUpsample(prog []instr, in instr, s kernels.Shuffle, keep map[*G.Node]bool) (u upsample, ok bool) {
	use := usageOf(prog, keep)
	u = upsample{s, in.args[2], in.args[0], 0}
	u.back, ok = use.only(in.args[1])
	if !ok || s.Down || s.PhaseFirst || keep[u.x] || keep[u.dx] {
		return u, false
	}
	behind, ok := prog[u.back].spec.(kernels.ConvGradX)
	if !ok || behind.Act != kernels.None || u.joined(behind).Validate() != nil {
		return u, false
	}
	made, ok := use.maker[u.x]
	if !ok {
		return u, false
	}
	if front, ok := prog[made].spec.(kernels.Conv); !ok || front.Act != kernels.None || front.Residual {
		return u, false
	}
	for _, in := range prog {
		for i, n := range in.sources() {
			switch spec := in.spec.(type) {
			case kernels.Shuffle:
				ok = n != u.x || spec == s
			case kernels.ShuffleGrad:
				ok = (n != u.x || in.args[0] == u.dx) && n != u.dx
			case kernels.ConvGradX:
				ok = n != u.x && (n != u.dx || i == 0 && spec.Act == kernels.None)
			case kernels.ConvGradW, kernels.SumRows:
				ok = n != u.x && (n != u.dx || i == 0)
			default:
				ok = n != u.x && n != u.dx
			}
			if !ok {
				return u, false
			}
		}
	}
	return u, true
}

func (u upsample) factor() int { return u.shuffle.FT * u.shuffle.FH * u.shuffle.FW }

// joined is the kernel of the ConvGradX and the ShuffleGrad.
func (u upsample) joined(behind kernels.ConvGradX) kernels.ConvGradShuffle {
	behind.Act = u.shuffle.Act
	return kernels.ConvGradShuffle{Conv: behind.Conv, FT: u.shuffle.FT, FH: u.shuffle.FH, FW: u.shuffle.FW}
}

// rows puts the rows of weights or a bias of n values in the order of phases: row c·F+f becomes f·C+c.
func (u upsample) rows(n int) kernels.Shuffle {
	f := u.factor()
	return kernels.Shuffle{N: 1, T: 1, H: u.shuffle.C, W: 1, C: n / f / u.shuffle.C, FT: f, FH: 1, FW: 1, PhaseFirst: true}
}

// join is the program with one kernel for both gradients, which takes the place of the ShuffleGrad.
// Gradients of parameters are brought back when all gradients of the same dy are there, so that these can
// still be fused.
func (u upsample) join(prog []instr) (out []instr) {
	end := 0
	for i, in := range prog {
		if slices.Contains(in.sources(), u.dx) {
			end = i
		}
	}
	ordered := map[*G.Node]*G.Node{}
	order := func(n *G.Node) *G.Node {
		if ordered[n] == nil {
			ordered[n] = Input(G.NewGraph(), "ordered", size(n))
			out = append(out, instr{u.rows(size(n)), []*G.Node{ordered[n], n}})
		}
		return ordered[n]
	}
	var after []instr
	for i, in := range prog {
		if i == u.back {
			continue
		}
		in.args = slices.Clone(in.args)
		reads := slices.Contains(in.sources(), u.dx)
		switch s := in.spec.(type) {
		case kernels.Conv:
			if in.args[0] == u.x {
				in.args[2], in.args[3] = order(in.args[2]), order(in.args[3])
			}
		case kernels.Shuffle:
			if in.args[1] == u.x {
				s.PhaseFirst = true
				in.spec = s
			}
		case kernels.ShuffleGrad:
			if in.args[0] == u.dx {
				from := prog[u.back]
				in.spec = u.joined(from.spec.(kernels.ConvGradX))
				in.args = slices.Concat([]*G.Node{u.dx}, from.args[1:3], []*G.Node{u.x}, from.args[3:])
			}
		case kernels.ConvGradX:
			if reads {
				in.args[2] = order(in.args[2])
			}
		case kernels.ConvGradW, kernels.SumRows:
			if reads {
				n := in.args[0]
				in.args[0] = Input(G.NewGraph(), "ordered", size(n))
				back := u.rows(size(n))
				back.Down = true
				after = append(after, instr{back, []*G.Node{n, in.args[0]}})
			}
		}
		if out = append(out, in); i == end {
			out = append(out, after...)
		}
	}
	return out
}
