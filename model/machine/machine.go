// Package machine turns a graph of kernels into a plan and runs it on a backend.
//
// A plan is a list of prepared kernels with their arguments: the graph's nodes in
// the order of their creation, fused where the backend has a fused kernel, each
// value at a fixed place of one arena. Nothing is allocated when it runs.
//
// Why not gorgonia's own machines: shapes here never change, so order, places and
// kernels are chosen once; theirs allocate in every operation.
package machine

import (
	"fmt"
	"sort"
	"strings"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"magvit/kernels"
	"magvit/model/op"
)

// Plan is a compiled graph.
type Plan struct {
	be      kernels.Backend
	steps   []step
	buffers map[*G.Node]kernels.Buffer
	zeros   map[int]*G.Node // as many as are asked for
	final   map[*G.Node]int // number of launches after which a value does not change
	loads   [][]load        // by launch: the offloaded parameters that it is the first to use
	replay  func() error    // enqueues the steps, after the first Run
	stats   Stats
}

// step is one prepared kernel with its arguments.
type step struct {
	spec   kernels.Spec
	kernel kernels.Kernel
	args   []kernels.Buffer
}

// instr is a kernel before it has places: values are named by their nodes,
// results first.
type instr struct {
	spec kernels.Spec
	args []*G.Node
}

// results are the values that an instruction makes, sources those that it reads.
func (in instr) results() []*G.Node { return in.args[:results(in.spec)] }
func (in instr) sources() []*G.Node { return in.args[results(in.spec):] }

// results is the number of results of a kernel of a plan: 1 but for some fused ones.
func results(s kernels.Spec) int {
	s, _ = kernels.Plain(s)
	switch s := s.(type) {
	case kernels.FramePoolStats, kernels.SqueezeExciteGrad, kernels.RMSNormGrad, kernels.ConvGradWB, kernels.ConvGEGLU, kernels.AttentionStats:
		return 2
	case kernels.AttentionBackward:
		return 1 + min(s.Memory, 1)
	}
	return 1
}

// Compile plans the computation of outputs, whose values stay readable until the
// next Run. bound gives nodes a place of the caller's: inputs, parameters, which may be
// Offloaded, and outputs such as gradients. An input that is not bound gets a place of its own. how says
// which values may be made twice to save memory.
func Compile(be kernels.Backend, outputs G.Nodes, bound map[*G.Node]kernels.Buffer, how Recompute) (*Plan, error) {
	p := &Plan{be: be, buffers: map[*G.Node]kernels.Buffer{}, zeros: map[int]*G.Node{}, final: map[*G.Node]int{}}
	nodes, err := Reachable(outputs)
	if err != nil {
		return nil, err
	}
	p.stats.Nodes = len(nodes)
	for _, n := range nodes {
		if b, ok := bound[n]; ok {
			if b.Len() != size(n) {
				return nil, fmt.Errorf("machine: %v has %d values, the buffer bound to it %d", n, size(n), b.Len())
			}
			p.buffers[n] = b
		}
	}
	prog, err := p.lower(nodes)
	if err != nil {
		return nil, err
	}
	keep := map[*G.Node]bool{}
	for _, n := range outputs {
		keep[n] = true
	}
	prog = recompute(be, fuse(be, early(prog, keep, p.buffers), keep), keep, p.buffers, how)
	if kernels.StoresBF16(be) {
		prog = shuffleGrads(roundWeights(padHidden(geglus(prog), keep, p.buffers), p.buffers), keep)
	}
	half := p.store(prog, keep)
	prog = sumBiases(prog, half)
	if err := p.offload(prog); err != nil {
		return nil, err
	}
	if err := p.place(prog, half, keep); err != nil {
		return nil, err
	}
	return p, p.prepare(prog)
}

// Reachable returns what outputs depend on, in order of creation, which is a
// topological order: a node is made after its children.
func Reachable(outputs G.Nodes) (G.Nodes, error) {
	seen := map[*G.Node]bool{}
	var nodes, todo G.Nodes
	todo = append(todo, outputs...)
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[n] {
			continue
		}
		seen[n] = true
		nodes = append(nodes, n)
		todo = append(todo, Children(n)...)
	}
	sort.Slice(nodes, func(i, j int) bool { return nodes[i].ID() < nodes[j].ID() })
	made := map[*G.Node]bool{}
	for _, n := range nodes {
		made[n] = true
		for _, c := range Children(n) {
			if !made[c] {
				return nil, fmt.Errorf("machine: %v comes before its input %v", n, c)
			}
		}
	}
	return nodes, nil
}

// Children are a node's inputs in order.
func Children(n *G.Node) (cs G.Nodes) {
	for it := n.Graph().From(n.ID()); it != nil && it.Next(); {
		cs = append(cs, it.Node().(*G.Node))
	}
	return cs
}

// size is the number of values of a node; a scalar has one.
func size(n *G.Node) int {
	s := 1
	for _, d := range n.Shape() {
		s *= d
	}
	return s
}

