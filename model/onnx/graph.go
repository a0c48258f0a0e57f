package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"magvit/kernels"
	"magvit/model/onnx/onnxpb"
)

// graph gathers the nodes of an ONNX graph. Names of results are in its order, so that equal graphs have equal bytes.
type graph struct {
	nodes  []*onnxpb.NodeProto
	consts []*onnxpb.TensorProto // small tensors that are not weights
	known  map[string]string     // constants by content
	used   []weight
	params map[string]string // weights by parameter and form
	err    error
}

// weight is an initializer that comes from a parameter.
type weight struct {
	name  string
	index int       // of the parameter
	fixed []float32 // instead of a parameter's values, where the graph has constants
	shape []int
	// from is the position in the parameter of value i of the initializer; nil: i.
	from func(i int) int
}

func newGraph() *graph { return &graph{known: map[string]string{}, params: map[string]string{}} }

// fail keeps the first error.
func (g *graph) fail(format string, args ...any) string {
	if g.err == nil {
		g.err = fmt.Errorf(format, args...)
	}
	return ""
}

// attr is an attribute of a node.
type attr struct {
	name  string
	value any // int, []int, float32, string, *onnxpb.TensorProto or *onnxpb.GraphProto
}

func (a attr) proto() *onnxpb.AttributeProto {
	p := &onnxpb.AttributeProto{Name: &a.name}
	kind := func(t onnxpb.AttributeProto_AttributeType) { p.Type = &t }
	switch v := a.value.(type) {
	case int:
		p.I = proto.Int64(int64(v))
		kind(onnxpb.AttributeProto_INT)
	case []int:
		p.Ints = wide(v)
		kind(onnxpb.AttributeProto_INTS)
	case float32:
		p.F = &v
		kind(onnxpb.AttributeProto_FLOAT)
	case string:
		p.S = []byte(v)
		kind(onnxpb.AttributeProto_STRING)
	case *onnxpb.TensorProto:
		p.T = v
		kind(onnxpb.AttributeProto_TENSOR)
	case *onnxpb.GraphProto:
		p.G = v
		kind(onnxpb.AttributeProto_GRAPH)
	default:
		panic(fmt.Sprintf("onnx: attribute %s of type %T", a.name, v)) // a programmer's error
	}
	return p
}

func wide(v []int) []int64 {
	w := make([]int64, len(v))
	for i, x := range v {
		w[i] = int64(x)
	}
	return w
}

// node adds a node with several results and returns their names.
func (g *graph) node(op string, results int, in []string, attrs ...attr) (out []string) {
	name := fmt.Sprintf("%s_%d", op, len(g.nodes))
	for i := range results {
		if results == 1 {
			out = append(out, name)
		} else {
			out = append(out, fmt.Sprintf("%s.%d", name, i))
		}
	}
	n := &onnxpb.NodeProto{OpType: &op, Name: &name, Input: in, Output: out}
	for _, a := range attrs {
		n.Attribute = append(n.Attribute, a.proto())
	}
	g.nodes = append(g.nodes, n)
	return out
}

// op adds a node with one result.
func (g *graph) op(op string, in ...string) string { return g.node(op, 1, in)[0] }

// opWith adds a node with attributes and one result.
func (g *graph) opWith(op string, attrs []attr, in ...string) string {
	return g.node(op, 1, in, attrs...)[0]
}

// constant adds a small tensor once.
func (g *graph) constant(kind onnxpb.TensorProto_DataType, shape []int, raw []byte) string {
	key := fmt.Sprint(kind, shape, raw)
	if name, ok := g.known[key]; ok {
		return name
	}
	name := fmt.Sprintf("const_%d", len(g.consts))
	g.known[key] = name
	g.consts = append(g.consts, &onnxpb.TensorProto{Name: &name, DataType: proto.Int32(int32(kind)), Dims: wide(shape), RawData: raw})
	return name
}

// ints is a constant list of integers.
func (g *graph) ints(v ...int) string { return g.intTensor([]int{len(v)}, v...) }

// int is a constant integer without axes.
func (g *graph) int(v int) string { return g.intTensor(nil, v) }

func (g *graph) intTensor(shape []int, v ...int) string {
	var raw []byte
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(x))
	}
	return g.constant(onnxpb.TensorProto_INT64, shape, raw)
}

// floats is a constant list of numbers.
func (g *graph) floats(v ...float64) string {
	var raw []byte
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(x)))
	}
	return g.constant(onnxpb.TensorProto_FLOAT, []int{len(v)}, raw)
}

// float is a constant number without axes.
func (g *graph) float(v float64) string {
	return g.constant(onnxpb.TensorProto_FLOAT, nil, binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(v))))
}

// param adds an initializer made of a parameter or a constant of the graph, once for each form.
func (g *graph) param(v value, form string, shape []int, from func(i int) int) string {
	key := v.name + form
	if _, ok := g.params[key]; !ok {
		g.params[key] = key
		g.used = append(g.used, weight{key, v.param, v.fixed, shape, from})
	}
	return key
}

