package probe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"magvit/kernels/philox"
	"magvit/trainer/usage"
)

const seenDots, dotFrames = 6, 8

// turning is a clip of a mark that runs around a circle, with its codes: as dot has
// them, one time step for each frame.
func turning(i int, still bool) ForecastClip {
	r := philox.New(4, "turning", 0, uint64(i))
	phase, way := r.Uniform(0, 2*math.Pi), float64(2*r.IntN(2)-1)
	cx, cy := r.Uniform(6, 9), r.Uniform(6, 9)
	var e Example
	var space []float32
	for t := range dotFrames {
		s, c := math.Sincos(phase + way*.7*float64(t))
		x, y := int(cx+5*c), int(cy+5*s)
		frame, codes := make([]float32, side*side), make([]int32, grid*grid)
		for k := range frame {
			frame[k] = 1
		}
		for k := range codes {
			codes[k] = 12
		}
		if !still {
			x &^= 1 // two pixels wide, as a code encodes it
			frame[y*side+x], frame[y*side+x+1] = 0, 0
			codes[y/4*grid+x/4] = int32(y%4*4+x%4) / 2
		}
		e.Video, e.Codes = append(e.Video, frame...), append(e.Codes, codes...)
		space = append(space, float32(c), float32(s), 1)
	}
	e.Name, e.Label, e.H, e.W, e.C = fmt.Sprint("turn-", i), -1, side, side, 1
	cut := func(n int) Example {
		e := e
		e.T, e.CodeShape = n, [4]int{n, grid, grid, 1}
		e.Video, e.Codes = e.Video[:n*side*side], e.Codes[:n*grid*grid]
		return e
	}
	return ForecastClip{Seen: []Example{cut(seenDots)}, Whole: []Example{cut(dotFrames)}, Space: space}
}

func turningSet(t *testing.T, n int, still bool) *ForecastSet {
	s := NewForecastSet(nil, Codebook{Size: 16}, 1)
	for i := range n {
		must(t, s.Add(turning(i, still)))
	}
	return s
}

// drawn is the clip of codes as turning has them: both pixels that a code means.
func drawn(codes []int32) ([]float32, error) {
	video := make([]float32, len(codes)*16)
	for i := range video {
		video[i] = 1
	}
	for i, c := range codes {
		if t, y, x := i/grid/grid, i/grid%grid, i%grid; c < 8 {
			at := (t*side+4*y+int(c)/2)*side + 4*x + int(c)%2*2
			video[at], video[at+1] = 0, 0
		}
	}
	return video, nil
}

func TestForecastOfACurve(t *testing.T) {
	s := turningSet(t, 50, false)
	s.Decode = drawn
	r, err := RunForecast(context.Background(), s, Options{Splits: 2, Seed: 5, Steps: 300, Workers: 2})
	must(t, err)
	f := r.Forecast
	if f.Observed != seenDots || f.Horizon != 2 || len(f.Codes.PerStep) != 2 || r.Tested != 10 || r.Classes != nil {
		t.Errorf("%d frames seen, %d forecast, errors of %d, %d clips tested, classes %v", f.Observed, f.Horizon, len(f.Codes.PerStep), r.Tested, r.Classes)
	}
	// Steps of 3.4 pixels that turn by 40 degrees: the velocity is 2.4 off at once.
	if v := f.ConstantVelocity.Error; v < 2.5 {
		t.Errorf("constant velocity is %v pixels off on a circle", v)
	}
	for name, e := range map[string]Errors{"codes": f.Codes, "pixels": f.Pixels, "path": f.Path} {
		if won, all := splitsWon(e, f.ConstantVelocity); won < all || e.Low > e.Error || e.High < e.Error {
			t.Errorf("%s: %v pixels off, better than constant velocity (%v) in %d of %d splits", name, e, f.ConstantVelocity, won, all)
		}
	}
	if f.Space == nil || f.Space.Codes.Error <= 0 || math.Abs(float64(f.Space.ConstantPosition.PerStep[0])-2*math.Sin(.35)) > 1e-3 {
		t.Errorf("in space %+v; standing still is 2 sin .35 off after a step", f.Space)
	}
	p := f.Frames
	if p == nil || p.Codes.ForegroundPSNR <= p.CopyLast.ForegroundPSNR || p.Decoded.ForegroundPSNR <= p.Codes.ForegroundPSNR {
		t.Errorf("frames: %+v", p)
	}
	var text strings.Builder
	must(t, WriteForecast(&text, r))
	for _, want := range []string{"Forecast in the image: good", "6 frames seen, 2 forecast", "constant velocity", "+2", "last frame copied", "in space"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text.String())
		}
	}
}

func TestForecastDoesNotDependOnWorkers(t *testing.T) {
	var texts [2]string
	for i := range texts {
		s := turningSet(t, 12, false)
		s.Decode = drawn
		r, err := RunForecast(context.Background(), s, Options{Splits: 2, Steps: 20, Workers: 1 + 2*i})
		must(t, err)
		texts[i] = fmt.Sprintf("%+v %+v %+v", r.Forecast.Codes, *r.Forecast.Space, *r.Forecast.Frames)
	}
	if texts[0] != texts[1] {
		t.Errorf("one worker:\n%s\nthree:\n%s", texts[0], texts[1])
	}
}

