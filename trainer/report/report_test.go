package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"magvit/trainer/atomicfile"
	"magvit/trainer/metrics"
)

const testSide = 32

// dot is a clip of a red dot with a black ring that moves over white; blur
// spreads it, as a reconstruction would.
func dot(frames, class int, blur float64) []float32 {
	video := make([]float32, frames*testSide*testSide*3)
	for f := range frames {
		cx := 8 + float64(f)
		cy := 16 + 6*math.Sin(float64(f*class)/4)
		for y := range testSide {
			for x := range testSide {
				d := math.Hypot(float64(x)-cx, float64(y)-cy)
				inside := func(r float64) float64 { return 1 / (1 + math.Exp((d-r)/(.05+blur))) }
				p := video[((f*testSide+y)*testSide+x)*3:]
				p[0] = float32(1 - inside(6) + inside(4.5))
				p[1] = float32(1 - inside(6))
				p[2] = p[1]
			}
		}
	}
	return video
}

func mask(mask []bool, video []float32, t, h, w, c, grow int) {
	for i := range mask {
		mask[i] = slices.Min(video[i*c:i*c+c]) < .5
	}
}

// evaluate makes a true report of blurred dots.
func evaluate(t *testing.T, blur float64) metrics.Report {
	t.Helper()
	classes := []string{"linear", "circular", "helical <3>", "parabolic"}
	a, err := metrics.New(metrics.Config{H: testSide, W: testSide, C: 3, CodebookSize: 1000, Levels: []int{8, 5, 5, 5},
		Classes: classes, MeanFrame: slices.Repeat([]float32{.9}, testSide*testSide*3), Foreground: mask})
	must(t, err)
	for i := range 8 {
		codes := make([]int32, 256)
		for j := range codes {
			codes[j] = int32((j * j * (i + 1)) % 997)
		}
		must(t, a.Add(fmt.Sprintf("clip-%04d", i), i%4, 8, dot(8, i%4, 0), dot(8, i%4, blur), codes))
	}
	return a.Report()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// runDir writes a run directory like that of a real run.
func runDir(t *testing.T, dir string) metrics.Report {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(dir, "config.yaml"), []byte("preset: demo\nseed: 42\nmodel:\n  image_size: 64\n  levels: [8, 5, 5, 5]\n  quantizer: fsq\ntrain:\n  batch: 4\n  comment: \"see https://example.com/ <b>\"\n"), 0o666))
	must(t, os.WriteFile(filepath.Join(dir, "progress.json"), []byte(`{"step":1500,"device":"cpu (avx2, 2 cores)","data":"clips.npz"}`), 0o666))
	var lines bytes.Buffer
	out := json.NewEncoder(&lines)
	var last metrics.Report
	for step := 1; step <= 1500; step++ {
		x := float64(step)
		wave := 1 + .3*math.Sin(x)
		must(t, out.Encode(metrics.StepRecord{Step: step, Loss: metrics.Number(.2*math.Exp(-x/200)*wave + .002), Terms: metrics.Terms{{Name: "recon", Value: metrics.Number(.18*math.Exp(-x/200)*wave + .0015)}},
			LR: metrics.Number(.004 * min(1, x/20) * (1 + math.Cos(x/1500*math.Pi)) / 2), GradNorm: metrics.Number(3*math.Exp(-x/400)*wave + .05),
			ClipsPerSecond: metrics.Number(18 + wave), Seconds: metrics.Number(x * .16), Waiting: .01}))
		if step%250 == 0 {
			last = evaluate(t, 4*math.Exp(-x/300)+.1)
			must(t, out.Encode(metrics.EvalRecord{Step: step, Val: last}))
		}
	}
	lines.WriteString(`{"step":1501,"loss":.0`) // killed while writing
	must(t, os.WriteFile(filepath.Join(dir, "metrics.jsonl"), lines.Bytes(), 0o666))
	must(t, os.MkdirAll(filepath.Join(dir, "samples"), 0o777))
	for _, step := range []int{1250, 1500} {
		for class, name := range []string{"linear", "circular", "helical", "parabolic"} {
			pair := []Pair{{Name: fmt.Sprintf("clip-%04d", class), Class: name, T: 8, H: testSide, W: testSide, C: 3, Target: dot(8, class, 0), Recon: dot(8, class, .6)}}
			for ext, draw := range map[string]func(io.Writer, []Pair) error{"png": SideBySide, "gif": AnimatedGIF} {
				f, err := os.Create(filepath.Join(dir, "samples", SampleName(step, name, ext)))
				must(t, err)
				must(t, draw(f, pair))
				must(t, f.Close())
			}
		}
	}
	return last
}

