package main

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A published checkpoint is shown, imported, used and given back.
func TestPublishedCheckpoint(t *testing.T) {
	file, err := filepath.Abs("../../testdata/golden_published/checkpoint.vidtok_plain.ckpt")
	if err != nil {
		t.Fatal(err)
	}
	fails := func(want string, args ...string) {
		t.Helper()
		if _, stderr, status := finish(t, program(t, args...)); status == 0 || !strings.Contains(stderr, want) {
			t.Errorf("%v: status %d, want %q in:\n%s", args, status, want, stderr)
		}
	}
	dir := t.TempDir()
	run, clips := filepath.Join(dir, "run"), filepath.Join(dir, "clips.npz")
	out, _ := magvit(t, "inspect", file)
	for _, want := range []string{"vidtok", "5 digits", "--version 1.0|1.1"} {
		if !strings.Contains(out, want) {
			t.Errorf("inspect does not say %q:\n%s", want, out)
		}
	}
	fails("give --version", "import", "--from", "vidtok", file, "--out", run)
	fails("only with --from", "import", "--from", "lucidrains", "--weights", "ema", file, "--out", run)
	out, _ = magvit(t, "import", "--from", "vidtok", "--version", "1.1", file, "--out", run)
	if !strings.Contains(out, "weights plain") {
		t.Errorf("%s", out)
	}
	magvit(t, "synth", "--clips", "2", "--size", "16", "--frames", "7", "--out", clips)
	codes := filepath.Join(dir, "codes.npz")
	magvit(t, "encode", "--checkpoint", run, "--data", clips, "--out", codes)
	magvit(t, "decode", "--checkpoint", run, "--codes", codes, "--out", filepath.Join(dir, "back.npz"))
	out, _ = magvit(t, "decode", "--checkpoint", run, "--codes", codes, "--out", filepath.Join(dir, "back.gif"), "--layout", "files")
	if written, err := filepath.Glob(filepath.Join(dir, "back-*.gif")); err != nil || len(written) != 2 || !strings.Contains(out, filepath.Join(dir, "back-*.gif")+": 2 clips") {
		t.Errorf("two clips, a file each, are %q (%v); said\n%s", written, err, out)
	}
	pieces := filepath.Join(dir, "pieces.npz")
	magvit(t, "encode", "--checkpoint", run, "--data", clips, "--out", pieces, "--pieces", "4")
	magvit(t, "decode", "--checkpoint", run, "--codes", pieces, "--out", filepath.Join(dir, "again.npz"), "--pieces", "4")
	a, err := os.ReadFile(codes)
	if b, errPieces := os.ReadFile(pieces); err != nil || errPieces != nil || !bytes.Equal(a, b) {
		t.Errorf("encoding in pieces gives other codes (%v, %v)", err, errPieces)
	}
	if out, _ := magvit(t, "eval", "--checkpoint", run, "--data", clips, "--split", "all"); !strings.Contains(out, "PSNR") {
		t.Errorf("an evaluation of imported weights:\n%s", out)
	}
	if out, log := magvit(t, "eval", "--checkpoint", run, "--data", clips); !strings.Contains(out, "2 clips, ") || !strings.Contains(log, "all clips are held out") {
		t.Errorf("an evaluation of imported weights without --split, of two clips:\n%s%s", out, log)
	}
	fails("want a multiple of", "encode", "--checkpoint", run, "--data", clips, "--out", pieces, "--pieces", "3")
	fails("these are tensors of vidtok: give --from vidtok", "import", "--from", "lucidrains", file, "--out", filepath.Join(dir, "x"))
	fails("want open-magvit2", "export", "--to", "open-magvit2", "--checkpoint", run, filepath.Join(dir, "x.ckpt"))
	fails("is no file: want the name of a file", "export", "--to", "vidtok", "--checkpoint", run, t.TempDir())
	fails("inspect it alone", "inspect", file, file)
	theirs := filepath.Join(dir, "theirs.ckpt")
	magvit(t, "export", "--to", "vidtok", "--checkpoint", run, theirs)
	magvit(t, "import", "--from", "vidtok", "--version", "1.1", theirs, "--out", filepath.Join(dir, "again"))
	fails("data.size: model: frames of 100×100 pixels (height × width): this tokenizer takes multiples of 8, such as 104×104",
		"import", "--from", "vidtok", "--version", "1.1", theirs, "--out", filepath.Join(dir, "odd"), "--set", "data.size=100")
	fails("weights alone, imported or exported, without the optimizer's state", "train", "--resume", run, "--data", clips, "--out", filepath.Join(dir, "resumed"))
	fails("magvit encode --checkpoint "+run, "codes", run)
	if _, log := magvit(t, "encode", "--checkpoint", run, "--data", clips, "--out", codes); !strings.Contains(log, "7 frames: this tokenizer takes 5 or 9") || !strings.Contains(log, "repeat their last frame to 9") {
		t.Errorf("encode of clips of 7 frames does not say how they are padded:\n%s", log)
	}
	if out, _ := magvit(t, "inspect", filepath.Join(run, "checkpoints", "step-000000")); !strings.Contains(out, "weights in the order of this program") {
		t.Errorf("inspect of a checkpoint's folder:\n%s", out)
	}
	own := filepath.Join(run, "checkpoints", "step-000000", "model.safetensors")
	fails("weights of this program, of step 0: train --init takes them", "import", "--from", "lucidrains", own, "--out", filepath.Join(dir, "x"))
	magvit(t, "train", "--init", run, "--data", clips, "--out", filepath.Join(dir, "mine"),
		"--set", "train.steps=2", "--set", "data.size=16", "--set", "data.frames=5", "--set", "model.image_size=16", "--set", "train.eval_every=0", "--set", "data.val_share=0.5")
}

