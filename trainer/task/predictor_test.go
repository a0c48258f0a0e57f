package task

import (
	"math"
	"testing"

	"magvit/model"
	"magvit/trainer/config"
	"magvit/trainer/data"
	"magvit/trainer/metrics"
)

// Of a straight line at steady speed the last velocity forecasts all, the last position
// errs by the way gone; a network's zeros are the last position.
func TestForecastBaselines(t *testing.T) {
	k := model.Classify{Forecast: model.ForecastImage, Horizon: 2, Unit: 4}
	b := &data.Batch{N: 2, T: 6, Points: make([]float32, 24), HasPoints: []bool{true, true}, Frames: []int{6, 5}, Labels: []int{0, 1}, Index: []int{0, 1}}
	for f := range 6 {
		b.Points[2*f], b.Points[2*f+1] = 10+3*float32(f), 20-4*float32(f) // 5 a frame
		b.Points[12+2*f] = 1
	}
	target, counts := forecastTargets(b, k, 4)
	want := []float32{.75, -1, 1.5, -2}
	for i, w := range want {
		if target[i] != w {
			t.Errorf("target %v, want %v", target[:4], want)
			break
		}
	}
	if counts[0] != 1 || counts[1] != 1 || counts[2] != 1 || counts[3] != 0 { // the second clip ends before its last frame
		t.Errorf("counts %v", counts)
	}
	acc := metrics.NewClassifier([]string{"line", "rest"}, 2)
	p := &Predictor{Trained: Trained{Config: config.Config{Model: model.Config{Classify: k}}}}
	p.compare(acc, b, make([]float32, 8), 4)
	f := acc.Report().Forecast
	for _, c := range []struct {
		what      string
		got, want metrics.Number
	}{
		{"network", f.PerClass[0].Error, 7.5}, {"constant position", f.PerClass[0].ConstantPosition, 7.5}, {"constant velocity", f.PerClass[0].ConstantVelocity, 0},
		{"frame 2 of the line", f.PerFrame[1].ConstantPosition, 10}, {"what rests", f.PerClass[1].ConstantVelocity, 0},
	} {
		if math.Abs(float64(c.got-c.want)) > 1e-6 {
			t.Errorf("%s is off by %v, want %v", c.what, c.got, c.want)
		}
	}
}
