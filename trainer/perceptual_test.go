package trainer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"magvit/kernels/philox"
	"magvit/trainer/checkpoint"
	"magvit/trainer/torchfile"
	"magvit/trainer/trainertest"
)

// writeLPIPS writes random weights of LPIPS as torch.save does.
func writeLPIPS(t *testing.T, seed uint64) string {
	t.Helper()
	root := torchfile.NewDict()
	add := func(name string, low, high float64, shape ...int) {
		n := 1
		for _, d := range shape {
			n *= d
		}
		r, values := philox.New(seed, name, 0, 0), make([]float32, n)
		for i := range values {
			values[i] = float32(r.Uniform(low, high))
		}
		tensor, err := torchfile.FromFloat32(shape, values)
		trainertest.Check(t, err)
		root.Set(name, tensor)
	}
	layer, in := 0, 3
	for block, v := range [][2]int{{2, 64}, {2, 128}, {3, 256}, {3, 512}, {3, 512}} {
		for range v[0] {
			bound := 1 / float64(in) // of no importance, but that nothing overflows
			add(fmt.Sprintf("features.%d.weight", layer), -bound, bound, v[1], in, 3, 3)
			add(fmt.Sprintf("features.%d.bias", layer), 0, .1, v[1])
			layer, in = layer+2, v[1]
		}
		add(fmt.Sprintf("lin%d.model.1.weight", block), 0, 1, 1, v[1], 1, 1)
		layer++
	}
	path := filepath.Join(t.TempDir(), "lpips.pt")
	f, err := os.Create(path)
	trainertest.Check(t, err)
	trainertest.Check(t, errors.Join(torchfile.Write(f, root), f.Close()))
	return path
}

// A run with a perceptual loss records its term, continues to the same bits with the same weights wherever they are, and
// refuses others.
func TestPerceptualLoss(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: makes 15 million weights twice")
	}
	weights := writeLPIPS(t, 1)
	keys := []string{"train.steps=3", "model.loss.perceptual.kind=lpips", "model.loss.perceptual.weight=0.5", "model.loss.perceptual.weights=" + weights}
	whole, _ := small(t, keys...)
	run(t, t.Context(), whole)
	want, err := os.ReadFile(filepath.Join(whole.Out, "checkpoints", checkpoint.StepName(3), checkpoint.ModelFile))
	trainertest.Check(t, err)
	records, err := os.ReadFile(filepath.Join(whole.Out, "metrics.jsonl"))
	trainertest.Check(t, err)
	if !strings.Contains(string(records), `"perceptual":0.`) {
		t.Errorf("no term in %s", records)
	}
	plain, _ := small(t, "train.steps=3")
	run(t, t.Context(), plain)
	if other, err := os.ReadFile(filepath.Join(plain.Out, "checkpoints", checkpoint.StepName(3), checkpoint.ModelFile)); err != nil || slices.Equal(other, want) {
		t.Errorf("the term changes no weight (%v)", err)
	}

	parts, _ := small(t, keys...)
	ctx, cancel := contextWithStop(t, &parts, 1)
	defer cancel()
	if _, err := Run(ctx, parts); !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	parts.OnStep = nil
	parts.Config.Model.Loss.Perceptual.Weights = writeLPIPS(t, 2)
	_, err = Run(t.Context(), parts)
	trainertest.Refused(t, err, "model.loss.perceptual.weights", "other weights")
	moved := filepath.Join(t.TempDir(), "moved.pt")
	trainertest.Check(t, os.Rename(weights, moved))
	parts.Config.Model.Loss.Perceptual.Weights = moved
	run(t, t.Context(), parts)
	if got, err := os.ReadFile(filepath.Join(parts.Out, "checkpoints", checkpoint.StepName(3), checkpoint.ModelFile)); err != nil || !slices.Equal(got, want) {
		t.Errorf("the resumed run has other weights than the whole one (%v)", err)
	}
	parts.Config.Model.Loss.Perceptual.Weights = filepath.Join(t.TempDir(), "absent.pt")
	_, err = Run(t.Context(), parts)
	trainertest.Refused(t, err, "absent.pt")
}
