package published

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/trainertest"
)

// A configuration with a discriminator takes the file's along, running statistics too;
// without one it is left out, and one of another size is an error.
func TestImportDiscriminator(t *testing.T) {
	c := model.OpenMagvit2Config(32, 6, model.Published{Multipliers: []int{1, 2, 2}, Blocks: 1})
	adversarial := []string{"model.discriminator.kind=patchgan3d", "model.discriminator.dim=4", "model.discriminator.size=16", "model.loss.adversarial.penalty=none", "model.loss.adversarial.lecam=0.1"}
	d := model.Defaults().Discriminator
	d.Kind, d.Dim, d.Size = "patchgan3d", 4, 16
	c.Discriminator, c.Loss.Adversarial = d, model.Defaults().Loss.Adversarial
	c.Loss.Adversarial.Penalty = "none"
	tok, err := model.New(c)
	trainertest.Check(t, err)
	file := drawn(t, c)
	o := ImportOptions{File: file, Out: filepath.Join(t.TempDir(), "run"), Family: model.OpenMagvit2, Set: adversarial}
	r, err := Import(o)
	trainertest.Check(t, err)
	tensors, err := checkpoint.ReadTensors(filepath.Join(o.Out, "checkpoints", r.Checkpoint, checkpoint.ModelFile))
	trainertest.Check(t, err)
	found := 0
	for i, p := range tok.Params {
		if !p.Discriminator {
			continue
		}
		want := make([]float32, p.Len())
		tok.Init(3, i, want)
		if got := tensors[p.Name]; !slices.Equal(got.Values, want) || !slices.Equal(got.Shape, p.Shape) {
			t.Errorf("%s is %v of shape %v, want %v", p.Name, got.Values, got.Shape, want)
		}
		found++
	}
	if v := tensors["discr.lecam.real"].Values; found != 7+6+6 || len(v) != 1 || v[0] != 0 {
		t.Errorf("%d tensors of the discriminator, average of logits %v", found, v)
	}
	plain, err := Import(ImportOptions{File: file, Out: filepath.Join(t.TempDir(), "run"), Family: model.OpenMagvit2})
	trainertest.Check(t, err)
	if left := strings.Join(plain.LeftOut, "; "); !strings.Contains(left, "loss.discriminator") {
		t.Errorf("left out: %s", left)
	}
	o.Out, o.Set = filepath.Join(t.TempDir(), "run"), append(adversarial, "model.discriminator.dim=8")
	_, err = Import(o)
	trainertest.Refused(t, err, "loss.discriminator.main.0.weight is [4 3 3 3 3], the network has [8 3 3 3 3]")
}
