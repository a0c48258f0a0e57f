package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"magvit/trainer/data"
)

// A classifier is trained and evaluated by the commands that serve tokenizers; those
// that need codes refuse it with the reason.
func TestClassifier(t *testing.T) {
	run := filepath.Join(t.TempDir(), "run")
	trained := printed(t, "train", "--preset", "slowfast-small", "--data", clips(t), "--out", run, "--steps", "2", "--json")
	look, _ := trained["classify"].(map[string]any)
	if trained["step"] != 2. || look["network"] != "slowfast" || trained["val"] != nil {
		t.Errorf("train --json prints %v", trained)
	}
	v := printed(t, "eval", "--checkpoint", run, "--data", clips(t), "--json")
	for _, key := range []string{"accuracy", "low", "high", "cross_entropy"} {
		if a, ok := v[key].(float64); !ok || a != look[key] {
			t.Errorf("eval --json has %s %v, training ended with %v", key, v[key], look[key])
		}
	}
	if f, _ := v["forecast"].(map[string]any); v["clips"] != 5. || v["chance"] != .25 || f["of"] != "image" || f["seen"] != 4. {
		t.Errorf("eval --json prints %v", v)
	}
	text, _ := magvit(t, "eval", "--checkpoint", run, "--data", clips(t), "--split", "all")
	for _, want := range []string{"of 24 clips; chance 25.0", "as parabolic", "constant velocity"} {
		if !strings.Contains(text, want) {
			t.Errorf("eval does not say %q:\n%s", want, text)
		}
	}
	// Clips of some of the classes, in another order: they are matched by name.
	few := npzOf(t, "parabolic", "helical", "parabolic")
	v = printed(t, "eval", "--checkpoint", run, "--data", few, "--split", "all", "--json")
	for class, want := range []float64{0, 0, 1, 2} { // linear, circular, helical, parabolic
		row, n := v["confusion"].([]any)[class].([]any), 0.
		for _, k := range row {
			n += k.(float64)
		}
		if n != want {
			t.Errorf("class %d has %v clips, want %v: %v", class, n, want, v["confusion"])
		}
	}
	_, stderr, status := finish(t, program(t, "eval", "--checkpoint", run, "--data", npzOf(t, "linear", "fish"), "--split", "all"))
	refused(t, stderr, status, "of the class fish", "linear, circular, helical, parabolic")
	page, err := os.ReadFile(filepath.Join(run, "report.html"))
	if err != nil || !strings.Contains(string(page), "Confusion after step 2") || strings.Contains(string(page), "Originals and reconstructions") {
		t.Errorf("the report does not show the classifier: %v", err)
	}
	out, codes := filepath.Join(t.TempDir(), "out.npz"), filepath.Join(t.TempDir(), "codes.npz")
	if err := data.WriteArrays(codes, data.Array{Name: "codes", Shape: []int{1, 1, 1, 1}, Data: []int32{0}}); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"encode", "--checkpoint", run, "--data", clips(t), "--out", out},
		{"reconstruct", "--checkpoint", run, "--data", clips(t), "--out", out},
		{"probe", "--checkpoint", run, "--data", clips(t)},
		{"decode", "--checkpoint", run, "--codes", codes, "--out", out},
		{"export", "--to", "lucidrains", "--checkpoint", run, out + ".pt"},
	} {
		_, stderr, status := finish(t, program(t, args...))
		if status != badInput || !strings.Contains(stderr, "no codes") {
			t.Errorf("magvit %s: exit %d, %s", args[0], status, stderr)
		}
	}
	v = printed(t, "bench", "step", "--preset", "i3d-small", "--batch", "1", "--frames", "8", "--steps", "1", "--json")
	if v["preset"] != "i3d-small" || v["gflop"].(float64) <= 0 {
		t.Errorf("bench step prints %v", v)
	}
}

// npzOf is a file of black clips with these labels.
func npzOf(t *testing.T, labels ...string) string {
	t.Helper()
	n := len(labels)
	return codesFile(t, data.Array{Name: "videos", Shape: []int{n, 8, 3, 32, 32}, Data: make([]uint8, n*8*3*32*32)}, data.Array{Name: "labels", Shape: []int{n}, Data: labels})
}