func written(t *testing.T, dir string) string {
	t.Helper()
	path, err := Write(dir)
	must(t, err)
	if path != filepath.Join(dir, "report.html") {
		t.Errorf("path %s", path)
	}
	b, err := os.ReadFile(path)
	must(t, err)
	if left, _ := filepath.Glob(filepath.Join(dir, atomicfile.Prefix+"*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
	selfContained(t, string(b))
	return string(b)
}

// selfContained walks the page's elements: nothing is loaded from elsewhere, no
// script runs, each picture is described.
func selfContained(t *testing.T, html string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(html))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		must(t, err)
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		described := false
		for _, a := range e.Attr {
			if slices.Contains([]string{"src", "href", "srcset", "data", "action"}, a.Name.Local) && !strings.HasPrefix(a.Value, "data:") {
				t.Errorf("<%s %s=%q> is not inside the page", e.Name.Local, a.Name.Local, a.Value)
			}
			if strings.HasPrefix(a.Name.Local, "on") {
				t.Errorf("<%s %s> is a script", e.Name.Local, a.Name.Local)
			}
			described = described || slices.Contains([]string{"alt", "aria-label"}, a.Name.Local) && len(a.Value) > 20 || a.Name.Local == "aria-hidden"
		}
		if slices.Contains([]string{"img", "svg"}, e.Name.Local) && !described {
			t.Errorf("<%s> without a description: %.200v", e.Name.Local, e.Attr)
		}
		if slices.Contains([]string{"script", "link", "iframe", "object"}, e.Name.Local) {
			t.Errorf("<%s> in the page", e.Name.Local)
		}
	}
	if m := regexp.MustCompile(`url\(|@import|xmlns`).FindString(html); m != "" {
		t.Errorf("%q in the page", m)
	}
}