// computed reports whether a value is neither a parameter nor a constant.
func (v value) computed() bool { return v.param < 0 && v.fixed == nil }

// asIs is a weight with the shape that it has.
func (g *graph) asIs(v value) string { return g.shaped(v, "", v.shape...) }

// flat is a weight of some shape as a list.
func (g *graph) flat(v value) string { return g.shaped(v, ".flat", size(v.shape)) }

// shaped is a weight in another shape of as many values.
func (g *graph) shaped(v value, form string, shape ...int) string {
	if v.computed() {
		return g.reshape(v.name, shape...)
	}
	return g.param(v, form, shape, nil)
}

func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// transposed is weights [O,C] as [C,O].
func (g *graph) transposed(v value, o, c int) string {
	if v.computed() {
		return g.transpose(g.reshape(v.name, o, c), 1, 0)
	}
	return g.param(v, ".transposed", []int{c, o}, func(i int) int { return i%o*c + i/o })
}

// channelsFirst is the weights [O,KT,KH,KW,C] of a convolution as [O,C,KT,KH,KW].
func (g *graph) channelsFirst(v value, s kernels.Conv) string {
	if v.computed() {
		return g.transpose(g.reshape(v.name, s.O, s.KT, s.KH, s.KW, s.C), 0, 4, 1, 2, 3)
	}
	taps := s.KT * s.KH * s.KW
	return g.param(v, ".channels_first", []int{s.O, s.C, s.KT, s.KH, s.KW}, func(i int) int {
		o, c, k := i/(s.C*taps), i/taps%s.C, i%taps
		return (o*taps+k)*s.C + c
	})
}

// Helpers for shapes: ONNX computes at run time what depends on the size of a batch.

// dims are the sizes of axes from to to-1 of x.
func (g *graph) dims(x string, from, to int) string {
	return g.opWith("Shape", []attr{{"start", from}, {"end", to}}, x)
}

func (g *graph) concat(axis int, in ...string) string {
	return g.opWith("Concat", []attr{{"axis", axis}}, in...)
}

// reshape has a constant shape, where 0 keeps an axis and -1 is what is left.
func (g *graph) reshape(x string, shape ...int) string { return g.op("Reshape", x, g.ints(shape...)) }

// reshapeTo joins computed sizes of the first axes and constant ones.
func (g *graph) reshapeTo(x, first string, rest ...int) string {
	return g.op("Reshape", x, g.concat(0, first, g.ints(rest...)))
}

func (g *graph) transpose(x string, perm ...int) string {
	return g.opWith("Transpose", []attr{{"perm", perm}}, x)
}

// last is the end of an axis for slice.
const last = math.MaxInt64

func (g *graph) slice(x string, axis, from, to int) string {
	return g.op("Slice", x, g.ints(from), g.ints(to), g.ints(axis))
}

func (g *graph) cast(x string, to onnxpb.TensorProto_DataType) string {
	return g.opWith("Cast", []attr{{"to", int(to)}}, x)
}

// pad puts values in front of and after each axis of x: zeros, or those of mode edge or reflect.
func (g *graph) pad(x, mode string, front, back []int) string {
	return g.opWith("Pad", []attr{{"mode", mode}}, x, g.ints(slices.Concat(front, back)...))
}

// scaled is x·mul + add.
func (g *graph) scaled(x string, mul, add float64) string {
	if mul != 1 {
		x = g.op("Mul", x, g.float(mul))
	}
	if add != 0 {
		x = g.op("Add", x, g.float(add))
	}
	return x
}

// norm is the Euclidean norm over the last axis, at least floor.
func (g *graph) norm(x string, floor float64) string {
	return g.op("Max", g.opWith("ReduceL2", []attr{{"axes", []int{-1}}, {"keepdims", 1}}, x), g.float(floor))
}

// fill is a tensor of a computed shape.
func (g *graph) fill(shape string, v float32) string {
	t := &onnxpb.TensorProto{DataType: proto.Int32(int32(onnxpb.TensorProto_FLOAT)), Dims: []int64{1}, RawData: binary.LittleEndian.AppendUint32(nil, math.Float32bits(v))}
	return g.opWith("ConstantOfShape", []attr{{"value", t}}, shape)
}

// text is the graph without the values of weights: two graphs with the same text compute the same.
func (g *graph) text() (string, error) {
	var b strings.Builder
	m := proto.MarshalOptions{Deterministic: true}
	for _, n := range g.nodes {
		raw, err := m.Marshal(n)
		if err != nil {
			return "", err
		}
		b.Write(raw)
	}
	for _, c := range g.consts {
		raw, err := m.Marshal(c)
		if err != nil {
			return "", err
		}
		b.Write(raw)
	}
	for _, w := range g.used {
		fmt.Fprint(&b, w.name, w.shape)
		if err := binary.Write(&b, binary.LittleEndian, w.fixed); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}
