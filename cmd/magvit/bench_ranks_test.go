package main

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"magvit/trainer"
)

// Two buckets of launches of 1, 2 and 4 s, and an update of 1 s. The first is sent after 3 s, the
// second after 7 s or when the first has gone.
func TestPredictOverlaps(t *testing.T) {
	launches := []float64{1, 2, 4, 1}
	buckets := []trainer.Bucket{{Bytes: 2e9, Launches: 2}, {Bytes: 1e9, Launches: 3}}
	for _, c := range []struct {
		l                            link
		n                            int
		seconds, sums, exposed, rate float64
	}{
		{link{0, 1e9}, 1, 8, 0, 0, 1},
		{link{0, 1e9}, 2, 9, 3, 1, 8. / 9},             // sums of 2 and 1 s
		{link{1, 1e9}, 2, 11, 7, 3, 8. / 11},           // of 4 and 3 s
		{link{0, .25e9}, 2, 8 + 8, 12, 8, .5},          // of 8 and 4 s: the second waits for the first
		{link{0, 1e9}, 4, 8 + 1.5, 4.5, 1.5, 8. / 9.5}, // each sends three quarters, twice
	} {
		got := predict(launches, 3, buckets, c.l, c.n, true)
		if same := predict(launches, 3, buckets, c.l, c.n, false); same.Exposed != got.Sums || same.Seconds != 8+got.Sums {
			t.Errorf("%d ranks, %+v, by the cores that compute: %+v, want all sums exposed", c.n, c.l, same)
		}
		for _, v := range [][2]float64{{got.Seconds, c.seconds}, {got.Sums, c.sums}, {got.Exposed, c.exposed}, {got.Efficiency, c.rate}} {
			if math.Abs(v[0]-v[1]) > 1e-12 {
				t.Errorf("%d ranks, %+v: %+v, want %v", c.n, c.l, got, c)
				break
			}
		}
	}
}

func TestPlanOfRanks(t *testing.T) {
	out, _ := magvit(t, "bench", "step", "--preset", "tiny", "--batch", "2", "--plan", "--ranks", "8", "--link", "10,1", "--json")
	var r planResult
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Scaling) != 4 || r.Scaling[0].Efficiency != 1 || math.Abs(r.Scaling[0].Seconds-r.Step.Seconds) > 1e-9 {
		t.Fatalf("%+v, want 1, 2, 4 and 8 ranks, the first as the step of %v s", r.Scaling, r.Step.Seconds)
	}
	for i, s := range r.Scaling[1:] {
		if !(s.Seconds >= r.Scaling[i].Seconds) || s.Exposed <= 0 || s.Exposed > s.Sums || s.Efficiency >= 1 {
			t.Errorf("%+v after %+v", s, r.Scaling[i])
		}
	}
	for _, args := range [][]string{{"--plan", "--ranks", "8"}, {"--ranks", "4"}, {"--ranks", "3", "--batch", "4", "--link", "1,1"}, {"--plan", "--ranks", "8", "--link", "1"}} {
		if _, _, status := finish(t, program(t, append([]string{"bench", "step", "--preset", "tiny"}, args...)...)); status != badInput {
			t.Errorf("%v: exit %d, want %d", args, status, badInput)
		}
	}
}

func TestStepOfRanksIsPredicted(t *testing.T) {
	out, _ := magvit(t, "bench", "step", "--preset", "tiny", "--batch", "2", "--steps", "1", "--device", "cpu", "--ranks", "2", "--link", "1000,.01", "--json")
	var r rankStepResult
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	p := r.Predicted
	sums := 2*1e-3*float64(r.Sums) + float64(r.Bytes)/1e7 // each rank sends half of them, twice
	if r.Batch != 2 || p.Ranks != 2 || r.Sums < 2 || r.Alone <= 0 || math.Abs(p.Sums-sums) > 1e-9 || p.Exposed != p.Sums || math.Abs(p.Seconds-r.Alone-p.Exposed) > 1e-9 || r.MedianSeconds != 0 {
		t.Errorf("%+v, want sums of %v s", r, sums)
	}
}

// The seconds of launches are made to fit into the step.
func TestLaunchesOfAStep(t *testing.T) {
	for _, c := range []struct{ step, first, update float64 }{{8, 2, 4}, {2, 1, 0}} {
		if got := upTo([]float64{2, 2}, c.step); len(got) != 3 || got[0] != c.first || got[2] != c.update {
			t.Errorf("a step of %v s: %v", c.step, got)
		}
	}
}

func TestBenchReduce(t *testing.T) {
	out, _ := magvit(t, "bench", "reduce", "--ranks", "3", "--max", "0.1", "--json")
	var r reduceResult
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if r.Ranks != 3 || len(r.Rows) != 6 || r.Rows[4].Bytes != 65536 || !(r.Latency > 0) || !(r.Rate > 0) || !(r.Rows[0].Least > 0) {
		t.Errorf("%+v", r)
	}
	if text, _ := magvit(t, "bench", "reduce", "--max", "0.01"); !strings.Contains(text, "2 ranks, goroutines of one process; every sum was right") || !strings.Contains(text, "--link ") {
		t.Error(text)
	}
}
