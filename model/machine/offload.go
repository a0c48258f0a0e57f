package machine

import (
	"fmt"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// Offloaded is a Buffer of parameters that are not in memory. A plan reads a parameter before
// the first launch that uses it, to a place in the arena that other values have before and
// after. Every Run reads all of them again.
type Offloaded struct {
	at, n int
	read  func(at int, to kernels.Buffer) error
}

// NewOffloaded is a Buffer of n values, of which read writes those from position at to the
// whole of a buffer of the plan's backend.
func NewOffloaded(n int, read func(at int, to kernels.Buffer) error) Offloaded {
	return Offloaded{0, n, read}
}

func (o Offloaded) Len() int { return o.n }

func (o Offloaded) Slice(from, to int) kernels.Buffer {
	if from < 0 || to < from || to > o.n {
		panic(fmt.Sprintf("machine: values [%d,%d) of %d that are offloaded", from, to, o.n))
	}
	return Offloaded{o.at + from, to - from, o.read}
}

// ReadTo writes the values to a buffer of as many.
func (o Offloaded) ReadTo(to kernels.Buffer) error { return o.read(o.at, to) }

// load is a parameter that a launch needs in memory.
type load struct {
	from Offloaded
	node *G.Node
}

// offload takes the parameters that are not in memory out of p.buffers and lists those that
// each instruction is the first to use.
func (p *Plan) offload(prog []instr) error {
	p.loads = make([][]load, len(prog))
	for i, in := range prog {
		for j, n := range in.args {
			from, ok := p.buffers[n].(Offloaded)
			if !ok {
				continue
			}
			if j < results(in.spec) {
				return fmt.Errorf("machine: %s changes %v, which is offloaded", kernels.Name(in.spec), n)
			}
			delete(p.buffers, n)
			p.loads[i] = append(p.loads[i], load{from, n})
			p.stats.Loads++
		}
	}
	return nil
}

// launch reads what launch i needs and enqueues it.
func (p *Plan) launch(i int) error {
	for _, l := range p.loads[i] {
		if err := l.from.ReadTo(p.buffers[l.node]); err != nil {
			return fmt.Errorf("machine: parameter %v: %w", l.node, err)
		}
	}
	p.steps[i].kernel.Run(p.steps[i].args...)
	return nil
}

// runStepwise is a run that is not recorded, as of a plan with offloaded parameters.
func (p *Plan) runStepwise(stopped func() error) error {
	for i := range p.steps {
		if err := stopped(); err != nil {
			return err
		}
		if err := p.launch(i); err != nil {
			return err
		}
	}
	return p.be.Sync()
}
