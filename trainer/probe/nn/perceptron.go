package nn

import "magvit/kernels/philox"

// Perceptron is a network of one hidden layer with ReLU and dropout, or of none: softmax regression.
type Perceptron struct {
	hidden, out *Dense // hidden may be nil
	dropout     float64
	x, h, mask  []float32
	rows        int
}

// NewPerceptron has hidden units, 0 for none. dropout is the probability that a unit is cleared in training.
func NewPerceptron(in, hidden, outputs int, dropout float64, r *philox.Stream) *Perceptron {
	if hidden == 0 {
		return &Perceptron{out: NewDense(in, outputs, .01, r)}
	}
	return &Perceptron{hidden: NewDense(in, hidden, 1, r), out: NewDense(hidden, outputs, .5, r), dropout: dropout}
}

// Inputs is the length of a row of x.
func (p *Perceptron) Inputs() int { return p.Layers()[0].In }

// Outputs is the length of a row of y.
func (p *Perceptron) Outputs() int { return p.out.Out }

// Layers are the layers from input to output.
func (p *Perceptron) Layers() []*Dense {
	if p.hidden == nil {
		return []*Dense{p.out}
	}
	return []*Dense{p.hidden, p.out}
}

// Forward is ForwardRows of separate rows.
func (p *Perceptron) Forward(x [][]float32, r *philox.Stream) []float32 {
	p.x = p.x[:0]
	for _, v := range x {
		p.x = append(p.x, v...)
	}
	return p.ForwardRows(p.x, len(x), r)
}

// ForwardRows gives y [rows,outputs] of x [rows,inputs]. r is the source of dropout; nil is inference.
func (p *Perceptron) ForwardRows(x []float32, rows int, r *philox.Stream) []float32 {
	p.x, p.rows = x, rows
	y := make([]float32, rows*p.out.Out)
	if p.hidden == nil {
		p.out.Forward(y, x, rows)
		return y
	}
	p.h = resized(p.h, rows*p.hidden.Out)
	p.hidden.Forward(p.h, x, rows)
	relu(p.h)
	p.mask = resized(p.mask, len(p.h))
	for i := range p.mask {
		p.mask[i] = 1
		if r != nil && p.dropout > 0 {
			p.mask[i] = float32(1 / (1 - p.dropout))
			if r.Float64() < p.dropout {
				p.mask[i] = 0
			}
		}
		p.h[i] *= p.mask[i]
	}
	p.out.Forward(y, p.h, rows)
	return y
}

// Backward adds to the layers' gradients; dy is of the last forward pass.
func (p *Perceptron) Backward(dy []float32) { p.BackwardRows(nil, dy) }

// BackwardRows is Backward that also sets the gradient of ForwardRows's x, unless dx is nil.
func (p *Perceptron) BackwardRows(dx, dy []float32) {
	if p.hidden == nil {
		p.out.Backward(dx, p.x, dy, p.rows)
		return
	}
	dh := make([]float32, len(p.h))
	p.out.Backward(dh, p.h, dy, p.rows)
	for i, k := range p.mask {
		dh[i] *= k
	}
	reluGrad(dh, p.h)
	p.hidden.Backward(dx, p.x, dh, p.rows)
}
