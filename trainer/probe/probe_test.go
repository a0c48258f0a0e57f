package probe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"magvit/kernels/philox"
	"magvit/trainer/metrics"
	"magvit/trainer/probe/nn"
	"magvit/trainer/usage"
)

const side, frames, grid = 16, 6, 4

// dots is clips of a black dot on white. Its start is random; class 0 goes right,
// class 1 down, class 2 does not move. A code is the index of the dark pixel in its cell of
// 4 by 4 pixels; collapsed codes are all the same.
func dots(t *testing.T, n, classes int, collapsed bool) *Set {
	t.Helper()
	s := NewSet([]string{"right", "down", "still"}, Codebook{Size: 16}, 1)
	for i := range n {
		must(t, s.Add([]Example{dot(i, i%classes, collapsed)}))
	}
	return s
}

func dot(i, class int, collapsed bool) Example {
	r := philox.New(3, "dots", 0, uint64(i))
	x0, y0 := r.IntN(side-frames), r.IntN(side-frames)
	e := Example{Video: make([]float32, frames*side*side), T: frames, H: side, W: side, C: 1,
		CodeShape: [4]int{frames, grid, grid, 1}, Codes: make([]int32, frames*grid*grid), Name: fmt.Sprintf("dot-%d", i), Label: class}
	for t := range frames {
		x, y := x0, y0
		switch class {
		case 0:
			x += t
		case 1:
			y += t
		}
		for k := range side * side {
			e.Video[t*side*side+k] = 1 - float32(r.Float64())/50
		}
		e.Video[(t*side+y)*side+x] = 0
		if !collapsed {
			for k := range grid * grid {
				e.Codes[t*grid*grid+k] = int32(12 + r.IntN(4))
			}
			e.Codes[(t*grid+y/4)*grid+x/4] = int32((y%4*4 + x%4) / 2)
		}
	}
	return e
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func probed(t *testing.T, s *Set, steps, workers int) Result {
	t.Helper()
	r, err := Run(context.Background(), s, Options{Splits: 2, Seed: 5, Steps: steps, Workers: workers})
	must(t, err)
	return r
}

func level(r Result, about string) string {
	for _, f := range r.Verdict {
		if f.About == about {
			return f.Level
		}
	}
	return ""
}

func TestInformativeCodes(t *testing.T) {
	s := dots(t, 45, 3, false)
	r := probed(t, s, 140, 2)
	for kind, scores := range map[string]map[string]Score{"pixels": r.Pixels, "codes": r.Codes} {
		for _, head := range []string{"path", BestName} {
			if a := scores[head].Accuracy; a < .9 {
				t.Errorf("%s head on %s of three easy motions: %.2f", head, kind, a)
			}
		}
	}
	// 18 guesses at a chance of 1/3: 13 and more are right once in 1,100 times.
	if a := r.Shuffled[BestName].Accuracy; float64(a)*2*float64(r.Tested) >= 13 {
		t.Errorf("shuffled labels: accuracy %.2f of %d, chance is .33", a, 2*r.Tested)
	}
	if a := r.Motion["mean_speed"].Accuracy; a < .5 || a > .8 {
		t.Errorf("mean speed recognizes only the still ones, two thirds: %.2f", a)
	}
	if r.Track.Accuracy < .9 {
		t.Errorf("the path: accuracy %.2f", r.Track.Accuracy)
	}
	b := r.Codes[BestName]
	n, hits := 0, 0
	for c, row := range b.Confusion {
		for k, v := range row {
			n += v
			if k == c {
				hits += v
			}
		}
	}
	if n != 2*r.Tested || math.Abs(float64(hits)/float64(n)-float64(b.Accuracy)) > 1e-9 || b.Low > b.Accuracy || b.High < b.Accuracy {
		t.Errorf("confusion %v of %d clips tested, accuracy %v (%v to %v)", b.Confusion, 2*r.Tested, b.Accuracy, b.Low, b.High)
	}
	var text strings.Builder
	must(t, WriteText(&text, r))
	for _, want := range []string{"Classes from codes: ", "chance", "majority", "mean speed", "shuffled labels", "recall %"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text.String())
		}
	}
}

