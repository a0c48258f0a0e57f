package model

import (
	"fmt"
	"math"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
	"magvit/kernels/philox"
)

// Path configures a Classifier's heads on the path of a clip's moving object: its position
// in each frame. A class that is a form of motion has it at any angle and size, and few
// clips do not show all of them; these heads see the path at many angles and average.
type Path struct {
	Rotations int     `yaml:"rotations"` // rotations of the path, by multiples of 360°/n, that the heads average over; 0: no heads on a path
	Mirror    bool    `yaml:"mirror"`    // the heads average over mirrored paths too; false where a mirrored motion is of another class
	Jitter    float64 `yaml:"jitter"`    // standard deviation of the noise on the path that the heads see in training, in half sides of a frame
	Weight    float64 `yaml:"weight"`    // weight of the mean distance along x and y between located and true positions (points_2d), in half sides of a frame
}

// maxRotations bounds Path.Rotations.
const maxRotations = 256

func (p Path) validate() []error {
	n := between("classify.path.rotations", p.Rotations, 0, maxRotations)
	if p.Rotations == 1 {
		n = fmt.Errorf("model.classify.path.rotations: 1: want 2 or more, or 0 for no heads on a path")
	}
	return []error{n, inRange("classify.path.jitter", p.Jitter, 0, 1), inRange("classify.path.weight", p.Weight, 0, 1e6)}
}

// copies is the number of rotated and mirrored paths.
func (p Path) copies() int {
	if p.Mirror {
		return 2 * p.Rotations
	}
	return p.Rotations
}

// turns are the matrices of the rotations and of the mirrored rotations.
func (p Path) turns() [][2][2]float64 {
	all := make([][2][2]float64, p.copies())
	for i := range all {
		sin, cos := math.Sincos(2 * math.Pi * float64(i%p.Rotations) / float64(p.Rotations))
		flip := 1.
		if i >= p.Rotations {
			flip = -1
		}
		all[i] = [2][2]float64{{cos, -flip * sin}, {sin, flip * cos}}
	}
	return all
}

// minExtent and minStep are added to the mean squares that paths and their steps are divided
// by the roots of, in half sides of a frame: smaller ones are not enlarged to the size of
// others.
const (
	minExtent = .05 * .05
	minStep   = .01 * .01
)

// locate is the path [N,T,1,1,2] of the moving object, x and y from the frame's middle in
// units of half its longer side, from features [N,T',1,1,C] of frames. A first feature of
// fewer frames than the others is of the clip's first ones.
func (b *builder) locate(name string, features *G.Node, frames int) *G.Node {
	n, t, _, _, _ := b.dims(features)
	if b.err != nil {
		return nil
	}
	per := (frames + t - 1) / t
	path := b.reshape(b.conv(name, features, 2*per, point, convOptions{}), n, t*per, 1, 1, 2)
	return b.frames(path, t*per-frames, t*per)
}

// jittered is a path [N,T,1,1,2] with independent noise on each position.
//
// Why: what moves is drawn at whole pixels, and few clips show few of the errors that this
// makes; heads learn them by heart.
func (b *builder) jittered(name string, path *G.Node) *G.Node {
	n, t, h, w, c := b.dims(path)
	if b.err != nil {
		return nil
	}
	purpose, size, per := b.prefix+name, b.t.Config.Classify.Path.Jitter, t*h*w*c
	return b.add(path, b.scheduled(purpose, func(p StepPosition, dst []float32) {
		for clip := range n {
			r := philox.New(p.Seed, purpose, uint64(p.Step), uint64(p.Batch*n+clip))
			for i := range per {
				dst[clip*per+i] = float32(size * r.Normal())
			}
		}
	}, n, t, h, w, c))
}

// reshape is x with another shape of the same size.
func (b *builder) reshape(x *G.Node, shape ...int) *G.Node {
	if b.err != nil {
		return nil
	}
	return b.apply(kernels.Affine{Len: x.Shape().TotalSize(), Mul: 1}, shape, x)
}

// linearMap is a matrix product with constant weights [out,in] of the values of each clip.
func (b *builder) linearMap(name string, x *G.Node, weights []float32, shape ...int) *G.Node {
	if b.err != nil {
		return nil
	}
	n := x.Shape()[0]
	in := x.Shape().TotalSize() / n
	out := len(weights) / in
	y := b.apply(linearSpec(n, 1, 1, 1, in, out), []int{n, 1, 1, 1, out}, b.reshape(x, n, 1, 1, 1, in), b.constant(name, weights, out, in))
	return b.reshape(y, shape...)
}

// turned is the path [N,T,1,1,2], relative to its mean, as all copies see it, [N,T,1,copies,2].
func (b *builder) turned(name string, path *G.Node) *G.Node {
	_, t, _, _, _ := b.dims(path)
	return b.copies(name, path, t, func(f, from int) float64 {
		weight := -1 / float64(t)
		if from == f {
			weight++
		}
		return weight
	})
}

// steps are the changes of the path [N,T,1,1,2] from frame to frame, as all copies see them,
// [N,T-1,1,copies,2]; one of 0 where there is one frame.
func (b *builder) steps(name string, path *G.Node) *G.Node {
	_, t, _, _, _ := b.dims(path)
	return b.copies(name, path, max(t-1, 1), func(f, from int) float64 {
		switch {
		case t > 1 && from == f:
			return -1
		case from == f+1:
			return 1
		}
		return 0
	})
}

