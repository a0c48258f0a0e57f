package machine

import (
	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// share turns a modulated convolution of one sample into one whose weights all samples
// share: more is fused into that, and it has more forms. The bias that it lacks is zeros.
func (p *Plan) share(in instr) (_ instr, err error) {
	switch s := in.spec.(type) {
	case kernels.ModConv:
		if s.N == 1 {
			in.spec = s.Conv
			in.args, err = p.withZeros(in.args, s.O)
		}
	case kernels.ModConvGradX:
		if s.N == 1 {
			in.spec = kernels.ConvGradX{Conv: s.Conv}
		}
	case kernels.ModConvGradW:
		if s.N == 1 {
			in.spec = kernels.ConvGradW{Conv: s.Conv}
		}
	}
	return in, err
}

// withZeros adds an argument of n zeros.
func (p *Plan) withZeros(args []*G.Node, n int) ([]*G.Node, error) {
	if p.zeros[n] == nil {
		b, err := p.be.Alloc(n)
		if err != nil {
			return nil, err
		}
		p.zeros[n] = Input(G.NewGraph(), "zeros", n)
		p.buffers[p.zeros[n]] = b
	}
	return append(args, p.zeros[n]), nil
}
