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
	case kernels.Conv, kernels.ConvGradX, kernels.Act, kernels.Add, kernels.Affine, kernels.Shuffle, kernels.PadFront, kernels.CropFront,
		kernels.FramePool, kernels.FrameGate, kernels.LayerNorm, kernels.RMSNorm,
		kernels.LFQSign, kernels.LFQLoss, kernels.LFQLossFloored, kernels.FSQQuantize, kernels.WeightedSum,
		kernels.Attention, kernels.LinearAttention, kernels.GateLoop, kernels.TokenShift, kernels.GEGLU,
		kernels.AdaptiveRMSNorm, kernels.Normalize, kernels.Modulate, kernels.ModConv,
		kernels.Pad, kernels.Blur, kernels.ConcatTime, kernels.SliceTime:
		for i := range d {
			d[i] = true
		}
	case kernels.ReconLoss, kernels.CrossEntropy:
		d[0] = true // neither the target nor its weight, nor the label
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
			return nil, fused(s)
		}
		t, h, w := s.Out()
		d = G.Nodes{
			like(0, kernels.ConvGradX{Conv: s}, dy, in[1]),
			like(1, kernels.ConvGradW{Conv: s}, dy, in[0]),
			like(2, kernels.SumRows{Rows: s.N * t * h * w, C: s.O}, dy),
		}
	case kernels.ConvGradX: // linear in dy and in w
		if s.Act != kernels.None {
			return nil, fused(s)
		}
		none, e := Apply(kernels.SumRows{Rows: in[0].Shape().TotalSize() / s.O, C: s.O}, []int{s.O}, in[0])
		if e == nil {
			none, e = Apply(kernels.Affine{Len: s.O}, []int{s.O}, none) // a bias of zeros
		}
		err = e
		d = G.Nodes{like(0, s.Conv, dy, in[1], none), like(1, kernels.ConvGradW{Conv: s.Conv}, in[0], dy)}
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
		if s.Act != kernels.None {
			return nil, fused(s)
		}
		s.Down = !s.Down
		d = G.Nodes{like(0, s, dy)}
	case kernels.PadFront:
		d = G.Nodes{like(0, kernels.CropFront(s), dy)}
	case kernels.CropFront:
		d = G.Nodes{like(0, kernels.PadFront(s), dy)}
	case kernels.FramePool:
		d = G.Nodes{like(0, kernels.FramePoolGradX(s), dy, in[0], in[1]), like(1, kernels.FramePoolGradK(s), dy, in[0], in[1])}
	case kernels.FrameGate:
		if s.Residual {
			return nil, fused(s)
		}
		d = G.Nodes{like(0, s, dy, in[1]), like(1, kernels.FrameGateGradG{F: s.F, P: s.P, C: s.C}, dy, in[0])}
	case kernels.LayerNorm:
		d = G.Nodes{
			like(0, kernels.LayerNormGradX(s), dy, in[0], in[1]),
			like(1, kernels.LayerNormGradGamma(s), dy, in[0]),
			like(2, kernels.SumRows{Rows: s.Rows, C: s.C}, dy),
		}
	case kernels.RMSNorm:
		d = G.Nodes{like(0, kernels.RMSNormGradX{Rows: s.Rows, C: s.C}, dy, in[0], in[1]), like(1, kernels.RMSNormGradGamma(s), dy, in[0])}
	case kernels.AdaptiveRMSNorm:
		d = G.Nodes{like(0, kernels.AdaptiveRMSNormGradX{AdaptiveRMSNorm: s}, dy, in[0], in[1]), like(1, kernels.AdaptiveRMSNormGradGamma{AdaptiveRMSNorm: s}, dy, in[0])}
	case kernels.Normalize:
		d = G.Nodes{like(0, kernels.NormalizeGrad(s), dy, in[0])}
	case kernels.Attention:
		d = G.Nodes{like(0, kernels.AttentionGrad{Attention: s}, dy, in[0], in[1]), like(1, kernels.AttentionGradMem{Attention: s}, dy, in[0], in[1])}
	case kernels.LinearAttention:
		d = G.Nodes{like(0, kernels.LinearAttentionGradQ{LinearAttention: s}, dy, in[0], in[1]), like(1, kernels.LinearAttentionGradKV{LinearAttention: s}, dy, in[0], in[1])}
	case kernels.GateLoop:
		d = G.Nodes{like(0, kernels.GateLoopGrad(s), dy, in[0])}
	case kernels.TokenShift:
		s.Back = !s.Back
		d = G.Nodes{like(0, s, dy)}
	case kernels.GEGLU:
		d = G.Nodes{like(0, kernels.GEGLUGrad(s), dy, in[0])}
	case kernels.Modulate:
		d = G.Nodes{like(0, kernels.ModulateGradW{Modulate: s}, dy, in[0], in[1]), like(1, kernels.ModulateGradS{Modulate: s}, dy, in[0], in[1])}
	case kernels.ModConv:
		if s.Act != kernels.None {
			return nil, fused(s)
		}
		d = G.Nodes{like(0, kernels.ModConvGradX{Conv: s.Conv}, dy, in[1]), like(1, kernels.ModConvGradW{Conv: s.Conv}, dy, in[0])}
	case kernels.Pad:
		d = G.Nodes{like(0, kernels.PadGrad{Pad: s}, dy)}
	case kernels.Blur:
		d = G.Nodes{like(0, s, dy)}
	case kernels.ConcatTime:
		all := s.TA + s.TB
		d = G.Nodes{
			like(0, kernels.SliceTime{N: s.N, T: all, Inner: s.Inner, To: s.TA}, dy),
			like(1, kernels.SliceTime{N: s.N, T: all, Inner: s.Inner, From: s.TA, To: all}, dy),
		}
	case kernels.SliceTime:
		d = G.Nodes{like(0, kernels.SliceTimeGrad{SliceTime: s}, dy)}
	case kernels.LFQLossFloored:
		d = G.Nodes{like(0, kernels.LFQLossFlooredGrad(s), dy, in[0])}
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
	case kernels.CrossEntropy:
		d = G.Nodes{like(0, kernels.CrossEntropyGrad(s), dy, in[0], in[1]), nil}
	default:
		return nil, fmt.Errorf("op: %s has no gradient", kernels.Name(s))
	}
	return d, err
}

func fused(s kernels.Spec) error {
	return fmt.Errorf("op: %s: what is fused has no gradient; fusion belongs to package machine", kernels.Name(s))
}
