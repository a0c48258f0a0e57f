package published

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/torchfile"
	"magvit/trainer/trainertest"
)

// importedWeights imports and returns the bytes of the weights.
func importedWeights(t *testing.T, o ImportOptions) (Imported, []byte) {
	t.Helper()
	o.Out = filepath.Join(t.TempDir(), "run")
	r, err := Import(o)
	trainertest.Check(t, err)
	weights, err := os.ReadFile(filepath.Join(o.Out, "checkpoints", r.Checkpoint, checkpoint.ModelFile))
	trainertest.Check(t, err)
	return r, weights
}

// Averages are found where wrappers are in the joined names, and where a larger module keeps them.
func TestImportOfWrappedAverages(t *testing.T) {
	c := caseOf(t, "checkpoint.om_image.ckpt")
	o := c.options(t)
	_, want := importedWeights(t, o)
	for name, form := range map[string]struct{ encoder, decoder, plain, average string }{
		"compiled halves":             {"encoder._orig_mod.", "decoder._orig_mod.", "", "model_ema."},
		"of a larger module":          {"encoder.", "decoder.", "tokenizer.", "tokenizer.model_ema."},
		"kept by a larger module":     {"encoder.", "decoder.", "tokenizer.", "model_ema.tokenizer"},
		"kept of a part of a module":  {"encoder.", "decoder.", "tokenizer.", "model_ema."},
		"parallel, then compiled":     {"encoder.", "decoder.", "_orig_mod.module.", "model_ema._orig_modmodule"},
		"parallel halves":             {"encoder.module.", "decoder.module.", "", "model_ema."},
		"compiled parallel halves":    {"encoder._orig_mod.module.", "decoder._orig_mod.module.", "module.", "module.model_ema."},
		"compiled in a larger module": {"encoder._orig_mod.", "decoder._orig_mod.", "module.tokenizer.", "module.model_ema.tokenizer"},
	} {
		o.File = wrapped(t, c, func(key string) string {
			rename := strings.NewReplacer("encoder.", form.encoder, "decoder.", form.decoder)
			if joined, ok := strings.CutPrefix(key, averages); ok {
				for _, half := range []string{"encoder", "decoder"} {
					if rest, ok := strings.CutPrefix(joined, half); ok {
						return form.average + strings.ReplaceAll(rename.Replace(half+"."), ".", "") + rest
					}
				}
				return form.average + joined
			}
			return form.plain + rename.Replace(key)
		}, func(_ string, x *torchfile.Tensor) *torchfile.Tensor { return x })
		r, got := importedWeights(t, o)
		if r.Weights != Averaged || !bytes.Equal(got, want) {
			t.Errorf("%s: weights %s, the same as of the file without wrappers: %v; left out %v", name, r.Weights, bytes.Equal(got, want), r.LeftOut)
		}
	}
}

// Averages that belong to no tensor of the file are not passed over in silence.
func TestImportRefusesUnknownAverages(t *testing.T) {
	c := caseOf(t, "checkpoint.om_image.ckpt")
	o := c.options(t)
	o.Weights = Plain
	_, want := importedWeights(t, o)
	o.File = wrapped(t, c, func(key string) string {
		if joined, ok := strings.CutPrefix(key, averages); ok && joined != "decay" && joined != "num_updates" {
			return averages + "other" + joined
		}
		return key
	}, func(_ string, x *torchfile.Tensor) *torchfile.Tensor { return x })
	if _, got := importedWeights(t, o); !bytes.Equal(got, want) {
		t.Error("--weights plain imports other weights")
	}
	o.Weights, o.Out = "", filepath.Join(t.TempDir(), "run")
	_, err := Import(o)
	trainertest.Refused(t, err, "averages of other names", "model_ema.otherdecoder", "--weights plain")
}

// Entries of the state dict that are no tensors are named; one of the network must be a tensor.
func TestImportBesideOtherEntries(t *testing.T) {
	c := caseOf(t, "checkpoint.om_image.ckpt")
	o := c.options(t)
	_, want := importedWeights(t, o)
	file := func(extra ...any) string {
		f, err := open(filepath.Join(c.dir, c.File))
		trainertest.Check(t, err)
		defer f.close()
		dict := torchfile.NewDict()
		for name, x := range f.tensors {
			dict.Set("module."+name, x)
		}
		for i := 0; i < len(extra); i += 2 {
			dict.Set(extra[i].(string), extra[i+1])
		}
		var b bytes.Buffer
		trainertest.Check(t, torchfile.Write(&b, torchfile.NewDict().Set("model", torchfile.NewDict().Set("state_dict", dict).Set("epoch", int64(2))).Set("seed", int64(1))))
		path := filepath.Join(t.TempDir(), "other.ckpt")
		trainertest.Check(t, os.WriteFile(path, b.Bytes(), 0o666))
		return path
	}
	o.File = file("module.loss._extra_state", torchfile.NewDict(), "module.encoder.phase", torchfile.Tuple{int64(1)})
	r, got := importedWeights(t, o)
	if !bytes.Equal(got, want) || !slices.Contains(r.LeftOut, "loss._extra_state (a dict of 0)") || !slices.Contains(r.LeftOut, "encoder.phase (a tuple of 1)") || !slices.Contains(r.LeftOut, "model.epoch") || !slices.Contains(r.LeftOut, "seed") {
		t.Errorf("the same weights: %v; left out %v", bytes.Equal(got, want), r.LeftOut)
	}
	d, err := Describe(o.File)
	if err != nil || d.Key != "model.state_dict" || !slices.Contains(d.Other, "loss._extra_state (a dict of 0)") {
		t.Errorf("%+v, %v", d, err)
	}
	o.Weights, o.Out = Plain, filepath.Join(t.TempDir(), "run")
	o.File = file("module.encoder.norm_out.bias", "none")
	_, err = Import(o)
	trainertest.Refused(t, err, "encoder.norm_out.bias is a string, want a tensor")
}