func contains(t *testing.T, html string, wanted ...string) {
	t.Helper()
	for _, w := range wanted {
		if !strings.Contains(html, w) {
			t.Errorf("the page does not say %q", w)
		}
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	if keep := os.Getenv("REPORT_DIR"); keep != "" { // to look at the page
		dir = keep
	}
	last := runDir(t, dir)
	html := written(t, dir)
	contains(t, html, last.PSNR.Text(2), last.ForegroundPSNR.Text(2), last.SSIM.Text(4), last.Codes.Perplexity.Text(1),
		last.Baselines["white"].ForegroundPSNR.Text(2), last.Baselines["mean_frame"].PSNR.Text(2), last.PerClass["linear"].SSIM.Text(4),
		last.PerFrame[7].PSNR.Text(2), last.Worst[0].Name, "after step 1500", "cpu (avx2, 2 cores)", "clips.npz", "4m0s", "8, 5, 5, 5",
		"Reconstruction: good", "How often codes are used", "helical &lt;3&gt;", "&lt;b&gt;", "linear, step 1500")
	for what, n := range map[string]int{"<img ": 8, `role="img"`: 9, "data:image/gif": 4, "step 1250": 0} {
		if got := strings.Count(html, what); what == "step 1250" && strings.Contains(html, "linear, step 1250") || what != "step 1250" && got != n {
			t.Errorf("%d times %s, want %d", got, what, n)
		}
	}
	if strings.Contains(html, "could not be read") {
		t.Error("a torn last line is reported as unreadable")
	}
	if got := strings.Count(html, ">1500</text>"); got != 8 {
		t.Errorf("%d charts end at step 1500, want 8", got)
	}
	if verdict, ran := strings.Index(html, "Reconstruction: good"), strings.Index(html, "What ran"); verdict > ran {
		t.Error("the verdict does not come first")
	}
	again := written(t, dir)
	if again != html {
		t.Error("a second page of the same run differs")
	}
}

func TestWriteWithoutMuch(t *testing.T) {
	dir := t.TempDir()
	if _, err := Write(dir); err == nil || !strings.Contains(err.Error(), "neither config.yaml nor metrics.jsonl") {
		t.Errorf("empty directory: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(dir, "config.yaml"), []byte("not: [yaml"), 0o666))
	contains(t, written(t, dir), "not: [yaml", "There is no evaluation yet", "There are no samples yet", "There are no logged steps yet", "The run directory holds no settings")

	must(t, os.Remove(filepath.Join(dir, "config.yaml")))
	must(t, os.WriteFile(filepath.Join(dir, "metrics.jsonl"), []byte(`{"step":1,"loss":null,"lr":0.1,"waiting":0.5}
not json
{"step":3,"loss":2.5,"skipped":2,"waiting":0.5,"val":{"clips":1,"psnr":20}}
`), 0o666))
	must(t, os.Mkdir(filepath.Join(dir, "samples"), 0o777))
	must(t, os.WriteFile(filepath.Join(dir, "samples", SampleName(3, "x", "png")), []byte("no picture"), 0o666))
	contains(t, written(t, dir), "1 lines of metrics.jsonl could not be read", "2 steps were skipped", "waited for data during 50 %",
		"holds no config.yaml", "no baselines to compare with", "step-000003-x.png (damaged)", "after step 3")
}

func TestWriteLeavesTheOldPage(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "config.yaml"), nil, 0o666))
	must(t, os.Mkdir(filepath.Join(dir, "report.html"), 0o777)) // cannot be replaced by a file
	if _, err := Write(dir); err == nil {
		t.Error("no error")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, atomicfile.Prefix+"*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestVerdict(t *testing.T) {
	report := func(psnr, white float64, codes metrics.Codes) metrics.Report {
		return metrics.Report{PSNR: metrics.Number(psnr), ForegroundPSNR: metrics.Number(psnr - 10), Codes: codes,
			Baselines: map[string]metrics.Scores{"white": {PSNR: metrics.Number(white), ForegroundPSNR: metrics.Number(white - 10)}}}
	}
	used := metrics.Codes{Size: 1024, Count: 5000, Used: 300, Perplexity: 60, Digits: 10}
	for _, c := range []struct {
		psnr                                  float64
		codes                                 metrics.Codes
		reconstruction, use, says, comparison string
	}{
		{28, used, "good", "good", "none of the 10 bits is dead", "+12.0 dB"},
		{27, used, "fair", "good", "300 different codes of 1 024", "+11.0 dB"},
		{18, metrics.Codes{Size: 1024, Count: 5000, Used: 300, Perplexity: 60, Digits: 10, DeadBits: 2}, "poor", "fair", "2 of the 10 bits", "+2.0 dB"},
		{12, metrics.Codes{Size: 1000, Levels: []int{8, 5, 5, 5}, Count: 5000, Used: 2, Perplexity: 1.5, Digits: 4, DeadBits: 3}, "poor", "poor", "3 of the 4 dimensions", "-4.0 dB"},
		{28, metrics.Codes{}, "good", "unknown", "no codes", "all-white frame"},
		{28, metrics.Codes{Size: 1000, Levels: []int{8, 5, 5, 5}, Count: 5000, Used: 9, Perplexity: 6, Digits: 4, DeadBits: 2}, "good", "poor", "collapsed", "+12.0 dB"},
		{28, metrics.Codes{Size: 1000, Levels: []int{8, 5, 5, 5}, Count: 5000, Used: 19, Perplexity: 8, Digits: 4}, "good", "poor", "collapsed", "+12.0 dB"},
		{28, metrics.Codes{Size: 1 << 18, Count: 5000, Used: 90, Perplexity: 50, Digits: 18, DeadBits: 9}, "good", "poor", "collapsed", "+12.0 dB"},
		{28, metrics.Codes{Size: 1 << 18, Count: 5000, Used: 90, Perplexity: 50, Digits: 18, DeadBits: 8}, "good", "fair", "90 different codes of 5 000", "+12.0 dB"},
		{16, used, "poor", "poor", "do not carry the clips", "no better than a trivial baseline"}, // as an untrained network
		{18, used, "poor", "fair", "carry little", "hardly better"},
	} {
		got := verdict(nil, []metrics.EvalRecord{{Step: 1, Val: report(c.psnr, 16, c.codes)}})
		if len(got) != 2 || got[0].Level != c.reconstruction || got[1].Level != c.use || !strings.Contains(got[1].Text, c.says) || !strings.Contains(got[0].Text, c.comparison) {
			t.Errorf("%v dB, %+v: %+v", c.psnr, c.codes, got)
		}
	}
	costly := report(28, 16, used) // +12 dB
	for bits, want := range map[float64]string{.05: "fair", 0: "good", 1: "fair", 2: "poor"} {
		costly.BitsPerPixel = metrics.Number(bits)
		if got := reconstruction(costly); got.Level != want {
			t.Errorf("12 dB above a trivial baseline at %v bits a pixel: %+v, want %s", bits, got, want)
		}
	}
	for _, c := range []struct {
		psnr        []float64
		level, says string
	}{
		{[]float64{5, 6, 8, 10}, "fair", "Still improving: +2.0 dB PSNR since step 3. Longer training should help. The PSNR of the foreground is still below that of an all-white frame."},
		{[]float64{5, 9, 9.9, 10}, "poor", "is still below that of an all-white frame"},
		{[]float64{5, 10, 9, 8}, "poor", "below that of an all-white frame"},
		{[]float64{5, 6, 18, 20}, "good", "Still improving"},
	} {
		var evals []metrics.EvalRecord
		for i, p := range c.psnr {
			evals = append(evals, metrics.EvalRecord{Step: i + 1, Val: report(p, 16, used)})
		}
		if got, ok := trend(evals); !ok || got.Level != c.level || !strings.Contains(got.Text, c.says) {
			t.Errorf("%v below 16 dB of a white frame: %+v; want %s, %s", c.psnr, got, c.level, c.says)
		}
	}
	for text, psnr := range map[string][]float64{
		"Still improving: +2.0 dB PSNR since step 3": {10, 20, 28, 30},
		"Levelled off: +0.1 dB":                      {10, 28, 29.9, 30},
		"best evaluation was at step 2 (30.0 dB)":    {10, 30, 29, 28},
	} {
		var evals []metrics.EvalRecord
		for i, p := range psnr {
			evals = append(evals, metrics.EvalRecord{Step: i + 1, Val: report(p, 5, used)})
		}
		if got := verdict(nil, evals); len(got) != 3 || !strings.Contains(got[2].Text, text) {
			t.Errorf("%v: %+v; want %s", psnr, got, text)
		}
	}
}

// A run with forecasts shows them beside what needs no tokenizer; one that cannot be
// understood is left out.
func TestForecastSection(t *testing.T) {
	dir := t.TempDir()
	runDir(t, dir)
	path := filepath.Join(dir, "forecast.json")
	must(t, os.WriteFile(path, []byte(forecastJSON), 0o666))
	contains(t, written(t, dir), "Can motion be forecast from the codes?", "the first 12 frames are seen, 2 are forecast", "2.50 <span class=\"than\">(2.25–2.75)</span>",
		"constant velocity", "<td>6.25</td>", "<td>7.75</td>", "over frames ahead: from codes, from 2 to 3", "Codes tell where things go.")
	must(t, os.WriteFile(path, []byte(`{"forecast": 3}`), 0o666))
	if strings.Contains(written(t, dir), "where things go") {
		t.Error("a broken forecast.json is shown")
	}
}

const forecastJSON = `{"step": 7, "classes": ["linear", "bent", "helical_and_longer", "parabolic"], "clips": 40, "splits": 3, "forecast": {"observed": 12, "ahead": 2,
		"codes": {"error": 2.5, "low": 2.25, "high": 2.75, "per_step": [2, 3], "per_class": [1.5, 3.5, 2, 2]},
		"constant_position": {"error": 6, "low": 5, "high": 7, "per_step": [4, 8], "per_class": [6, 6, 6, 6]},
		"constant_velocity": {"error": 3.25, "low": 3, "high": 3.5, "per_step": [1, 5.5], "per_class": [0.25, 6.25, 3, 3]},
		"frames": {"codes": {"psnr": 20, "foreground_psnr": 7.75}, "copy_last": {"psnr": 18, "foreground_psnr": 4.5}, "decoded": {"psnr": 30, "foreground_psnr": 27}}},
		"verdict": [{"Level": "good", "About": "Forecast", "Text": "Codes tell where things go."}]}`

func TestStateOfTheRun(t *testing.T) {
	at := time.Date(2026, 11, 28, 15, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		state string
		age   time.Duration
		want  string
	}{
		{"training", time.Minute, "running: it was training at 2026-11-28 15:04:05"},
		{"evaluating", time.Hour, "not running: it was evaluating at 2026-11-28 15:04:05, and wrote nothing since"},
		{"done", time.Hour, "done at 2026-11-28 15:04:05"},
		{"interrupted", time.Second, "interrupted at 2026-11-28 15:04:05"},
	} {
		r := &run{progress: []Fact{{"state", c.state}, {"heartbeat", at.Format(time.RFC3339Nano)}}}
		if got := r.state(at.Add(c.age)); got != c.want {
			t.Errorf("%s: %q, want %q", c.state, got, c.want)
		}
	}
	if got := (&run{}).state(at); got != "" {
		t.Errorf("a run without progress.json: %q", got)
	}
}
