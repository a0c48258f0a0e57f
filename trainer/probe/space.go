package probe

import (
	"context"
	"math"
)

// space forecasts positions in space from found paths: a perceptron gives them in
// units of their deviation, from what can be seen of the path in the picture.
func (t *foretrial) space(ctx context.Context, found []path) error {
	s, views := t.s, t.s.seen.Views
	observed, ahead := len(s.seen.motion[0]), s.frames[0]-len(s.seen.motion[0])
	var mean, scale [3]float64
	n := float64(len(t.fit) * ahead)
	for _, c := range t.fit {
		for i, v := range s.space[c][3*observed:] {
			mean[i%3] += float64(v) / n
			scale[i%3] += float64(v) * float64(v) / n
		}
	}
	for k := range 3 {
		scale[k] = math.Sqrt(max(scale[k]-mean[k]*mean[k], 1e-12))
	}
	rc := t.recipe(aheadRecipe)
	r := t.stream("space")
	net := newPerceptron(len(found[0].pose()), mlpHidden, 3*ahead, 0, r)
	x, d, clips := make([][]float32, rc.batch), make([]float32, rc.batch*3*ahead), make([]int, rc.batch)
	for step := 1; step <= rc.steps; step++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		for k := range x {
			// The first view only: a mirrored picture is of another scene in space.
			clips[k] = t.fit[r.IntN(len(t.fit))]
			x[k] = found[clips[k]*views].shaken(r).pose()
		}
		y := net.forward(x, nil)
		for k, c := range clips {
			for a := range ahead {
				var e [3]float64
				sum := 1e-4
				for i := range e {
					at := 3*a + i
					e[i] = float64(y[k*3*ahead+at]) - (float64(s.space[c][3*observed+at])-mean[i])/scale[i]
					sum += e[i] * e[i]
				}
				for i := range e {
					d[k*3*ahead+3*a+i] = float32(e[i] / math.Sqrt(sum) / float64(rc.batch*ahead))
				}
			}
		}
		net.backward(d)
		adam(net.layers(), step, rc.rate(step), rc.decay)
	}
	for _, c := range t.test {
		y := net.forward([][]float32{found[c*views].pose()}, nil)
		came, last := s.space[c][3*observed:], s.space[c][3*(observed-1):]
		before := s.space[c][3*(observed-2):]
		var by [3][]float64
		for a := range ahead {
			var sum [3]float64
			for i := range 3 {
				v := float64(came[3*a+i])
				for k, guess := range [3]float64{float64(y[3*a+i])*scale[i] + mean[i], float64(last[i]),
					float64(last[i]) + float64(a+1)*float64(last[i]-before[i])} {
					sum[k] += (guess - v) * (guess - v)
				}
			}
			for k := range by {
				by[k] = append(by[k], math.Sqrt(sum[k]))
			}
		}
		for k, way := range []int{spaceByCodes, spaceStays, spaceMoves} {
			t.score(way, by[k])
		}
	}
	return nil
}
