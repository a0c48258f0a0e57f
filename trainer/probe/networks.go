package probe

import (
	"math"

	"magvit/kernels/philox"
)

// perceptron is a softmax regression on vectors, with one hidden layer or none.
type perceptron struct {
	hidden, out *dense // hidden may be nil
	drop        float64
	x, h, keep  []float32
	rows        int
}

func newPerceptron(in, hidden, classes int, drop float64, r *philox.Stream) *perceptron {
	if hidden == 0 {
		return &perceptron{out: newDense(in, classes, .01, r)}
	}
	return &perceptron{hidden: newDense(in, hidden, 1, r), out: newDense(hidden, classes, .5, r), drop: drop}
}

func (p *perceptron) layers() []*dense {
	if p.hidden == nil {
		return []*dense{p.out}
	}
	return []*dense{p.hidden, p.out}
}

func (p *perceptron) forward(x [][]float32, r *philox.Stream) []float32 {
	p.x = p.x[:0]
	for _, v := range x {
		p.x = append(p.x, v...)
	}
	return p.run(p.x, len(x), r)
}

// run is forward for rows that lie one after another.
func (p *perceptron) run(x []float32, rows int, r *philox.Stream) []float32 {
	p.x, p.rows = x, rows
	y := make([]float32, rows*p.out.out)
	if p.hidden == nil {
		p.out.forward(y, x, rows)
		return y
	}
	p.h = sized(p.h, rows*p.hidden.out)
	p.hidden.forward(p.h, x, rows)
	relu(p.h)
	p.keep = sized(p.keep, len(p.h))
	for i := range p.keep {
		p.keep[i] = 1
		if r != nil && p.drop > 0 {
			p.keep[i] = float32(1 / (1 - p.drop))
			if r.Float64() < p.drop {
				p.keep[i] = 0
			}
		}
		p.h[i] *= p.keep[i]
	}
	p.out.forward(y, p.h, rows)
	return y
}

func (p *perceptron) backward(dy []float32) { p.back(nil, dy) }

// back is backward that also sets the gradient of run's x, unless dx is nil.
func (p *perceptron) back(dx, dy []float32) {
	if p.hidden == nil {
		p.out.backward(dx, p.x, dy, p.rows)
		return
	}
	dh := make([]float32, len(p.h))
	p.out.backward(dh, p.h, dy, p.rows)
	for i, k := range p.keep {
		dh[i] *= k
	}
	reluGrad(dh, p.h)
	p.hidden.backward(dx, p.x, dh, p.rows)
}

func sized(b []float32, n int) []float32 {
	if cap(b) < n {
		return make([]float32, n)
	}
	return b[:n]
}

// Sizes of the convolutional head.
const (
	convWidth  = 24 // channels of the convolution
	convEyes   = 4  // attention maps
	convValues = 8  // what is read where an eye looks
	convHidden = 64
	convMost   = 250_000 // multiplications of a 3x3 convolution from which 1x1 is taken
)

// eyes is the head over space, then time: a convolution within each frame, a few
// soft arg-maxes over space, each of which gives a place and what is found there,
// and a perceptron on these over all frames.
//
// Why: where a thing is in each frame is nearly all there is to know of a motion,
// and a linear head would have to learn it for each place anew.
type eyes struct {
	f          Field // shape of an example
	k          int   // kernel's side
	conv, read *dense
	head       *perceptron
	col, h, z  []float32 // im2col, after relu, logits of attention and values
	p, feature []float32
	rows       int
}

func newEyes(f Field, classes int, r *philox.Stream) *eyes {
	e := &eyes{f: f, k: 3}
	if f.T*f.H*f.W*9*f.C*convWidth > convMost || f.H*f.W == 1 {
		e.k = 1
	}
	e.conv = newDense(e.k*e.k*f.C, convWidth, 1, r)
	e.read = newDense(convWidth, convEyes+convValues, .7, r)
	e.head = newPerceptron(f.T*convEyes*(2+convValues), convHidden, classes, .2, r)
	return e
}

func (e *eyes) layers() []*dense { return append([]*dense{e.conv, e.read}, e.head.layers()...) }

