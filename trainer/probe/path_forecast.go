package probe

import (
	"context"
	"math"

	"magvit/kernels/philox"
	"magvit/trainer/probe/nn"
)

// forecastRecipe was chosen on data of one seed and is reported on another.
var forecastRecipe = nn.Recipe{Steps: 1500, Batch: 64, LR: .003, Decay: .1}

// reference is a path's frame of reference: its last position is 0, its direction over
// the last steps is x, and its mean step is 1.
type reference struct {
	origin [2]float64
	s, c   float64 // sine and cosine of the direction
	step   float64
}

const directionSteps = 3 // steps over which the direction is measured

func (p path) reference() (f reference) {
	n := len(p) - 1
	from := p[max(n-directionSteps, 0)]
	f.origin = p[n]
	angle := math.Atan2(p[n][1]-from[1], p[n][0]-from[0])
	f.s, f.c = math.Sincos(angle)
	for i := 1; i <= n; i++ {
		f.step += math.Hypot(p[i][0]-p[i-1][0], p[i][1]-p[i-1][1]) / float64(n)
	}
	f.step = max(f.step, .003) // a fifth of a pixel of 64: noise of an object that does not move
	return f
}

// local gives a position in the frame of reference.
func (f reference) local(q [2]float64) [2]float64 {
	x, y := (q[0]-f.origin[0])/f.step, (q[1]-f.origin[1])/f.step
	return [2]float64{f.c*x + f.s*y, f.c*y - f.s*x}
}

// global is the inverse of local.
func (f reference) global(q [2]float64) [2]float64 {
	x, y := q[0]*f.step, q[1]*f.step
	return [2]float64{f.origin[0] + f.c*x - f.s*y, f.origin[1] + f.s*x + f.c*y}
}

// extrapolate continues a path at the mean velocity of its last steps; with 0 steps
// the velocity is 0.
func (p path) extrapolate(steps, horizon int) path {
	n := len(p) - 1
	steps = min(steps, n)
	out := make(path, horizon)
	for i := range out {
		out[i] = p[n]
		for k := range 2 {
			if steps > 0 {
				out[i][k] += float64(i+1) * (p[n][k] - p[n-steps][k]) / float64(steps)
			}
		}
	}
	return out
}

// pathForecaster continues paths: a perceptron predicts the deviation from the constant
// velocity of the last steps, in the path's frame of reference, so that what it learns
// at one position, direction and speed holds for all.
type pathForecaster struct {
	horizon int // frames
	net     *nn.Perceptron
}

func newPathForecaster(seen, horizon int, r *philox.Stream) *pathForecaster {
	return &pathForecaster{horizon, nn.NewPerceptron(2*seen+1, mlpHidden, 2*horizon, 0, r)}
}

// features of a path in its frame of reference. side is 1, or -1 to mirror it about its direction.
func features(p path, f reference, side float64) []float32 {
	x := make([]float32, 0, 2*len(p)+1)
	for _, q := range p {
		v := f.local(q)
		x = append(x, float32(v[0])/4, float32(side*v[1])/4)
	}
	return append(x, float32(math.Log(f.step/.03)))
}

// fit trains on located paths and the measured paths of the same clips.
func (h *pathForecaster) fit(ctx context.Context, rc nn.Recipe, located, measured []path, clips []int, views int, r *philox.Stream) error {
	d := make([]float32, rc.Batch*2*h.horizon)
	x := make([][]float32, rc.Batch)
	targets := make([]path, rc.Batch)
	frames := make([]reference, rc.Batch)
	sides := make([]float64, rc.Batch)
	for step := 1; step <= rc.Steps; step++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		for k := range x {
			i := clips[r.IntN(len(clips))]*views + r.IntN(views)
			z := newStretch(r)
			p := z.of(located[i]).jittered(r)
			f := p.reference()
			sides[k] = float64(2*r.IntN(2) - 1)
			x[k], frames[k] = features(p, f, sides[k]), f
			targets[k] = z.of(measured[i][len(p):])
		}
		y := h.net.Forward(x, nil)
		for k, f := range frames {
			for a, q := range targets[k] {
				// Errors are weighted by the step, so that they count in units of the longer side, as they are scored.
				i := (k*h.horizon + a) * 2
				want := f.local(q)
				dx, dy := float64(y[i])+float64(a+1)*speed(x[k])-want[0], float64(y[i+1])-sides[k]*want[1]
				e := math.Sqrt(dx*dx+dy*dy) + .05
				w := f.step / .03 / float64(rc.Batch*h.horizon)
				d[i], d[i+1] = float32(w*dx/e), float32(w*dy/e)
			}
		}
		h.net.Backward(d)
		nn.AdamW(h.net.Layers(), step, rc.LearningRate(step), rc.Decay)
	}
	return nil
}

// speed is the mean speed of the last steps along x, in the frame of reference.
func speed(x []float32) float64 {
	n := (len(x) - 1) / 2
	steps := min(directionSteps, n-1)
	return -4 * float64(x[2*(n-1-steps)]) / float64(max(steps, 1))
}

// forecast continues a located path. It is the mean of the forecasts with and without mirroring.
func (h *pathForecaster) forecast(p path) path {
	f, out := p.reference(), make(path, h.horizon)
	for _, side := range []float64{1, -1} {
		x := features(p, f, side)
		y := h.net.Forward([][]float32{x}, nil)
		for a := range out {
			q := f.global([2]float64{float64(y[2*a]) + float64(a+1)*speed(x), side * float64(y[2*a+1])})
			out[a][0], out[a][1] = out[a][0]+q[0]/2, out[a][1]+q[1]/2
		}
	}
	return out
}
