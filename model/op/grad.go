package op

import (
	"fmt"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// DiffWRT says which inputs have a gradient.
func (o *Op) DiffWRT(n int) []bool {
	d := make([]bool, n)
	switch o.spec.(type) {
	case kernels.Conv, kernels.Act, kernels.Add, kernels.Affine, kernels.Shuffle, kernels.PadFront, kernels.CropFront,
		kernels.FramePool, kernels.FrameGate, kernels.LayerNorm, kernels.RMSNorm,
		kernels.LFQSign, kernels.LFQLoss, kernels.FSQQuantize, kernels.WeightedSum:
		for i := range d {
			d[i] = true
		}
	case kernels.ReconLoss:
		d[0] = true // neither the target nor its weight
	}
	return d
}

// SymDiff returns the gradient of each input, given the result y and its
// gradient dy. Quantizers pass gradients straight through.
func (o *Op) SymDiff(in G.Nodes, y, dy *G.Node) (G.Nodes, error) {
	var err error
	// like applies s; the result has the shape of input i.
	like := func(i int, s kernels.Spec, args ...*G.Node) *G.Node {
		if err != nil {
			return nil
		}
		var n *G.Node
		n, err = Apply(s, in[i].Shape(), args...)
		return n
	}
	var d G.Nodes
	switch s := o.spec.(type) {
	case kernels.Conv:
		if s.Act != kernels.None || s.Residual {
			return nil, fmt.Errorf("op: %s: a fused convolution has no gradient; fusion belongs to package machine", kernels.Name(s))
		}
		t, h, w := s.Out()
		d = G.Nodes{
			like(0, kernels.ConvGradX{Conv: s}, dy, in[1]),
			like(1, kernels.ConvGradW{Conv: s}, dy, in[0]),
			like(2, kernels.SumRows{Rows: s.N * t * h * w, C: s.O}, dy),
		}
	case kernels.Act:
		from := in[0]
		if s.Kind.FromOutput() {
			from = y
		}
		d = G.Nodes{like(0, kernels.ActGrad{Kind: s.Kind, Len: s.Len}, dy, from)}
	case kernels.Add:
		d = G.Nodes{dy, dy}
	case kernels.Affine:
		d = G.Nodes{like(0, kernels.Affine{Len: s.Len, Mul: s.Mul}, dy)}
	case kernels.Shuffle:
		s.Down = !s.Down
		d = G.Nodes{like(0, s, dy)}
	case kernels.PadFront:
		d = G.Nodes{like(0, kernels.CropFront(s), dy)}
	case kernels.CropFront:
		d = G.Nodes{like(0, kernels.PadFront(s), dy)}
	case kernels.FramePool:
		d = G.Nodes{like(0, kernels.FramePoolGradX(s), dy, in[0], in[1]), like(1, kernels.FramePoolGradK(s), dy, in[0], in[1])}
	case kernels.FrameGate:
		d = G.Nodes{like(0, s, dy, in[1]), like(1, kernels.FrameGateGradG(s), dy, in[0])}
	case kernels.LayerNorm:
		d = G.Nodes{
			like(0, kernels.LayerNormGradX(s), dy, in[0], in[1]),
			like(1, kernels.LayerNormGradGamma(s), dy, in[0]),
			like(2, kernels.SumRows{Rows: s.Rows, C: s.C}, dy),
		}
	case kernels.RMSNorm:
		d = G.Nodes{like(0, kernels.RMSNormGradX(s), dy, in[0], in[1]), like(1, kernels.RMSNormGradGamma(s), dy, in[0])}
	case kernels.LFQSign:
		d = G.Nodes{dy}
	case kernels.LFQLoss:
		d = G.Nodes{like(0, kernels.LFQLossGrad(s), dy, in[0])}
	case kernels.FSQQuantize:
		d = G.Nodes{like(0, kernels.FSQGrad(s), dy, in[0])}
	case kernels.WeightedSum:
		d = G.Nodes{like(0, kernels.Spread{Len: s.Len, W: s.W}, dy)}
	case kernels.ReconLoss:
		d = G.Nodes{like(0, kernels.ReconLossGrad(s), dy, in[0], in[1], in[2]), nil, nil}
	default:
		return nil, fmt.Errorf("op: %s has no gradient", kernels.Name(s))
	}
	return d, err
}
