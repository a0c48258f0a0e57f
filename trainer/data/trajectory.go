package data

import (
	"math"
	"slices"

	"magvit/kernels/philox"
)

// trajectory is the motion of one clip: the dot in space and in the picture.
type trajectory struct {
	class  int
	space  []vec        // [T]
	pixels [][2]float64 // [T] x, y
	camera camera
}

const dense = 512 // points that sample a whole path

// variedTrajectory draws the motion of a class. Trivial features of
// the motion (mean speed and its changes, length and extent, position, direction)
// are drawn from distributions independent of the class.
func variedTrajectory(class, frames int, side, margin float64, r *philox.Stream) trajectory {
	path := variedPath(class, r)
	noise, turn, shift := augmentation(r)

	points := make([]vec, dense)
	for i := range points {
		points[i] = path(float64(i) / (dense - 1))
	}
	low, high := box(points)
	centre, span := low.plus(high).times(.5), high.plus(low.times(-1))
	size := slices.Max(span[:])
	c := variedView(class, path(0), path(1), r) // before the path is turned and shifted
	for i, p := range points {
		points[i] = p.plus(centre.times(-1)).times(1 / size).aboutZ(turn).plus(shift)
	}

	image := make([][2]float64, dense)
	along := make([]float64, dense) // length of the image path up to a point
	for i, p := range points {
		image[i][0], image[i][1] = c.project(p)
		if i > 0 {
			along[i] = along[i-1] + math.Hypot(image[i][0]-image[i-1][0], image[i][1]-image[i-1][1])
		}
	}
	x0, y0, x1, y1 := bounds(image)
	length, extent := along[dense-1], math.Hypot(x1-x0, y1-y0)

	// The geometric mean of length and extent is independent of the class; the
	// difference that the shapes leave is divided equally between the two.
	edge := margin + 1.5 // noise stays below 1.5 pixels but for a few frames in a thousand
	room := side - 1 - 2*edge
	apparent := room * math.Exp(r.Uniform(math.Log(.33), math.Log(1.4)))
	c.zoom = min(apparent/math.Sqrt(length*extent), .98*room/max(x1-x0, y1-y0))
	c.panX = edge - c.zoom*x0 + r.Float64()*(room-c.zoom*(x1-x0))
	c.panY = edge - c.zoom*y0 + r.Float64()*(room-c.zoom*(y1-y0))

	t := trajectory{class: class, space: make([]vec, frames), pixels: make([][2]float64, frames), camera: c}
	j := 0
	for i, s := range pace(frames, r) {
		for j < dense-2 && along[j+1] < s*length {
			j++
		}
		f := (s*length - along[j]) / max(along[j+1]-along[j], 1e-12)
		p := points[j].times(1 - f).plus(points[j+1].times(f))
		t.space[i] = p.plus(vec{r.Normal(), r.Normal(), r.Normal()}.times(noise * apparent / c.zoom))
	}
	t.projectAll(side, margin)
	return t
}

// seedTrajectory draws the motion of a class with the narrow
// ranges of published sets of this kind: steady speed and a camera that frames
// each path on its own.
func seedTrajectory(class, frames int, side, margin float64, r *philox.Stream) trajectory {
	path := seedPath(class, r)
	noise, turn, shift := augmentation(r)
	t := trajectory{class: class, space: make([]vec, frames), pixels: make([][2]float64, frames)}
	for i := range t.space {
		p := path(float64(i) / float64(frames-1)).plus(vec{r.Normal(), r.Normal(), r.Normal()}.times(noise))
		t.space[i] = p.aboutZ(turn).plus(shift)
	}
	t.camera = seedView(t.space, side)
	t.projectAll(side, margin)
	return t
}

// projectAll projects the path; the disc stays inside the frame.
func (t *trajectory) projectAll(side, margin float64) {
	for i, p := range t.space {
		x, y := t.camera.project(p)
		t.pixels[i] = [2]float64{min(max(x, margin), side-1-margin), min(max(y, margin), side-1-margin)}
	}
}

// augmentation of four paths in five: noise, a turn of up to 15 degrees, a shift of up to .1.
func augmentation(r *philox.Stream) (noise, turn float64, shift vec) {
	if r.Float64() >= .8 {
		return 0, 0, vec{}
	}
	return r.Uniform(.002, .006), r.Uniform(-15, 15) * radians,
		vec{r.Uniform(-.1, .1), r.Uniform(-.1, .1), r.Uniform(-.1, .1)}
}

// pace is the fraction of the image path covered at each frame, from 0 to 1: the
// speed has a linear trend and a slow oscillation, from 0 to twice the mean.
func pace(frames int, r *philox.Stream) []float64 {
	trend, swing := r.Uniform(-.5, .5), r.Uniform(0, .4)
	waves, phase := r.Uniform(.5, 2), r.Uniform(0, 2*math.Pi)
	s := make([]float64, frames)
	for i := 1; i < frames; i++ {
		u := (float64(i) - .5) / float64(frames-1)
		s[i] = s[i-1] + 1 + trend*(2*u-1) + swing*math.Sin(2*math.Pi*waves*u+phase)
	}
	for i := range s {
		s[i] /= s[frames-1]
	}
	return s
}

func bounds(points [][2]float64) (x0, y0, x1, y1 float64) {
	x0, y0, x1, y1 = math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, p := range points {
		x0, x1 = min(x0, p[0]), max(x1, p[0])
		y0, y1 = min(y0, p[1]), max(y1, p[1])
	}
	return
}
