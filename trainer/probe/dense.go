package probe

import (
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"magvit/kernels/philox"
)

// param is an array of weights with its gradient and Adam's moments.
type param struct{ v, g, m, s []float32 }

func newParam(n int) param {
	return param{make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)}
}

// dense is y = x w + b, x [rows,in], w [in,out], y [rows,out].
type dense struct {
	in, out int
	w, b    param
}

// newDense draws weights of variance 2/in (He et al., 2015), times gain².
func newDense(in, out int, gain float64, r *philox.Stream) *dense {
	d := &dense{in, out, newParam(in * out), newParam(out)}
	for i := range d.w.v {
		d.w.v[i] = float32(gain * math.Sqrt(2/float64(in)) * r.Normal())
	}
	return d
}

func matrix(rows, cols int, v []float32) blas32.General {
	return blas32.General{Rows: rows, Cols: cols, Stride: cols, Data: v}
}

func (d *dense) forward(y, x []float32, rows int) {
	for r := range rows {
		copy(y[r*d.out:][:d.out], d.b.v)
	}
	blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, matrix(rows, d.in, x), matrix(d.in, d.out, d.w.v), 1, matrix(rows, d.out, y))
}

// backward adds to the gradients of w and b, and sets dx unless it is nil.
func (d *dense) backward(dx, x, dy []float32, rows int) {
	blas32.Gemm(blas.Trans, blas.NoTrans, 1, matrix(rows, d.in, x), matrix(rows, d.out, dy), 1, matrix(d.in, d.out, d.w.g))
	for r := range rows {
		for i, v := range dy[r*d.out:][:d.out] {
			d.b.g[i] += v
		}
	}
	if dx != nil {
		blas32.Gemm(blas.NoTrans, blas.Trans, 1, matrix(rows, d.out, dy), matrix(d.in, d.out, d.w.v), 0, matrix(rows, d.in, dx))
	}
}

func relu(x []float32) {
	for i, v := range x {
		if v < 0 {
			x[i] = 0
		}
	}
}

// reluGrad clears dx where the output y of relu is 0.
func reluGrad(dx, y []float32) {
	for i, v := range y {
		if v == 0 {
			dx[i] = 0
		}
	}
}

// softmax turns logits into shares.
func softmax(z []float32) {
	most, sum := z[0], 0.
	for _, v := range z {
		most = max(most, v)
	}
	for i, v := range z {
		e := math.Exp(float64(v - most))
		z[i] = float32(e)
		sum += e
	}
	for i := range z {
		z[i] /= float32(sum)
	}
}

// crossEntropy turns logits [rows,classes] into their gradient and returns the
// summed loss in nats.
func crossEntropy(logits []float32, labels []int, classes int) (loss float64) {
	for r, l := range labels {
		row := logits[r*classes:][:classes]
		most := row[0]
		for _, v := range row {
			most = max(most, v)
		}
		sum := 0.
		for _, v := range row {
			sum += math.Exp(float64(v - most))
		}
		loss += math.Log(sum) - float64(row[l]-most)
		for k, v := range row {
			row[k] = float32(math.Exp(float64(v-most)) / sum / float64(len(labels)))
		}
		row[l] -= 1 / float32(len(labels))
	}
	return loss
}

// adam is a step of AdamW with decay on matrices only; it clears the gradients.
func adam(layers []*dense, step int, lr, decay float64) {
	const b1, b2, eps = .9, .99, 1e-8
	c1, c2 := 1-math.Pow(b1, float64(step)), 1-math.Pow(b2, float64(step))
	rate, root, e := float32(lr/c1), float32(1/math.Sqrt(c2)), float32(eps)
	for _, l := range layers {
		for k, p := range []param{l.w, l.b} {
			shrink := float32(1)
			if k == 0 {
				shrink = float32(1 - lr*decay)
			}
			for i, g := range p.g {
				p.m[i] += (1 - b1) * (g - p.m[i])
				p.s[i] += (1 - b2) * (g*g - p.s[i])
				p.v[i] = shrink*p.v[i] - rate*p.m[i]/(float32(math.Sqrt(float64(p.s[i])))*root+e)
				p.g[i] = 0
			}
		}
	}
}
