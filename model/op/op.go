// Package op turns a kernel into a node of a gorgonia graph.
//
// There is one implementation of gorgonia.Op: a kernels.Spec with the shapes that
// the graph gives its arguments. Gradients are symbolic, made of ops again.
//
// Why the ops never run: machine compiles the graph and runs the kernels; Do, the
// method that gorgonia's own machines would call, only says so.
package op

import (
	"errors"
	"fmt"
	"hash"
	"hash/fnv"

	"github.com/chewxy/hm"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"magvit/kernels"
)

// Op is a kernel as a graph operation. Its result is the kernel's first argument.
type Op struct {
	spec  kernels.Spec
	shape tensor.Shape   // of the result
	in    []tensor.Shape // of the inputs
}

// Apply adds the kernel s to the graph. The result has the given shape, or the
// kernel's own if shape is nil; shapes of arguments may differ from the kernel's
// as long as they hold as many values, so [N,T,H,W,C] serves where the kernel
// speaks of [Rows,C].
func Apply(s kernels.Spec, shape tensor.Shape, in ...*G.Node) (*G.Node, error) {
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("op: %s: %w", kernels.Name(s), err)
	}
	args := s.Args()
	if len(in) != len(args)-1 {
		return nil, fmt.Errorf("op: %s: %d inputs, want %d", kernels.Name(s), len(in), len(args)-1)
	}
	if shape == nil {
		shape = tensor.Shape(args[0].Shape)
	}
	if size(shape) != args[0].Len() {
		return nil, fmt.Errorf("op: %s: result of shape %v has %d values, want %d", kernels.Name(s), shape, size(shape), args[0].Len())
	}
	o := &Op{spec: s, shape: shape.Clone()}
	for i, n := range in {
		if size(n.Shape()) != args[i+1].Len() {
			return nil, fmt.Errorf("op: %s: %s is %v with shape %v, want %d values", kernels.Name(s), args[i+1].Name, n, n.Shape(), args[i+1].Len())
		}
		o.in = append(o.in, n.Shape().Clone())
	}
	return G.ApplyOp(o, in...)
}

// size is the number of values of a shape; a scalar has one.
func size(s tensor.Shape) int {
	n := 1
	for _, d := range s {
		n *= d
	}
	return n
}

// Spec is the kernel of the op.
func (o *Op) Spec() kernels.Spec { return o.spec }

func (o *Op) Arity() int { return len(o.in) }

func (o *Op) Type() hm.Type {
	var ts []hm.Type
	for _, s := range append(append([]tensor.Shape{}, o.in...), o.shape) {
		if len(s) == 0 {
			ts = append(ts, tensor.Float32)
		} else {
			ts = append(ts, G.TensorType{Dims: len(s), Of: tensor.Float32})
		}
	}
	return hm.NewFnType(ts...)
}

func (o *Op) InferShape(...G.DimSizer) (tensor.Shape, error) { return o.shape.Clone(), nil }

func (o *Op) Do(...G.Value) (G.Value, error) {
	return nil, errors.New("op: " + kernels.Name(o.spec) + ": graphs of kernels run on package machine, not on a gorgonia VM")
}

func (o *Op) ReturnsPtr() bool     { return false }
func (o *Op) CallsExtern() bool    { return false }
func (o *Op) OverwritesInput() int { return -1 }

// String holds every attribute: gorgonia merges nodes whose hashes and inputs are equal.
func (o *Op) String() string        { return fmt.Sprintf("%s%v", kernels.Name(o.spec), o.shape) }
func (o *Op) WriteHash(h hash.Hash) { fmt.Fprint(h, o.String()) }
func (o *Op) Hashcode() uint32 {
	h := fnv.New32a()
	o.WriteHash(h)
	return h.Sum32()
}

var _ G.SDOp = (*Op)(nil)
