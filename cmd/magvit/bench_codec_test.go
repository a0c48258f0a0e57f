package main

import (
	"encoding/json"
	"testing"

	"magvit/model"
	"magvit/trainer/config"
)

func TestBenchCodec(t *testing.T) {
	for _, what := range []string{"encode", "decode"} {
		out, _ := magvit(t, "bench", what, "--preset", "tiny", "--runs", "2", "--batch", "3", "--json")
		var r codecResult
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if r.Runs != 2 || r.Clips != 3 || r.Frames != 16 || r.GFLOP <= 0 || r.MinSeconds <= 0 || r.MedianSeconds < r.MinSeconds || r.MinCPUSeconds <= 0 || r.PeakBytes < 4*int64(r.Parameters) || r.ResidentBytes < r.PeakBytes/2 {
			t.Errorf("bench %s: %+v", what, r)
		}
	}
	// Of a network whose weights are most of its memory, offloaded ones are not in memory together.
	kept := printed(t, "bench", "decode", "--preset", "small", "--size", "16", "--runs", "1", "--json")
	offloaded := printed(t, "bench", "decode", "--preset", "small", "--size", "16", "--runs", "1", "--json", "--offload")
	if kept["peak_bytes"].(float64)-offloaded["peak_bytes"].(float64) < 4*.7*kept["parameters"].(float64) || offloaded["parameters"] != kept["parameters"] {
		t.Errorf("buffers of %v bytes with %v parameters in memory, %v with offloaded ones", kept["peak_bytes"], kept["parameters"], offloaded["peak_bytes"])
	}
	halves := 0
	for _, what := range []string{"encode", "decode"} {
		out, _ := magvit(t, "bench", what, "--preset", "tiny", "--plan", "--precision", "bf16", "--json")
		var plan planResult
		if err := json.Unmarshal([]byte(out), &plan); err != nil || plan.What != what || plan.Step.GFLOP <= 0 || plan.Step.Seconds <= 0 {
			t.Errorf("the plan of bench %s: %v, %+v", what, err, plan)
		}
		halves += int(printed(t, "bench", what, "--preset", "tiny", "--runs", "1", "--json")["parameters"].(float64))
	}
	c, err := config.Preset("tiny")
	if err != nil {
		t.Fatal(err)
	}
	if tok, err := model.New(c.Model); err != nil || halves != tok.NumParams() {
		t.Errorf("the halves have %d parameters, the network %d (%v)", halves, tok.NumParams(), err)
	}
	if _, stderr, status := finish(t, program(t, "bench", "encode", "--preset", "tiny", "--plan", "--runs", "2")); status != badInput {
		t.Errorf("--runs of a plan: %s", stderr)
	}
	if _, stderr, status := finish(t, program(t, "bench", "encode", "--preset", "i3d-small")); status == done {
		t.Errorf("a classifier has codes: %s", stderr)
	}
}
