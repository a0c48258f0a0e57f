package report

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"magvit/trainer/metrics"
	"magvit/trainer/quality"
)

// besideRun writes a small run with one evaluation and what eval --metrics found of it.
func besideRun(t *testing.T, name string, step int, blur, sharpness float64) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	must(t, os.MkdirAll(dir, 0o777))
	line, err := json.Marshal(metrics.EvalRecord{Step: step, Val: evaluate(t, blur)})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "metrics.jsonl"), append(line, '\n'), 0o666))
	unknown := metrics.Number(math.NaN())
	text, err := json.Marshal(quality.Saved{Step: step, Split: "val", Report: quality.Report{Clips: 8, Metrics: []quality.Value{
		{Name: "sharpness", Value: metrics.Number(sharpness), Low: unknown, High: unknown, Better: "1"},
		{Name: "lpips", Value: metrics.Number(.25 - sharpness/10), Low: unknown, High: unknown, Better: "lower"}}}})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, quality.FileName), text, 0o666))
	return dir
}

// The page shows both runs' numbers and their differences; unlike steps are said, and metrics
// of another checkpoint are left out.
func TestTwoRunsSideBySide(t *testing.T) {
	plain, sharp := besideRun(t, "film-64", 100, 1, .5), besideRun(t, "film-64-gan", 100, .5, .75)
	path, err := WriteBeside(plain, sharp)
	must(t, err)
	text, err := os.ReadFile(path)
	must(t, err)
	page := string(text)
	selfContained(t, page)
	contains(t, page, "Beside another run", `<th scope="col">film-64</th><th scope="col">film-64-gan</th>`,
		`<th scope="row">sharpness, 1 is right</th><td>0.5000</td><td>0.7500</td><td>&#43;0.2500</td>`,
		`<th scope="row">lpips, lower is better</th><td>0.2000</td><td>0.1750</td><td>-0.0250</td>`, `<th scope="row">steps</th><td>100</td><td>100</td><td>0</td>`)
	if strings.Contains(page, "were evaluated after") {
		t.Error("a warning of unlike steps")
	}
	late := besideRun(t, "late", 200, .5, .75)
	must(t, os.WriteFile(filepath.Join(late, quality.FileName), []byte(`{"step": 100, "clips": 8, "metrics": []}`), 0o666))
	_, err = WriteBeside(plain, late)
	must(t, err)
	text, err = os.ReadFile(path)
	must(t, err)
	contains(t, string(text), "The runs were evaluated after 100 and 200 steps. The metrics of magvit eval --metrics are of steps 100 and 100, and left out.")
	if strings.Contains(string(text), "sharpness") {
		t.Error("metrics of another checkpoint are shown")
	}
	if _, err := WriteBeside(plain, t.TempDir()); err == nil {
		t.Error("an empty folder is a run")
	}
}
