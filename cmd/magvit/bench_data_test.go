package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestBenchData(t *testing.T) {
	out, _ := magvit(t, "bench", "data", "--data", clips(t), "--preset", "tiny", "--clips", "8", "--step", "20ms", "--json")
	var r dataResult
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if r.Clips < 8 || r.Frames != r.Clips*r.Shape[1] || r.ClipsPerSecond <= 0 || r.Seconds < .04 || r.StepSeconds != .02 || r.Waiting < 0 || r.Waiting >= 1 ||
		r.BatchSeconds <= 0 || r.CPUPerClip <= 0 || r.PeakBytes < 1<<20 || r.Skipped != 0 {
		t.Errorf("%s", out)
	}
	for _, stage := range []string{"decode", "resize", "batch"} {
		if s := r.Stages[stage]; s == nil || s.FramesPerSecond <= 0 {
			t.Errorf("stage %s: %s", stage, out)
		}
	}
	text, _ := magvit(t, "bench", "data", "--data", films(t, 1), "--preset", "tiny", "--set", "data.size=32", "--set", "data.frames=8", "--clips", "3")
	for _, want := range []string{"clips/s", "decode", "in ffmpeg", "training waits for data if its step is shorter"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
	if _, stderr, status := finish(t, program(t, "bench", "data", "--data", clips(t), "--clips", "0")); status == done || !strings.Contains(stderr, "--clips 0") {
		t.Errorf("--clips 0: %s", stderr)
	}
}
