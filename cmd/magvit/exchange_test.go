package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"magvit/trainer/trainertest"
)

// reference is a tokenizer file of magvit2-pytorch, for clips of 16×16 pixels.
const reference = "../../testdata/golden/checkpoint.fsq.pt"

// absolute is a path for commands that run in folders of their own.
func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// The file of an import that fails is named once.
func TestImportNamesTheFileOnce(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "weights.ckpt")
	trainertest.Check(t, os.WriteFile(file, []byte("hello, this is text"), 0o666))
	for _, from := range []string{"lucidrains", "open-magvit2", "vidtok"} {
		var stderr strings.Builder
		status := run(t.Context(), []string{"magvit", "import", "--from", from, file, "--out", filepath.Join(dir, "run")}, io.Discard, &stderr)
		if status != badInput || strings.Count(stderr.String(), "weights.ckpt") != 1 {
			t.Errorf("%s: exit %d, %q", from, status, stderr.String())
		}
	}
}

// TestImportUseExport: another's checkpoint is imported, evaluated, trained on,
// exported, imported again and evaluated from a lean copy.
func TestImportUseExport(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	clips := in("clips.npz")
	magvit(t, "synth", "--clips", "8", "--size", "16", "--frames", "2", "--out", clips)
	out, _ := magvit(t, "import", "--from", "lucidrains", absolute(t, reference), "--out", in("run"), "--set", "data.frames=2", "--set", "data.val_share=.25", "--set", "train.steps=2")
	for _, words := range []string{"tokenizer file", "50 tensors", "53 tensors of discriminators", "checkpoint step-000000"} {
		if !strings.Contains(out, words) {
			t.Errorf("import does not say %q:\n%s", words, out)
		}
	}
	// The reference's clip length, 17 frames, is no length of these weights' clips.
	magvit(t, "import", "--from", "lucidrains", absolute(t, reference), "--out", in("untrained"))
	out, _ = magvit(t, "encode", "--checkpoint", in("untrained"), "--data", clips, "--out", in("short.npz"))
	if !strings.Contains(out, "codes [8 2 16 16]") {
		t.Errorf("clips of 2 frames are not encoded as they are: %s", out)
	}
	eval := func(checkpoint string) (text string) {
		text, _ = magvit(t, "eval", "--checkpoint", checkpoint, "--data", clips, "--json")
		return text
	}
	theirs := eval(in("run"))
	magvit(t, "export", "--to", "lucidrains", "--checkpoint", in("run"), in("out.pt"))
	magvit(t, "import", "--from", "lucidrains", in("out.pt"), "--out", in("again"), "--config", in("run/config.yaml"))
	magvit(t, "export", "--to", "lean", "--checkpoint", in("run"), in("lean"))
	for _, name := range []string{"again", "lean"} {
		if eval(in(name)) != theirs {
			t.Errorf("%s evaluates differently", name)
		}
	}
	magvit(t, "train", "--config", in("run/config.yaml"), "--data", clips, "--out", in("run"), "--resume", "auto")
	text, _ := magvit(t, "export", "--to", "lucidrains-trainer", "--checkpoint", in("run"), in("trainer.pt"), "--json")
	var exported struct{ Step, Tensors int }
	if err := json.Unmarshal([]byte(text), &exported); err != nil || exported.Step != 2 || exported.Tensors != 50 {
		t.Errorf("%+v, %v: %s", exported, err, text)
	}
	text, _ = magvit(t, "import", "--from", "lucidrains", in("trainer.pt"), "--out", in("trainer"), "--config", in("run/config.yaml"), "--json")
	var imported struct {
		Step, Updates int
		Average       bool
	}
	if err := json.Unmarshal([]byte(text), &imported); err != nil || imported.Step != 2 || imported.Updates != 2 || !imported.Average {
		t.Errorf("%+v, %v: %s", imported, err, text)
	}
	if eval(in("trainer")) != eval(in("run")) {
		t.Error("the trainer file evaluates differently")
	}
}

func TestBadExchange(t *testing.T) {
	run, file := trainedRun(t), absolute(t, reference)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.pt")
	if err := os.WriteFile(cut, whole[:len(whole)/3], 0o666); err != nil {
		t.Fatal(err)
	}
	imports := func(more ...string) []string { return append([]string{"import", "--out", "run"}, more...) }
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"cut off":         {imports("--from", "lucidrains", cut), []string{"cut.pt"}},
		"no file named":   {imports("--from", "lucidrains"), []string{"the file is missing"}},
		"no file there":   {imports("--from", "lucidrains", "nowhere.pt"), []string{"nowhere.pt", "no such file"}},
		"whose":           {imports(file), []string{"--from is missing"}},
		"another's":       {imports("--from", "openai", file), []string{"openai", "lucidrains"}},
		"into a run":      {[]string{"import", "--from", "lucidrains", file, "--out", run}, []string{"not empty"}},
		"wrong tensors":   {imports("--from", "lucidrains", file, "--set", "model.init_dim=9"), []string{"conv_in.conv.bias is [8], the model has [9]"}},
		"ours, mended":    {[]string{"export", "--to", "lucidrains", "--checkpoint", run, "out.pt"}, []string{"model.compat: lucidrains"}},
		"form":            {[]string{"export", "--to", "gguf", "--checkpoint", run, "out.gguf"}, []string{"gguf", "safetensors"}},
		"nowhere to go":   {[]string{"export", "--to", "lean", "--checkpoint", run}, []string{"path to write to is missing"}},
		"over a run":      {[]string{"export", "--to", "lean", "--checkpoint", run, run}, []string{"is in that folder"}},
		"no checkpoint":   {[]string{"export", "--to", "lean", "--checkpoint", "nowhere", "lean"}, []string{"nowhere"}},
		"file for folder": {[]string{"export", "--to", "lean", "--checkpoint", run, cut}, []string{"cut.pt", "folder"}},
		"file for models": {[]string{"export", "--to", "onnx", "--checkpoint", run, cut}, []string{"cut.pt", "folder"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := program(t, c.args...)
			_, stderr, status := finish(t, cmd)
			refused(t, stderr, status, c.want...)
			if left, err := os.ReadDir(cmd.Dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}
