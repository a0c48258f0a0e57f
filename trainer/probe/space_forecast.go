package probe

import (
	"context"
	"math"

	"magvit/trainer/probe/nn"
)

// space forecasts positions in space from located paths: a perceptron predicts them, in
// units of their deviation, from the path in the image.
func (t *forecastTrial) space(ctx context.Context, located []path) error {
	s, views := t.s, t.s.seen.Views
	observed, horizon := len(s.seen.motion[0]), s.frames[0]-len(s.seen.motion[0])
	var mean, scale [3]float64
	n := float64(len(t.fit) * horizon)
	for _, c := range t.fit {
		for i, v := range s.space[c][3*observed:] {
			mean[i%3] += float64(v) / n
			scale[i%3] += float64(v) * float64(v) / n
		}
	}
	for k := range 3 {
		scale[k] = math.Sqrt(max(scale[k]-mean[k]*mean[k], 1e-12))
	}
	rc := forecastRecipe.AtMost(t.o.Steps)
	r := t.stream("space")
	net := nn.NewPerceptron(len(located[0].pose()), mlpHidden, 3*horizon, 0, r)
	x, d, clips := make([][]float32, rc.Batch), make([]float32, rc.Batch*3*horizon), make([]int, rc.Batch)
	for step := 1; step <= rc.Steps; step++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		for k := range x {
			// Only the first view: a mirrored image shows another scene in space.
			clips[k] = t.fit[r.IntN(len(t.fit))]
			x[k] = located[clips[k]*views].jittered(r).pose()
		}
		y := net.Forward(x, nil)
		for k, c := range clips {
			for a := range horizon {
				var e [3]float64
				sum := 1e-4
				for i := range e {
					at := 3*a + i
					e[i] = float64(y[k*3*horizon+at]) - (float64(s.space[c][3*observed+at])-mean[i])/scale[i]
					sum += e[i] * e[i]
				}
				for i := range e {
					d[k*3*horizon+3*a+i] = float32(e[i] / math.Sqrt(sum) / float64(rc.Batch*horizon))
				}
			}
		}
		net.Backward(d)
		nn.AdamW(net.Layers(), step, rc.LearningRate(step), rc.Decay)
	}
	for _, c := range t.test {
		y := net.Forward([][]float32{located[c*views].pose()}, nil)
		actual, last := s.space[c][3*observed:], s.space[c][3*(observed-1):]
		before := s.space[c][3*(observed-2):]
		var by [3][]float64
		for a := range horizon {
			var sum [3]float64
			for i := range 3 {
				v := float64(actual[3*a+i])
				for k, predicted := range [3]float64{float64(y[3*a+i])*scale[i] + mean[i], float64(last[i]),
					float64(last[i]) + float64(a+1)*float64(last[i]-before[i])} {
					sum[k] += (predicted - v) * (predicted - v)
				}
			}
			for k := range by {
				by[k] = append(by[k], math.Sqrt(sum[k]))
			}
		}
		for k, way := range []int{spaceByCodes, spaceConstantPosition, spaceConstantVelocity} {
			t.score(way, by[k])
		}
	}
	return nil
}
