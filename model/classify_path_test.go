package model

import (
	"math"
	"slices"
	"testing"

	"magvit/kernels"
)

// pathHeads computes the form features and the forecast of paths [2,6,2].
func pathHeads(t *testing.T, c Config, paths []float32) (form, forecast []float32) {
	t.Helper()
	m, err := NewClassifier(c)
	if err != nil {
		t.Fatal(err)
	}
	s := Shape{N: 2, T: 8, H: 16, W: 16}
	b := newBuilder(m.list, s)
	path := b.input("path", 2, 6, 1, 1, 2)
	b.output("form", b.pathForm("head.path.classes", path))
	b.output("forecast", b.pathForecast("head.path.forecast", path, s))
	g, err := b.finish()
	if err != nil {
		t.Fatal(err)
	}
	params, offsets := make(kernels.Host, m.NumParams()), []int(nil)
	at := 0
	for _, p := range m.Declared() {
		draw(params[at:][:p.Len()], p.Name, .5)
		offsets = append(offsets, at)
		at += p.Len()
	}
	be := kernels.NewCPU(1)
	t.Cleanup(func() { be.Close() })
	p, err := g.Compile(be, params, nil, offsets)
	if err != nil {
		t.Fatal(err)
	}
	copy(p.Buffer("path").(kernels.Host), paths)
	if err := p.Run(); err != nil {
		t.Fatal(err)
	}
	return slices.Clone(p.Buffer("form").(kernels.Host)), slices.Clone(p.Buffer("forecast").(kernels.Host))
}

// The form of a path does not depend on its place, angle, side and size; a forecast turns and
// grows with the path.
func TestPathHeadsFollowThePath(t *testing.T) {
	c := variants()["i3d, path"]
	c.Classify.Path.Rotations, c.Classify.Unit = 4, 2
	paths := make([]float32, 2*6*2)
	draw(paths, "paths", .8)
	form, forecast := pathHeads(t, c, paths)
	const grown = 1.5
	moved := slices.Clone(paths)
	for i := 0; i < len(moved); i += 2 { // a mirror image, turned by 90°, enlarged and shifted
		moved[i], moved[i+1] = grown*paths[i+1]+.3, grown*paths[i]-.2
	}
	other, turned := pathHeads(t, c, moved)
	largest := 0.
	for i, v := range form {
		// minExtent is 1 % of the mean square of the smaller path.
		if math.Abs(float64(v-other[i])) > .03 {
			t.Errorf("feature %d of the form is %v, and %v of the same path elsewhere", i, v, other[i])
		}
		largest = max(largest, math.Abs(float64(v)))
	}
	if largest < .1 {
		t.Errorf("features of at most %v: nothing was tested", largest)
	}
	for i := 0; i < len(forecast); i += 2 {
		want := [2]float64{grown * float64(forecast[i+1]), grown * float64(forecast[i])}
		for k, w := range want {
			if math.Abs(float64(turned[i+k])-w) > .03*math.Abs(w)+.03 {
				t.Errorf("forecast %d of the turned path is %v, want %v", i+k, turned[i+k], w)
			}
		}
	}
	c.Classify.Path.Mirror = false
	form, _ = pathHeads(t, c, paths)
	if other, _ = pathHeads(t, c, moved); math.Abs(float64(form[0]-other[0])) < 1e-3 {
		t.Error("without model.classify.path.mirror the mirror image has the same form")
	}
}

// With heads that add nothing a forecast is constant velocity, from the last frame seen to
// those of the horizon, in units.
func TestPathForecastStartsAsConstantVelocity(t *testing.T) {
	c := variants()["i3d, path"]
	c.Classify.Unit = 2
	m, err := NewClassifier(c)
	if err != nil {
		t.Fatal(err)
	}
	s := Shape{N: 1, T: 9, H: 16, W: 32}
	b := newBuilder(m.list, s)
	b.output("forecast", b.pathForecast("head.path.forecast", b.input("path", 1, 6, 1, 1, 2), s))
	g, err := b.finish()
	if err != nil {
		t.Fatal(err)
	}
	params, offsets := make(kernels.Host, m.NumParams()), []int(nil)
	at := 0
	for i, p := range m.Declared() {
		m.Init(1, i, params[at:][:p.Len()])
		offsets = append(offsets, at)
		at += p.Len()
	}
	be := kernels.NewCPU(1)
	defer be.Close()
	p, err := g.Compile(be, params, nil, offsets)
	if err != nil {
		t.Fatal(err)
	}
	copy(p.Buffer("path").(kernels.Host), []float32{0, 0, .1, 0, .2, .1, .1, .1, .2, 0, .25, -.1})
	if err := p.Run(); err != nil {
		t.Fatal(err)
	}
	// The last step is (.05, -.1) of 16 pixels, (.4, -.8) units of 2 pixels. Frames 0 to 5 are
	// seen, and 7 and 8 are forecast.
	for i, want := range []float32{.8, -1.6, 1.2, -2.4} {
		if got := p.Buffer("forecast").(kernels.Host)[i]; math.Abs(float64(got-want)) > 1e-5 {
			t.Errorf("forecast %d is %v, want %v", i, got, want)
		}
	}
}

