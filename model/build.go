package model

import (
	"fmt"
	"slices"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
	"magvit/model/machine"
	"magvit/model/op"
)

// builder makes a graph for one batch shape. After the first error, which err keeps,
// every method returns nil and does nothing.
type builder struct {
	prefix         string // of the names of parameters and constants
	scaled         bool   // terms of the loss have inputs that multiply them
	training       bool   // a classifier's graph is that of a training step
	t              *Tokenizer
	g              *G.ExprGraph
	graph          *Graph
	shape          Shape
	cond           *G.Node            // [N,dim_cond], input; nil: none
	params         []*G.Node          // by index of Tokenizer.Params; nil: unused by this graph
	none           map[int]*G.Node    // zeros in place of biases, by their number
	stages         map[string]*G.Node // of published networks, for tests; nil: not recorded
	declare        bool               // unknown parameters are added to the list
	discriminating bool               // they are the discriminator's
	pieces         Pieces
	err            error
}

func newBuilder(t *Tokenizer, s Shape) *builder {
	return &builder{t: t, g: G.NewGraph(), shape: s, params: make([]*G.Node, len(t.Params)),
		graph: &Graph{Shape: s, Inputs: map[string]*G.Node{}, Outputs: map[string]*G.Node{}, statistics: map[int]*G.Node{}}}
}

// input adds a named input of the graph.
func (b *builder) input(name string, shape ...int) *G.Node {
	n := machine.Input(b.g, name, shape...)
	b.graph.Inputs[name] = n
	return n
}

// output names a result of the graph.
func (b *builder) output(name string, n *G.Node) *G.Node {
	b.graph.Outputs[name] = n
	return n
}

// constant adds an input that never changes.
func (b *builder) constant(name string, values []float32, shape ...int) *G.Node {
	n := machine.Input(b.g, b.prefix+name, shape...)
	b.graph.constants = append(b.graph.constants, constant{n, values})
	return n
}

// zeros are n zeros that never change.
func (b *builder) zeros(n int) *G.Node {
	if b.none == nil {
		b.none = map[int]*G.Node{}
	}
	if b.none[n] == nil {
		b.none[n] = b.constant(fmt.Sprintf("zeros.%d", n), make([]float32, n), n)
	}
	return b.none[n]
}

// stage records a value inside of a published network under its name.
func (b *builder) stage(name string, x *G.Node) *G.Node {
	if b.stages != nil {
		b.stages[name] = x
	}
	return x
}

// scheduled adds an input that is a function of the step and the batch in it.
func (b *builder) scheduled(name string, at func(p StepPosition, dst []float32), shape ...int) *G.Node {
	n := machine.Input(b.g, name, shape...)
	b.graph.scheduled = append(b.graph.scheduled, scheduled{n, at})
	return n
}

// register finds a parameter, or lists it.
func (b *builder) register(p Param) (index int) {
	i, ok := b.t.index[p.Name]
	if !ok && !b.declare {
		b.err = fmt.Errorf("model: parameter %s is not declared", p.Name)
		return -1
	}
	if !ok {
		i = len(b.t.Params)
		b.t.index[p.Name] = i
		p.Decay, p.Discriminator = len(p.Reference) > 1 && !p.Buffer, b.discriminating
		b.t.Params = append(b.t.Params, p)
		b.params = append(b.params, nil)
	}
	return i
}

// paramAs is a parameter with another shape in the reference. One name is one node.
func (b *builder) paramAs(name string, in initial, shape, reference []int) *G.Node {
	if b.err != nil {
		return nil
	}
	name = b.prefix + name
	i := b.register(Param{Name: name, Shape: shape, Reference: reference, init: in})
	if b.err != nil {
		return nil
	}
	if b.params[i] == nil {
		b.params[i] = machine.Input(b.g, name, shape...)
	}
	return b.params[i]
}

// param is a parameter with the same shape in the reference.
func (b *builder) param(name string, in initial, shape ...int) *G.Node {
	return b.paramAs(name, in, shape, slices.Clone(shape))
}

// buffer is state that no gradient changes, see Update.
func (b *builder) buffer(name string, in initial, shape ...int) *G.Node {
	if b.err != nil {
		return nil
	}
	b.register(Param{Name: name, Shape: shape, Reference: slices.Clone(shape), Buffer: true, init: in})
	return b.param(name, in, shape...)
}

// statistic makes a node, of a buffer's size, the batch's part of the statistic that the
// buffer's Update reads: training graphs write it where a parameter has its gradient, and
// it is summed over the batches of a step as gradients are.
func (b *builder) statistic(buffer string, n *G.Node) {
	if b.err == nil {
		b.graph.statistics[b.t.index[buffer]] = n
	}
}

// updateBuffers declares the Update of buffers.
func (b *builder) updateBuffers(s kernels.Spec, buffers ...string) {
	if b.err != nil || !b.declare {
		return
	}
	u := Update{Spec: s}
	for _, name := range buffers {
		u.Buffers = append(u.Buffers, b.t.index[name])
	}
	b.t.update = append(b.t.update, u)
}

// unusedParam declares a parameter that the reference has and does not use: no graph has it.
func (b *builder) unusedParam(name string, in initial, shape ...int) {
	if b.err == nil {
		b.register(Param{Name: name, Shape: shape, Reference: slices.Clone(shape), init: in})
	}
}

// apply adds a kernel whose result has the given shape.
func (b *builder) apply(s kernels.Spec, shape []int, in ...*G.Node) *G.Node {
	if b.err != nil {
		return nil
	}
	n, err := op.Apply(s, shape, in...)
	if err != nil {
		b.err = err
	}
	return n
}

// dims is a node's shape N,T,H,W,C; zeros after an error.
func (b *builder) dims(x *G.Node) (n, t, h, w, c int) {
	if b.err != nil {
		return
	}
	s := x.Shape()
	return s[0], s[1], s[2], s[3], s[4]
}

func (b *builder) act(k kernels.Activation, x *G.Node) *G.Node {
	if b.err != nil {
		return nil
	}
	return b.apply(kernels.Act{Kind: k, Len: x.Shape().TotalSize()}, x.Shape(), x)
}

func (b *builder) add(x, y *G.Node) *G.Node {
	if b.err != nil {
		return nil
	}
	return b.apply(kernels.Add{Len: max(x.Shape().TotalSize(), 1)}, x.Shape(), x, y)
}

// scale is x·by.
func (b *builder) scale(x *G.Node, by float64) *G.Node {
	if b.err != nil || by == 1 {
		return x
	}
	return b.apply(kernels.Affine{Len: max(x.Shape().TotalSize(), 1), Mul: float32(by)}, x.Shape(), x)
}

// frames is the frames [from,to) of every clip.
func (b *builder) frames(x *G.Node, from, to int) *G.Node {
	n, t, h, w, c := b.dims(x)
	if b.err != nil || from == 0 && to == t {
		return x
	}
	return b.apply(kernels.SliceTime{N: n, T: t, Inner: h * w * c, From: from, To: to}, []int{n, to - from, h, w, c}, x)
}
