package metrics

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"magvit/kernels/philox"
)

// darkMask calls a pixel foreground where its darkest channel is below 1/2; it does not grow.
func darkMask(mask []bool, video []float32, t, h, w, c, grow int) {
	for p := range mask {
		mask[p] = slices.Min(video[p*c:p*c+c]) < .5
	}
}

func noise(n int, index uint64) []float32 {
	r := philox.New(1, "metrics test", 0, index)
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.Float64())
	}
	return x
}

func near(t *testing.T, what string, got Number, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(float64(got)-want) <= tolerance) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// A frame of two pixels, one black and one white; the second frame is all white.
// Digits of codes have the names that fit their levels.
func TestDigitNames(t *testing.T) {
	for want, c := range map[string]Codes{"bits": {Digits: 3, Levels: []int{2, 2, 2}}, "dimensions": {Digits: 2, Levels: []int{8, 2}}, "": {Digits: 1, Levels: []int{512}}} {
		if got := c.DigitName(); got != want {
			t.Errorf("levels %v: %q, want %q", c.Levels, got, want)
		}
	}
	if got := (Codes{Digits: 10}).DigitName(); got != "bits" {
		t.Errorf("no levels: %q, want bits", got)
	}
}

func TestHandComputedNumbers(t *testing.T) {
	a, err := New(Config{H: 1, W: 2, C: 1, CodebookSize: 4, Classes: []string{"zero", "one"},
		MeanFrame: []float32{.5, 1}, Foreground: darkMask})
	if err != nil {
		t.Fatal(err)
	}
	target := []float32{0, 1, 1, 1, .25, .25} // the third frame is padding
	// The overshoot of 3 is clamped to 1: errors .1 and 0, 0 and .2.
	guess := []float32{.1, 3, 1, .8, 0, 0}
	if err := a.Add("a", 1, 2, target, guess, []int32{0, 1, 1, 0}); err != nil {
		t.Fatal(err)
	}
	r := a.Report()
	tiny := 1e-6 // float32 input
	near(t, "mse", r.MSE, (.01+.04)/4, tiny)
	near(t, "psnr", r.PSNR, -10*math.Log10(.0125), 1e-4)
	near(t, "foreground psnr", r.ForegroundPSNR, 20, 1e-4)
	near(t, "foreground share", r.ForegroundShare, .25, 0)
	for name, want := range map[string][2]float64{
		"white":          {-10 * math.Log10(1./4), 0},
		"mean_frame":     {-10 * math.Log10(.5/4), -10 * math.Log10(.25)},
		"first_frame":    {-10 * math.Log10(1./4), MaxPSNR},
		"previous_frame": {-10 * math.Log10(1./4), MaxPSNR},
	} {
		near(t, name, r.Baselines[name].PSNR, want[0], 1e-9)
		near(t, name+" foreground", r.Baselines[name].ForegroundPSNR, want[1], 1e-9)
	}
	if name, best := r.BestBaseline(func(s Scores) Number { return s.PSNR }); name != "mean_frame" || best != r.Baselines[name].PSNR {
		t.Errorf("best baseline %s %v", name, best)
	}
	if len(r.PerFrame) != 2 || r.PerFrame[1].ForegroundPSNR.Finite() {
		t.Errorf("per frame: %+v; want two, the second without foreground", r.PerFrame)
	}
	near(t, "best baseline of frame 0", r.PerFrame[0].Baseline.ForegroundPSNR, -10*math.Log10(.25), 1e-9)
	near(t, "frame 1", r.PerFrame[1].PSNR, -10*math.Log10(.02), 1e-4)
	if c := r.PerClass["one"]; len(r.PerClass) != 1 || c.Clips != 1 || c.PSNR != r.PSNR || c.Baseline.PSNR != r.Baselines["mean_frame"].PSNR {
		t.Errorf("per class: %+v", r.PerClass)
	}
	near(t, "perplexity", r.Codes.Perplexity, 2, 1e-12)
	near(t, "entropy", r.Codes.EntropyBits, 1, 1e-12)
	near(t, "rate of fixed codes", r.BitsPerPixel, 4*2./4, 1e-12)
	near(t, "rate by entropy", r.EntropyRate, 4*1./4, 1e-12)
	near(t, "used fraction", r.Codes.UsedFraction, .5, 0)
	if c := r.Codes; c.Used != 2 || c.Size != 4 || c.DeadBits != 1 || c.Digits != 2 || c.Count != 4 || c.Reachable() != 4 {
		t.Errorf("codes: %+v", c)
	}
}

