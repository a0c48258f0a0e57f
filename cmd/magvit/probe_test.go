package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"magvit/trainer/data"
)

func TestProbe(t *testing.T) {
	run := copyOf(t, trainedRun(t))
	v := printed(t, "probe", "--checkpoint", run, "--data", clips(t), "--splits", "2", "--views", "1", "--steps", "20", "--json",
		"--compare", comparedRun(t))
	if v["chance"] != .25 || v["majority"] != .25 || len(v["classes"].([]any)) != 4 {
		t.Errorf("chance %v, majority %v, classes %v", v["chance"], v["majority"], v["classes"])
	}
	for _, kind := range []string{"codes", "latents", "pixels", "shuffled"} {
		heads, _ := v[kind].(map[string]any)
		for _, head := range []string{"linear", "mlp", "conv", "path", "form", "pooled", "centroid", "nearest", "best"} {
			score, _ := heads[head].(map[string]any)
			a, low, high := score["accuracy"], score["low"], score["high"]
			if a == nil || low.(float64) > a.(float64) || high.(float64) < a.(float64) {
				t.Errorf("%s.%s: %v in [%v,%v]", kind, head, a, low, high)
			}
		}
	}
	for _, name := range []string{"mean_speed", "sorted_speeds", "extent", "positions"} {
		if m, _ := v["motion"].(map[string]any)[name].(map[string]any); m["accuracy"] == nil {
			t.Errorf("motion.%s has no accuracy", name)
		}
	}
	if c, _ := v["compared"].([]any); len(c) != 1 || c[0].(map[string]any)["preset"] != "i3d-small" {
		t.Errorf("compared %v", v["compared"])
	}
	page, err := os.ReadFile(filepath.Join(run, "report.html"))
	if err != nil || !strings.Contains(string(page), "Classes from codes") {
		t.Errorf("the report lacks the probe: %v", err)
	}
}

// comparedRun is the directory of a run that classified clips.
func comparedRun(t *testing.T) string {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "classify.json"), []byte(`{"preset": "i3d-small", "accuracy": 0.8, "low": 0.7, "high": 0.9}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestProbeTrajectory(t *testing.T) {
	run := copyOf(t, trainedRun(t))
	args := []string{"probe", "--checkpoint", run, "--data", clips(t), "--target", "trajectory", "--splits", "2", "--views", "1", "--steps", "20"}
	v := printed(t, append(args, "--json")...)
	f, _ := v["forecast"].(map[string]any)
	if f["observed"] != 6. || f["ahead"] != 2. {
		t.Errorf("%v frames seen, %v forecast; want 6 and 2 of 8", f["observed"], f["ahead"])
	}
	positive := func(where string, m any, key string) {
		if e, _ := m.(map[string]any)[key].(float64); e <= 0 {
			t.Errorf("%s.%s: %v", where, key, m)
		}
	}
	for _, way := range []string{"codes", "pixels", "path", "constant_position", "constant_velocity"} {
		positive(way, f[way], "error")
	}
	for _, way := range []string{"codes", "constant_position", "constant_velocity"} {
		positive("space."+way, f["space"].(map[string]any)[way], "error")
	}
	for _, way := range []string{"codes", "copy_last", "decoded"} {
		positive("frames."+way, f["frames"].(map[string]any)[way], "psnr")
	}
	if _, err := os.Stat(filepath.Join(run, "forecast.json")); err != nil {
		t.Error(err)
	}
	for _, ahead := range []string{"6", "-1"} {
		if _, stderr, status := finish(t, program(t, append(args, "--ahead", ahead)...)); status != badInput || !strings.Contains(stderr, "--ahead "+ahead) {
			t.Errorf("--ahead %s: exit %d\n%s", ahead, status, stderr)
		}
	}
}

// TestProbeCallsCollapsedWhatIs probes a tokenizer that was trained into collapse, and another one.
func TestProbeCallsCollapsedWhatIs(t *testing.T) {
	says := func(run string) string {
		stdout, _ := magvit(t, "probe", "--checkpoint", run, "--data", clips(t), "--splits", "2", "--views", "1", "--steps", "5")
		return stdout
	}
	if s := says(copyOf(t, collapsedRun(t))); !strings.Contains(s, "Codes: poor. The codes have collapsed") {
		t.Errorf("the text about a collapsed tokenizer:\n%s", s)
	}
	if s := says(copyOf(t, trainedRun(t))); !strings.Contains(s, "The codes have not collapsed") {
		t.Errorf("the text about one that uses its codes:\n%s", s)
	}
}

func TestProbeNeedsTwoClasses(t *testing.T) {
	a := arraysOf(t, clips(t))
	labels := make([]int64, 24)
	arrays := []data.Array{{Name: "videos", Shape: a["videos"].Shape, Data: a["videos"].Data}, {Name: "labels", Shape: []int{24}, Data: labels}}
	for want, list := range map[string][]data.Array{"24 clips of 1 classes": arrays, "0 clips of 0 classes": arrays[:1]} {
		path := filepath.Join(t.TempDir(), "clips.npz")
		if err := data.WriteArrays(path, list...); err != nil {
			t.Fatal(err)
		}
		_, stderr, status := finish(t, program(t, "probe", "--checkpoint", trainedRun(t), "--data", path))
		if status != badInput || !strings.Contains(stderr, want) {
			t.Errorf("exit %d, want %d and %q:\n%s", status, badInput, want, stderr)
		}
	}
	for _, args := range [][]string{{"--target", "colour"}, {"--splits", "1"}, {"--views", "3"}, {"--steps", "-1"}, {"--compare", t.TempDir()}} {
		if _, stderr, status := finish(t, program(t, slices.Concat([]string{"probe", "--checkpoint", trainedRun(t), "--data", clips(t)}, args)...)); status != badInput {
			t.Errorf("%v: exit %d\n%s", args, status, stderr)
		}
	}
}
