package onnx

import (
	"fmt"
	"reflect"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
	"magvit/model"
	"magvit/model/machine"
	"magvit/model/onnx/onnxpb"
	"magvit/model/op"
)

// value is a tensor of the graph.
type value struct {
	name  string
	shape []int // for the batch that the graph was built for
	param int   // index of the parameter, or -1
	fixed []float32
	from  *source
}

// source is the kernel that computed a value, with its inputs.
type source struct {
	spec kernels.Spec
	in   []value
}

// half is one of the two graphs of a tokenizer: its name, inputs and outputs.
type half struct {
	name    string
	graph   func(model.Shape) (*model.Graph, error)
	outputs []string
}

// convert writes the graph of a batch shape. It returns the names of the results.
func (h half) convert(t *model.Tokenizer, s model.Shape) (g *graph, outputs []string, err error) {
	m, err := h.graph(s)
	if err != nil {
		return nil, nil, err
	}
	g = newGraph()
	values := map[*G.Node]value{}
	for i, n := range m.Params {
		if n != nil {
			values[n] = value{name: t.Params[i].Name, shape: n.Shape(), param: i}
		}
	}
	for n, v := range m.Constants() {
		values[n] = value{name: n.Name(), shape: n.Shape(), param: -1, fixed: v}
	}
	for name, n := range m.Inputs {
		values[n] = value{name: name + ".input", shape: n.Shape(), param: -1}
	}
	for _, name := range inputs { // in one order
		if m.Inputs[name] != nil {
			g.input(name, t)
		}
	}
	var roots G.Nodes
	for _, name := range h.outputs {
		roots = append(roots, m.Outputs[name])
	}
	nodes, err := machine.Reachable(roots)
	if err != nil {
		return nil, nil, err
	}
	for _, n := range nodes {
		if _, known := values[n]; known {
			continue
		}
		if err := g.add(n, values); err != nil {
			return nil, nil, err
		}
	}
	for _, name := range h.outputs {
		outputs = append(outputs, g.output(name, values[m.Outputs[name]].name, t))
	}
	return g, outputs, g.err
}

// add writes the kernel of a node.
func (g *graph) add(n *G.Node, values map[*G.Node]value) error {
	o, ok := n.Op().(*op.Op)
	if !ok {
		return fmt.Errorf("onnx: %v is neither a kernel nor an input", n)
	}
	s := o.Spec()
	r, ok := rules[reflect.TypeOf(s)]
	if !ok {
		return fmt.Errorf("onnx: the kernel %s has no form in ONNX here; rules in model/onnx are by kernel", typeName(s))
	}
	if err := r.understands(s); err != nil {
		return err
	}
	from := &source{spec: s}
	for _, c := range machine.Children(n) {
		from.in = append(from.in, values[c])
	}
	name := r.write(g, s, n.Shape(), from.in)
	if g.err != nil {
		return fmt.Errorf("%s: %w", typeName(s), g.err)
	}
	values[n] = value{name: name, shape: n.Shape(), param: -1}
	if _, ok := s.(kernels.Modulate); ok {
		values[n] = value{name: name, shape: n.Shape(), param: -1, from: from}
	}
	return nil
}

// inputs are the names of a graph's inputs.
var inputs = []string{"video", "codes", "cond"}

// input brings an input of the file, as the arrays of clips and codes have it, to the kernels' layout.
func (g *graph) input(name string, t *model.Tokenizer) {
	x := name
	switch name {
	case "video": // [N,T,C,H,W]
		x = g.transpose(x, 0, 1, 3, 4, 2)
	case "codes": // int32 [N,T',H',W'], and an axis of codebooks if there are several
		x = g.cast(x, integers)
		if t.Config.Quantizer.Codebooks == 1 {
			x = g.op("Unsqueeze", x, g.ints(4))
		}
	}
	g.rename(name+".input", x)
}

// output brings a result to the layout of arrays of clips and codes.
func (g *graph) output(name, x string, t *model.Tokenizer) string {
	switch name {
	case "recon":
		name, x = "video", g.op("Clip", g.transpose(x, 0, 1, 4, 2, 3), g.float(0), g.float(1))
	case "codes":
		if t.Config.Quantizer.Codebooks == 1 {
			x = g.op("Squeeze", x, g.ints(4))
		}
		x = g.cast(x, onnxpb.TensorProto_INT32)
	}
	g.rename(name, x)
	return name
}

// rename adds a name for a value.
func (g *graph) rename(name, x string) {
	op, node := "Identity", "name_"+name
	g.nodes = append(g.nodes, &onnxpb.NodeProto{OpType: &op, Name: &node, Input: []string{x}, Output: []string{name}})
}
