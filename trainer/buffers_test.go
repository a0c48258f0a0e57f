package trainer

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/data"
	"magvit/trainer/task"
)

const withVQ = "model.quantizer={kind: vq, levels: [], codebook_size: 32, code_dim: 4, commitment_weight: 0.25, decay: 0.9}"

// A learned codebook is part of the checkpoint: a run that is interrupted twice and goes on
// with another number of workers has the bits of a run in one piece, with several batches
// a step.
func TestCodebookResumes(t *testing.T) {
	sets := []string{withVQ, "train.steps=12", "train.save_every=4", "train.accumulate=2", "train.log_every=1"}
	straight, _ := small(t, sets...)
	run(t, t.Context(), straight)
	parts, _ := small(t, sets...)
	parts.Resume = "auto"
	for _, stop := range []int{5, 8, 0} {
		ctx, cancel := context.WithCancel(t.Context())
		o := parts
		be := kernels.NewCPU(1)
		o.Backend = be
		o.OnStep = func(step int) {
			if step == stop {
				cancel()
			}
		}
		if r, err := Run(ctx, o); (err == nil) != (stop == 0) || stop > 0 && r.Step != stop {
			t.Fatalf("interrupted at step %d: stopped at step %d with error %v", stop, r.Step, err)
		}
		cancel()
		be.Close()
	}
	for _, file := range []string{"model.safetensors", "optimizer.safetensors"} {
		a, errA := os.ReadFile(filepath.Join(straight.Out, "checkpoints", "step-000012", file))
		b, errB := os.ReadFile(filepath.Join(parts.Out, "checkpoints", "step-000012", file))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs between a run in one piece and a resumed one (%v, %v)", file, errA, errB)
		}
	}
	if a, b := timeless(t, straight.Out), timeless(t, parts.Out); a != b {
		t.Errorf("metrics differ:\n%s\n%s", a, b)
	}
	codec, err := task.OpenCodec(straight.Backend, straight.Out)
	if err != nil {
		t.Fatal(err)
	}
	vectors, dim, err := codec.CodeVectors()
	if err != nil || dim != 4 || len(vectors) != 32*4 {
		t.Fatalf("%d values of vectors of %d, %v", len(vectors), dim, err)
	}
	offloaded, err := task.OffloadEncoder(straight.Backend, straight.Out)
	if err != nil {
		t.Fatal(err)
	}
	if same, _, err := offloaded.CodeVectors(); err != nil || !slices.Equal(same, vectors) {
		t.Errorf("other vectors with weights in the file, error %v", err)
	}
	first := make([]float32, len(vectors))
	i, _ := codec.Tokenizer.Codebook()
	codec.Tokenizer.Init(straight.Config.Train.Seed, i, first)
	for j := range 32 {
		if slices.Equal(first[j*4:][:4], vectors[j*4:][:4]) {
			t.Errorf("code %d never moved", j)
		}
	}
}

// Buffers follow steps that are applied, and no others; the average of the weights has
// their values.
func TestBuffersFollowAppliedSteps(t *testing.T) {
	o, _ := small(t, withVQ)
	net, err := model.Build(o.Config.Model)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewStepper(o.Backend, net, o.Config)
	if err != nil {
		t.Fatal(err)
	}
	l := s.state.Layout
	part := func(b kernels.Buffer) []float32 { return slices.Clone(b.(kernels.Host)[l.Trained:l.Len]) }
	b := &data.Batch{N: 2, T: 4, H: 16, W: 16, C: 3, Video: make([]float32, 2*4*16*16*3), Weight: slices.Repeat([]float32{1}, 2*4*16*16)}
	step := func(n int, first float32) Outcome {
		for i := range b.Video {
			b.Video[i] = float32(i%17) / 17
		}
		b.Video[0] = first
		var out Outcome
		for part := range o.Config.Train.Accumulate {
			if err := s.Feed(b); err != nil {
				t.Fatal(err)
			}
			if err := s.Run(part, Position{Step: n, Updates: n}); err != nil {
				t.Fatal(err)
			}
		}
		if out, err = s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		return out
	}
	start := part(s.state.Params)
	if !step(0, .5).Applied() {
		t.Fatal("the first step is not applied")
	}
	moved := part(s.state.Params)
	if slices.Equal(start, moved) || !slices.Equal(moved, part(s.state.EMA)) {
		t.Error("the codebook does not follow a step, or the average has another one")
	}
	if step(1, float32(math.NaN())).Applied() {
		t.Fatal("a step with NaN is applied")
	}
	if !slices.Equal(moved, part(s.state.Params)) {
		t.Error("the codebook follows a step that is not applied")
	}
}
