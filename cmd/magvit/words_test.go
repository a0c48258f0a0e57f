package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTrainingLine is what the bar shows of a progress.json: its numbers, and the time since it was written.
func TestTrainingLine(t *testing.T) {
	dir := t.TempDir()
	text := `{"steps": 500, "loss": 0.01234567, "psnr": 23.456, "clips_per_s": 12.34, "seconds": 100, "eta_s": 300, "heartbeat": "2026-11-28T15:00:00Z"}`
	if err := os.WriteFile(filepath.Join(dir, "progress.json"), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	r := progressOf(dir)
	if got, want := r.line(120, 500, 102), "step 120 of 500  loss 0.01235  PSNR 23.5 dB  12.3 clips/s  1m42s elapsed  4m58s left"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if !r.Heartbeat.Equal(time.Date(2026, 11, 28, 15, 0, 0, 0, time.UTC)) {
		t.Errorf("heartbeat %v", r.Heartbeat)
	}
	if got, want := progressOf(t.TempDir()).line(3, 0, 0), "step 3  0s elapsed"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestInspectOfNothingReadable(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.gif", "b.gif"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("GIF89a, and no more"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"inspect", dir}, {"inspect", dir, "--json"}} {
		stdout, stderr, status := finish(t, program(t, args...))
		if status != badInput || !strings.Contains(stderr, "none of 2 clips can be read") || !strings.Contains(stdout, "a.gif") {
			t.Errorf("%v: exit %d\n%s%s", args, status, stdout, stderr)
		}
	}
}

// TestWritersPrintJSON runs the commands that write files with --json, as README promises of every command.
func TestWritersPrintJSON(t *testing.T) {
	dir, run := t.TempDir(), copyOf(t, trainedRun(t))
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, args := range [][]string{
		{"synth", "--clips", "4", "--size", "32", "--frames", "4", "--out", in("clips.npz")},
		{"encode", "--checkpoint", run, "--data", clips(t), "--limit", "2", "--out", in("codes.npz")},
		{"decode", "--checkpoint", run, "--codes", in("codes.npz"), "--out", in("decoded.npz")},
		{"reconstruct", "--checkpoint", run, "--data", clips(t), "--limit", "2", "--out", in("seen.npz")},
		{"report", run},
		{"version"},
	} {
		stdout, _ := magvit(t, append(args, "--json")...)
		var v map[string]any
		if err := json.Unmarshal([]byte(stdout), &v); err != nil {
			t.Errorf("%v --json: %v:\n%s", args, err, stdout)
		}
	}
	if a := arraysOf(t, in("codes.npz")); len(a["fps"].Shape) != 1 || a["frame_range"].Data.([]int64)[1] != 8 {
		t.Errorf("fps %v, frame_range %v", a["fps"], a["frame_range"])
	}
}

// TestQuiet has no log but warnings.
func TestQuiet(t *testing.T) {
	run := trainedRun(t)
	args := []string{"encode", "--checkpoint", run, "--data", clips(t), "--limit", "1", "--out", filepath.Join(t.TempDir(), "c.npz")}
	if _, stderr := magvit(t, args...); !strings.Contains(stderr, "device: cpu, ") {
		t.Errorf("the log lacks the device:\n%s", stderr)
	}
	if _, stderr := magvit(t, append(args, "--quiet")...); stderr != "" {
		t.Errorf("with --quiet:\n%s", stderr)
	}
}
