package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"magvit/trainer/data"
)

// oneClip is a source of a clip.
type oneClip struct{ data.Clip }

func (s oneClip) Len() int                                     { return 1 }
func (s oneClip) Name(int) string                              { return s.Clip.Name }
func (s oneClip) Label(int) int                                { return -1 }
func (s oneClip) Classes() []string                            { return nil }
func (s oneClip) Problems() []string                           { return nil }
func (s oneClip) Close() error                                 { return nil }
func (s oneClip) Read(context.Context, int) (data.Clip, error) { return s.Clip, nil }

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
		name, why, err := choosePreset(t.Context(), oneClip{c.clip}, c.device)
		if err != nil || name != c.want || !strings.Contains(why, c.why) {
			t.Errorf("%dx%d, positions %v, %s: %s (%s), %v; want %s because of %q", c.clip.W, c.clip.H, c.clip.Points != nil, c.device, name, why, err, c.want, c.why)
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