// Of two networks in a file that with the shorter prefix is taken, and the other one is named.
func TestImportOfTwoNetworks(t *testing.T) {
	c := caseOf(t, "checkpoint.om_image.ckpt")
	o := c.options(t)
	o.Weights = Plain
	_, want := importedWeights(t, o)
	f, err := open(o.File)
	trainertest.Check(t, err)
	defer f.close()
	dict := torchfile.NewDict()
	for key, x := range f.tensors {
		if strings.HasPrefix(key, averages) {
			continue
		}
		values, err := x.Float32s()
		trainertest.Check(t, err)
		for i := range values {
			values[i] /= 2
		}
		other, err := torchfile.FromFloat32(x.Shape, values)
		trainertest.Check(t, err)
		dict.Set("another_teacher."+key, other)
		dict.Set("tokenizer."+key, x)
	}
	o.File = filepath.Join(t.TempDir(), "two.ckpt")
	var b bytes.Buffer
	trainertest.Check(t, torchfile.Write(&b, dict))
	trainertest.Check(t, os.WriteFile(o.File, b.Bytes(), 0o666))
	r, got := importedWeights(t, o)
	if !bytes.Equal(got, want) || !slices.ContainsFunc(r.LeftOut, func(s string) bool { return strings.HasPrefix(s, "another_teacher (") }) {
		t.Errorf("the same weights: %v; left out %v", bytes.Equal(got, want), r.LeftOut)
	}
}

// A sharded file with an index is the same as one file.
func TestImportOfShards(t *testing.T) {
	c := caseOf(t, "checkpoint.vidtok_weights.weights.safetensors")
	o := c.options(t)
	_, want := importedWeights(t, o)
	f, err := open(o.File)
	trainertest.Check(t, err)
	defer f.close()
	shards, index := map[string][]checkpoint.Tensor{}, map[string]string{}
	for name, x := range f.tensors {
		file := "model-00001-of-00002.safetensors"
		if strings.HasPrefix(name, "decoder.") {
			file = "model-00002-of-00002.safetensors"
		}
		values, err := x.Float32s()
		trainertest.Check(t, err)
		shards[file], index[name] = append(shards[file], checkpoint.Tensor{Name: name, Shape: x.Shape, Values: values}), file
	}
	dir := t.TempDir()
	for file, list := range shards {
		var b bytes.Buffer
		trainertest.Check(t, checkpoint.WriteTensors(&b, list, nil))
		trainertest.Check(t, os.WriteFile(filepath.Join(dir, file), b.Bytes(), 0o666))
	}
	text, err := json.Marshal(map[string]any{"weight_map": index})
	trainertest.Check(t, err)
	o.File = filepath.Join(dir, "model.safetensors.index.json")
	trainertest.Check(t, os.WriteFile(o.File, text, 0o666))
	r, got := importedWeights(t, o)
	if len(shards) != 2 || !bytes.Equal(got, want) {
		t.Errorf("%d shards, the same weights: %v; %+v", len(shards), bytes.Equal(got, want), r)
	}
	if d, err := Describe(o.File); err != nil || d.Family != model.VidTok || d.Tensors != len(f.tensors) {
		t.Errorf("described as %+v, %v", d, err)
	}
}

// VidTok's continuous tokenizers have no codes, and can have the tensors of one with codes.
func TestImportRefusesContinuousTokenizers(t *testing.T) {
	c := caseOf(t, "checkpoint.vidtok_plain.ckpt")
	o := c.options(t)
	o.Levels = nil
	published, err := filepath.Abs(o.File)
	trainertest.Check(t, err)
	o.File = filepath.Join(t.TempDir(), "vidtok_kl_causal_488_4chn.ckpt")
	trainertest.Check(t, os.Symlink(published, o.File))
	_, err = Import(o)
	trainertest.Refused(t, err, "continuous (KL)", "--levels")
	o.Levels = []int{8, 8, 8, 8, 8}
	_, err = Import(o)
	trainertest.Check(t, err)

	levels := []int{4, 4, 4, 4, 4, 4, 4}
	size := model.Published{Multipliers: []int{1, 1, 1, 1}, Blocks: 1, Version: "1.0", TimeDown: []int{1, 2}, TimeUp: []int{1, 2}, Norm: "layer"}
	o = ImportOptions{File: drawn(t, model.VidTokConfig(4, levels, size)), Out: filepath.Join(t.TempDir(), "run"), Family: model.VidTok, Version: "1.0"}
	_, err = Import(o)
	trainertest.Refused(t, err, "7 latent channels", "give --levels", "KL")
	o.Levels = levels
	_, err = Import(o)
	trainertest.Check(t, err)
}
