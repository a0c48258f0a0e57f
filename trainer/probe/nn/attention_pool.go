package nn

import (
	"math"

	"magvit/kernels/philox"
)

// Sizes of an AttentionPool.
const (
	poolChannels  = 24 // channels of the convolution
	poolHeads     = 4  // attention maps
	poolValues    = 8  // channels that a head averages
	poolFeatures  = 2 + poolValues
	poolHidden    = 64
	poolMaxMACs   = 250_000 // multiplications of a 3x3 convolution above which the kernel is 1x1
	poolDropout   = .2
	positionScale = 3.4 // gives positions a variance of about 1 over the frame
)

// Shape is the shape [T,H,W,C] of an example.
type Shape struct{ T, H, W, C int }

// AttentionPool is a classifier over space, then time: a convolution within each frame, poolHeads attention maps over
// space (soft arg-max), each of which gives its mean position and the mean of poolValues channels there, and a
// perceptron on these features of all frames.
//
// Why: the position of a moving object in each frame is nearly all there is to know of a motion, and a linear
// classifier would have to learn it for each position separately.
type AttentionPool struct {
	shape       Shape
	kernel      int // side of the convolution's kernel
	conv, heads *Dense
	classifier  *Perceptron
	columns     []float32 // im2col of the input
	h, z        []float32 // after ReLU; logits of the maps, then values
	weights     []float32 // attention [frames,cells,poolHeads]
	features    []float32 // [frames,poolHeads,poolFeatures]
	rows        int
}

// NewAttentionPool is a network for examples of one shape.
func NewAttentionPool(s Shape, classes int, r *philox.Stream) *AttentionPool {
	e := &AttentionPool{shape: s, kernel: 3}
	if s.T*s.H*s.W*9*s.C*poolChannels > poolMaxMACs || s.H*s.W == 1 {
		e.kernel = 1
	}
	e.conv = NewDense(e.kernel*e.kernel*s.C, poolChannels, 1, r)
	e.heads = NewDense(poolChannels, poolHeads+poolValues, .7, r)
	e.classifier = NewPerceptron(s.T*poolHeads*poolFeatures, poolHidden, classes, poolDropout, r)
	return e
}

// Layers are the layers from input to output.
func (e *AttentionPool) Layers() []*Dense {
	return append([]*Dense{e.conv, e.heads}, e.classifier.Layers()...)
}

// Forward gives logits [len(x),classes]. r is the source of dropout; nil is inference.
func (e *AttentionPool) Forward(x [][]float32, r *philox.Stream) []float32 {
	s, cells, width := e.shape, e.shape.H*e.shape.W, e.heads.Out
	e.rows = len(x) * s.T * cells
	e.columns = resized(e.columns, e.rows*e.conv.In)
	for n, v := range x {
		e.im2col(e.columns[n*s.T*cells*e.conv.In:], v)
	}
	e.h, e.z = resized(e.h, e.rows*poolChannels), resized(e.z, e.rows*width)
	e.conv.Forward(e.h, e.columns, e.rows)
	relu(e.h)
	e.heads.Forward(e.z, e.h, e.rows)

	frames := len(x) * s.T
	e.weights, e.features = resized(e.weights, e.rows*poolHeads), resized(e.features, frames*poolHeads*poolFeatures)
	clear(e.features)
	for t := range frames {
		z, p := e.z[t*cells*width:], e.weights[t*cells*poolHeads:]
		for a := range poolHeads {
			top := z[a]
			for i := range cells {
				top = max(top, z[i*width+a])
			}
			sum := 0.
			for i := range cells {
				w := math.Exp(float64(z[i*width+a] - top))
				p[i*poolHeads+a] = float32(w)
				sum += w
			}
			out := e.features[(t*poolHeads+a)*poolFeatures:][:poolFeatures]
			for i := range cells {
				w := p[i*poolHeads+a] / float32(sum)
				p[i*poolHeads+a] = w
				px, py := e.position(i)
				out[0] += w * px
				out[1] += w * py
				for k, v := range z[i*width+poolHeads:][:poolValues] {
					out[2+k] += w * v
				}
			}
		}
	}
	return e.classifier.ForwardRows(e.features, len(x), r)
}

// position is the x and y of a cell, 0 in the middle of the frame.
func (e *AttentionPool) position(i int) (x, y float32) {
	at := func(k, n int) float32 { return positionScale * ((float32(k)+.5)/float32(n) - .5) }
	return at(i%e.shape.W, e.shape.W), at(i/e.shape.W, e.shape.H)
}

// im2col writes the neighbourhood of each cell of v as a row, zero outside the frame.
func (e *AttentionPool) im2col(columns, v []float32) {
	s, c, r := e.shape, e.shape.C, e.kernel/2
	if e.kernel == 1 {
		copy(columns, v)
		return
	}
	i := 0
	for t := range s.T {
		for y := range s.H {
			for x := range s.W {
				for yy := y - r; yy <= y+r; yy++ {
					for xx := x - r; xx <= x+r; xx++ {
						if yy < 0 || yy >= s.H || xx < 0 || xx >= s.W {
							clear(columns[i : i+c])
						} else {
							copy(columns[i:i+c], v[((t*s.H+yy)*s.W+xx)*c:])
						}
						i += c
					}
				}
			}
		}
	}
}

// Backward adds to the layers' gradients; dlogits is of the last forward pass.
func (e *AttentionPool) Backward(dlogits []float32) {
	cells, width := e.shape.H*e.shape.W, e.heads.Out
	df := make([]float32, len(e.features))
	e.classifier.BackwardRows(df, dlogits)
	dz := make([]float32, len(e.z))
	for t := range len(e.features) / (poolHeads * poolFeatures) {
		z, d, p := e.z[t*cells*width:], dz[t*cells*width:], e.weights[t*cells*poolHeads:]
		for a := range poolHeads {
			g := df[(t*poolHeads+a)*poolFeatures:][:poolFeatures]
			y := e.features[(t*poolHeads+a)*poolFeatures:][:poolFeatures]
			mean := float32(0)
			for k := range g {
				mean += g[k] * y[k]
			}
			for i := range cells {
				w := p[i*poolHeads+a]
				px, py := e.position(i)
				s := g[0]*px + g[1]*py - mean
				for k, v := range z[i*width+poolHeads:][:poolValues] {
					s += g[2+k] * v
					d[i*width+poolHeads+k] += w * g[2+k]
				}
				d[i*width+a] = w * s
			}
		}
	}
	dh := make([]float32, len(e.h))
	e.heads.Backward(dh, e.h, dz, e.rows)
	reluGrad(dh, e.h)
	e.conv.Backward(nil, e.columns, dh, e.rows)
}