// An image tokenizer takes image files, a code grid for each.
func TestImageTokenizerTakesImages(t *testing.T) {
	file, err := filepath.Abs("../../testdata/golden_published/checkpoint.om_image.ckpt")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for i := range 3 {
		img := image.NewRGBA(image.Rect(0, 0, 16+2*i, 16))
		for p := range img.Pix {
			img.Pix[p] = byte(p * (i + 3))
		}
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%d.png", i)))
		if err == nil {
			err = errors.Join(png.Encode(f, img), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	run, codes := filepath.Join(dir, "run"), filepath.Join(dir, "codes.npz")
	magvit(t, "import", "--from", "open-magvit2", file, "--out", run)
	magvit(t, "encode", "--checkpoint", run, "--data", filepath.Join(dir, "*.png"), "--out", codes)
	out, _ := magvit(t, "codes", codes)
	if !strings.Contains(out, "1×64×64") {
		t.Errorf("codes of three images, resized to 128×128:\n%s", out)
	}
	folder := filepath.Join(dir, "folder.npz")
	magvit(t, "encode", "--checkpoint", run, "--data", dir, "--out", folder)
	if out, _ := magvit(t, "codes", folder); !strings.Contains(out, "1×64×64") || !regexp.MustCompile(`(?m)^clips +3$`).MatchString(out) {
		t.Errorf("codes of a folder of three images:\n%s", out)
	}
	magvit(t, "bench", "data", "--preset", "open-magvit2-image-128", "--data", dir, "--clips", "3")
	_, log, status := finish(t, program(t, "train", "--data", filepath.Join(dir, "*.png"), "--set", "data.images=true", "--out", filepath.Join(dir, "chosen")))
	if status != badInput || !strings.Contains(log, "data.images: ") {
		t.Errorf("data.images without a preset: exit %d\n%s", status, log)
	}
	video := filepath.Join(dir, "video")
	magvit(t, "import", "--from", "open-magvit2", "--inflate", file, "--out", video)
	clips := filepath.Join(dir, "clips.npz")
	magvit(t, "synth", "--clips", "2", "--size", "16", "--frames", "5", "--out", clips)
	_, log, status = finish(t, program(t, "train", "--config", filepath.Join(video, "config.yaml"), "--init", run, "--data", clips, "--out", filepath.Join(dir, "x"), "--set", "data.val_share=0.5"))
	if want := "weights of an image tokenizer begin a video network by magvit export --to open-magvit2 and magvit import --inflate"; status != badInput || !strings.Contains(log, want) {
		t.Errorf("weights of images for clips: exit %d, want %q in\n%s", status, want, log)
	}
}

// An imported run has no history: its codes are probed all the same, and its report shows what
// it is and what was found.
func TestPublishedRunIsProbedAndReported(t *testing.T) {
	file, err := filepath.Abs("../../testdata/golden_published/checkpoint.vidtok_plain.ckpt")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run, clips := filepath.Join(dir, "run"), filepath.Join(dir, "clips.npz")
	magvit(t, "import", "--from", "vidtok", "--version", "1.1", file, "--out", run)
	magvit(t, "report", run)
	magvit(t, "synth", "--clips", "20", "--size", "16", "--frames", "5", "--out", clips)
	out, _ := magvit(t, "probe", "--checkpoint", run, "--data", clips, "--splits", "2", "--steps", "5", "--views", "1")
	for _, want := range []string{"linear", "codes"} {
		if !strings.Contains(out, want) {
			t.Errorf("probe does not say %q:\n%s", want, out)
		}
	}
	if out, _ := magvit(t, "probe", "--checkpoint", run, "--data", clips, "--splits", "2", "--steps", "5", "--views", "1", "--target", "trajectory"); !strings.Contains(out, "constant velocity") {
		t.Errorf("a forecast from imported codes:\n%s", out)
	}
	page, err := os.ReadFile(filepath.Join(run, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"vidtok", "can classes be recognized from the codes", "constant velocity"} {
		if !bytes.Contains(bytes.ToLower(page), []byte(want)) {
			t.Errorf("the report does not say %q", want)
		}
	}
}
