package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"magvit/trainer/torture"
	"magvit/trainer/trainertest"
)

// The trainings of the campaigns: 20 steps of a network that does a step in milliseconds, with a checkpoint every 5.
const tortureSteps = 20

// tortureInputs are the configuration and the clips of these trainings, made once.
func tortureInputs(t *testing.T) (config, clips string) {
	t.Helper()
	config, clips = filepath.Join(shared, "mini.yaml"), filepath.Join(shared, "mini.npz")
	makeMini.Do(func() {
		trainertest.Check(t, os.WriteFile(config, []byte(trainertest.Mini), 0o666))
		magvit(t, "synth", "--clips", "12", "--size", "16", "--frames", "4", "--out", clips)
	})
	return config, clips
}

var makeMini sync.Once

func tortured(t *testing.T, out string) *exec.Cmd {
	config, clips := tortureInputs(t)
	return program(t, "train", "--config", config, "--data", clips, "--out", out, "--steps", fmt.Sprint(tortureSteps),
		"--set", "train.save_every=5", "--set", "train.log_every=1", "--set", "train.eval_every=10", "--set", "train.samples=1")
}

// outcome runs a command to its end; a trace, or no end within two minutes, fails the test. Processes
// that the command has left running keep its output open, which is not waited for.
func outcome(t *testing.T, cmd *exec.Cmd, what string) (status int, log string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	var stderr bytes.Buffer
	c.Dir, c.Env, c.Stderr, c.WaitDelay = cmd.Dir, cmd.Env, &stderr, 10*time.Second
	err := c.Run()
	log = stderr.String()
	switch {
	case c.ProcessState == nil:
		t.Fatal(err)
	case ctx.Err() != nil:
		t.Errorf("%s: no end within two minutes\n%s", what, log)
	case errors.Is(err, exec.ErrWaitDelay):
		t.Errorf("%s: 10 s after its end processes that it started still have its output open\n%s", what, log)
	}
	if strings.Contains(log, "goroutine ") {
		t.Errorf("%s: a trace\n%s", what, log)
	}
	return c.ProcessState.ExitCode(), log
}

// lastStep is the checkpoint that a training of a campaign ends with.
var lastStep = fmt.Sprintf("step-%06d", tortureSteps)

// differs compares the last checkpoints and the records of two runs; "" if they are the same.
func differs(t *testing.T, a, b string) string {
	t.Helper()
	latest, err := os.ReadFile(filepath.Join(a, "checkpoints", "latest"))
	trainertest.Check(t, err)
	step := strings.TrimSpace(string(latest))
	for _, name := range []string{step + "/model.safetensors", step + "/optimizer.safetensors", "latest", "best"} {
		x, errA := os.ReadFile(filepath.Join(a, "checkpoints", name))
		y, errB := os.ReadFile(filepath.Join(b, "checkpoints", name))
		if errA != nil || errB != nil || !bytes.Equal(x, y) {
			return fmt.Sprintf("%s differs (%v, %v)", name, errA, errB)
		}
	}
	if x, y := timeless(t, a), timeless(t, b); !slices.Equal(x, y) {
		return fmt.Sprintf("%d records, want %d", len(y), len(x))
	}
	return ""
}

// litter lists temporary files.
func litter(dir string) (left []string) {
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), ".tmp-") {
			left = append(left, path)
		}
		return nil
	})
	return left
}

// straightRun is a training in one piece, and the time it takes.
func straightRun(t *testing.T) (out string, took time.Duration) {
	t.Helper()
	out = filepath.Join(t.TempDir(), "straight")
	cmd := tortured(t, out)
	began := time.Now()
	if status, log := outcome(t, cmd, "straight"); status != done {
		t.Fatalf("exit %d\n%s", status, log)
	}
	return out, time.Since(began)
}

// completed runs a training to its end and compares it with the one in one piece.
func completed(t *testing.T, straight, out, what string) {
	t.Helper()
	if status, log := outcome(t, tortured(t, out), what); status != done {
		t.Errorf("%s, continued: exit %d\n%s", what, status, log)
		return
	}
	if d := differs(t, straight, out); d != "" {
		t.Errorf("%s: %s", what, d)
	}
	if left := litter(out); len(left) > 0 {
		t.Errorf("%s: left behind %v", what, left)
	}
}

// moment is a random time during a training.
func moment(r *rand.Rand, took time.Duration) time.Duration {
	return time.Duration(float64(took) * (.05 + .95*r.Float64()))
}

// Runs that are killed at random moments, with random numbers of cores, end as the run in one piece and leave no
// temporary files.
func TestTortureKills(t *testing.T) {
	n, r := torture.Campaign(t, 5, 155)
	straight, took := straightRun(t)
	kills, runs, torn := 0, 0, 0
	for lives := 0; kills < n; runs++ {
		out := filepath.Join(t.TempDir(), "run")
		for range 8 {
			if lives++; lives > 4*n+20 {
				t.Fatalf("%d kills in %d lives: the others had ended before", kills, lives)
			}
			cmd := tortured(t, out)
			cmd.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", 1+r.IntN(3)))
			trainertest.Check(t, cmd.Start())
			kill := time.AfterFunc(moment(r, took), func() { cmd.Process.Kill() })
			cmd.Wait()
			kill.Stop()
			if cmd.ProcessState.ExitCode() >= 0 {
				break // it ended by itself
			}
			if kills++; len(litter(out)) > 0 {
				torn++
			}
			if kills == n {
				break
			}
		}
		completed(t, straight, out, fmt.Sprintf("run %d of %d kills so far", runs, kills))
	}
	t.Logf("kills: %d in %d runs, %d of them while a file was being written", kills, runs, torn)
}

// Runs that get random signals at random moments save where they can, and end as the run in one piece.
func TestTortureSignals(t *testing.T) {
	n, r := torture.Campaign(t, 5, 40)
	straight, took := straightRun(t)
	saves := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}
	others := []syscall.Signal{syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGXCPU, syscall.SIGXFSZ, syscall.SIGPIPE, syscall.SIGALRM}
	saved, ended, stopped := 0, 0, 0
	for range n {
		out := filepath.Join(t.TempDir(), "run")
		cmd := tortured(t, out)
		trainertest.Check(t, cmd.Start())
		what, wait, pause := "", moment(r, took), time.Duration(r.IntN(200))*time.Millisecond
		var signals []syscall.Signal
		switch r.IntN(4) {
		case 0:
			signals = []syscall.Signal{others[r.IntN(len(others))]}
		case 1: // impatient
			signals = []syscall.Signal{syscall.SIGINT, syscall.SIGINT}
		case 2:
			for range 10 {
				signals = append(signals, syscall.SIGSTOP, syscall.SIGCONT)
			}
			pause /= 10
		default:
			signals = []syscall.Signal{saves[r.IntN(len(saves))]}
		}
		what = fmt.Sprint(signals)
		send := time.AfterFunc(wait, func() {
			for i, s := range signals {
				if i > 0 {
					time.Sleep(pause)
				}
				cmd.Process.Signal(s)
			}
		})
		cmd.Wait()
		late := send.Stop()
		code := cmd.ProcessState.ExitCode()
		switch {
		case code == done:
			stopped++
		case late || code > 0 && code != interrupted && code != badInput: // the runtime exits with 2 after SIGQUIT
			t.Errorf("%s: %v", what, cmd.ProcessState)
		case code == interrupted:
			saved++
		default:
			ended++
		}
		completed(t, straight, out, what)
	}
	t.Logf("signals: %d; %d were answered by saving, %d ended the program at once, %d trainings went on to their end", n, saved, ended, stopped)
}
