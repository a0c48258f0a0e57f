package main

import (
	"encoding/json"
	"math"
	"testing"

	"magvit/kernels"
)

// A convolution on tensor cores packs its operands, 6 bytes a value, then reads them in
// 2 and writes 4. The longer of both times counts, for each launch.
func TestPlanOfAConvolution(t *testing.T) {
	s := kernels.Conv{N: 1, T: 1, H: 16, W: 16, C: 64, O: 64, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}
	const packing, rest = 6 * (256*64 + 64*64), 2*(256*64+64*64) + 4*(64+256*64)
	p := &costModel{precision: kernels.BF16, architecture: "sm_90"}
	near := func(x, want float64) bool { return math.Abs(x-want) < 1e-9*want }
	for _, c := range []struct {
		at              peaks
		seconds, memory float64
	}{
		{peaks{tensor: float64(s.FLOPs()), float: 1e3, bytes: 1e6}, 1 + packing/1e6, packing / 1e6},
		{peaks{tensor: 1e15, float: 1e3, bytes: 1e6}, (packing + rest) / 1e6, (packing + rest) / 1e6},
	} {
		k, err := p.Prepare(s)
		if err != nil {
			t.Fatal(err)
		}
		r := k.(costedKernel).row(c.at)
		if r.Launches != 3 || !near(r.GFLOP, float64(s.FLOPs())/1e9) || !near(r.GB, (packing+rest)/1e9) || !near(r.PassesGB, packing/1e9) ||
			!near(r.Seconds, c.seconds) || !near(r.Memory, c.memory) {
			t.Errorf("%+v: %+v, want %v s, %v of them of memory", c.at, r, c.seconds, c.memory)
		}
	}
}

// A plan counts the operations that a step does, and some more on its few results, and of each kernel the longer of its
// two least times.
func TestPlanCountsTheStep(t *testing.T) {
	out, _ := magvit(t, "bench", "step", "--preset", "tiny", "--batch", "2", "--plan", "--peak", "1000,2,10", "--precision", "bf16", "--json")
	var r planResult
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	step := printed(t, "bench", "step", "--preset", "tiny", "--batch", "2", "--steps", "1", "--json")
	if want, _ := step["gflop"].(float64); math.Abs(r.Step.GFLOP-want) > 1e-6*want || want == 0 {
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
