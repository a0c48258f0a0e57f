package lucidrains

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/nlpodyssey/safetensors"

	"magvit/model"
	"magvit/trainer"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/data"
	"magvit/trainer/metrics"
	"magvit/trainer/task"
	"magvit/trainer/trainertest"
	"magvit/trainer/usage"
)

// averagedRun is a run directory with one checkpoint, whose average differs from
// its weights.
func averagedRun(t *testing.T) (trainer.Options, string) {
	t.Helper()
	cfg, err := config.Parse("mini", []byte(trainertest.Mini))
	trainertest.Check(t, err)
	o := trainer.Options{Config: cfg, Source: trainertest.Squares{Clips: 16, Frames: 4, Side: 16}, Out: filepath.Join(t.TempDir(), "run"), Backend: backend(t)}
	o.Config.Data, err = data.Resolve(t.Context(), o.Source, []int{0}, o.Config.Data)
	trainertest.Check(t, err)
	tok, err := model.New(o.Config.Model)
	trainertest.Check(t, err)
	st, err := checkpoint.NewState(o.Backend, tok)
	trainertest.Check(t, err)
	trainertest.Check(t, errors.Join(o.Backend.Write(st.Params, st.Initial(tok, 1)), o.Backend.Write(st.EMA, st.Initial(tok, 2))))
	snap := checkpoint.Snapshot{Step: 7, Best: metrics.Number(math.NaN())}
	trainertest.Check(t, snap.SetConfig(o.Config))
	trainertest.Check(t, os.MkdirAll(o.Out, 0o777))
	trainertest.Check(t, checkpoint.NewStore(filepath.Join(o.Out, "checkpoints")).Save(st, snap, true))
	return o, o.Out
}

func TestExportLean(t *testing.T) {
	o, run := averagedRun(t)
	lean := filepath.Join(t.TempDir(), "lean")
	r, err := Export(run, lean, ToLean)
	trainertest.Check(t, err)
	if !r.Average || r.Step != 7 {
		t.Errorf("%+v", r)
	}
	entries, err := os.ReadDir(lean)
	trainertest.Check(t, err)
	if len(entries) != 2 {
		t.Errorf("lean holds %v, want weights and state.json", entries)
	}
	clip, shape := make([]float32, 2*4*16*16*3), data.Shape{N: 2, T: 4, H: 16, W: 16, C: 3}
	for i := range clip {
		clip[i] = float32(i*i%97) / 97
	}
	var codes [2][]int32
	for i, path := range []string{run, lean} {
		codec, err := task.OpenCodec(o.Backend, path)
		trainertest.Check(t, err)
		codes[i], err = codec.Encode(clip, shape)
		trainertest.Check(t, err)
	}
	if !slices.Equal(codes[0], codes[1]) {
		t.Error("the lean checkpoint gives other codes")
	}
	_, err = Export(run, lean, ToLean)
	trainertest.Refused(t, err, "not empty")
	o.Out, o.Resume = filepath.Join(t.TempDir(), "more"), lean
	_, err = trainer.Run(t.Context(), o)
	trainertest.Refused(t, err, "weights alone", "--init")
}

func TestExportSafetensors(t *testing.T) {
	o, run := averagedRun(t)
	out := filepath.Join(t.TempDir(), "model.safetensors")
	trainertest.Check(t, os.WriteFile(out, []byte("older"), 0o666))
	_, err := Export(run, out, ToSafetensors)
	trainertest.Check(t, err)
	got, err := checkpoint.ReadTensors(out)
	trainertest.Check(t, err)
	all, err := checkpoint.ReadTensors(filepath.Join(run, "checkpoints", "step-000007", checkpoint.ModelFile))
	trainertest.Check(t, err)
	if len(all) != 2*len(got) || len(got) == 0 {
		t.Errorf("%d tensors of %d with their average", len(got), len(all))
	}
	for name, x := range got {
		if want := all[checkpoint.AveragePrefix+name]; !slices.Equal(x.Values, want.Values) || !slices.Equal(x.Shape, want.Shape) {
			t.Errorf("%s is not the average", name)
		}
	}
	raw, err := os.ReadFile(out)
	trainertest.Check(t, err)
	_, meta, err := safetensors.ReadMetadata(raw)
	trainertest.Check(t, err)
	c, err := config.Parse("metadata", []byte(meta.Metadata()["config"]))
	trainertest.Check(t, err)
	if d := config.Differences(o.Config, c); len(d) > 0 {
		t.Errorf("configuration in the metadata: %v", d)
	}
	before := raw
	_, err = Export(run, out, ToSafetensors)
	trainertest.Check(t, err)
	if after, _ := os.ReadFile(out); !bytes.Equal(before, after) {
		t.Error("the same checkpoint gave two different files")
	}
}

