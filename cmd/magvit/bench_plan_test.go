package main

import (
	"encoding/json"
	"math"
	"testing"
)

// A plan counts the operations that a step does, and of each kernel the longer of its
// two least times.
func TestPlanCountsTheStep(t *testing.T) {
	out, _ := magvit(t, "bench", "step", "--preset", "tiny", "--batch", "2", "--plan", "--peak", "1000,2,10", "--precision", "bf16", "--json")
	var r planResult
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	step := printed(t, "bench", "step", "--preset", "tiny", "--batch", "2", "--steps", "1", "--json")
	if want, _ := step["gflop"].(float64); math.Abs(r.Step.GFLOP-want) > 1e-9*want || want == 0 {
		t.Errorf("%v GFLOP, a step has %v", r.Step.GFLOP, want)
	}
	var sum planRow
	for _, k := range r.Kinds {
		sum.add(k)
		if k.Launches < k.Specs || k.PassesGB > k.GB || k.Seconds < k.Memory || k.Seconds < k.GFLOP/1e6 || k.Memory < k.PassesGB/10 {
			t.Errorf("%+v", k)
		}
		if k.Kernel == "Add" && (k.PassesGB != 0 || k.Memory != k.Seconds || math.Abs(k.Seconds-k.GB/10) > 1e-9) {
			t.Errorf("sums only move values: %+v", k)
		}
	}
	if sum.Specs != r.Step.Specs || math.Abs(sum.Seconds-r.Step.Seconds) > 1e-9 || len(r.Largest) == 0 || r.Largest[0].Seconds > r.Step.Seconds {
		t.Errorf("kinds sum up to %+v, the step is %+v", sum, r.Step)
	}
}
