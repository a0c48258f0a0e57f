package model

import (
	G "gorgonia.org/gorgonia"

	"magvit/kernels"
	"magvit/model/machine"
)

// Program is a graph compiled for a backend.
type Program struct {
	Plan                              *machine.Plan
	Shape                             Shape
	Video, Weight, Codes, Recon, Loss kernels.Buffer // nil where the graph has no such node
	Cond, Boost                       kernels.Buffer
	Latents                           kernels.Buffer
	Labels, Target, Counts            kernels.Buffer
	Logits, Forecast                  kernels.Buffer
	Terms                             []Value
	Scalars                           kernels.Buffer // [MaxScalars]: Loss, then the Terms side by side; nil without a loss
}

// MaxScalars is how many scalars a program has room for.
const MaxScalars = 16

// Value is a named scalar on the backend, at a position of Program.Scalars.
type Value struct {
	Name   string
	Buffer kernels.Buffer
	At     int
}

// Compile plans the graph. Parameter i lies at params[offsets[i]:], and its
// gradient, in a training graph, at the same offset of grads. What lies there for a
// parameter that the graph does not use, stays.
func (g *Graph) Compile(be kernels.Backend, params, grads kernels.Buffer, offsets []int) (*Program, error) {
	bound := map[*G.Node]kernels.Buffer{}
	var outputs G.Nodes
	for i, n := range g.Params {
		if n == nil {
			continue
		}
		size := n.Shape().TotalSize()
		bound[n] = params.Slice(offsets[i], offsets[i]+size)
		if g.Grads != nil {
			bound[g.Grads[i]] = grads.Slice(offsets[i], offsets[i]+size)
			outputs = append(outputs, g.Grads[i])
		}
	}
	for _, n := range []*G.Node{g.Codes, g.Latents, g.Recon, g.Loss, g.Logits, g.Forecast} {
		if n != nil {
			outputs = append(outputs, n)
		}
	}
	scalars := make(map[*G.Node]int) // a loss of one term is that term
	var all kernels.Buffer
	if g.Loss != nil {
		var err error
		if all, err = be.Alloc(MaxScalars); err != nil {
			return nil, err
		}
		scalars[g.Loss], bound[g.Loss] = 0, all.Slice(0, 1)
	}
	for _, t := range g.Terms {
		outputs = append(outputs, t.Node)
		if _, ok := scalars[t.Node]; !ok {
			i := len(scalars)
			scalars[t.Node], bound[t.Node] = i, all.Slice(i, i+1)
		}
	}
	plan, err := machine.Compile(be, outputs, bound)
	if err != nil {
		return nil, err
	}
	at := func(n *G.Node) kernels.Buffer {
		if n == nil {
			return nil
		}
		return plan.Buffer(n)
	}
	p := &Program{Plan: plan, Shape: g.Shape, Video: at(g.Video), Weight: at(g.Weight), Codes: at(g.Codes), Recon: at(g.Recon), Loss: at(g.Loss), Latents: at(g.Latents), Cond: at(g.Cond), Boost: at(g.Boost),
		Labels: at(g.Labels), Target: at(g.Target), Counts: at(g.Counts), Logits: at(g.Logits), Forecast: at(g.Forecast), Scalars: all}
	if p.Boost != nil {
		if err := be.Write(p.Boost, []float32{1, 1, 1}); err != nil {
			return nil, err
		}
	}
	for _, c := range g.constants {
		if err := be.Write(plan.Buffer(c.node), c.values); err != nil {
			return nil, err
		}
	}
	for _, t := range g.Terms {
		p.Terms = append(p.Terms, Value{t.Name, plan.Buffer(t.Node), scalars[t.Node]})
	}
	return p, nil
}

// Run computes the program's results from its inputs.
func (p *Program) Run() error { return p.Plan.Run() }
