package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"magvit/trainer/data"
)

func TestPresetIsChosenByTheClips(t *testing.T) {
	clip := func(h, w int, points bool) data.Clip {
		c := data.Clip{Name: "clip", T: 1, H: h, W: w, C: 3, Video: make([]float32, h*w*3)}
		if points {
			c.Points = make([]float32, 2)
		}
		return c
	}
	for _, c := range []struct {
		clip   data.Clip
		device string
		want   string
		why    string
	}{
		{clip(64, 64, true), "auto", "demo", "positions"},
		{clip(256, 256, true), "gpu", "demo", "positions"},
		{clip(64, 64, false), "cpu", "film-64", "64x64"},
		{clip(120, 320, false), "gpu", "film-64", "320x120"},
		{clip(720, 1280, false), "cpu", "film-64", "film-128 takes hours"},
		{clip(720, 1280, false), "gpu", "film-128", "GPU"},
	} {
		name, why := choosePreset(c.clip, c.device)
		if name != c.want || !strings.Contains(why, c.why) {
			t.Errorf("%dx%d, positions %v, %s: %s (%s); want %s because of %q", c.clip.W, c.clip.H, c.clip.Points != nil, c.device, name, why, c.want, c.why)
		}
	}
}

// TestTrainWithoutPreset trains a step of what the clips of magvit synth get.
func TestTrainWithoutPreset(t *testing.T) {
	out := t.TempDir() + "/run"
	_, stderr := magvit(t, "train", "--data", clips(t), "--out", out, "--steps", "1", "--set", "train.samples=0", "--set", "train.eval_clips=4")
	if !strings.Contains(stderr, "preset demo: the clips have the positions") {
		t.Errorf("the log does not say which preset was chosen:\n%s", stderr)
	}
}

// TestTrainOnTheProjectsFilm trains a step on testdata/clips without naming a preset: film-64, with the clips' mean as
// background, and the later parts of the films held out.
func TestTrainOnTheProjectsFilm(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not on the PATH")
	}
	list, err := filepath.Abs("../../testdata/clips/split.csv")
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir() + "/run"
	_, stderr := magvit(t, "train", "--data", list, "--out", out, "--steps", "1", "--set", "train.samples=0")
	for _, want := range []string{"preset film-64: film of 180x144 pixels", "background=0.", "train=6", "val=5"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("the log does not have %q:\n%s", want, stderr)
		}
	}
}

// TestTrainOnGreyClips trains a step on clips of one channel without naming a preset, and with the channels set by the user.
func TestTrainOnGreyClips(t *testing.T) {
	grey := filepath.Join(t.TempDir(), "grey.npz")
	clips := data.Array{Name: "videos", Shape: []int{2, 4, 1, 16, 16}, Data: make([]float32, 2*4*16*16)}
	for k := range clips.Data.([]float32) {
		clips.Data.([]float32)[k] = float32(k%7) / 7
	}
	if err := data.WriteArrays(grey, clips); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		set, want string
		logged    bool
	}{{"model.residual_kernel=1", "channels: 1", true}, {"data.channels=3", "channels: 3", false}} {
		out := filepath.Join(t.TempDir(), "run")
		_, stderr := magvit(t, "train", "--data", grey, "--out", out, "--steps", "1", "--set", c.set, "--set", "train.eval_every=0", "--set", "model.init_dim=8")
		if logged := strings.Contains(stderr, "its frames are grey: model.channels=1"); logged != c.logged {
			t.Errorf("%s: logged %v:\n%s", c.set, logged, stderr)
		}
		text, err := os.ReadFile(filepath.Join(out, "config.yaml"))
		if err != nil || !strings.Contains(string(text), c.want) || !strings.Contains(string(text), "init_dim: 8") {
			t.Errorf("%s: %q is not in the configuration, %v", c.set, c.want, err)
		}
	}
}
