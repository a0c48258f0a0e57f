package quality

import (
	"encoding/json"
	"math"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"magvit/kernels/philox"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func noise(purpose string, n int) []float32 {
	r := philox.New(2, purpose, 0, 0)
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.Float64())
	}
	return x
}

func report(t *testing.T, names string, pairs ...Pair) Report {
	t.Helper()
	j, err := New(names, Options{})
	check(t, err)
	for _, p := range pairs {
		check(t, j.Add(p))
	}
	r, err := j.Report()
	check(t, err)
	return r
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 1e-6*math.Max(1, math.Abs(want))) {
		t.Errorf("%s is %.9g, want %.9g", what, got, want)
	}
}

// Two clips, worked out by hand. Errors of 1/2 in all four values and of 1/4 in two of
// four make a mean squared error of (4/4 + 2/16)/8. Values beyond [0,1] are clamped.
func TestPSNR(t *testing.T) {
	a := Pair{Name: "a", T: 1, H: 2, W: 2, C: 1, Original: []float32{0, 0, .5, 1}, Recon: []float32{.5, .5, 1, .5}}
	b := Pair{Name: "b", T: 2, H: 1, W: 2, C: 1, Original: []float32{0, .25, 1, .5}, Recon: []float32{-3, .5, 7, .25}}
	near(t, "psnr", float64(report(t, "psnr", a, b).Of("psnr").Value), -10*math.Log10((4./4+2./16)/8))
}

// A frame of 2×2 has one pixel with neighbours below and to its right: 3/5 of a unit down
// and 4/5 right is a gradient of 1, its reconstruction is flat.
func TestGradient(t *testing.T) {
	p := Pair{Name: "a", T: 1, H: 2, W: 2, C: 1, Original: []float32{0, .8, .6, .3}, Recon: []float32{.5, .5, .5, .9}}
	near(t, "gradient", float64(report(t, "gradient", p).Of("gradient").Value), 1)
}

// The energy of a spectrum is that of the windowed frame: half of a checkerboard, whose
// frequency is above half of Nyquist's, and nothing of a slow wave.
func TestSpectrum(t *testing.T) {
	const n = 16
	fast, slow, mixed := make([]float32, n*n), make([]float32, n*n), make([]float32, n*n)
	energy := 0.
	w := hann(n)
	for h := range n {
		for v := range n {
			i := h*n + v
			fast[i] = float32((h+v)%2) - .5
			slow[i] = float32(.5 * math.Cos(2*math.Pi*float64(v)/n))
			mixed[i] = fast[i]/2 + slow[i]
			energy += .25 * w[h] * w[h] * w[v] * w[v]
		}
	}
	s := newSpectrum(n, n)
	near(t, "checkerboard", s.high(fast, 0, 1), energy/(n*n))
	near(t, "slow wave", s.high(slow, 0, 1), 0)
	near(t, "half a checkerboard and a slow wave", s.high(mixed, 0, 1), energy/(n*n)/4)
	odd := newSpectrum(5, 7) // against the sum over all frequencies, by their definition
	x, sum := noise("odd", 35), 0.
	mean := 0.
	for _, v := range x {
		mean += float64(v) / 35
	}
	for a := range 5 {
		for b := range 7 {
			var re, im float64
			for h := range 5 {
				for v := range 7 {
					value := (float64(x[h*7+v]) - mean) * hann(5)[h] * hann(7)[v]
					sin, cos := math.Sincos(2 * math.Pi * (float64(a*h)/5 + float64(b*v)/7))
					re, im = re+value*cos, im-value*sin
				}
			}
			if math.Hypot(float64(min(a, 5-a))/5, float64(min(b, 7-b))/7) > .25 {
				sum += re*re + im*im
			}
		}
	}
	near(t, "5×7 pixels", odd.high(x, 0, 1), sum/35/35)
}

// Half the amplitude of what is fast is a quarter of its energy; a copy is as sharp as the original.
func TestSharpness(t *testing.T) {
	original := noise("sharp", 2*12*12*3)
	recon := make([]float32, len(original))
	for i, v := range original {
		recon[i] = .25 + v/2
	}
	p := Pair{Name: "a", T: 2, H: 12, W: 12, C: 3, Original: original, Recon: recon}
	near(t, "sharpness", float64(report(t, "sharpness", p).Of("sharpness").Value), .25)
	p.Recon = original
	near(t, "sharpness of a copy", float64(report(t, "sharpness", p).Of("sharpness").Value), 1)
	flat := Pair{Name: "flat", T: 1, H: 4, W: 4, C: 1, Original: make([]float32, 16), Recon: noise("flat", 16)}
	if v := report(t, "sharpness", flat).Of("sharpness").Value; v.Finite() {
		t.Errorf("sharpness %v against a flat original", v)
	}
}

