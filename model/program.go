package model

import (
	"math"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
	"magvit/model/machine"
)

// Program is a graph compiled for a backend.
type Program struct {
	Plan    *machine.Plan
	Shape   Shape
	Terms   []Value
	Scalars kernels.Buffer // [MaxScalars]: the loss, then the Terms; nil without a loss
	Means   int            // launches of Plan after which CodeMeans has its values; 0 without it
	Final   []int          // by index of the parameters: the launches of Plan after which the gradient has its value

	be        kernels.Backend
	buffers   map[string]kernels.Buffer
	scheduled []scheduled
}

// MaxScalars is the number of scalars that a program has room for.
const MaxScalars = 16

// Value is a named scalar on the backend, at a position of Program.Scalars.
type Value struct {
	Name   string
	Buffer kernels.Buffer
	At     int
}

// Compile plans the graph. Parameter i is at params[offsets[i]:] and its gradient, in a
// training graph, at the same offset of grads. Values there of a parameter that the
// graph does not use are not touched.
func (g *Graph) Compile(be kernels.Backend, params, grads kernels.Buffer, offsets []int) (*Program, error) {
	bound := map[*G.Node]kernels.Buffer{}
	var outputs G.Nodes
	for i, n := range g.Params {
		if n != nil {
			bound[n] = params.Slice(offsets[i], offsets[i]+n.Shape().TotalSize())
		}
		if g.Grads != nil && g.Grads[i] != nil {
			bound[g.Grads[i]] = grads.Slice(offsets[i], offsets[i]+g.Grads[i].Shape().TotalSize())
			outputs = append(outputs, g.Grads[i])
		}
	}
	for name, buffer := range g.Given {
		bound[g.Inputs[name]] = buffer
	}
	for _, n := range g.Outputs {
		outputs = append(outputs, n) // Compile orders them by their creation
	}
	p := &Program{Shape: g.Shape, be: be, buffers: map[string]kernels.Buffer{}}
	scalars := map[*G.Node]int{} // a loss of one term is that term
	if g.Loss != nil {
		var err error
		if p.Scalars, err = be.Alloc(MaxScalars); err != nil {
			return nil, err
		}
		for _, n := range append(G.Nodes{g.Loss}, nodes(g.Terms)...) {
			if _, ok := scalars[n]; !ok {
				i := len(scalars)
				scalars[n], bound[n] = i, p.Scalars.Slice(i, i+1)
				outputs = append(outputs, n)
			}
		}
	}
	var err error
	if p.Plan, err = machine.Compile(be, outputs, bound, g.Recompute); err != nil {
		return nil, err
	}
	p.Final = make([]int, len(g.Params))
	for i, n := range g.Grads {
		if n != nil {
			p.Final[i] = p.Plan.Final(n)
		}
	}
	if n := g.Outputs[CodeMeans]; n != nil {
		p.Means = p.Plan.Final(n)
	}
	for _, named := range []map[string]*G.Node{g.Inputs, g.Outputs} {
		for name, n := range named {
			if at := p.Plan.Buffer(n); at != nil {
				p.buffers[name] = at
			}
		}
	}
	for _, t := range g.Terms {
		p.Terms = append(p.Terms, Value{t.Name, p.Plan.Buffer(t.Node), scalars[t.Node]})
	}
	for _, c := range g.constants {
		if p.Plan.Buffer(c.node) == nil {
			continue // no output depends on it
		}
		if err := be.Write(p.Plan.Buffer(c.node), c.values); err != nil {
			return nil, err
		}
	}
	for _, s := range g.scheduled {
		if p.Plan.Buffer(s.node) != nil { // the outputs depend on it
			p.scheduled = append(p.scheduled, s)
		}
	}
	return p, p.SetStep(StepPosition{Step: math.MaxInt, Batches: 1})
}

func nodes(terms []Term) (list G.Nodes) {
	for _, t := range terms {
		list = append(list, t.Node)
	}
	return list
}

// Buffer is an input or output by its name in Graph; nil if the graph has none of that
// name.
func (p *Program) Buffer(name string) kernels.Buffer { return p.buffers[name] }

// Loss is the buffer of the loss, of a program that has one.
func (p *Program) Loss() kernels.Buffer { return p.Scalars.Slice(0, 1) }

// SetStep writes the inputs that depend on the step and the batch in it. A program starts
// as at the end of every schedule.
func (p *Program) SetStep(at StepPosition) error {
	for _, s := range p.scheduled {
		to := p.Plan.Buffer(s.node)
		values := make([]float32, to.Len())
		s.at(at, values)
		if err := p.be.Write(to, values); err != nil {
			return err
		}
	}
	return nil
}

// Run computes the program's results from its inputs.
func (p *Program) Run() error { return p.Plan.Run() }

// RunUnless is Run that ends with the first error of stopped, see machine.Plan.
func (p *Program) RunUnless(stopped func() error) error { return p.Plan.RunUnless(stopped) }