func (e *eyes) forward(x [][]float32, r *philox.Stream) []float32 {
	f, cells := e.f, e.f.H*e.f.W
	e.rows = len(x) * f.T * cells
	e.col = sized(e.col, e.rows*e.conv.in)
	for n, v := range x {
		e.gather(e.col[n*f.T*cells*e.conv.in:], v)
	}
	e.h, e.z = sized(e.h, e.rows*convWidth), sized(e.z, e.rows*e.read.out)
	e.conv.forward(e.h, e.col, e.rows)
	relu(e.h)
	e.read.forward(e.z, e.h, e.rows)

	frames := len(x) * f.T
	e.p, e.feature = sized(e.p, e.rows*convEyes), sized(e.feature, frames*convEyes*(2+convValues))
	clear(e.feature)
	for t := range frames {
		z, p := e.z[t*cells*e.read.out:], e.p[t*cells*convEyes:]
		for a := range convEyes {
			most := z[a]
			for i := range cells {
				most = max(most, z[i*e.read.out+a])
			}
			sum := 0.
			for i := range cells {
				w := math.Exp(float64(z[i*e.read.out+a] - most))
				p[i*convEyes+a] = float32(w)
				sum += w
			}
			out := e.feature[(t*convEyes+a)*(2+convValues):][:2+convValues]
			for i := range cells {
				w := p[i*convEyes+a] / float32(sum)
				p[i*convEyes+a] = w
				px, py := e.place(i)
				out[0] += w * px
				out[1] += w * py
				for k, v := range z[i*e.read.out+convEyes:][:convValues] {
					out[2+k] += w * v
				}
			}
		}
	}
	return e.head.run(e.feature, len(x), r)
}

// place is a cell's x and y, of variance about 1 over the frame.
func (e *eyes) place(i int) (x, y float32) {
	at := func(k, n int) float32 { return 3.4 * ((float32(k)+.5)/float32(n) - .5) }
	return at(i%e.f.W, e.f.W), at(i/e.f.W, e.f.H)
}

// gather lays out the neighbourhood of each cell, zero outside.
func (e *eyes) gather(col, v []float32) {
	f, c, r := e.f, e.f.C, e.k/2
	if e.k == 1 {
		copy(col, v)
		return
	}
	i := 0
	for t := range f.T {
		for y := range f.H {
			for x := range f.W {
				for yy := y - r; yy <= y+r; yy++ {
					for xx := x - r; xx <= x+r; xx++ {
						if yy < 0 || yy >= f.H || xx < 0 || xx >= f.W {
							clear(col[i : i+c])
						} else {
							copy(col[i:i+c], v[f.at(t, yy, xx):])
						}
						i += c
					}
				}
			}
		}
	}
}

func (e *eyes) backward(dy []float32) {
	cells := e.f.H * e.f.W
	df := make([]float32, len(e.feature))
	e.head.back(df, dy)
	dz := make([]float32, len(e.z))
	for t := range len(e.feature) / (convEyes * (2 + convValues)) {
		z, d, p := e.z[t*cells*e.read.out:], dz[t*cells*e.read.out:], e.p[t*cells*convEyes:]
		for a := range convEyes {
			g := df[(t*convEyes+a)*(2+convValues):][:2+convValues]
			y := e.feature[(t*convEyes+a)*(2+convValues):][:2+convValues]
			mean := float32(0)
			for k := range g {
				mean += g[k] * y[k]
			}
			for i := range cells {
				w := p[i*convEyes+a]
				px, py := e.place(i)
				s := g[0]*px + g[1]*py - mean
				for k, v := range z[i*e.read.out+convEyes:][:convValues] {
					s += g[2+k] * v
					d[i*e.read.out+convEyes+k] += w * g[2+k]
				}
				d[i*e.read.out+a] = w * s
			}
		}
	}
	dh := make([]float32, len(e.h))
	e.read.backward(dh, e.h, dz, e.rows)
	reluGrad(dh, e.h)
	e.conv.backward(nil, e.col, dh, e.rows)
}
