package main

import (
	"encoding/json"
	"testing"
)

func TestBenchCodec(t *testing.T) {
	for _, what := range []string{"encode", "decode"} {
		out, _ := magvit(t, "bench", what, "--preset", "tiny", "--runs", "2", "--batch", "3", "--json")
		var r codecResult
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if r.Runs != 2 || r.Clips != 3 || r.Frames != 16 || r.GFLOP <= 0 || r.MinSeconds <= 0 || r.MedianSeconds < r.MinSeconds || r.PeakBytes < 4*int64(r.Parameters) {
			t.Errorf("bench %s: %+v", what, r)
		}
	}
	if _, stderr, status := finish(t, program(t, "bench", "encode", "--preset", "i3d-small")); status == done {
		t.Errorf("a classifier has codes: %s", stderr)
	}
}
