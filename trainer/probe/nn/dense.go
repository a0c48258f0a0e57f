// Package nn turns features and labels into small classifiers, fitted on the CPU within seconds.
//
// A Network (Perceptron, AttentionPool, or what a caller builds of Dense layers) is trained by Fit with AdamW and early
// stopping, and asked by Predict. Its matrix products are gonum's.
//
// Why it exists next to package kernels: a probe fits dozens of networks of a few thousand weights, several at once, on
// goroutines of their own. The kernels' backend is one device with one stream of operations, its graph is compiled for
// one shape, and its operations are checked for networks a thousand times larger; here a layer is one product and the
// whole of its gradient two more. Nothing here is used to train tokenizers.
package nn

import (
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"magvit/kernels/philox"
)

// Param is an array of weights with its gradient and Adam's two moments.
type Param struct{ Value, Grad, m, v []float32 }

func newParam(n int) Param {
	return Param{make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)}
}

// Dense is the layer y = x w + b with x [rows,In], w [In,Out] and y [rows,Out].
type Dense struct {
	In, Out      int
	Weight, Bias Param
}

// NewDense draws weights of variance gain² · 2/in (He et al., 2015). The bias is 0.
func NewDense(in, out int, gain float64, r *philox.Stream) *Dense {
	d := &Dense{in, out, newParam(in * out), newParam(out)}
	for i := range d.Weight.Value {
		d.Weight.Value[i] = float32(gain * math.Sqrt(2/float64(in)) * r.Normal())
	}
	return d
}

// Matrix is a row-major matrix over v.
func Matrix(rows, cols int, v []float32) blas32.General {
	return blas32.General{Rows: rows, Cols: cols, Stride: cols, Data: v}
}

// Forward sets y.
func (d *Dense) Forward(y, x []float32, rows int) {
	for r := range rows {
		copy(y[r*d.Out:][:d.Out], d.Bias.Value)
	}
	blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, Matrix(rows, d.In, x), Matrix(d.In, d.Out, d.Weight.Value), 1, Matrix(rows, d.Out, y))
}

// Backward adds to the gradients of w and b, and sets dx unless it is nil.
func (d *Dense) Backward(dx, x, dy []float32, rows int) {
	blas32.Gemm(blas.Trans, blas.NoTrans, 1, Matrix(rows, d.In, x), Matrix(rows, d.Out, dy), 1, Matrix(d.In, d.Out, d.Weight.Grad))
	for r := range rows {
		for i, v := range dy[r*d.Out:][:d.Out] {
			d.Bias.Grad[i] += v
		}
	}
	if dx != nil {
		blas32.Gemm(blas.NoTrans, blas.Trans, 1, Matrix(rows, d.Out, dy), Matrix(d.In, d.Out, d.Weight.Value), 0, Matrix(rows, d.In, dx))
	}
}

// AdamW is one step of AdamW (Loshchilov and Hutter, 2019), number 1 and up, with decay on the matrices only. It clears
// the gradients.
func AdamW(layers []*Dense, step int, lr, decay float64) {
	const b1, b2, eps = .9, .99, 1e-8
	c1, c2 := 1-math.Pow(b1, float64(step)), 1-math.Pow(b2, float64(step))
	rate, root, e := float32(lr/c1), float32(1/math.Sqrt(c2)), float32(eps)
	for _, l := range layers {
		for k, p := range []Param{l.Weight, l.Bias} {
			shrink := float32(1)
			if k == 0 {
				shrink = float32(1 - lr*decay)
			}
			for i, g := range p.Grad {
				p.m[i] += (1 - b1) * (g - p.m[i])
				p.v[i] += (1 - b2) * (g*g - p.v[i])
				p.Value[i] = shrink*p.Value[i] - rate*p.m[i]/(float32(math.Sqrt(float64(p.v[i])))*root+e)
				p.Grad[i] = 0
			}
		}
	}
}

// resized has length n; its content is arbitrary.
func resized(b []float32, n int) []float32 {
	if cap(b) < n {
		return make([]float32, n)
	}
	return b[:n]
}
