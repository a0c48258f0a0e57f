package main

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"magvit/trainer/codes"
	"magvit/trainer/data"
)

func arraysOf(t *testing.T, path string) map[string]data.Array {
	t.Helper()
	a, err := data.ReadArrays(path)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestEncodeThenDecodeIsReconstruct(t *testing.T) {
	dir, run := t.TempDir(), trainedRun(t)
	codes, decoded, seen := filepath.Join(dir, "codes.npz"), filepath.Join(dir, "new", "decoded.npz"), filepath.Join(dir, "seen.npz")
	magvit(t, "encode", "--checkpoint", run, "--data", clips(t), "--out", codes)
	magvit(t, "decode", "--checkpoint", run, "--codes", codes, "--out", decoded)
	magvit(t, "reconstruct", "--checkpoint", run, "--data", clips(t), "--out", seen)

	c, d, s := arraysOf(t, codes), arraysOf(t, decoded), arraysOf(t, seen)
	if got, want := c["codes"].Shape, []int{24, 4, 4, 4}; !slices.Equal(got, want) {
		t.Errorf("codes of shape %v, want %v", got, want)
	}
	for _, v := range c["codes"].Data.([]int64) {
		if v < 0 || v >= 1000 {
			t.Fatalf("code %d is not in [0,1000)", v)
		}
	}
	source := arraysOf(t, clips(t))
	if !reflect.DeepEqual(c["labels"].Data, source["labels"].Data) {
		t.Errorf("labels %v, want those of the clips, %v", c["labels"].Data, source["labels"].Data)
	}
	for _, name := range []string{"videos", "names", "labels", "frames", "classes"} {
		if !reflect.DeepEqual(d[name], s[name]) {
			t.Errorf("%s of decode and of reconstruct differ", name)
		}
	}
	if !reflect.DeepEqual(s["originals"].Shape, s["videos"].Shape) || reflect.DeepEqual(s["originals"].Data, s["videos"].Data) {
		t.Error("originals and reconstructions: want the same shape and other values")
	}
	if mean := meanOf(s["originals"].Data.([]float32)); math.Abs(mean-meanOf(source["videos"].Data.([]float32))) > 1e-6 {
		t.Errorf("the originals' mean is %v, not that of the clips", mean)
	}
	// What decode wrote is a set of clips like any other.
	if v := printed(t, "inspect", decoded, "--json"); v["clips"] != 24. || v["min"].(float64) < 0 || v["max"].(float64) > 1 {
		t.Errorf("inspect says of the decoded clips: %v", v)
	}
}

func meanOf(x []float32) (m float64) {
	for _, v := range x {
		m += float64(v) / float64(len(x))
	}
	return m
}

func TestReconstructToPictures(t *testing.T) {
	dir, run := t.TempDir(), trainedRun(t)
	folder := filepath.Join(dir, "pictures")
	args := []string{"reconstruct", "--checkpoint", run, "--data", clips(t), "--split", "val", "--limit", "2", "--out"}
	magvit(t, append(args, folder)...)
	if v := printed(t, "inspect", folder, "--json"); v["clips"] != 2. {
		t.Errorf("the folder holds %v clips, want 2", v["clips"])
	}
	if _, stderr, status := finish(t, program(t, append(args, folder)...)); status != badInput {
		t.Errorf("writing into a folder that is not empty: exit %d\n%s", status, stderr)
	}
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skipf("videos are written by ffmpeg: %v", err)
	}
	for _, name := range []string{"seen.mp4", "seen.gif"} {
		path := filepath.Join(dir, name)
		magvit(t, append(args, path)...)
		v := printed(t, "inspect", path, "--json")
		shape, _ := v["shapes"].([]any)[0].(map[string]any)
		if shape["frames"] != 16. || shape["width"] != 66. || shape["height"] != 32. {
			t.Errorf("%s: %v; want two clips of 8 frames, 32 and 32 pixels wide with 2 between", name, shape)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 3 {
		t.Errorf("left in the folder: %v, %v; want three results and nothing else", left, err)
	}
}

func TestFreshProcessEvaluatesTheSame(t *testing.T) {
	run := trainedRun(t)
	var last map[string]any
	for _, r := range records(t, run) {
		if v, ok := r["val"].(map[string]any); ok {
			last = v
		}
	}
	out, _ := magvit(t, "eval", "--checkpoint", run, "--data", clips(t), "--split", "val", "--json")
	var got map[string]any
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, last) {
		t.Errorf("eval: %v\nthe run logged: %v", got, last)
	}
	for _, key := range []string{"clips", "mse", "psnr", "ssim", "foreground_psnr", "baselines", "per_class", "codes"} {
		if _, ok := got[key]; !ok {
			t.Errorf("eval --json lacks %q", key)
		}
	}
	all := printed(t, "eval", "--checkpoint", run, "--data", clips(t), "--split", "all", "--json")
	if all["clips"] != 24. {
		t.Errorf("--split all evaluates %v clips, want 24", all["clips"])
	}
}

// TestEvalComparesWithVideoCodecs reads the codecs of eval --codecs, in its result and in the run's report.
func TestEvalComparesWithVideoCodecs(t *testing.T) {
	run := copyOf(t, trainedRun(t))
	v := printed(t, "eval", "--checkpoint", run, "--data", clips(t), "--split", "val", "--codecs", "--json")
	list, _ := v["codecs"].([]any)
	if len(list) != 2 {
		t.Fatalf("codecs: %v; want H.264 and AV1", v["codecs"])
	}
	for _, c := range list {
		c := c.(map[string]any)
		bits, ok := c["bits_per_pixel"].(float64)
		if missing, _ := c["missing"].(string); ok == (missing != "") {
			t.Errorf("%v; want bits a pixel, or why there are none", c)
		}
		settings, _ := c["settings"].(string)
		if psnr, _ := c["psnr"].(float64); ok && (bits > v["bits_per_pixel"].(float64) != strings.Contains(settings, "its lowest rate") || psnr < 15) {
			t.Errorf("%v at %v bits a pixel of the codes; want no more, or the codec's lowest rate", c, v["bits_per_pixel"])
		}
	}
	page, err := os.ReadFile(filepath.Join(run, "report.html"))
	if err != nil || !strings.Contains(string(page), "What would a video codec do") || !strings.Contains(string(page), "H.264") {
		t.Errorf("the report does not show the codecs (%v)", err)
	}
}

// TestCodesNameTheirOrigin reads what codes.npz says of its tokenizer and clips, and decodes it with others.
func TestCodesNameTheirOrigin(t *testing.T) {
	dir, run := t.TempDir(), copyOf(t, trainedRun(t))
	path := filepath.Join(dir, "codes.npz")
	magvit(t, "encode", "--checkpoint", run, "--data", clips(t), "--split", "val", "--out", path)
	a := arraysOf(t, path)
	for name, want := range map[string]any{
		"quantizer": []string{"fsq"}, "levels": []int64{8, 5, 5, 5}, "grid": []int64{4, 4, 4}, "size": []int64{32, 32}, "step": []int64{6},
		"split": []string{"val"}, "source": []string{clips(t)}, "digit_order": []string{codes.DigitOrder}, "bit_order": []string{codes.FirstLowest},
	} {
		if !reflect.DeepEqual(a[name].Data, want) {
			t.Errorf("%s: %v, want %v", name, a[name].Data, want)
		}
	}
	if hash, _ := a["tokenizer_sha256"].Data.([]string); len(hash) != 1 || len(hash[0]) != 64 {
		t.Errorf("tokenizer_sha256: %v", a["tokenizer_sha256"].Data)
	}
	// The same weights in another form are the same tokenizer.
	lean := filepath.Join(dir, "lean")
	magvit(t, "export", "--to", "lean", "--checkpoint", run, lean)
	magvit(t, "decode", "--checkpoint", lean, "--codes", path, "--out", filepath.Join(dir, "lean.npz"))
	other := filepath.Join(run, "checkpoints", "step-000004")
	args := []string{"decode", "--checkpoint", other, "--codes", path, "--out", filepath.Join(dir, "other.npz")}
	_, stderr, status := finish(t, program(t, args...))
	refused(t, stderr, status, "another tokenizer", "step 6", "step 4", "--other-tokenizer")
	magvit(t, append(args, "--other-tokenizer")...)
}

// TestOddArraysNextToCodes has arrays of length 0, of other types and without relation to the codes.
func TestOddArraysNextToCodes(t *testing.T) {
	run, out := trainedRun(t), filepath.Join(t.TempDir(), "out.npz")
	grid := data.Array{Name: "codes", Shape: []int{2, 4, 4, 4}, Data: make([]int32, 128)}
	for want, a := range map[string]data.Array{
		"0 frames for 2 clips":   {Name: "frames", Shape: []int{0}, Data: []int32{}},
		"0 labels for 2 clips":   {Name: "labels", Shape: []int{0}, Data: []int64{}},
		"0 names for 2 clips":    {Name: "names", Shape: []int{0}, Data: []string{}},
		"1 labels for 2 clips":   {Name: "labels", Shape: []int{1}, Data: []int64{3}},
		"codes of the quantizer": {Name: "quantizer", Shape: []int{1}, Data: []string{"lfq"}},
		"codes of the levels":    {Name: "levels", Shape: []int{3}, Data: []int32{10, 10, 10}},
		"":                       {Name: "notes", Shape: []int{3}, Data: []string{"x", "y", "z"}},
	} {
		_, stderr, status := finish(t, program(t, "decode", "--checkpoint", run, "--codes", codesFile(t, grid, a), "--out", out))
		if want == "" {
			if status != done {
				t.Errorf("an unrelated array: exit %d\n%s", status, stderr)
			}
			continue
		}
		refused(t, stderr, status, want)
	}
}

// A tokenizer with a learned codebook goes through every command: its codes bring their vectors, probe and report see them,
// and the export to a program without such a quantizer names it.
func TestLearnedCodebook(t *testing.T) {
	dir := t.TempDir()
	run, path := filepath.Join(dir, "run"), filepath.Join(dir, "codes.npz")
	magvit(t, "train", "--preset", "tiny", "--data", clips(t), "--out", run, "--set", "train.steps=2", "--set", "train.eval_every=2",
		"--set", "model.quantizer={kind: vq, levels: [], codebook_size: 20, code_dim: 3, commitment_weight: 0.25}")
	magvit(t, "encode", "--checkpoint", run, "--data", clips(t), "--out", path)
	a := arraysOf(t, path)
	if v, _ := a["vectors"].Data.([]float32); len(v) != 60 || !reflect.DeepEqual(a["vectors"].Shape, []int{1, 20, 3}) {
		t.Errorf("vectors %v, want [1 20 3]", a["vectors"].Shape)
	}
	if !reflect.DeepEqual(a["levels"].Data, []int64{20}) {
		t.Errorf("levels %v, want one digit of 20 values", a["levels"].Data)
	}
	magvit(t, "decode", "--checkpoint", run, "--codes", path, "--out", filepath.Join(dir, "decoded.npz"))
	magvit(t, "probe", "--checkpoint", run, "--data", clips(t), "--splits", "2", "--steps", "5")
	magvit(t, "report", run)
	_, stderr, status := finish(t, program(t, "export", "--to", "lucidrains", "--checkpoint", run, filepath.Join(dir, "x.pt")))
	refused(t, stderr, status, "model.quantizer.kind: vq", "fsq and lfq")
}
