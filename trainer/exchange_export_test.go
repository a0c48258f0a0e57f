package trainer

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/nlpodyssey/safetensors"

	"magvit/model"
	"magvit/trainer/config"
	"magvit/trainer/data"
	"magvit/trainer/usage"
)

// averagedRun is a run directory with one checkpoint, whose average differs from
// its weights.
func averagedRun(t *testing.T) (Options, string) {
	t.Helper()
	o, _ := small(t)
	var err error
	o.Config.Data, err = data.Resolve(t.Context(), o.Source, []int{0}, o.Config.Data)
	check(t, err)
	tok, err := model.New(o.Config.Model)
	check(t, err)
	st, err := newState(o.Backend, tok)
	check(t, err)
	check(t, errors.Join(o.Backend.Write(st.params, st.initial(tok, 1)), o.Backend.Write(st.ema, st.initial(tok, 2))))
	snap := snapshot{Step: 7, Best: none}
	check(t, snap.setConfig(o.Config))
	check(t, newStore(filepath.Join(o.Out, "checkpoints")).save(st, snap, true))
	return o, o.Out
}

func TestExportLean(t *testing.T) {
	o, run := averagedRun(t)
	lean := filepath.Join(t.TempDir(), "lean")
	r, err := Export(run, lean, ToLean)
	check(t, err)
	if !r.Average || r.Step != 7 {
		t.Errorf("%+v", r)
	}
	entries, err := os.ReadDir(lean)
	check(t, err)
	if len(entries) != 2 {
		t.Errorf("lean holds %v, want weights and state.json", entries)
	}
	clip, shape := make([]float32, 2*4*16*16*3), data.Shape{N: 2, T: 4, H: 16, W: 16, C: 3}
	for i := range clip {
		clip[i] = float32(i*i%97) / 97
	}
	var codes [2][]int32
	for i, path := range []string{run, lean} {
		codec, err := OpenCodec(o.Backend, path)
		check(t, err)
		codes[i], err = codec.Encode(clip, shape)
		check(t, err)
	}
	if !slices.Equal(codes[0], codes[1]) {
		t.Error("the lean checkpoint gives other codes")
	}
	_, err = Export(run, lean, ToLean)
	refused(t, err, "not empty")
	o.Out, o.Resume = filepath.Join(t.TempDir(), "more"), lean
	_, err = Run(t.Context(), o)
	refused(t, err, "cannot be trained on")
}

func TestExportSafetensors(t *testing.T) {
	o, run := averagedRun(t)
	out := filepath.Join(t.TempDir(), "model.safetensors")
	check(t, os.WriteFile(out, []byte("older"), 0o666))
	_, err := Export(run, out, ToSafetensors)
	check(t, err)
	got, err := readTensors(out)
	check(t, err)
	all, err := readTensors(filepath.Join(run, "checkpoints", "step-000007", modelFile))
	check(t, err)
	if len(all) != 2*len(got) || len(got) == 0 {
		t.Errorf("%d tensors of %d with their average", len(got), len(all))
	}
	for name, x := range got {
		if want := all[emaPrefix+name]; !slices.Equal(x.values, want.values) || !slices.Equal(x.shape, want.shape) {
			t.Errorf("%s is not the average", name)
		}
	}
	raw, err := os.ReadFile(out)
	check(t, err)
	_, meta, err := safetensors.ReadMetadata(raw)
	check(t, err)
	c, err := config.Parse("metadata", []byte(meta.Metadata()["config"]))
	check(t, err)
	if d := config.Differences(o.Config, c); len(d) > 0 {
		t.Errorf("configuration in the metadata: %v", d)
	}
	before := raw
	_, err = Export(run, out, ToSafetensors)
	check(t, err)
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
		"unknown form":    {run, out, "onnx", []string{"onnx", "lucidrains, lucidrains-trainer, safetensors, lean"}},
		"no checkpoint":   {parent, out, ToLean, []string{"no checkpoint there"}},
		"file is folder":  {run, parent, ToSafetensors, []string{"is no file"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Export(c.path, c.out, c.form)
			refused(t, err, c.want...)
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
			check(t, err)
			x := exportable{cfg: config.Config{Model: want}}
			d, err := x.arguments(&Exported{})
			check(t, err)
			for key := range args {
				if _, ok := d.Get(key); !ok {
					t.Errorf("argument %s is not written", key)
				}
			}
		})
	}
}
