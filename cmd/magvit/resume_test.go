package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const lives = 6 // times that a run is killed

func trainFor40(t *testing.T, out, cores string, set ...string) *exec.Cmd {
	args := []string{"train", "--preset", "tiny", "--data", clips(t), "--out", out, "--steps", "40", "--resume", "auto",
		"--set", "train.save_every=2", "--set", "train.log_every=1", "--set", "train.eval_every=10", "--set", "train.samples=0"}
	for _, s := range set {
		args = append(args, "--set", s)
	}
	cmd := program(t, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+cores)
	return cmd
}

// A run killed at any moment and taken up again is the run in one piece, byte for
// byte, with as many cores as there happen to be.
func TestResumeAfterKill(t *testing.T) {
	straight := filepath.Join(t.TempDir(), "straight")
	if _, stderr, status := finish(t, trainFor40(t, straight, "2")); status != done {
		t.Fatalf("exit %d\n%s", status, stderr)
	}
	for name, cores := range map[string][]string{"same cores": {"2"}, "one core and two in turn": {"1", "2"}} {
		t.Run(name, func(t *testing.T) {
			parts := filepath.Join(t.TempDir(), "parts")
			seed := uint64(time.Now().UnixNano())
			t.Logf("moments drawn with seed %d", seed)
			r := rand.New(rand.NewPCG(seed, 0))
			for life := range lives {
				if !killed(t, trainFor40(t, parts, cores[life%len(cores)]), r) {
					t.Fatalf("the run ended by itself before it was killed %d times", lives)
				}
			}
			if _, stderr, status := finish(t, trainFor40(t, parts, cores[0])); status != done {
				t.Fatalf("exit %d\n%s", status, stderr)
			}
			same(t, straight, parts)
		})
	}
}

// The same with an adversarial loss: both networks have the bits of a run in one piece.
func TestAdversarialResumeAfterKill(t *testing.T) {
	set := []string{"model.discriminator={kind: image, size: 16, dim: 1, max_dim: 8, linear_attention: {heads: 2, dim: 4}, feed_forward: 2}",
		"model.loss.adversarial={start: 5, ramp: 5, penalty_every: 3}", "train.discriminator.lr=1e-3"}
	straight, parts := filepath.Join(t.TempDir(), "straight"), filepath.Join(t.TempDir(), "parts")
	if _, stderr, status := finish(t, trainFor40(t, straight, "2", set...)); status != done {
		t.Fatalf("exit %d\n%s", status, stderr)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("moments drawn with seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for life := range lives {
		if !killed(t, trainFor40(t, parts, []string{"1", "2"}[life%2], set...), r) {
			t.Fatalf("the run ended by itself before it was killed %d times", lives)
		}
	}
	if _, stderr, status := finish(t, trainFor40(t, parts, "2", set...)); status != done {
		t.Fatalf("exit %d\n%s", status, stderr)
	}
	same(t, straight, parts)
}

// killed starts a run and kills it some moment after one or two checkpoints have
// been announced. False says that it was done before.
func killed(t *testing.T, cmd *exec.Cmd, r *rand.Rand) bool {
	t.Helper()
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	left := r.IntN(3) // none: killed within its first moments
	delay := time.Duration(r.IntN(40)) * time.Millisecond
	for sc := bufio.NewScanner(log); left > 0 && sc.Scan(); {
		if strings.Contains(sc.Text(), "checkpoint saved") {
			left--
		}
	}
	kill := time.AfterFunc(delay, func() { cmd.Process.Kill() })
	defer kill.Stop()
	cmd.Wait()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// same holds two runs of 40 steps to the same bytes, except for times.
func same(t *testing.T, a, b string) {
	t.Helper()
	for _, name := range []string{"model.safetensors", "optimizer.safetensors"} {
		x, errA := os.ReadFile(filepath.Join(a, "checkpoints", "step-000040", name))
		y, errB := os.ReadFile(filepath.Join(b, "checkpoints", "step-000040", name))
		if errA != nil || errB != nil || !bytes.Equal(x, y) {
			t.Errorf("%s differs (%v, %v)", name, errA, errB)
		}
	}
	x, y := timeless(t, a), timeless(t, b)
	if len(x) < 40+5 {
		t.Errorf("%d records, want 40 steps and 5 evaluations", len(x))
	}
	for i := range max(len(x), len(y)) {
		if i >= len(x) || i >= len(y) || x[i] != y[i] {
			t.Errorf("metrics.jsonl differs from record %d on, of %d and %d", i, len(x), len(y))
			break
		}
	}
}

// timeless is metrics.jsonl without times.
func timeless(t *testing.T, run string) (lines []string) {
	t.Helper()
	for _, record := range records(t, run) {
		for _, k := range []string{"seconds", "clips_per_s", "waiting"} {
			delete(record, k)
		}
		line, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(line))
	}
	return lines
}

func records(t *testing.T, run string) (all []map[string]any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(run, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var r map[string]any
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, r)
	}
	return all
}

func TestInterruptSaves(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		out := filepath.Join(t.TempDir(), "run")
		cmd := program(t, "train", "--preset", "tiny", "--data", clips(t), "--out", out, "--steps", "100000",
			"--set", "train.log_every=1", "--set", "train.eval_every=0", "--set", "train.save_every=0")
		log, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		last, steps := "", 0
		for sc := bufio.NewScanner(log); sc.Scan(); {
			if last = sc.Text(); strings.Contains(last, "msg=step") {
				if steps++; steps == 3 {
					cmd.Process.Signal(sig)
				}
			}
		}
		cmd.Wait()
		if status := cmd.ProcessState.ExitCode(); status != interrupted || !strings.HasPrefix(last, "magvit: interrupted after step ") {
			t.Errorf("%v: exit %d, %q; want %d after saving", sig, status, last, interrupted)
		}
		magvit(t, "eval", "--checkpoint", out, "--data", clips(t))
	}
}