// The Fréchet distance is that of scipy's matrix square root, see testdata/README.md; the moments come in blocks.
func TestFrechetDistanceIsScipys(t *testing.T) {
	text, err := os.ReadFile("testdata/frechet.json")
	check(t, err)
	var golden struct {
		Cases []struct {
			Name     string
			X, Y     [][]float32
			Distance float64
		}
	}
	check(t, json.Unmarshal(text, &golden))
	if len(golden.Cases) < 4 {
		t.Fatalf("%d cases", len(golden.Cases))
	}
	for _, c := range golden.Cases {
		var x, y moments
		for _, v := range c.X {
			check(t, x.add(v))
		}
		for _, v := range c.Y {
			check(t, y.add(v))
		}
		got, err := frechetDistance(&x, &y)
		check(t, err)
		if math.Abs(got-c.Distance) > 1e-6*math.Max(1, c.Distance) {
			t.Errorf("%s: %.9f, want %.9f", c.Name, got, c.Distance)
		}
	}
}

// Vectors that come one by one have the mean and covariance of all of them together.
func TestMoments(t *testing.T) {
	const n, d = 2*blockRows + 5, 3
	x := noise("moments", n*d)
	var m moments
	for i := range n {
		check(t, m.add(x[i*d:][:d]))
	}
	c := m.covariance()
	for i := range d {
		mean := func(i int) (sum float64) {
			for k := range n {
				sum += float64(x[k*d+i]) / n
			}
			return sum
		}
		near(t, "mean", m.mean[i], mean(i))
		for j := range d {
			sum := 0.
			for k := range n {
				sum += (float64(x[k*d+i]) - mean(i)) * (float64(x[k*d+j]) - mean(j)) / (n - 1)
			}
			near(t, "covariance", c.At(i, j), sum)
		}
	}
	if err := m.add([]float32{1, 2}); err == nil || !strings.Contains(err.Error(), "2 features after vectors of 3") {
		t.Errorf("%v", err)
	}
	if err := m.add([]float32{1, 2, float32(math.NaN())}); err == nil || !strings.Contains(err.Error(), "feature 2 is NaN") {
		t.Errorf("%v", err)
	}
}

// A blurred reconstruction is farther from the originals than a copy, whose distance is 0.
func TestFrechetOfPixels(t *testing.T) {
	var same, blurred []Pair
	for k := range 3 {
		original := noise("frechet "+string(rune('a'+k)), 4*16*16*3)
		p := Pair{Name: "a", T: 4, H: 16, W: 16, C: 3, Original: original, Recon: original}
		same = append(same, p)
		p.Recon = slices.Clone(original)
		for i := range p.Recon[:len(p.Recon)-3] {
			p.Recon[i] = (original[i] + original[i+3]) / 2
		}
		blurred = append(blurred, p)
	}
	a, b := report(t, "frechet-pixels", same...).Of("frechet-pixels"), report(t, "frechet-pixels", blurred...).Of("frechet-pixels")
	near(t, "distance of copies", float64(a.Value), 0)
	if !(b.Value > .01) {
		t.Errorf("distance of blurred copies is %v", b.Value)
	}
	if !strings.Contains(b.Note, "12 vectors of 128 features") || !strings.Contains(b.Note, "comparable with nothing") {
		t.Errorf("note %q", b.Note)
	}
}

// An interval depends on the clips alone, holds the value, and narrows with their number as its root.
func TestInterval(t *testing.T) {
	width := func(n int) float64 {
		rows := make([][]float64, n)
		r := philox.New(9, "interval", 0, 0)
		for i := range rows {
			rows[i] = []float64{r.Normal(), 1}
		}
		mean := func(sum []float64) float64 { return sum[0] / sum[1] }
		low, high := interval(rows, mean)
		if l, h := interval(rows, mean); l != low || h != high {
			t.Errorf("%v to %v, then %v to %v", low, high, l, h)
		}
		total := 0.
		for _, row := range rows {
			total += row[0] / float64(n)
		}
		if !(float64(low) < total && total < float64(high)) {
			t.Errorf("%d clips: %v to %v around %v", n, low, high, total)
		}
		return float64(high - low)
	}
	// The interval of a mean of n normal values is 2·1.96/√n wide.
	for _, n := range []int{100, 400} {
		if w, want := width(n), 3.92/math.Sqrt(float64(n)); math.Abs(w-want) > .15*want {
			t.Errorf("%d clips: an interval of %.3f, want about %.3f", n, w, want)
		}
	}
	if low, high := interval([][]float64{{1}}, func([]float64) float64 { return 1 }); low.Finite() || high.Finite() {
		t.Errorf("one clip has an interval %v to %v", low, high)
	}
}

