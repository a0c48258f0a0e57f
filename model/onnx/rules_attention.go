package onnx

import (
	"math"

	"google.golang.org/protobuf/proto"

	"magvit/kernels"
	"magvit/model/onnx/onnxpb"
)

// never is added to the logit of a key that a query does not see: its weight is 0 in float32.
const never = -1e30

func attention(g *graph, s kernels.Attention, _ []int, in []value) string {
	x, width := g.clips(in[0]), s.Heads*s.Dim
	// Sequences first: [N,A,L,3,heads,dim], A frames and L pixels or the other way round.
	var split string
	if s.Over == kernels.Time {
		x = g.transpose(x, 0, 2, 3, 1, 4)
		split = g.op("Reshape", x, g.concat(0, g.ints(0, -1), g.dims(x, 3, 4), g.ints(3, s.Heads, s.Dim)))
	} else {
		split = g.reshape(x, 0, 0, -1, 3, s.Heads, s.Dim)
	}
	part := func(i int) string { // [N,A,heads,L,dim]
		return g.transpose(g.opWith("Gather", []attr{{"axis", 3}}, split, g.int(i)), 0, 1, 3, 2, 4)
	}
	q := part(0)
	known := func(i int) string { // the memory's keys or values, then the tokens'
		if s.Memory == 0 {
			return part(i)
		}
		mem := g.asIs(in[1])
		first := g.op("Expand", g.op("Gather", mem, g.int(i-1)), g.concat(0, g.dims(q, 0, 2), g.ints(s.Heads, s.Memory, s.Dim)))
		return g.concat(3, first, part(i))
	}
	logits := g.scaled(g.op("MatMul", q, g.transpose(known(1), 0, 1, 2, 4, 3)), 1/math.Sqrt(float64(s.Dim)), 0)
	if s.Causal {
		n := g.dims(q, 3, 4)
		later := g.opWith("Trilu", []attr{{"upper", 1}}, g.fill(g.concat(0, n, n), never), g.int(1))
		logits = g.op("Add", logits, g.pad(later, "constant", []int{0, s.Memory}, []int{0, 0}))
	}
	y := g.op("MatMul", g.opWith("Softmax", []attr{{"axis", -1}}, logits), known(2))
	y = g.reshapeTo(g.transpose(y, 0, 1, 3, 2, 4), g.dims(x, 0, 4), width)
	if s.Over == kernels.Time {
		y = g.transpose(y, 0, 3, 1, 2, 4)
	}
	return y
}

// linearAttention sums over the features of the keys first, as the kernel does: its cost is linear in the pixels.
func linearAttention(g *graph, s kernels.LinearAttention, _ []int, in []value) string {
	q, kv := g.clips(in[0]), g.clips(in[1])
	heads := func(x string) string { return g.transpose(x, 0, 1, 3, 2, 4) } // [N,T,P,heads,dim] and [N,T,heads,P,dim]
	split := g.reshape(kv, 0, 0, -1, 2, s.Heads, s.Dim)
	part := func(i int) string {
		return heads(g.opWith("Gather", []attr{{"axis", 3}}, split, g.int(i)))
	}
	k, v := part(0), part(1)
	z := g.scaled(heads(g.reshape(q, 0, 0, -1, s.Heads, s.Dim)), 1/math.Sqrt(float64(s.Dim)), 0)
	ones := g.fill(g.concat(0, g.dims(k, 0, 4), g.ints(1)), 1)
	features := func(z string) string { // 1, z, and products of two coordinates over √2: their product is 1 + s + s²/2
		pairs := g.op("Mul", g.op("Unsqueeze", z, g.ints(-1)), g.op("Unsqueeze", z, g.ints(-2)))
		return g.concat(4, ones, z, g.scaled(g.reshape(pairs, 0, 0, 0, 0, s.Dim*s.Dim), 1/math.Sqrt2, 0))
	}
	sums := g.op("MatMul", g.transpose(features(k), 0, 1, 2, 4, 3), g.concat(4, v, ones)) // [..,features,dim+1]
	all := g.op("MatMul", features(z), sums)
	y := g.op("Div", g.slice(all, 4, 0, s.Dim), g.slice(all, 4, s.Dim, last))
	return g.reshapeTo(heads(y), g.dims(q, 0, 4), s.Heads*s.Dim)
}

// gateLoop is a Scan over the frames: h = sigmoid(a)·h + kv.
func gateLoop(g *graph, s kernels.GateLoop, _ []int, in []value) string {
	x := g.clips(in[0])
	third := func(i int) string { return g.slice(x, 4, i*s.C, (i+1)*s.C) }
	unknown := &onnxpb.TensorShapeProto_Dimension{}
	channels := &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(s.C)}}
	// onnxruntime needs shapes here where it cannot infer them (findings/onnxruntime-scan-shape.sh).
	frame := func(name string) *onnxpb.ValueInfoProto {
		return &onnxpb.ValueInfoProto{Name: &name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
			TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(onnxpb.TensorProto_FLOAT)),
				Shape: &onnxpb.TensorShapeProto{Dim: []*onnxpb.TensorShapeProto_Dimension{unknown, unknown, unknown, channels}}}}}}
	}
	node := func(op, out string, in ...string) *onnxpb.NodeProto {
		return &onnxpb.NodeProto{OpType: &op, Name: proto.String("step_" + out), Input: in, Output: []string{out}}
	}
	step := &onnxpb.GraphProto{Name: proto.String("gate_step"),
		Node:   []*onnxpb.NodeProto{node("Mul", "kept", "gate", "state"), node("Add", "next", "kept", "kv"), node("Identity", "seen", "next")},
		Input:  []*onnxpb.ValueInfoProto{frame("state"), frame("gate"), frame("kv")},
		Output: []*onnxpb.ValueInfoProto{frame("next"), frame("seen")}}
	start := g.fill(g.concat(0, g.dims(x, 0, 1), g.dims(x, 2, 4), g.ints(s.C)), 0)
	h := g.node("Scan", 2, []string{start, g.op("Sigmoid", third(2)), third(1)},
		attr{"body", step}, attr{"num_scan_inputs", 2}, attr{"scan_input_axes", []int{1, 1}}, attr{"scan_output_axes", []int{1}})
	return g.op("Mul", third(0), h[1])
}