// copies are linear functions of the positions of a path [N,T,1,1,2], turned: value f is the
// sum of the positions times weight(f, frame). The result is [N,rows,1,copies,2].
func (b *builder) copies(name string, path *G.Node, rows int, weight func(f, from int) float64) *G.Node {
	n, t, _, _, _ := b.dims(path)
	if b.err != nil {
		return nil
	}
	turns := b.t.Config.Classify.Path.turns()
	matrix := make([]float32, rows*len(turns)*2*t*2)
	for f := range rows {
		for g, turn := range turns {
			for k := range 2 {
				row := matrix[((f*len(turns)+g)*2+k)*t*2:][:t*2]
				for from := range t {
					for j := range 2 {
						row[from*2+j] = float32(weight(f, from) * turn[k][j])
					}
				}
			}
		}
	}
	return b.linearMap(name+".turns", path, matrix, n, rows, 1, len(turns), 2)
}

// overPath is residual units over the time of each copy of a path [N,T,1,copies,2].
func (b *builder) overPath(name string, x *G.Node) *G.Node {
	k := b.t.Config.Classify
	x = b.causal(name+".in", x, k.HeadDim, Kernel{3, 1, 1}, convOptions{mode: kernels.Replicate})
	for i := range k.HeadLayers {
		x = b.residual(fmt.Sprintf("%s.time.%d", name, i), x, Kernel{3, 1, 1}, convOptions{dilation: 1 << i})
	}
	return x
}

// normalized is values of all copies [N,T,1,copies,2] divided by their scale: the root of
// the mean square of a clip's, and of the smallest one.
func (b *builder) normalized(name string, x *G.Node, smallest float32) *G.Node {
	n, t, h, w, c := b.dims(x)
	if b.err != nil {
		return nil
	}
	size := t * h * w * c
	ones := make([]float32, size)
	for i := range ones {
		ones[i] = 1
	}
	// The mean over all rotations is 0, and LayerNorm divides alone.
	return b.apply(kernels.LayerNorm{Rows: n, C: size, Eps: smallest}, []int{n, t, h, w, c}, x, b.constant(name+".ones", ones, size), b.zeros(size))
}

// scaleOf is what normalized divided x by, [N,outs] for a clip, each of them the same.
func (b *builder) scaleOf(name string, x, normalized *G.Node, outs int) *G.Node {
	n, t, h, w, c := b.dims(x)
	if b.err != nil {
		return nil
	}
	size := t * h * w * c
	product := b.apply(kernels.FrameGate{F: n, P: 1, C: size}, []int{n, t, h, w, c}, x, normalized) // scale·normalized²
	mean := make([]float32, outs*size)
	for i := range mean {
		mean[i] = 1 / float32(size)
	}
	return b.linearMap(name+".scale", product, mean, n, outs)
}

// pathForm is features [N,1,1,1,C] of the form of a path [N,T,1,1,2]: they do not depend on
// its place and, but for small ones, on its size, nor on its angle where that changes by a
// multiple of 360°/rotations.
func (b *builder) pathForm(name string, path *G.Node) *G.Node {
	x := b.normalized(name, b.turned(name, path), minExtent)
	return b.attentionPool(name, b.overPath(name, x), 0, true)
}

// pathForecast is positions [N,horizon,2] after those of a path [N,T,1,1,2], relative to the
// last one in units of model.classify.unit: constant velocity and, times the length of the
// path's steps, what the heads on each copy add to it, turned back and averaged.
func (b *builder) pathForecast(name string, path *G.Node, s Shape) *G.Node {
	k := b.t.Config.Classify
	n, t, _, _, _ := b.dims(path)
	if b.err != nil {
		return nil
	}
	steps := b.steps(name, path)
	x := b.normalized(name, steps, minStep)
	length := b.scaleOf(name, steps, x, 2*k.Horizon)
	x = b.overPath(name, x)
	last := max(t-1, 1)
	y := b.act(kernels.ELU, b.conv(name+".0", b.frames(x, last-1, last), 2*k.HeadDim, point, convOptions{}))
	y = b.conv(name+".1", y, 2*k.Horizon, point, convOptions{zero: true, fixedBias: true})
	scale := float64(max(s.H, s.W)) / 2 / k.Unit
	first := s.T - k.Horizon - t + 1 // frames from the last one seen to the first of the horizon
	turns := k.Path.turns()
	back, velocity := make([]float32, k.Horizon*2*len(turns)*k.Horizon*2), make([]float32, k.Horizon*2*t*2)
	for h := range k.Horizon {
		for j := range 2 {
			row := h*2 + j
			for g, turn := range turns {
				for i := range 2 { // the transpose of a turn is its inverse
					back[(row*len(turns)+g)*k.Horizon*2+h*2+i] = float32(scale * turn[i][j] / float64(len(turns)))
				}
			}
			if t > 1 {
				velocity[row*t*2+(t-1)*2+j] = float32(scale * float64(first+h))
				velocity[row*t*2+(t-2)*2+j] = -velocity[row*t*2+(t-1)*2+j]
			}
		}
	}
	added := b.linearMap(name+".back", y, back, n, k.Horizon, 2)
	added = b.apply(kernels.FrameGate{F: n, P: 1, C: 2 * k.Horizon}, []int{n, k.Horizon, 2}, added, length)
	return b.add(b.linearMap(name+".velocity", path, velocity, n, k.Horizon, 2), added)
}
