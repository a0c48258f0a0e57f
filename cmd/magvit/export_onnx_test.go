package main

import (
	"fmt"
	"path/filepath"
	"reflect"
	"testing"

	"magvit/model"
	"magvit/trainer/config"
)

// TestEveryPresetHasRules writes the graphs of every preset that is a tokenizer; each works for any size.
func TestEveryPresetHasRules(t *testing.T) {
	n := 0
	for _, name := range config.Presets() {
		c, err := config.Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		if c.Model.Classifies() || c.Model.IsPrior() {
			continue
		}
		n++
		tok, err := model.New(c.Model)
		if err != nil {
			t.Fatal(err)
		}
		models, err := onnxModels(tok, model.Shape{N: 1, T: tok.Padded(17), H: 128, W: 128}, map[string]string{})
		if err != nil {
			t.Errorf("preset %s: %v", name, err)
			continue
		}
		for _, m := range models {
			if m.Fixed != nil {
				t.Errorf("preset %s: %s has a fixed size of %v", name, m.Name, m.Fixed)
			}
			t.Logf("%s: %s takes %d frames and sides of %d or more", name, m.Name, m.MinFrames, m.MinSide)
		}
	}
	if n < 5 {
		t.Errorf("%d presets are tokenizers, want at least 5", n)
	}
}

// onnxOnClips runs both models on a set of clips and compares with what encode and decode wrote. A code may differ where a
// latent of FSQ is at a boundary.
const onnxOnClips = `
import ast, numpy as np, onnx, onnxruntime
for half in ("encoder", "decoder"):
    onnx.checker.check_model(f"onnx/{half}.onnx", full_check=True)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
encoder, decoder = (onnxruntime.InferenceSession(f"onnx/{half}.onnx", options) for half in ("encoder", "decoder"))
about = encoder.get_modelmeta().custom_metadata_map
z, clips, decoded = np.load("codes.npz"), np.load("clips.npz")["videos"][:4].astype(np.float32), np.load("decoded.npz")["videos"]
assert about["tokenizer_sha256"] == z["tokenizer_sha256"][0] and about["bit_order"] == z["bit_order"][0]
levels = np.array(ast.literal_eval(about["levels"].replace(" ", ",")))
first, factor = about["frames"].startswith("1 +"), int(about["frames"].split()[-1])
missing = (first - clips.shape[1]) % factor
clips = np.concatenate([clips] + [clips[:, -1:]] * missing, 1)
codes, latents = encoder.run(None, {"video": clips})
assert codes.shape == z["codes"].shape and codes.dtype == np.int32
radius, offset = (levels - 1) * 1.001 / 2, np.where(levels % 2 == 0, .5, 0)
bounded = np.tanh(latents + np.arctanh(offset / radius)) * radius - offset
near = (abs(abs(bounded - np.floor(bounded)) - .5) < 1e-4).any(-1)
differ = codes != z["codes"]
(video,) = decoder.run(None, {"codes": z["codes"]})
print(codes.size, differ.sum(), (differ & ~near).sum(), len(np.unique(codes)) > 1, abs(video[:, :decoded.shape[1]] - decoded).max() < 1e-4)
`

// TestExportToONNX exports runs of presets and compares onnxruntime with encode and decode.
func TestExportToONNX(t *testing.T) {
	python3 := pythonWith(t, "numpy", "onnx", "onnxruntime")
	for _, preset := range []string{"tiny", "demo", "small"} {
		dir := t.TempDir()
		in := func(name string) string { return filepath.Join(dir, name) }
		run := in("run")
		if preset == "tiny" {
			run = trainedRun(t)
		} else {
			magvit(t, "train", "--preset", preset, "--data", clips(t), "--out", run, "--steps", "1", "--set", "train.eval_every=0", "--set", "train.samples=0",
				"--set", "data.crop.batch=0", "--set", "train.batch=1", "--set", "train.minutes=0", "--set", "data.size=32", "--set", "data.frames=8")
		}
		magvit(t, "synth", "--clips", "4", "--size", "32", "--frames", "8", "--out", in("clips.npz"))
		magvit(t, "encode", "--checkpoint", run, "--data", in("clips.npz"), "--out", in("codes.npz"))
		magvit(t, "decode", "--checkpoint", run, "--codes", in("codes.npz"), "--out", in("decoded.npz"))
		v := printed(t, "export", "--to", "onnx", "--checkpoint", run, in("onnx"), "--json")
		if !reflect.DeepEqual(v["files"], []any{"decoder.onnx", "encoder.onnx"}) || len(v["notes"].([]any)) > 0 || v["opset"] != 17. {
			t.Errorf("export says %v", v)
		}
		got := python(t, python3, dir, onnxOnClips)
		var codes, differ, wrong int
		var varied, near string
		if _, err := fmt.Sscan(got, &codes, &differ, &wrong, &varied, &near); err != nil || codes == 0 || wrong > 0 || 100*differ > codes || near != "True" {
			t.Errorf("%s: %q, %v; want codes that differ at boundaries alone, and the same clips", preset, got, err)
		}
		t.Logf("%s: %d codes, %d differ, %d of them not at a boundary", preset, codes, differ, wrong)
	}
	// The folder is not replaced.
	dir := t.TempDir()
	magvit(t, "export", "--to", "onnx", "--checkpoint", trainedRun(t), filepath.Join(dir, "new", "onnx"))
	_, _, status := finish(t, program(t, "export", "--to", "onnx", "--checkpoint", trainedRun(t), filepath.Join(dir, "new", "onnx")))
	if status == done {
		t.Error("a folder that is not empty was replaced")
	}
}
