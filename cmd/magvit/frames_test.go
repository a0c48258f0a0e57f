package main

import (
	"path/filepath"
	"testing"

	"magvit/trainer/data"
)

// eval, encode and reconstruct read the same frames of clips that are longer than those of the training, by default and
// with --frames.
func TestCommandsReadTheSameFrames(t *testing.T) {
	dir := t.TempDir()
	long := filepath.Join(dir, "long.npz")
	magvit(t, "synth", "--out", long, "--clips", "8", "--size", "32", "--frames", "12")
	for _, c := range []struct {
		flags  []string
		frames int
	}{{nil, 8}, {[]string{"--frames", "4"}, 4}, {[]string{"--frames", "0"}, 12}} {
		with := func(command string, more ...string) []string {
			return append(append([]string{command, "--checkpoint", trainedRun(t), "--data", long, "--split", "all"}, more...), c.flags...)
		}
		evaluated := printed(t, append(with("eval"), "--json")...)
		codes, seen := filepath.Join(dir, "codes.npz"), filepath.Join(dir, "seen.npz")
		magvit(t, with("encode", "--out", codes)...)
		magvit(t, with("reconstruct", "--out", seen)...)
		if got := evaluated["frames"]; got != float64(8*c.frames) {
			t.Errorf("%v: eval compares %v frames, want 8 times %d", c.flags, got, c.frames)
		}
		arrays, err := data.ReadArrays(codes)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range arrays["frames"].Data.([]int64) {
			if n != int64(c.frames) {
				t.Errorf("%v: encode reads %d frames, want %d", c.flags, n, c.frames)
			}
		}
		if arrays, err = data.ReadArrays(seen); err != nil {
			t.Fatal(err)
		}
		if shape := arrays["videos"].Shape; shape[1] != c.frames && shape[2] != c.frames {
			t.Errorf("%v: reconstruct writes %v, want %d frames", c.flags, shape, c.frames)
		}
	}
}
