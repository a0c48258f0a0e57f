package trainer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"magvit/kernels"
	"magvit/trainer/data"
)

// The five acceptance tests train a real tokenizer, preset tiny, on real clips.
// Their first failures and first successes are kept in testdata/tdd.

// trajectories is a four-class set small enough for seconds of training.
func trajectories(t *testing.T, clips int, seed uint64) data.Source {
	t.Helper()
	set, err := data.Synth(data.SynthConfig{Clips: clips, Seed: seed, Size: 32, Frames: 8})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "clips.npz")
	if err := set.WriteNPZ(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	src, err := data.Open(t.Context(), []string{path}, data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

// tiny is the options of a run of preset tiny for a number of steps.
func tiny(t *testing.T, steps int) Options {
	t.Helper()
	cfg, err := Preset("tiny")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Train.Steps, cfg.Train.LogEvery = steps, 1
	cfg.Train.Samples = 0 // pictures take longer than such a training, by far under the race detector
	be := kernels.NewCPU(0)
	t.Cleanup(func() { be.Close() })
	return Options{Config: cfg, Source: trajectories(t, 24, 42), Out: filepath.Join(t.TempDir(), "run"), Resume: "auto", Backend: be}
}

func run(t *testing.T, ctx context.Context, o Options) Result {
	t.Helper()
	r, err := Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// logged reads metrics.jsonl: training records, and validation records by step.
func logged(t *testing.T, dir string) (steps []map[string]any, val []map[string]any) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var m map[string]any
		if err := json.Unmarshal(sc.Bytes(), &m); err != nil {
			t.Fatalf("metrics.jsonl: %v: %s", err, sc.Text())
		}
		if v, ok := m["val"].(map[string]any); ok {
			v["step"] = m["step"]
			val = append(val, v)
		} else {
			steps = append(steps, m)
		}
	}
	return steps, val
}

func TestTrainingLoopRuns(t *testing.T) {
	o := tiny(t, 6)
	o.Config.Train.Samples = 1
	if r := run(t, t.Context(), o); r.Step != 6 {
		t.Errorf("%d steps done, want 6", r.Step)
	}
	steps, _ := logged(t, o.Out)
	if len(steps) != 6 {
		t.Fatalf("%d records logged, want 6", len(steps))
	}
	for i, m := range steps {
		loss, _ := m["loss"].(float64)
		norm, _ := m["grad_norm"].(float64)
		if m["step"] != float64(i+1) || !(loss > 0) || !(norm > 0) || math.IsInf(loss+norm, 0) {
			t.Errorf("record %d: %v", i, m)
		}
	}
	for _, name := range []string{"config.yaml", "progress.json", "report.html"} {
		if _, err := os.Stat(filepath.Join(o.Out, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestLossDecreases(t *testing.T) {
	o := tiny(t, 80)
	run(t, t.Context(), o)
	steps, _ := logged(t, o.Out)
	mean := func(ms []map[string]any) (sum float64) {
		for _, m := range ms {
			sum += m["loss"].(float64) / float64(len(ms))
		}
		return sum
	}
	first, last := mean(steps[:5]), mean(steps[len(steps)-10:])
	t.Logf("loss: first five steps %.4f, last ten %.4f", first, last)
	if !(last < first/2) {
		t.Errorf("loss went from %.4f to %.4f, want less than half", first, last)
	}
}

func TestSavesCheckpoints(t *testing.T) {
	o := tiny(t, 9)
	o.Config.Train.SaveEvery = 3
	run(t, t.Context(), o)
	for _, name := range []string{"step-000003", "step-000006", "step-000009"} {
		for _, file := range []string{"model.safetensors", "optimizer.safetensors", "state.json"} {
			if _, err := os.Stat(filepath.Join(o.Out, "checkpoints", name, file)); err != nil {
				t.Error(err)
			}
		}
	}
	// What was saved is what was trained: two readings of the newest one
	// reconstruct the same, and the run's last numbers are theirs.
	_, val := logged(t, o.Out)
	if len(val) == 0 {
		t.Fatal("no validation was logged")
	}
	report, err := EvaluateCheckpoint(t.Context(), o.Backend, o.Out, o.Source, "val")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := float64(report.PSNR), val[len(val)-1]["psnr"].(float64); got != want {
		t.Errorf("the checkpoint evaluates to %v dB, the run logged %v dB", got, want)
	}
}

func TestReconstructionImproves(t *testing.T) {
	o := tiny(t, 200)
	o.Config.Train.EvalEvery = 200
	run(t, t.Context(), o)
	_, val := logged(t, o.Out)
	first, last := val[0], val[len(val)-1]
	if first["step"] != 0. || last["step"] != 200. {
		t.Fatalf("validated at steps %v and %v, want 0 and 200", first["step"], last["step"])
	}
	before, after := first["psnr"].(float64), last["psnr"].(float64)
	trivial := 0.
	for _, b := range last["baselines"].(map[string]any) {
		trivial = max(trivial, b.(map[string]any)["psnr"].(float64))
	}
	t.Logf("held-out clips through integer codes: %.2f dB before, %.2f dB after; best trivial prediction %.2f dB", before, after, trivial)
	if after < before+3 || after < trivial+2 {
		t.Error("want 3 dB more than before and 2 dB more than the best trivial prediction")
	}
}

func TestResumeFromCheckpoint(t *testing.T) {
	straight := tiny(t, 12)
	straight.Config.Train.SaveEvery = 4
	run(t, t.Context(), straight)

	// The second run is interrupted twice, once between two checkpoints.
	parts := straight
	parts.Out = filepath.Join(t.TempDir(), "parts")
	for _, stop := range []int{5, 8} {
		ctx, cancel := context.WithCancel(t.Context())
		o := parts
		o.OnStep = func(step int) {
			if step == stop {
				cancel()
			}
		}
		if r, err := Run(ctx, o); err == nil || r.Step != stop {
			t.Fatalf("interrupted at step %d: stopped at step %d with error %v", stop, r.Step, err)
		}
		cancel()
	}
	// Lose the newest checkpoint: the one before must serve as well.
	if err := os.RemoveAll(filepath.Join(parts.Out, "checkpoints", "step-000008")); err != nil {
		t.Fatal(err)
	}
	run(t, t.Context(), parts)

	for _, file := range []string{"model.safetensors", "optimizer.safetensors"} {
		a, errA := os.ReadFile(filepath.Join(straight.Out, "checkpoints", "step-000012", file))
		b, errB := os.ReadFile(filepath.Join(parts.Out, "checkpoints", "step-000012", file))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs between a run in one piece and a resumed one (%v, %v)", file, errA, errB)
		}
	}
	a, b := timeless(t, straight.Out), timeless(t, parts.Out)
	if a != b {
		t.Errorf("metrics differ:\n%s\n%s", a, b)
	}
}

// timeless is metrics.jsonl without what depends on the clock.
func timeless(t *testing.T, dir string) (s string) {
	steps, val := logged(t, dir)
	for _, m := range append(steps, val...) {
		for _, k := range []string{"seconds", "clips_per_s", "waiting"} {
			delete(m, k)
		}
		line, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		s += fmt.Sprintln(string(line))
	}
	return s
}