func TestDeadDigits(t *testing.T) {
	for _, c := range []struct {
		size, dead int
		levels     []int
		codes      []int32
	}{
		{1 << 18, 18, nil, nil},
		{1 << 18, 16, nil, []int32{5, 4 | 1<<17}},
		{1000, 4, []int{8, 5, 5, 5}, nil},
		{1000, 2, []int{8, 5, 5, 5}, []int32{0, 1 + 40, 2 + 80}}, // digits 0,1,2 of the first and third
		{1000, 3, []int{8, 5, 5, 5}, []int32{3, 3 + 8, 3 + 2*8}}, // of the second
		{1, 0, nil, []int32{0}},
	} {
		h := newHistogram(c.size, c.levels)
		h.add(c.codes)
		if got := h.dead(); got != c.dead {
			t.Errorf("size %d levels %v codes %v: %d dead, want %d", c.size, c.levels, c.codes, got, c.dead)
		}
	}
}

func TestPooledOverClips(t *testing.T) {
	a, err := New(Config{H: 12, W: 13, C: 3, CodebookSize: 8, Levels: []int{2, 4}})
	if err != nil {
		t.Fatal(err)
	}
	size, sum := 12*13*3, 0.
	n := 0
	for i, frames := range []int{3, 1, 2} {
		x, y := noise(frames*size, uint64(2*i)), noise(frames*size, uint64(2*i+1))
		if err := a.Add(strings.Repeat("x", i+1), -1, frames, x, y, []int32{int32(i)}); err != nil {
			t.Fatal(err)
		}
		for j := range x {
			sum += math.Pow(float64(x[j])-float64(y[j]), 2)
		}
		n += len(x)
	}
	r := a.Report()
	near(t, "pooled mse", r.MSE, sum/float64(n), 1e-12)
	if r.Clips != 3 || r.Frames != 6 || len(r.PerFrame) != 3 || len(r.PerClass) != 0 {
		t.Errorf("report %+v", r)
	}
	if _, ok := r.Baselines["mean_frame"]; ok {
		t.Error("mean_frame without a mean frame")
	}
	if len(r.Worst) != 3 || r.Worst[0].PSNR > r.Worst[1].PSNR || r.Best[0].Name != r.Worst[2].Name {
		t.Errorf("worst %v best %v", r.Worst, r.Best)
	}
}

func TestJSONHasNoNaN(t *testing.T) {
	a, err := New(Config{H: 2, W: 2, C: 3, CodebookSize: 2, Foreground: darkMask})
	if err != nil {
		t.Fatal(err)
	}
	for _, clips := range []int{0, 1} {
		if clips == 1 { // an exact copy without foreground
			x := slices.Repeat([]float32{1}, 12)
			if err := a.Add("white", 0, 1, x, x, []int32{1}); err != nil {
				t.Fatal(err)
			}
		}
		b, err := json.Marshal(EvalRecord{Val: a.Report()})
		if err != nil {
			t.Fatal(err)
		}
		var back EvalRecord
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if back.Val.ForegroundPSNR.Finite() || !bytes.Contains(b, []byte(`"foreground_psnr":null`)) {
			t.Errorf("%d clips: foreground without foreground in %s", clips, b)
		}
		if clips == 1 && (back.Val.PSNR != MaxPSNR || back.Val.SSIM != 1) {
			t.Errorf("exact copy: %v dB, SSIM %v", back.Val.PSNR, back.Val.SSIM)
		}
		if err := WriteText(&bytes.Buffer{}, back.Val); err != nil {
			t.Error(err)
		}
	}
}

func TestAddRefuses(t *testing.T) {
	nan := float32(math.NaN())
	x := []float32{0, 1, 0, 1}
	for name, c := range map[string]struct {
		frames       int
		target, made []float32
		codes        []int32
		want         string
	}{
		"no frames":      {0, x, x, nil, "at least 1"},
		"short target":   {3, x, x, nil, "whole frames of 2, at least 3"},
		"other length":   {2, x, x[:2], nil, "must be 4"},
		"NaN guess":      {2, x, []float32{0, 0, nan, 0}, nil, "frame 1 of the reconstruction holds NaN"},
		"0-255 target":   {2, []float32{0, 255, 0, 0}, x, nil, "must be in [0,1]"},
		"code too large": {2, x, x, []int32{0, 4}, "code 1 is 4: must be in [0,4)"},
	} {
		a, err := New(Config{H: 1, W: 2, C: 1, CodebookSize: 4})
		if err != nil {
			t.Fatal(err)
		}
		err = a.Add("the clip", 0, c.frames, c.target, c.made, c.codes)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "the clip") {
			t.Errorf("%s: %v; want …%s…", name, err, c.want)
		}
		if r := a.Report(); r.Clips != 0 || r.Codes.Count != 0 || len(r.PerFrame) != 0 {
			t.Errorf("%s: counted in spite of the error: %+v", name, r)
		}
	}
	for _, c := range []Config{{W: 1, C: 1, CodebookSize: 1}, {H: 1, W: 1, C: 1}, {H: 1, W: 1, C: 1, CodebookSize: 4, Levels: []int{2, 3}},
		{H: 1, W: 1, C: 1, CodebookSize: 4, MeanFrame: make([]float32, 2)}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v accepted", c)
		}
	}
}