// Memory grows by some numbers with each clip, whatever its size.
func TestMemoryDoesNotGrowWithClips(t *testing.T) {
	x, y := noise("memory x", 16*16), noise("memory y", 16*16)
	p := Pair{Name: "a", T: 1, H: 16, W: 16, C: 1, Original: x, Recon: y}
	j, err := New("psnr,ssim,gradient,sharpness,frechet-pixels", Options{})
	check(t, err)
	used := func(clips int) int64 {
		for range clips {
			check(t, j.Add(p))
		}
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	first := used(300) // more than there are features
	const clips = 1000
	if grown := used(clips) - first; grown > clips*300 {
		t.Errorf("%d clips of %d bytes took %d bytes", clips, 2*4*len(x), grown)
	}
	r, err := j.Report()
	check(t, err)
	if r.Clips != clips+300 || !r.Of("frechet-pixels").Value.Finite() {
		t.Errorf("%+v", r)
	}
}

func TestReport(t *testing.T) {
	x := noise("report", 2*8*8)
	p := Pair{Name: "a", T: 2, H: 8, W: 8, C: 1, Original: x, Recon: x}
	r := report(t, "ssim, psnr", p, p)
	if r.Clips != 2 || r.Frames != 4 || len(r.Metrics) != 2 || r.Metrics[0].Name != "psnr" {
		t.Errorf("%+v", r)
	}
	near(t, "ssim", float64(r.Of("ssim").Value), 1)
	if again := report(t, "ssim, psnr", p, p); !reflect.DeepEqual(r, again) {
		t.Errorf("%+v, then %+v", r, again)
	}
	var b strings.Builder
	check(t, WriteText(&b, r))
	if want := "2 clips, 4 frames"; !strings.Contains(b.String(), want) || !strings.Contains(b.String(), "psnr, dB") {
		t.Errorf("no %q in\n%s", want, b.String())
	}
	for names, want := range map[string]string{"psnr,psrn": `"psrn": want some of psnr`, "ssim,ssim": "named twice", "lpips": "lpips: want its weights", "fid": "fid: want its weights", "fvd": "fvd: want its weights", "": `""`} {
		if _, err := New(names, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", names, err, want)
		}
	}
}

func TestPairsThatCannotBeCompared(t *testing.T) {
	good := Pair{Name: "a", T: 1, H: 1, W: 2, C: 1, Original: []float32{0, 1}, Recon: []float32{0, 1}}
	for want, change := range map[string]func(*Pair){
		"2 and 1 values":           func(p *Pair) { p.Recon = p.Recon[:1] },
		"with 1 or 3 channels":     func(p *Pair) { p.C = 2 },
		"the original holds 2":     func(p *Pair) { p.Original = []float32{0, 2} },
		"reconstruction holds NaN": func(p *Pair) { p.Recon = []float32{0, float32(math.NaN())} },
	} {
		p := good
		change(&p)
		j, err := New("psnr", Options{})
		check(t, err)
		if err := j.Add(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if _, err := j.Report(); err == nil {
			t.Error("a report of no clips")
		}
	}
}

// A singular covariance has a square root too.
func TestSquareRootOfASingularCovariance(t *testing.T) {
	var m moments
	for _, v := range [][]float32{{1, 2, 3}, {2, 4, 7}, {0, 0, 1}} { // two of three features are proportional
		check(t, m.add(v))
	}
	c := m.covariance()
	byVectors, err := m.root()
	check(t, err)
	byEigenvalues, err := squareRoot(c)
	check(t, err)
	for _, root := range []mat.Matrix{byVectors, byEigenvalues} {
		for i := range 3 {
			for j := range 3 {
				sum := 0.
				_, n := root.Dims()
				for k := range n {
					sum += root.At(i, k) * root.At(j, k)
				}
				near(t, "an entry", sum, c.At(i, j))
			}
		}
	}
	check(t, m.add([]float32{5, 1, 1}))
	if m.all != nil {
		t.Error("more vectors than features are kept")
	}
}
