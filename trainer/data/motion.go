package data

import (
	"math"

	"magvit/kernels/philox"
)

// motions are the four classes of a synthetic set, by label.
var motions = [4]struct{ name, equation, description string }{
	{"linear", "p(s) = p0 + v s", "The dot moves on a straight line."},
	{"circular", "x = r cos a(s), y = r sin a(s), z = c", "The dot moves on a circle."},
	{"helical", "x = r cos a(s), y = r sin a(s), z = c + h s", "The dot moves on a helix: a circle with a steady drift along its axis."},
	{"parabolic", "x = x0 + u s, y = y0 + v s, z = z0 + w s - g s^2 / 2", "The dot moves on a parabola, like a thrown ball."},
}

const (
	linear = iota
	circular
	helical
	parabolic
)

type vec [3]float64

// aboutZ is p rotated about the z axis.
func (p vec) aboutZ(angle float64) vec {
	s, c := math.Sincos(angle)
	return vec{c*p[0] - s*p[1], s*p[0] + c*p[1], p[2]}
}

// aboutX is p rotated about the x axis.
func (p vec) aboutX(angle float64) vec {
	s, c := math.Sincos(angle)
	return vec{p[0], c*p[1] - s*p[2], s*p[1] + c*p[2]}
}

func (p vec) plus(q vec) vec { return vec{p[0] + q[0], p[1] + q[1], p[2] + q[2]} }

func (p vec) times(f float64) vec { return vec{f * p[0], f * p[1], f * p[2]} }

const radians = math.Pi / 180

func coin(r *philox.Stream) float64 { return float64(2*r.IntN(2) - 1) }

// variedPath is a random path of a class over s in [0,1]: its shape only. Speed,
// apparent size and position are drawn independently of the class by
// variedTrajectory.
//
// Why these ranges: the chord of an arc is shorter than the arc, so at equal
// length the classes would differ in extent and at equal extent in speed. Open
// arcs, stretched helices and high throws bring the classes' ratios as close as
// distinct shapes allow; variedTrajectory divides the rest equally.
func variedPath(class int, r *philox.Stream) func(s float64) vec {
	switch class {
	case linear:
		v := vec{1, 0, r.Uniform(-.5, .5)}.aboutZ(r.Uniform(0, 2*math.Pi))
		return func(s float64) vec { return v.times(s) }
	case circular, helical:
		phase, way := r.Uniform(0, 2*math.Pi), coin(r)
		turns, rise := r.Uniform(.5, .85), 0.
		if class == helical {
			turns = r.Uniform(1.2, 1.9)
			rise = turns * r.Uniform(3, 8) * coin(r)
		}
		return func(s float64) vec {
			sin, cos := math.Sincos(phase + way*2*math.Pi*turns*s)
			return vec{cos, sin, rise * s}
		}
	}
	heading := r.Uniform(0, 2*math.Pi)
	height, top := math.Exp(r.Uniform(math.Log(.4), math.Log(3))), r.Uniform(.35, .65)
	return func(s float64) vec {
		t := (s - top) / max(top, 1-top)
		return vec{s, 0, height * (1 - t*t)}.aboutZ(heading)
	}
}

// seedPath is a path with the ranges of the "seed" style.
func seedPath(class int, r *philox.Stream) func(s float64) vec {
	switch class {
	case linear:
		start := vec{r.Uniform(-.5, .5), r.Uniform(-.5, .5), r.Uniform(1.5, 2.5)}
		var v vec
		for k := range v {
			v[k] = r.Uniform(-.3, .3)
			v[k] = math.Copysign(max(math.Abs(v[k]), .11), v[k])
		}
		return func(s float64) vec { return start.plus(v.times(s)) }
	case circular, helical:
		wide := .6
		if class == helical {
			wide = .5
		}
		radius, x, y := r.Uniform(.3, wide), r.Uniform(-.2, .2), r.Uniform(-.2, .2)
		near := r.Uniform(1.8, 2.2)
		far := near
		if class == helical {
			near, far = r.Uniform(1.5, 2), r.Uniform(2.5, 3)
		}
		return func(s float64) vec {
			sin, cos := math.Sincos(2 * math.Pi * s * float64(class)) // one turn, and two
			return vec{x + radius*cos, y + radius*sin, near + (far-near)*s}
		}
	}
	start := vec{r.Uniform(-.3, .3), r.Uniform(-.3, .3), r.Uniform(2, 2.3)}
	v := vec{r.Uniform(.3, .8), r.Uniform(-.2, .2), r.Uniform(.2, .6)}
	g := r.Uniform(.8, 1.5)
	return func(s float64) vec { return start.plus(v.times(s)).plus(vec{0, 0, -g * s * s / 2}) }
}

// camera projects space to pixels: it rotates about z, then about x, looks along
// z from a distance (0: orthographic), and rolls the picture.
type camera struct {
	centre           vec
	turn, tilt, roll float64
	away             float64
	zoom, panX, panY float64
}

// project returns pixel coordinates, x to the right and y down.
func (c camera) project(p vec) (x, y float64) {
	q := p.plus(c.centre.times(-1)).aboutZ(c.turn).aboutX(c.tilt)
	f := c.zoom
	if c.away > 0 {
		f *= c.away / (c.away + q[2])
	}
	s, k := math.Sincos(c.roll)
	return c.panX + f*(k*q[0]-s*q[1]), c.panY + f*(s*q[0]+k*q[1])
}

// variedView is a camera from which the shape of a path can be recognised: above a
// circle, beside a helix, across a throw. The roll is uniform, so that no class
// has a preferred direction.
func variedView(class int, first, last vec, r *philox.Stream) camera {
	c := camera{turn: r.Uniform(0, 2*math.Pi), roll: r.Uniform(0, 2*math.Pi), zoom: 1}
	switch class {
	case linear:
		c.tilt = r.Uniform(0, 60) * radians
	case circular:
		c.tilt = r.Uniform(66, 84) * radians
	case helical:
		c.tilt = r.Uniform(60, 85) * radians
	case parabolic:
		c.turn = -math.Atan2(last[1]-first[1], last[0]-first[0]) + r.Uniform(-1.2, 1.2)
		c.tilt = r.Uniform(65, 90) * radians
	}
	if r.Float64() < .5 {
		c.away = r.Uniform(3, 6) // paths are of size 1
	}
	return c
}

// seedView looks along z from behind the path and fits it to 70 % of the picture.
func seedView(points []vec, side float64) camera {
	low, high := box(points)
	mid, span := low.plus(high).times(.5), high.plus(low.times(-1))
	c := camera{centre: mid, panX: side / 2, panY: side / 2}
	c.away = mid[2] - (low[2] - max(1.5*span[2], 1))
	focal := side * .7 * c.away / max(span[0], span[1], .1)
	c.zoom = min(max(focal, side*50/64), side*500/64) / c.away
	return c
}

// box is the smallest and largest coordinate along each axis.
func box(points []vec) (low, high vec) {
	low, high = points[0], points[0]
	for _, p := range points {
		for k, v := range p {
			low[k], high[k] = min(low[k], v), max(high[k], v)
		}
	}
	return
}
