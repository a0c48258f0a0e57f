package data

import (
	"math"

	"magvit/kernels/chance"
)

// take is one filmed motion: where the dot is in space and in the picture.
type take struct {
	class  int
	space  []vec        // [T]
	pixels [][2]float64 // [T] x, y
	camera camera
}

const dense = 512 // points that stand for a whole path

// film makes the take of a class. What a trivial look at the motion gives away
// (mean speed and its changes, length and extent, position, direction) is drawn
// from distributions that do not know the class.
func film(class, frames int, side, margin float64, r *chance.Stream) take {
	path := variedPath(class, r)
	noise, turn, shift := augmentation(r)

	points := make([]vec, dense)
	low, high := vec{math.Inf(1), math.Inf(1), math.Inf(1)}, vec{math.Inf(-1), math.Inf(-1), math.Inf(-1)}
	for i := range points {
		points[i] = path(float64(i) / (dense - 1))
		for k, v := range points[i] {
			low[k], high[k] = min(low[k], v), max(high[k], v)
		}
	}
	centre := low.plus(high).times(.5)
	size := 0.
	for k := range high {
		size = max(size, high[k]-low[k])
	}
	for i, p := range points {
		points[i] = p.plus(centre.times(-1)).times(1 / size).aboutZ(turn).plus(shift)
	}

	c := variedView(class, points[0], points[dense-1], 1, r)
	c.centre = shift
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

	// The geometric mean of length and extent is what does not know the class.
	room := side - 2*margin
	apparent := room * math.Exp(r.Uniform(math.Log(minApparent), math.Log(maxApparent)))
	c.zoom = min(apparent/(math.Pow(length, shareLength)*math.Pow(extent, 1-shareLength)), .98*room/max(x1-x0, y1-y0))
	c.panX = margin - c.zoom*x0 + r.Float64()*(room-c.zoom*(x1-x0))
	c.panY = margin - c.zoom*y0 + r.Float64()*(room-c.zoom*(y1-y0))

	t := take{class: class, space: make([]vec, frames), pixels: make([][2]float64, frames), camera: c}
	j := 0
	for i, s := range pace(frames, r) {
		for j < dense-2 && along[j+1] < s*length {
			j++
		}
		f := (s*length - along[j]) / max(along[j+1]-along[j], 1e-12)
		p := points[j].times(1 - f).plus(points[j+1].times(f))
		t.space[i] = p.plus(vec{r.Normal(), r.Normal(), r.Normal()}.times(noise * apparent / c.zoom))
		x, y := c.project(t.space[i])
		t.pixels[i] = [2]float64{min(max(x, margin), side-1-margin), min(max(y, margin), side-1-margin)}
	}
	return t
}

var minApparent, maxApparent, shareLength = .33, 1.4, .5

// augmentation of four paths in five: noise, a turn of up to 15 degrees, a shift of up to .1.
func augmentation(r *chance.Stream) (noise, turn float64, shift vec) {
	if r.Float64() >= .8 {
		return 0, 0, vec{}
	}
	return r.Uniform(.002, .006), r.Uniform(-15, 15) * radians,
		vec{r.Uniform(-.1, .1), r.Uniform(-.1, .1), r.Uniform(-.1, .1)}
}

// pace is the share of the image path behind the dot at each frame, from 0 to 1:
// a steady trend of the speed and a slow swing, from still to double at most.
func pace(frames int, r *chance.Stream) []float64 {
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
