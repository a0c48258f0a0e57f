package task

import (
	"math"
	"strings"
	"testing"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/checkpoint"
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
	// In the pictures, 50 by 30 pixels, a dot follows the line a pixel to the left, and is 2 pixels too low in frame 3; the other rests.
	b.H, b.W, b.C, b.Video = 30, 50, 1, make([]float32, 2*6*30*50)
	for f := range 6 {
		low := 0
		if f == 3 {
			low = 2
		}
		b.Video[(f*30+20-4*f+low)*50+9+3*f] = 1
		b.Video[((6+f)*30+7)*50+1] = 1
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
		{"velocity of measured positions", f.PerClass[0].MeasuredVelocity, 3}, {"measured position of what rests", f.PerClass[1].MeasuredVelocity, 0},
		{"frame 2 of the line", f.PerFrame[1].ConstantPosition, 10}, {"what rests", f.PerClass[1].ConstantVelocity, 0},
	} {
		if math.Abs(float64(c.got-c.want)) > 1e-6 {
			t.Errorf("%s is off by %v, want %v", c.what, c.got, c.want)
		}
	}
}

// A tokenizer that has collapsed gives every clip the same codes, and a classifier on codes
// the same answer: the accuracy is that of one class.
func TestCollapsedCodesAreAtChance(t *testing.T) {
	be := kernels.NewCPU(1)
	defer be.Close()
	tiny, err := config.Preset("tiny")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := model.New(tiny.Model)
	if err != nil {
		t.Fatal(err)
	}
	params := make(kernels.Host, checkpoint.NewLayout(tok).Len) // all zero: collapsed
	c, err := config.Preset("i3d-small")
	if err != nil {
		t.Fatal(err)
	}
	c.Model.Classify.Input, c.Model.Classify.Unit, c.Model.Classify.Forecast = model.InputCodes, 1, model.ForecastImage
	c.Model = c.Model.ForTokenizer(model.GridOf(tok, "")).ForClips(4, 8, "")
	net, err := model.NewClassifier(c.Model)
	if err != nil {
		t.Fatal(err)
	}
	weights := make(kernels.Host, checkpoint.NewLayout(net).Len)
	for i, param := range net.Declared() {
		at := checkpoint.NewLayout(net).Offsets[i]
		for k := range weights[at : at+param.Len()] {
			weights[at+k] = float32(math.Sin(float64(5*k+i))) / 8
		}
	}
	p := newPredictor(be, net, Trained{Config: c}, weights)
	p.coder.codec = newCodec(be, tok, Trained{Config: tiny}, params)
	set, err := data.Synth(data.SynthConfig{Clips: 8, Seed: 1, Size: 32, Frames: 8})
	if err != nil {
		t.Fatal(err)
	}
	c.Data.Height, c.Data.Width, c.Data.Frames, c.Data.Channels, c.Data.Size = 32, 32, 8, 3, 0
	e, err := p.Evaluate(t.Context(), Clips{Source: set, Indices: []int{0, 1, 2, 3, 4, 5, 6, 7}, Data: c.Data}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if e.Classify.Accuracy != .25 || e.Classify.Clips != 8 {
		t.Errorf("accuracy %v of %d clips, want .25 of 8", e.Classify.Accuracy, e.Classify.Clips)
	}
}

// A tokenizer whose codes depend on later frames is refused where positions are forecast.
func TestForecastsRefuseCodesThatSeeTheHorizon(t *testing.T) {
	set, err := data.Synth(data.SynthConfig{Clips: 4, Seed: 1, Size: 32, Frames: 8})
	if err != nil {
		t.Fatal(err)
	}
	codes := func(seen int) func([]float32, data.Shape) ([]int32, error) {
		return func(video []float32, s data.Shape) ([]int32, error) {
			var list []int32
			for t := range s.T {
				sum := float32(0)
				for _, v := range video[:min(t+1+seen, s.T)*s.H*s.W*s.C] {
					sum += v
				}
				list = append(list, int32(sum))
			}
			return list, nil
		}
	}
	c := config.Defaults()
	c.Data.Height, c.Data.Width, c.Data.Frames, c.Data.Channels = 32, 32, 8, 3
	c.Model.Classify.Codes = model.CodeGrid{Frames: 1, Side: 32, Codebooks: 1}
	if err := causal(t.Context(), c, set, []int{0, 1}, 6, codes(0)); err != nil {
		t.Error(err)
	}
	if err := causal(t.Context(), c, set, []int{0, 1}, 6, codes(1)); err == nil || !strings.Contains(err.Error(), "the first 6 frames depend on later ones") {
		t.Errorf("error %v", err)
	}
}
