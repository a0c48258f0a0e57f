package probe

import (
	"context"
	"math"

	"magvit/kernels/philox"
)

// aheadRecipe was chosen on data of one seed and is reported on another.
var aheadRecipe = recipe{steps: 1500, batch: 64, lr: .003, decay: .1}

// frame of reference of a path: its last place is 0, the way it went of late is
// along x, and its mean step is 1.
type reference struct {
	at   [2]float64
	s, c float64 // of the direction
	step float64
}

const lately = 3 // steps that tell the direction

func (p path) reference() (f reference) {
	n := len(p) - 1
	from := p[max(n-lately, 0)]
	f.at = p[n]
	angle := math.Atan2(p[n][1]-from[1], p[n][0]-from[0])
	f.s, f.c = math.Sincos(angle)
	for i := 1; i <= n; i++ {
		f.step += math.Hypot(p[i][0]-p[i-1][0], p[i][1]-p[i-1][1]) / float64(n)
	}
	f.step = max(f.step, .003) // a fifth of a pixel of 64: what stands still but for noise
	return f
}

// in gives a place in the frame of reference, out the place it came from.
func (f reference) in(q [2]float64) [2]float64 {
	x, y := (q[0]-f.at[0])/f.step, (q[1]-f.at[1])/f.step
	return [2]float64{f.c*x + f.s*y, f.c*y - f.s*x}
}

func (f reference) out(q [2]float64) [2]float64 {
	x, y := q[0]*f.step, q[1]*f.step
	return [2]float64{f.at[0] + f.c*x - f.s*y, f.at[1] + f.s*x + f.c*y}
}

// extrapolate continues a path at the mean velocity of its last steps; none keep
// it where it is.
func (p path) extrapolate(steps, ahead int) path {
	n := len(p) - 1
	steps = min(steps, n)
	out := make(path, ahead)
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

// prophet continues paths: a perceptron says by how much they leave the constant
// velocity of their last steps, in their own frame of reference, so that what it
// learns of one place, direction and speed holds for all.
type prophet struct {
	ahead int
	net   *perceptron
}

func newProphet(seen, ahead int, r *philox.Stream) *prophet {
	return &prophet{ahead, newPerceptron(2*seen+1, mlpHidden, 2*ahead, 0, r)}
}

// features of a path, mirrored about the way it goes or not.
func features(p path, f reference, side float64) []float32 {
	x := make([]float32, 0, 2*len(p)+1)
	for _, q := range p {
		v := f.in(q)
		x = append(x, float32(v[0])/4, float32(side*v[1])/4)
	}
	return append(x, float32(math.Log(f.step/.03)))
}

// fit learns from found paths and the measured ones that they were found of.
func (h *prophet) fit(ctx context.Context, rc recipe, found, measured []path, clips []int, views int, r *philox.Stream) error {
	d := make([]float32, rc.batch*2*h.ahead)
	x := make([][]float32, rc.batch)
	far := make([]path, rc.batch)
	frames := make([]reference, rc.batch)
	sides := make([]float64, rc.batch)
	for step := 1; step <= rc.steps; step++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		for k := range x {
			i := clips[r.IntN(len(clips))]*views + r.IntN(views)
			z := newSqueeze(r)
			p := z.of(found[i]).shaken(r)
			f := p.reference()
			sides[k] = float64(2*r.IntN(2) - 1)
			x[k], frames[k] = features(p, f, sides[k]), f
			far[k] = z.of(measured[i][len(p):])
		}
		y := h.net.forward(x, nil)
		for k, f := range frames {
			for a, q := range far[k] {
				// In units of the longer side, so that fast ones count as they are scored.
				i := (k*h.ahead + a) * 2
				want := f.in(q)
				dx, dy := float64(y[i])+float64(a+1)*speed(x[k])-want[0], float64(y[i+1])-sides[k]*want[1]
				e := math.Sqrt(dx*dx+dy*dy) + .05
				w := f.step / .03 / float64(rc.batch*h.ahead)
				d[i], d[i+1] = float32(w*dx/e), float32(w*dy/e)
			}
		}
		h.net.backward(d)
		adam(h.net.layers(), step, rc.rate(step), rc.decay)
	}
	return nil
}

// speed of the last steps along x, in the frame of reference.
func speed(x []float32) float64 {
	n := (len(x) - 1) / 2
	steps := min(lately, n-1)
	return -4 * float64(x[2*(n-1-steps)]) / float64(max(steps, 1))
}

// forecast continues a found path; it is the mean of both sides' forecasts.
func (h *prophet) forecast(p path) path {
	f, out := p.reference(), make(path, h.ahead)
	for _, side := range []float64{1, -1} {
		x := features(p, f, side)
		y := h.net.forward([][]float32{x}, nil)
		for a := range out {
			q := f.out([2]float64{float64(y[2*a]) + float64(a+1)*speed(x), side * float64(y[2*a+1])})
			out[a][0], out[a][1] = out[a][0]+q[0]/2, out[a][1]+q[1]/2
		}
	}
	return out
}
