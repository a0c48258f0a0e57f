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
	v := printed(t, "probe", "--checkpoint", run, "--data", clips(t), "--splits", "2", "--views", "1", "--json")
	if v["chance"] != .25 || v["majority"] != .25 || len(v["classes"].([]any)) != 4 {
		t.Errorf("chance %v, majority %v, classes %v", v["chance"], v["majority"], v["classes"])
	}
	for _, kind := range []string{"codes", "latents", "pixels", "shuffled"} {
		heads, _ := v[kind].(map[string]any)
		for _, head := range []string{"linear", "mlp", "conv", "pooled", "centroid", "nearest", "best"} {
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
	page, err := os.ReadFile(filepath.Join(run, "report.html"))
	if err != nil || !strings.Contains(string(page), "Classes from codes") {
		t.Errorf("the report does not tell of the probe: %v", err)
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
	for _, args := range [][]string{{"--target", "colour"}, {"--splits", "1"}, {"--views", "3"}} {
		if _, stderr, status := finish(t, program(t, slices.Concat([]string{"probe", "--checkpoint", trainedRun(t), "--data", clips(t)}, args)...)); status != badInput {
			t.Errorf("%v: exit %d\n%s", args, status, stderr)
		}
	}
}