func TestExportRefuses(t *testing.T) {
	_, run := averagedRun(t)
	parent := t.TempDir()
	out := filepath.Join(parent, "out.pt")
	for name, c := range map[string]struct {
		path, out, form string
		want            []string
	}{
		"defects mended":  {run, out, ToLucidrains, []string{"model.compat: lucidrains", "model.latent_norm: none", "model.squeeze_excite: closed"}},
		"the same, whole": {run, out, ToLucidrainsTrainer, []string{"model.compat: lucidrains"}},
		"unknown form":    {run, out, "coreml", []string{"coreml", "lucidrains, lucidrains-trainer, open-magvit2, vidtok, cosmos, safetensors, lean"}},
		"no checkpoint":   {parent, out, ToLean, []string{"no checkpoint there"}},
		"file is folder":  {run, parent, ToSafetensors, []string{"is no file"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Export(c.path, c.out, c.form)
			trainertest.Refused(t, err, c.want...)
			if !errors.Is(err, usage.Error) {
				t.Errorf("%v is not the user's", err)
			}
			if left, _ := os.ReadDir(parent); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestReferenceArguments: what FromReference reads is what was written, whatever the
// configuration.
func TestReferenceArguments(t *testing.T) {
	for name, args := range map[string]map[string]any{
		"lfq": {"image_size": 32, "codebook_size": 64, "num_codebooks": 2, "lfq_spherical": true, "lfq_soft_clamp_input_value": nil,
			"layers":  []any{"residual", []any{"compress_space", 9}, []any{"consecutive_residual", 0}, []any{"consecutive_residual", 2}, "compress_time"},
			"max_dim": 12, "pad_mode": "reflect", "separate_first_frame_encoding": true, "residual_conv_kernel_size": []any{2, 3, 5},
			"input_conv_kernel_size": []any{3, 5, 7}, "output_conv_kernel_size": []any{3, 1, 3}, "lfq_entropy_loss_weight": .3,
			"lfq_diversity_gamma": 1., "lfq_commitment_loss_weight": .5, "quantizer_aux_loss_weight": .7},
		"fsq": {"image_size": 16, "use_fsq": true, "fsq_levels": []any{8, 5}, "channels": 1, "init_dim": 6, "layers": []any{"cond_residual"},
			"dim_cond": 5, "dim_cond_expansion_factor": 2., "attn_heads": 3, "attn_dim_head": 7, "linear_attn_heads": 5, "linear_attn_dim_head": 6},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := model.FromReference(args)
			trainertest.Check(t, err)
			want.Loss.Perceptual.Kind, want.Loss.Perceptual.Weights = "vgg16", "vgg16.pth" // no part of the tokenizer
			x := export{Opened: &checkpoint.Opened{Config: config.Config{Model: want}}}
			d, err := x.arguments(&Exported{})
			trainertest.Check(t, err)
			for key := range args {
				if _, ok := d.Get(key); !ok {
					t.Errorf("argument %s is not written", key)
				}
			}
		})
	}
}

// A quantizer that the reference lacks is refused by name, and not written as another one.
func TestExportRefusesOtherQuantizers(t *testing.T) {
	c, err := model.FromReference(map[string]any{"image_size": 16, "codebook_size": 64, "layers": []any{"residual"}})
	trainertest.Check(t, err)
	c.Quantizer.Kind = "vq"
	_, err = export{Opened: &checkpoint.Opened{Config: config.Config{Model: c}}}.arguments(&Exported{})
	trainertest.Refused(t, err, "cannot express", "vq")
}
