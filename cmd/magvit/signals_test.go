package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// endless is a training that saves nothing by itself.
func endless(t *testing.T, out string) *exec.Cmd {
	return program(t, "train", "--preset", "tiny", "--data", clips(t), "--out", out, "--steps", "1000000",
		"--set", "train.save_every=0", "--set", "train.log_every=1", "--set", "train.eval_every=0", "--set", "train.samples=0")
}

// ended checks what an interrupted training leaves: a checkpoint of its last step, which a
// true progress.json names, and exit status 130.
func ended(t *testing.T, cmd *exec.Cmd, out string) {
	t.Helper()
	done := make(chan struct{})
	stuck := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	go func() { cmd.Wait(); close(done) }()
	<-done
	stuck.Stop()
	if code := cmd.ProcessState.ExitCode(); code != interrupted {
		t.Errorf("exit %d (%v), want %d", code, cmd.ProcessState, interrupted)
	}
	var p struct {
		State      string
		Step       int
		Checkpoint string `json:"last_checkpoint"`
	}
	text, err := os.ReadFile(filepath.Join(out, "progress.json"))
	if err != nil || json.Unmarshal(text, &p) != nil || p.State != "interrupted" || p.Step == 0 {
		t.Fatalf("progress %s, %v", text, err)
	}
	for _, file := range []string{"state.json", "model.safetensors", "optimizer.safetensors"} {
		if _, err := os.Stat(filepath.Join(out, "checkpoints", p.Checkpoint, file)); err != nil {
			t.Error(err)
		}
	}
}

// Whatever asks a training to end, it saves first.
func TestSignalsSave(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "run")
			cmd := endless(t, out)
			log, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for sc := bufio.NewScanner(log); sc.Scan() && !strings.Contains(sc.Text(), "step=3 "); {
			}
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			if s == syscall.SIGHUP { // a shell may send it too
				cmd.Process.Signal(s)
			}
			go func() {
				for sc := bufio.NewScanner(log); sc.Scan(); {
				}
			}()
			ended(t, cmd, out)
		})
	}
}

// A log whose reader is gone, as tee after Ctrl-C, ends a training as Ctrl-C does.
func TestClosedLogSaves(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	cmd := endless(t, out)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	for sc := bufio.NewScanner(r); sc.Scan() && !strings.Contains(sc.Text(), "step=3 "); {
	}
	r.Close()
	ended(t, cmd, out)
}

// A set that is being made is given up when it is interrupted, and nothing of it is left.
func TestInterruptedSynthLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	status := run(ctx, []string{"magvit", "synth", "--clips", "3000", "--out", filepath.Join(dir, "a.npz")}, io.Discard, io.Discard)
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 || status == done || time.Since(began) > 10*time.Second {
		t.Errorf("exit %d after %v, left %v, %v", status, time.Since(began), left, err)
	}
}

// A log on a full disk costs the log.
func TestFullLogCostsTheLog(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	out := filepath.Join(t.TempDir(), "run")
	cmd := program(t, "train", "--preset", "tiny", "--data", clips(t), "--out", out, "--steps", "3", "--set", "train.samples=0")
	cmd.Stderr = full
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(out, "checkpoints", "step-000003", "state.json")); err != nil {
		t.Error(err)
	}
}

// Results and help that cannot be written are no success.
func TestFullOutputFails(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	for _, args := range [][]string{{"--help"}, {"train", "--help"}, {"--version"}, {"presets"}, {"version", "--json"}} {
		var stderr strings.Builder
		if status := run(t.Context(), append([]string{"magvit"}, args...), full, &stderr); status != badInput || !strings.Contains(stderr.String(), "no space left on device") {
			t.Errorf("%v: exit %d, %q", args, status, stderr.String())
		}
	}
}