func TestLocator(t *testing.T) {
	s := dots(t, 60, 3, false)
	var fit, test []int
	for i := range s.Labels {
		if i%4 == 0 {
			test = append(test, i)
		} else {
			fit = append(fit, i)
		}
	}
	for name, c := range map[string]struct {
		f     Field
		limit float64 // pixels: half of what the features resolve, and as much for the fit
	}{"codes": {s.codes, 1.5}, "pixels": {s.pixels, 1}} {
		found, err := s.locatePaths(context.Background(), c.f, fit, 400, philox.New(1, "locator", 0, 0))
		must(t, err)
		mean := 0.
		for _, i := range test {
			for k, q := range s.motion[i] {
				mean += side * math.Hypot(found[i][k][0]-q[0], found[i][k][1]-q[1]) / float64(len(test)*frames)
			}
		}
		if mean > c.limit {
			t.Errorf("%s: a dot in clips not fitted on is found %.2f pixels off, want %.2f at most", name, mean, c.limit)
		}
	}
}

// TestLocatorFrames pairs time steps with frames, the last with the last.
func TestLocatorFrames(t *testing.T) {
	for _, c := range []struct {
		steps, frames int
		want          []int
	}{{4, 8, []int{0, 1, 2, 3, 4, 5, 6, 7}}, {3, 5, []int{0, 0, 1, 2, 3, 4}}, {2, 2, []int{0, 1}}} {
		l := newLocator(Field{T: c.steps, H: 2, W: 2, C: 1, Data: make([]float32, 4*c.steps)}, c.frames, [2]float64{1, 1}, philox.New(1, "", 0, 0))
		var got []int
		for p := range c.steps {
			for k := range l.per {
				got = append(got, l.frameOf(p, k))
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%d time steps of %d frames encode %v, want %v", c.steps, c.frames, got, c.want)
		}
	}
}

// TestForm moves, rotates, scales, mirrors a path and changes its pace.
func TestForm(t *testing.T) {
	hook := func(s float64) [2]float64 { return [2]float64{s, .3*s*s + .2*math.Sin(4*s)} }
	var plain, other path
	for i := range 40 {
		s := float64(i) / 39
		plain = append(plain, hook(s))
		q := hook(s * (.5 + s/2)) // slower at first
		other = append(other, [2]float64{.7 - .3*(.6*q[0]+.8*q[1]), .2 + .3*(.8*q[0]-.6*q[1])})
	}
	a, b := plain.form(), other.form()
	for i := range a {
		if math.Abs(float64(a[i]-b[i])) > .02 { // chords of 40 points for a curve
			t.Fatalf("value %d of the form: %v, changed as no form sees %v", i, a[i], b[i])
		}
	}
	if c := (path{{0, 0}, {1, 0}, {1, 1}}).form(); math.Abs(float64(a[1]-c[1])) < .1 {
		t.Error("a corner has the form of a hook")
	}
	for _, f := range [][]float32{(path{{.5, .5}, {.5, .5}}).form(), (path{{.5, .5}, {.5, .5}}).pose(), (path{{.5, .5}}).form()} {
		for _, v := range f {
			if math.IsNaN(float64(v)) || math.Abs(float64(v)) > 100 {
				t.Errorf("a path that does not move has the form %v", f)
			}
		}
	}
}

func TestWorkersDoNotMatter(t *testing.T) {
	s := dots(t, 16, 2, false)
	if a, b := probed(t, s, 30, 1), probed(t, s, 30, 3); fmt.Sprint(a) != fmt.Sprint(b) {
		t.Error("the result depends on the number of workers")
	}
}

func TestVerdict(t *testing.T) {
	score := func(a, half float64) map[string]Score {
		return map[string]Score{BestName: {Accuracy: metrics.Number(a), Low: metrics.Number(a - half), High: metrics.Number(a + half), Head: "conv"}}
	}
	for _, c := range []struct {
		codes, pixels, motion, shuffled  float64
		classes, shortcut, control, says string
	}{
		{.93, .95, .3, .25, "good", "good", "good", "only 2.0 points less"},
		{.95, .95, .3, .25, "good", "good", "good", "no less than from pixels"},
		{.92, .97, .9, .25, "good", "fair", "good", "5.0 points less"},
		{.60, .95, .3, .25, "fair", "good", "good", "in part"},
		{.30, .95, .3, .25, "poor", "fair", "good", "the tokenizer loses what matters"},
		{.30, .30, .3, .25, "poor", "fair", "good", "neither from the codes nor from pixels"},
		{.95, .95, .3, .60, "good", "good", "poor", "no less than from pixels"},
	} {
		r := Result{Chance: .25, Majority: .25, Codes: score(c.codes, .05), Pixels: score(c.pixels, .05), Shuffled: score(c.shuffled, .05),
			Motion:   map[string]Score{"extent": {Accuracy: metrics.Number(c.motion)}},
			Geometry: Geometry{Use: metrics.Codes{Size: 1000, Count: 5000, Used: 300, Digits: 4, Perplexity: 50}, Codes: Distances{Ratio: 1.02}, Map: Map{Labels: make([]int, 100)}}}
		r.Verdict = r.verdict()
		if level(r, "Classes from codes") != c.classes || level(r, "Shortcuts") != c.shortcut || level(r, "Control") != c.control || !strings.Contains(r.Verdict[0].Text, c.says) {
			t.Errorf("%+v: %+v", c, r.Verdict)
		}
		for _, bad := range []func(*Geometry){func(g *Geometry) { g.Use.Perplexity = 3.9 }, func(g *Geometry) { g.Twins = 50 }} {
			q := r
			if bad(&q.Geometry); r.Collapsed() || !q.Collapsed() {
				t.Errorf("collapsed: %v with %+v, %v with %+v", r.Collapsed(), r.Geometry, q.Collapsed(), q.Geometry)
			}
		}
	}
}

func TestCollapsedCodesAreCalledCollapsed(t *testing.T) {
	r := probed(t, dots(t, 24, 2, true), 40, 2)
	if !r.Collapsed() || level(r, "Codes") != "poor" || level(r, "Classes from codes") != "poor" || level(r, "Distances") != "poor" {
		t.Errorf("verdict %+v", r.Verdict)
	}
	if r.Geometry.Use.Used != 1 || r.Geometry.Use.DeadBits != 4 || r.Geometry.Twins != 24 || r.Geometry.Information.Bits != 0 {
		t.Errorf("geometry %+v", r.Geometry)
	}
	if h := r.Codes[BestName].High; h > .8 {
		t.Errorf("codes that are all the same: accuracy %v", r.Codes[BestName])
	}
}

func TestRunRefuses(t *testing.T) {
	for want, s := range map[string]*Set{
		"0 clips of 0 classes": NewSet(nil, Codebook{Size: 16}, 1),
		"12 clips of 1 class":  dots(t, 12, 1, false),
		"class down has 3":     dots(t, 7, 2, false),
	} {
		_, err := Run(context.Background(), s, Options{})
		if !errors.Is(err, usage.Error) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

func TestDuplicatesAreLeftOut(t *testing.T) {
	s := dots(t, 20, 2, false)
	same, other := dot(4, 0, false), dot(5, 1, false)
	same.Name, other.Name, other.Label = "copy", "liar", 0
	must(t, s.Add([]Example{same}))
	must(t, s.Add([]Example{other}))
	want := []Duplicate{{"copy", "dot-4", false}, {"liar", "dot-5", true}}
	if !slices.Equal(s.Duplicates, want) || len(s.Labels) != 20 {
		t.Errorf("duplicates %+v of %d clips; want %+v", s.Duplicates, len(s.Labels), want)
	}
}

func TestSplitsAreStratifiedAndDisjoint(t *testing.T) {
	labels := make([]int, 60)
	for i := range labels {
		labels[i] = min(i%4, 2) // 15, 15, 30
	}
	s := splitClips(labels, 3, 0, 1)
	all := slices.Concat(s.fit, s.stop, s.test)
	slices.Sort(all)
	if len(slices.Compact(all)) != 60 {
		t.Errorf("%d different clips in a split of 60", len(slices.Compact(all)))
	}
	var count [3]int
	for _, c := range s.test {
		count[labels[c]]++
	}
	if count != [3]int{3, 3, 6} {
		t.Errorf("tested of each class %v, want a fifth", count)
	}
	if reflect.DeepEqual(s, splitClips(labels, 3, 1, 1)) {
		t.Error("two repetitions have the same split")
	}
}

func TestLocatorGradients(t *testing.T) {
	r := philox.New(2, "gradients", 0, 0)
	f := Field{T: 2, H: 3, W: 4, C: 2}
	for range 2 * f.size() {
		f.Data = append(f.Data, float32(r.Normal()))
	}
	l := newLocator(f, 4, [2]float64{1, .75}, r)
	at, g := []int{0, 3}, make([]float32, 2*2*2)
	for i := range g {
		g[i] = float32(r.Normal())
	}
	loss := func() (sum float64) {
		for i, y := range l.forward(at) {
			sum += float64(y * g[i])
		}
		return sum
	}
	loss()
	l.backward(g, at)
	for k, layer := range l.net.Layers() {
		for _, p := range []nn.Param{layer.Weight, layer.Bias} {
			for i := 0; i < len(p.Value); i += 1 + len(p.Value)/9 {
				was := p.Value[i]
				const h = 2e-3 // as in the test of nn
				p.Value[i] = was + h
				up := loss()
				p.Value[i] = was - h
				d := (up - loss()) / (2 * h)
				p.Value[i] = was
				if math.Abs(d-float64(p.Grad[i])) > 4e-3+.15*math.Abs(d) {
					t.Errorf("layer %d, weight %d: gradient %v, by differences %v", k, i, p.Grad[i], d)
				}
			}
		}
	}
}

func TestMutualInformation(t *testing.T) {
	labels := []int{0, 0, 1, 1}
	if b := mutual([]int32{7, 7, 9, 9}, 1, labels, 2); math.Abs(b-1) > 1e-12 {
		t.Errorf("a code that is the label: %v bits, want 1", b)
	}
	if b := mutual([]int32{7, 9, 7, 9}, 1, labels, 2); b != 0 {
		t.Errorf("a code that is independent of the label: %v bits", b)
	}
}

func TestEmbedding(t *testing.T) {
	if got, want := (Codebook{Size: 15, Levels: []int{5, 3}}).embed(nil, 0, 1+5*2), []float32{-.5, 1}; !slices.Equal(got, want) {
		t.Errorf("FSQ code 11 of [5,3]: %v, want %v", got, want)
	}
	learned := Codebook{Size: 2, Levels: []int{2}, Vectors: []float32{1, 2, 3, 4, 5, -8, 7, 6}, Dim: 2}.scaled()
	if got, want := learned.embed(nil, 1, 0), []float32{.625, -1}; !slices.Equal(got, want) || learned.width() != 2 {
		t.Errorf("vector of the second codebook %v, want %v", got, want)
	}
	if got, want := (Codebook{Size: 8}).embed(nil, 0, 6), []float32{-1, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("LFQ code 6 of 8: %v, want %v", got, want)
	}
}

func TestView(t *testing.T) {
	video := []float32{1, 2, 3, 4}
	for v, want := range [][]float32{{1, 2, 3, 4}, {2, 1, 4, 3}, {3, 4, 1, 2}, {4, 3, 2, 1}, {1, 3, 2, 4}, {2, 4, 1, 3}, {3, 1, 4, 2}, {4, 2, 3, 1}} {
		if got := View(video, 1, 2, 2, 1, v); !slices.Equal(got, want) {
			t.Errorf("view %d: %v, want %v", v, got, want)
		}
	}
}