// lower turns nodes into instructions and gives inputs and constants their places.
func (p *Plan) lower(nodes G.Nodes) (prog []instr, err error) {
	for _, n := range nodes {
		cs := Children(n)
		switch o := n.Op().(type) {
		case *op.Op:
			var in instr
			in, err = p.share(instr{o.Spec(), append([]*G.Node{n}, cs...)})
			prog = append(prog, in)
		case nil:
			if p.buffers[n] == nil {
				p.buffers[n], err = p.be.Alloc(size(n))
			}
		default:
			switch {
			case len(cs) == 0 && n.Value() != nil:
				err = p.constant(n)
			// gorgonia sums the gradients of a value that is used more than once with its own "+".
			case len(cs) == 2 && strings.HasPrefix(o.String(), "+") && size(cs[0]) == size(n) && size(cs[1]) == size(n):
				prog = append(prog, instr{kernels.Add{Len: size(n)}, []*G.Node{n, cs[0], cs[1]}})
			default:
				err = fmt.Errorf("machine: %v: operation %v (%T) is not a kernel", n, o, o)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return prog, nil
}

// constant gives a constant's value a place.
func (p *Plan) constant(n *G.Node) error {
	var v []float32
	switch d := n.Value().Data().(type) {
	case float32:
		v = []float32{d}
	case []float32:
		v = d
	default:
		return fmt.Errorf("machine: constant %v is %T, want float32", n, n.Value().Data())
	}
	b, err := p.be.Alloc(len(v))
	if err != nil {
		return err
	}
	p.buffers[n] = b
	return p.be.Write(b, v)
}

// prepare makes a kernel of each instruction; equal Specs share one.
func (p *Plan) prepare(prog []instr) error {
	kinds := map[kernels.Spec]kernels.Kernel{}
	p.stats.Kinds = map[string]Kind{}
	for i, in := range prog {
		outs := 0
		for j, a := range in.spec.Args() {
			if a.Out {
				p.final[in.args[j]] = i + 1
				outs++
			}
		}
		if want := results(in.spec); outs != want {
			return fmt.Errorf("machine: %s has %d results, want %d", kernels.Name(in.spec), outs, want)
		}
		k, ok := kinds[in.spec]
		if !ok {
			var err error
			if k, err = p.be.Prepare(in.spec); err != nil {
				return fmt.Errorf("machine: %w", err)
			}
			kinds[in.spec] = k
		}
		s := step{spec: in.spec, kernel: k}
		for _, n := range in.args {
			s.args = append(s.args, p.buffers[n])
		}
		p.steps = append(p.steps, s)
		p.stats.add(in.spec)
	}
	p.stats.Kernels, p.stats.Prepared = len(prog), len(kinds)
	return nil
}

// Buffer holds the value of an input, a parameter or an output.
func (p *Plan) Buffer(n *G.Node) kernels.Buffer { return p.buffers[n] }

// RunUnless is Run that ends with the first error of stopped, which is asked before each
// launch of a backend that computes it at once. One that records a run is asked once.
func (p *Plan) RunUnless(stopped func() error) error {
	if _, records := p.be.(kernels.Recorder); !records || p.stats.Loads > 0 {
		return p.runStepwise(stopped)
	}
	if err := stopped(); err != nil {
		return err
	}
	return p.Run()
}

// Run computes the outputs from the inputs.
func (p *Plan) Run() (err error) {
	if p.stats.Loads > 0 {
		return p.runStepwise(func() error { return nil })
	}
	if p.replay == nil {
		if p.replay, err = kernels.Record(p.be, p.Enqueue); err != nil {
			return fmt.Errorf("machine: %w", err)
		}
	}
	if err := p.replay(); err != nil {
		return fmt.Errorf("machine: %w", err)
	}
	return p.be.Sync()
}

// Enqueue is Run without the wait, kernel by kernel: a part of what kernels.Record records.
// A plan with offloaded parameters has no Enqueue.
func (p *Plan) Enqueue() { p.EnqueueRange(0, len(p.steps)) }

// EnqueueRange is Enqueue for the launches from up to to.
func (p *Plan) EnqueueRange(from, to int) {
	for _, s := range p.steps[from:to] {
		s.kernel.Run(s.args...)
	}
}

// Launches is the number of launches of a Run.
func (p *Plan) Launches() int { return len(p.steps) }

// Final is the number of a Run's launches after which an output has its value.
func (p *Plan) Final(n *G.Node) int { return p.final[n] }

// Input adds a leaf of the given shape to the graph.
func Input(g *G.ExprGraph, name string, shape ...int) *G.Node {
	if len(shape) == 0 {
		return G.NewScalar(g, tensor.Float32, G.WithName(name))
	}
	return G.NewTensor(g, tensor.Float32, len(shape), G.WithShape(shape...), G.WithName(name))
}
