package onnx

import (
	"magvit/kernels"
	"magvit/model/onnx/onnxpb"
)

// Kernels of published tokenizers.

// mean is that over some axes, which stay with size 1.
func (g *graph) mean(x string, axes ...int) string {
	return g.opWith("ReduceMean", []attr{{"axes", axes}, {"keepdims", 1}}, x)
}

func groupNorm(g *graph, s kernels.GroupNorm, _ []int, in []value) string {
	x, shape := g.clips(in[0]), in[0].shape
	if g.err != nil {
		return ""
	}
	var grouped string
	var axes []int
	switch s.N {
	case shape[0]: // statistics of a clip
		grouped, axes = g.reshape(x, 0, -1, s.Groups, s.C/s.Groups), []int{1, 3}
	case shape[0] * shape[1]: // of a frame
		grouped, axes = g.reshape(x, 0, 0, -1, s.Groups, s.C/s.Groups), []int{2, 4}
	default:
		return g.fail("onnx: GroupNorm of %d samples of clips %v: want those of clips or frames", s.N, shape)
	}
	d := g.op("Sub", grouped, g.mean(grouped, axes...))
	h := g.op("Div", d, g.op("Sqrt", g.scaled(g.mean(g.op("Mul", d, d), axes...), 1, float64(s.Eps))))
	h = g.reshapeTo(h, g.dims(x, 0, 4), s.C)
	gamma, beta := in[1].name, in[2].name // of each clip [N,1,1,1,C]
	if !s.Adaptive {
		gamma, beta = g.flat(in[1]), g.flat(in[2])
	}
	return g.activation(s.Act, g.op("Add", g.op("Mul", h, gamma), beta))
}

// channelStats is the mean and the unbiased deviation of each channel of a clip, [N,2,1,1,C].
func channelStats(g *graph, s kernels.ChannelStats, _ []int, in []value) string {
	x := g.clips(in[0])
	m := g.mean(x, 1, 2, 3)
	d := g.op("Sub", x, m)
	rows := g.cast(g.opWith("ReduceProd", []attr{{"axes", []int{0}}, {"keepdims", 0}}, g.dims(x, 1, 4)), onnxpb.TensorProto_FLOAT)
	variance := g.op("Div", g.op("ReduceSum", g.op("Mul", d, d), g.ints(1, 2, 3)), g.op("Sub", rows, g.float(1)))
	return g.concat(1, m, g.op("Sqrt", g.scaled(variance, 1, float64(s.Eps))))
}

// axisOf is the axis of clips of t positions with n and inner values before and after it; 0: none.
func axisOf(shape []int, n, t, inner int) int {
	for axis := 1; axis < 4; axis++ {
		if size(shape[:axis]) == n && shape[axis] == t && size(shape[axis+1:]) == inner {
			return axis
		}
	}
	return 0
}

func resample(g *graph, s kernels.Resample, _ []int, in []value) string {
	x := g.clips(in[0])
	if g.err != nil {
		return ""
	}
	axis := axisOf(in[0].shape, s.N, s.T, s.Inner)
	if axis == 0 {
		return g.fail("onnx: Resample of %d times %d positions of %d values: no axis of clips %v", s.N, s.T, s.Inner, in[0].shape)
	}
	one := make([]int, 5)
	one[axis] = 1
	switch s.Kind {
	case kernels.Nearest:
		return g.interleave(x, x, axis)
	case kernels.Linear: // between .25 and .75 of the way from one position to the next
		double := func(x string) string { // which may have no position
			own, quarter := g.scaled(x, .75, 0), g.scaled(x, .25, 0)
			before := g.concat(axis, g.slice(quarter, axis, 0, 1), g.slice(quarter, axis, 0, -1))
			after := g.concat(axis, g.slice(quarter, axis, 1, last), g.slice(quarter, axis, -1, last))
			return g.interleave(g.op("Add", before, own), g.op("Add", own, after), axis)
		}
		if s.Head == 0 {
			return double(x)
		}
		return g.concat(axis, double(g.slice(x, axis, 0, s.Head)), double(g.slice(x, axis, s.Head, last)))
	case kernels.MeanOfThree, kernels.MeanOfThreeCut:
		mode := "constant"
		if s.Kind == kernels.MeanOfThreeCut {
			mode = "edge"
		}
		wide := g.pad(x, mode, one, make([]int, 5))
		every := func(from, to int) string {
			return g.op("Slice", wide, g.ints(from), g.ints(to), g.ints(axis), g.ints(2))
		}
		return g.op("Div", g.op("Add", g.op("Add", every(0, -2), every(1, -1)), every(2, last)), g.float(3))
	case kernels.MeanOfTwo:
		every := func(from, to int) string {
			return g.op("Slice", x, g.ints(from), g.ints(to), g.ints(axis), g.ints(2))
		}
		return g.op("Mul", g.op("Add", every(0, -1), every(1, last)), g.float(.5))
	}
	return g.fail("onnx: no operator for the interpolation %v", s.Kind)
}

// interleave puts positions of a and b along an axis in turn.
func (g *graph) interleave(a, b string, axis int) string {
	both := g.concat(axis+1, g.op("Unsqueeze", a, g.ints(axis+1)), g.op("Unsqueeze", b, g.ints(axis+1)))
	twice := []int{1, 1, 1, 1, 1}
	twice[axis] = 2
	return g.op("Reshape", both, g.op("Mul", g.dims(a, 0, 5), g.ints(twice...)))
}