// In training the heads see the path with noise of its own for each step, batch and clip; the
// located path, and what a trained network predicts, have none.
func TestPathJitter(t *testing.T) {
	for _, name := range []string{"i3d, path", "slowfast, fused"} {
		c := variants()[name]
		c.Classify.Path.Jitter = .1
		s := Shape{N: 3, T: 8, H: 16, W: 16}
		r := newTrial(t, c, s)
		results := func(at StepPosition) (located, logits, forecast []float32) {
			if err := r.p.SetStep(at); err != nil {
				t.Fatal(err)
			}
			r.run(t)
			read := func(name string) []float32 { return slices.Clone(r.p.Buffer(name).(kernels.Host)) }
			return read("path"), read("logits"), read("forecast")
		}
		path, logits, forecast := results(StepPosition{Seed: 1, Step: 5})
		for _, at := range []StepPosition{{Seed: 1, Step: 6}, {Seed: 2, Step: 5}, {Seed: 1, Step: 5, Batch: 1}} {
			p, l, f := results(at)
			if !slices.Equal(p, path) || slices.Equal(l, logits) || slices.Equal(f, forecast) {
				t.Errorf("%s: at %+v the located path, logits and forecast are as before: %v, %v, %v; want true, false, false", name, at,
					slices.Equal(p, path), slices.Equal(l, logits), slices.Equal(f, forecast))
			}
		}
		if _, l, _ := results(StepPosition{Seed: 1, Step: 5}); !slices.Equal(l, logits) {
			t.Errorf("%s: the same step has other logits", name)
		}
		g, err := r.m.Predictor(s)
		if err != nil || len(g.scheduled) != 0 {
			t.Errorf("%s: a trained network has noise, %v", name, err)
		}
	}
}

// The noise on a path has the standard deviation asked for.
func TestPathJitterSize(t *testing.T) {
	c := variants()["i3d, path"]
	c.Classify.Path.Jitter = .25
	m, err := NewClassifier(c)
	if err != nil {
		t.Fatal(err)
	}
	b := newBuilder(m.list, Shape{N: 100, T: 50, H: 16, W: 16})
	b.jittered("noise", b.input("path", 100, 50, 1, 1, 2))
	noise, sum, squares := make([]float32, 100*50*2), 0., 0.
	b.graph.scheduled[0].at(StepPosition{Seed: 3, Step: 1}, noise)
	for _, v := range noise {
		sum, squares = sum+float64(v), squares+float64(v)*float64(v)
	}
	if mean, size := sum/1e4, math.Sqrt(squares/1e4); math.Abs(mean) > .01 || math.Abs(size-.25) > .01 {
		t.Errorf("noise of mean %v and standard deviation %v, want 0 and .25", mean, size)
	}
}

// Codes become rows of the embedding by their digits, each codebook's apart.
func TestCodeIDs(t *testing.T) {
	m := &Classifier{Config: Config{Classify: Classify{Codes: CodeGrid{Digits: []int{3, 2}, Codebooks: 2}}}}
	ids := make([]float32, 8)
	m.CodeIDs(ids, []int32{4, 4, 2, 3})
	if want := []float32{1, 4, 6, 9, 2, 3, 5, 9}; !slices.Equal(ids, want) {
		t.Errorf("ids %v, want %v", ids, want)
	}
}

// A tokenizer's grid counts the frames that codes fill, with and without a first frame.
func TestCodeGridCountsFrames(t *testing.T) {
	for _, c := range []struct {
		g            CodeGrid
		frames, code int
	}{{CodeGrid{Frames: 2}, 8, 4}, {CodeGrid{Frames: 2}, 9, 4}, {CodeGrid{Frames: 4, FirstFrame: true}, 17, 5}, {CodeGrid{Frames: 4, FirstFrame: true}, 16, 4}} {
		if got := c.g.Of(c.frames); got != c.code {
			t.Errorf("%+v: %d frames fill %d codes, want %d", c.g, c.frames, got, c.code)
		}
	}
	c := variants()["i3d, codes"]
	c.Classify.Codes.FirstFrame, c.Classify.Codes.Frames = true, 4
	m, err := NewClassifier(c)
	if err != nil {
		t.Fatal(err)
	}
	if a, b, seen := m.Padded(15), m.Padded(18), m.Seen(17); a != 17 || b != 21 || seen != 13 {
		t.Errorf("15 and 18 frames become %d and %d, of 17 the forecast sees %d; want 17, 21, 13", a, b, seen)
	}
	if _, err := m.Training(Shape{N: 1, T: 17, H: 16, W: 16}); err != nil {
		t.Error(err)
	}
}
