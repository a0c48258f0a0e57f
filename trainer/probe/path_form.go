package probe

import (
	"math"
	"slices"

	"magvit/kernels/philox"
)

const formPoints = 16 // points of a form, evenly spaced along the path

// pose gives the path's mean, the logarithm of its size, and its points relative to
// both, so that a class may depend on any of them.
func (p path) pose() []float32 {
	middle, size := p.extent()
	f := []float32{float32(3.4 * (middle[0] - .5)), float32(3.4 * (middle[1] - .5)), float32(math.Log(size + .01))}
	for _, q := range p {
		f = append(f, float32((q[0]-middle[0])/(size+.01)), float32((q[1]-middle[1])/(size+.01)))
	}
	return f
}

// form is independent of the path's position, size, direction, mirroring and speed:
// points evenly spaced along it, centered, scaled to a deviation of 1, rotated so that
// the main axis is x, and mirrored so that it begins on the left and its larger bulge
// is up.
func (p path) form() []float32 {
	q := p.resample(formPoints)
	middle, size := q.extent()
	var xx, xy, yy float64
	for i := range q {
		for k := range 2 {
			q[i][k] = (q[i][k] - middle[k]) / (size + 1e-6)
		}
		xx, xy, yy = xx+q[i][0]*q[i][0], xy+q[i][0]*q[i][1], yy+q[i][1]*q[i][1]
	}
	s, c := math.Sincos(-math.Atan2(2*xy, xx-yy) / 2)
	var lean, bulge float64
	for i, v := range q {
		q[i] = [2]float64{c*v[0] - s*v[1], s*v[0] + c*v[1]}
		lean += q[i][0] * (float64(i) - (formPoints-1)/2.)
		bulge += q[i][1] * q[i][1] * q[i][1]
	}
	f := make([]float32, 0, 2*formPoints)
	for _, v := range q {
		f = append(f, float32(v[0]*math.Copysign(1, lean)), float32(v[1]*math.Copysign(1, bulge)))
	}
	return f
}

// extent gives the mean and the root of the mean squared distance from it.
func (p path) extent() (middle [2]float64, size float64) {
	n := float64(len(p))
	for _, q := range p {
		middle[0], middle[1] = middle[0]+q[0]/n, middle[1]+q[1]/n
	}
	for _, q := range p {
		size += ((q[0]-middle[0])*(q[0]-middle[0]) + (q[1]-middle[1])*(q[1]-middle[1])) / n
	}
	return middle, math.Sqrt(size)
}

// resample gives n points at equal distances along the path.
func (p path) resample(n int) path {
	along := make([]float64, len(p))
	for i := 1; i < len(p); i++ {
		along[i] = along[i-1] + math.Hypot(p[i][0]-p[i-1][0], p[i][1]-p[i-1][1])
	}
	out, j := make(path, n), 0
	for i := range out {
		at := along[len(p)-1] * float64(i) / float64(n-1)
		for j < len(p)-2 && along[j+1] < at {
			j++
		}
		to := p[min(j+1, len(p)-1)]
		f := 0.
		if j+1 < len(p) && along[j+1] > along[j] {
			f = min((at-along[j])/(along[j+1]-along[j]), 1)
		}
		for k := range 2 {
			out[i][k] = p[j][k] + f*(to[k]-p[j][k])
		}
	}
	return out
}

const (
	formNoise   = .005 // of a frame's longer side: a third of a pixel of 64
	formStretch = .5   // largest logarithm of the factor by which one axis is stretched
)

// stretch scales positions along a random axis, like a change of the viewing angle.
type stretch struct{ s, c, by float64 }

func newStretch(r *philox.Stream) stretch {
	s, c := math.Sincos(r.Uniform(0, math.Pi))
	return stretch{s, c, math.Exp(r.Uniform(-formStretch, formStretch)) - 1}
}

func (z stretch) of(p path) path {
	out := make(path, len(p))
	for i, q := range p {
		along := z.by * (z.c*q[0] + z.s*q[1])
		out[i] = [2]float64{q[0] + along*z.c, q[1] + along*z.s}
	}
	return out
}

// augmented is the path with noise, stretched, and in half of the cases reversed.
func (p path) augmented(r *philox.Stream) path {
	out := newStretch(r).of(p).jittered(r)
	if r.IntN(2) == 1 {
		slices.Reverse(out)
	}
	return out
}

// jittered is the path with noise.
func (p path) jittered(r *philox.Stream) path {
	out := make(path, len(p))
	for i, q := range p {
		out[i] = [2]float64{q[0] + formNoise*r.Normal(), q[1] + formNoise*r.Normal()}
	}
	return out
}