func TestMeanFrame(t *testing.T) {
	var m MeanFrame
	if m.Image() != nil {
		t.Error("an image of nothing")
	}
	m.Add(2, 2, []float32{0, 1, .5, 1, 9, 9}) // the third frame is padding
	m.Add(1, 2, []float32{1, 0})
	if got := m.Image(); !slices.Equal(got, []float32{.5, float32(2. / 3)}) {
		t.Errorf("mean %v", got)
	}
}

func TestWriteText(t *testing.T) {
	a, err := New(Config{H: 1, W: 2, C: 1, CodebookSize: 4, Classes: []string{"linear"}, MeanFrame: []float32{.5, 1}, Foreground: darkMask})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Add("clip-1", 0, 2, []float32{0, 1, 1, 1}, []float32{.1, 1, 1, 1}, []int32{0, 3}); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	r := a.Report()
	r.Codecs = []CodecScores{{Name: "H.264", Settings: "x264, crf 30", BitsPerPixel: .9375, Scores: Scores{PSNR: 31.25, SSIM: .5}}, {Name: "AV1", Missing: "no encoder"}}
	if err := WriteText(&b, r); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	want := `1 clip, 2 frames                      PSNR dB  foreground dB
reconstruction                          26.02          20.00
  white                                  6.02           0.00
  mean_frame                             9.03           6.02
  first_frame                            6.02         120.00
  previous_frame                         6.02         120.00
above white, mean and first frame by   +16.99        -100.00
fraction of the pixels                  100 %        25.00 %
`
	lines := strings.Split(got, "\n")
	for i, w := range strings.Split(strings.TrimSpace(want), "\n") {
		if !strings.HasPrefix(lines[i], w) { // the SSIM behind it, of a 1x1 window, has no meaning worth pinning
			t.Errorf("line %d:\n%q want\n%q", i, lines[i], w)
		}
	}
	for _, s := range []string{"2 codes, codebook of 4", "1.0000 bits a pixel (0.5000 by their entropy)", "H.264 (x264, crf 30)        0.9375    31.25",
		"AV1 is missing: no encoder", "linear", "clip-1", "dead bits"} {
		if !strings.Contains(got, s) {
			t.Errorf("no %q in\n%s", s, got)
		}
	}
}

func TestStillClipsHaveNoFirstFrameBaseline(t *testing.T) {
	a, err := New(Config{H: 1, W: 2, C: 1, CodebookSize: 4})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Add("image", 0, 1, []float32{0, 1}, []float32{.1, 1}, nil); err != nil {
		t.Fatal(err)
	}
	r := a.Report()
	if _, ok := r.Baselines["white"]; !ok || len(r.Baselines) != 1 || r.PerClass["class 0"].Baseline.PSNR != r.Baselines["white"].PSNR {
		t.Errorf("baselines %v, class %v", r.Baselines, r.PerClass)
	}
}

// Ten codes: 3 four times, 0 three times, 7 twice, 1 once.
func TestRanks(t *testing.T) {
	h := newHistogram(8, nil)
	h.add([]int32{3, 0, 7, 3, 0, 3, 1, 7, 0, 3})
	want := []Rank{{1, .4}, {2, .3}, {3, .2}, {4, .1}}
	if got := h.report().Ranks; !slices.Equal(got, want) {
		t.Errorf("ranks %v, want %v", got, want)
	}
	many := newHistogram(1<<10, nil)
	for c := range int32(1000) {
		many.add(slices.Repeat([]int32{c}, int(1000-c)))
	}
	got := many.report().Ranks
	if len(got) < 25 || len(got) > 32 || got[0].Rank != 1 || got[len(got)-1].Rank != 1000 || float64(got[0].Share) != 1000./500500 || float64(got[len(got)-1].Share) != 1./500500 {
		t.Errorf("%d ranks of 1,000 codes: %v", len(got), got)
	}
}