// TestForecastSeesNoFuture changes the later frames of the clips tested: their forecasts
// must not change.
func TestForecastSeesNoFuture(t *testing.T) {
	forecast := func(change bool) string {
		s := turningSet(t, 20, false)
		trial := forecastTrial{s: s, o: Options{Steps: 20}}
		for i := range 20 {
			if i%2 == 0 {
				trial.fit = append(trial.fit, i)
				continue
			}
			trial.test = append(trial.test, i)
			if change {
				for k := seenDots; k < dotFrames; k++ {
					s.whole[i][k] = [2]float64{.5, .5}
				}
			}
		}
		found, err := s.seen.locatePaths(context.Background(), s.seen.codes, trial.fit, 20, trial.stream("locator"))
		must(t, err)
		h := newPathForecaster(seenDots, 2, trial.stream("pathForecaster"))
		must(t, h.fit(context.Background(), forecastRecipe.AtMost(20), found, s.whole, trial.fit, 1, trial.stream("fit")))
		p := newCodePredictor(s, trial.stream("codePredictor"))
		must(t, p.fit(context.Background(), codeRecipe.AtMost(20), s, trial.fit, trial.stream("paint")))
		var out []any
		for _, i := range trial.test {
			codes := make([]int32, dotFrames*grid*grid)
			way := h.forecast(found[i])
			p.predict(codes, p.medianOf(s.seen.codes, i), append(append(path{}, found[i]...), way...))
			out = append(out, way, codes)
		}
		return fmt.Sprint(out)
	}
	if forecast(false) != forecast(true) {
		t.Error("forecasts depend on later frames")
	}
}

func TestForecastRefuses(t *testing.T) {
	for want, s := range map[string]*ForecastSet{
		"9 clips: at least 10": turningSet(t, 9, false),
		"in 0 of 1 clips":      nil,
		"2 frames are seen":    nil,
	} {
		if s == nil {
			s = NewForecastSet(nil, Codebook{Size: 16}, 1)
			for i := range 12 {
				c := turning(i, strings.HasPrefix(want, "in"))
				if strings.HasPrefix(want, "2") {
					e := &c.Seen[0]
					e.T, e.CodeShape[0], e.Video, e.Codes = 2, 2, e.Video[:2*side*side], e.Codes[:2*grid*grid]
				} else {
					c.Seen[0].Video[i] = .9 // else all are duplicates
				}
				must(t, s.Add(c))
			}
			want = strings.Replace(want, "of 1 clips", "of 12 clips", 1)
		}
		if _, err := RunForecast(context.Background(), s, Options{}); !errors.Is(err, usage.Error) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	for _, c := range []struct{ frames, asked, want int }{{16, 0, 4}, {17, 5, 5}, {4, 0, 1}, {4, 2, 0}, {3, 0, 0}, {16, -1, 0}} {
		if n, err := Horizon(c.frames, c.asked); n != c.want || (err == nil) != (c.want > 0) || err != nil && !errors.Is(err, ErrTooShort) {
			t.Errorf("ahead %d of %d: %d, %v; want %d", c.asked, c.frames, n, err, c.want)
		}
	}
}

func TestReadCompared(t *testing.T) {
	for text, want := range map[string]string{
		`{"preset":"i3d-small","accuracy":0.8,"low":0.7,"high":0.9,"splits":3,"forecast_error":2.5}`:                      "i3d-small on pixels, 3 splits 80.0 (70.0–90.0) 2.50",
		`{"preset":"slowfast-small","accuracy":0.75,"low":0.5,"high":1,"forecast":{"of":"image","error":3.5},"clips":40}`: "slowfast-small on pixels, 1 split 75.0 (50.0–100.0) 3.50",
		`{"preset":"i3d-small","accuracy":0.75,"low":0.5,"high":1,"forecast":{"of":"space","error":0.5}}`:                 "i3d-small on pixels, 1 split 75.0 (50.0–100.0) –",
		`{"accuracy":0.75,"low":0.5,"high":1}`:            "error want a preset",
		`{"preset":"x","accuracy":75,"low":60,"high":90}`: "error want a preset",
		`{"preset":"x","accuracy":0.75}`:                  "error want a preset",
		`[`:                                               "error classify.json",
	} {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, compareFile), []byte(text), 0o600))
		c, err := ReadCompared(dir)
		if says, bad := strings.CutPrefix(want, "error "); bad {
			if !errors.Is(err, usage.Error) || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v; want %q", text, err, says)
			}
			continue
		}
		must(t, err)
		ahead := "–"
		if c.ForecastError != nil {
			ahead = c.ForecastError.Text(2)
		}
		if got := strings.Join([]string{c.name(), Score{Accuracy: c.Accuracy, Low: c.Low, High: c.High}.Text(), ahead}, " "); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	if _, err := ReadCompared(t.TempDir()); !errors.Is(err, usage.Error) {
		t.Errorf("no file: %v", err)
	}
}
