package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// MAGVIT_TORTURE is how many times longer than in the ordinary tests the campaigns below
// are; make torture sets it. MAGVIT_TORTURE_SEED repeats one.
func campaign(t *testing.T, short int) (n int, r *rand.Rand) {
	t.Helper()
	times := 1
	if s := os.Getenv("MAGVIT_TORTURE"); s != "" {
		var err error
		if times, err = strconv.Atoi(s); err != nil || times < 1 {
			t.Fatalf("MAGVIT_TORTURE=%s: want 1 or more", s)
		}
	} else if testing.Short() {
		t.Skip("-short: runs many trainings")
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("MAGVIT_TORTURE_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("MAGVIT_TORTURE_SEED=%s: want a number", s)
		}
	}
	t.Logf("MAGVIT_TORTURE_SEED=%d", seed)
	return short * times, rand.New(rand.NewPCG(seed, 0))
}

const tortureSteps = 20

func tortured(t *testing.T, out string, steps int) *exec.Cmd {
	return program(t, "train", "--preset", "tiny", "--data", clips(t), "--out", out, "--steps", fmt.Sprint(steps),
		"--set", "train.save_every=5", "--set", "train.log_every=1", "--set", "train.eval_every=10", "--set", "train.samples=1", "--set", "train.extension=schedule")
}

// outcome runs a training to its end; a trace, or no end within two minutes, fails the test.
func outcome(t *testing.T, cmd *exec.Cmd, what string) (status int, log string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	limited := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	limited.Dir, limited.Env = cmd.Dir, cmd.Env
	_, log, status = finish(t, limited)
	if ctx.Err() != nil {
		t.Errorf("%s: no end within two minutes", what)
	}
	if strings.Contains(log, "goroutine ") {
		t.Errorf("%s: a trace\n%s", what, log)
	}
	return status, log
}

// differs compares the last checkpoints and the records of two runs; "" if they are the same.
func differs(t *testing.T, a, b string) string {
	t.Helper()
	for _, name := range []string{"model.safetensors", "optimizer.safetensors"} {
		x, errA := os.ReadFile(filepath.Join(a, "checkpoints", "step-000020", name))
		y, errB := os.ReadFile(filepath.Join(b, "checkpoints", "step-000020", name))
		if errA != nil || errB != nil || !bytes.Equal(x, y) {
			return fmt.Sprintf("%s differs (%v, %v)", name, errA, errB)
		}
	}
	for _, name := range []string{"latest", "best"} {
		x, _ := os.ReadFile(filepath.Join(a, "checkpoints", name))
		y, _ := os.ReadFile(filepath.Join(b, "checkpoints", name))
		if !bytes.Equal(x, y) {
			return fmt.Sprintf("%s is %q, want %q", name, y, x)
		}
	}
	if x, y := timeless(t, a), timeless(t, b); !slices.Equal(x, y) {
		return fmt.Sprintf("%d records, want %d", len(y), len(x))
	}
	return ""
}

// litter lists temporary files.
func litter(t *testing.T, dir string) (left []string) {
	t.Helper()
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), ".tmp-") {
			left = append(left, path)
		}
		return nil
	})
	return left
}

func straightRun(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "straight")
	if status, log := outcome(t, tortured(t, out, tortureSteps), "straight"); status != done {
		t.Fatalf("exit %d\n%s", status, log)
	}
	return out
}

// Runs that are killed at random moments, with random numbers of cores, end as the run in
// one piece and leave no temporary files.
func TestTortureKills(t *testing.T) {
	n, r := campaign(t, 4)
	straight := straightRun(t)
	kills, runs := 0, 0
	for kills < n {
		out := filepath.Join(t.TempDir(), "run")
		for life := 0; life < 8 && kills < n; life++ {
			cmd := tortured(t, out, tortureSteps)
			cmd.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", 1+r.IntN(3)))
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			kill := time.AfterFunc(time.Duration(100+r.IntN(2500))*time.Millisecond, func() { cmd.Process.Kill() })
			cmd.Wait()
			if !kill.Stop() && cmd.ProcessState.ExitCode() != done {
				kills++
			} else {
				break // it ended by itself
			}
		}
		if status, log := outcome(t, tortured(t, out, tortureSteps), "the last life"); status != done {
			t.Fatalf("exit %d\n%s", status, log)
		}
		if d := differs(t, straight, out); d != "" {
			t.Errorf("after %d kills: %s", kills, d)
		}
		if left := litter(t, out); len(left) > 0 {
			t.Errorf("after %d kills: left behind %v", kills, left)
		}
		runs++
	}
	t.Logf("kills: %d in %d runs", kills, runs)
}

// Runs that are interrupted by random signals at random moments save, and end as the run
// in one piece.
func TestTortureSignals(t *testing.T) {
	n, r := campaign(t, 3)
	straight := straightRun(t)
	saved, early := 0, 0
	for range n {
		out := filepath.Join(t.TempDir(), "run")
		cmd := tortured(t, out, tortureSteps)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		signal := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}[r.IntN(3)]
		send := time.AfterFunc(time.Duration(200+r.IntN(2000))*time.Millisecond, func() { cmd.Process.Signal(signal) })
		cmd.Wait()
		switch code := cmd.ProcessState.ExitCode(); {
		case send.Stop():
		case code == interrupted:
			saved++
		case code == -1:
			early++ // before the program listens
		case code != done:
			t.Errorf("%v: %v", signal, cmd.ProcessState)
		}
		if status, log := outcome(t, tortured(t, out, tortureSteps), signal.String()); status != done {
			t.Fatalf("exit %d\n%s", status, log)
		}
		if d := differs(t, straight, out); d != "" {
			t.Errorf("after %v: %s", signal, d)
		}
	}
	t.Logf("signals: %d, of which %d were answered by saving and %d came before the program listened", n, saved, early)
}

// A run directory that is damaged at random, between step 15 and its continuation, gives
// the same result, or one with a word on it, or is refused with a sentence.
func TestTortureDamage(t *testing.T) {
	n, r := campaign(t, 12)
	straight := straightRun(t)
	base := filepath.Join(t.TempDir(), "base")
	if status, log := outcome(t, tortured(t, base, 15), "base"); status != done {
		t.Fatalf("exit %d\n%s", status, log)
	}
	// The base stopped at step 15 of 20, as the straight run passed there.
	interruptedAt15(t, base)
	same, told, refused := 0, 0, 0
	for range n {
		run := copyOf(t, base)
		mine := filepath.Join(run, "checkpoints", "step-000020", "notes.txt")
		what := damageRun(t, run, mine, r)
		status, log := outcome(t, tortured(t, run, tortureSteps), what)
		switch d := ""; {
		case status != done && status != failed && status != badInput:
			t.Errorf("%s: exit %d\n%s", what, status, log)
		case status != done:
			refused++
			if !strings.Contains(log, "magvit: ") {
				t.Errorf("%s: refused without a sentence\n%s", what, log)
			}
		default:
			if d = differs(t, straight, run); d == "" {
				same++
			} else if strings.Contains(log, "level=WARN") && !strings.Contains(d, "safetensors") {
				told++
			} else {
				t.Errorf("%s: %s\n%s", what, d, log)
			}
		}
		if strings.Contains(what, "notes") {
			kept, _ := filepath.Glob(filepath.Join(run, "checkpoints", "step-000020*", "notes.txt"))
			if len(kept) != 1 {
				t.Errorf("%s: the user's file is gone", what)
			}
		}
	}
	t.Logf("damaged run directories: %d; %d ended the same, %d with a warning, %d were refused with a sentence", n, same, told, refused)
}

// interruptedAt15 gives a run of 15 steps the configuration of one of 20 that was
// interrupted there: steps are not among what a step computes, but the schedule is.
func interruptedAt15(t *testing.T, base string) {
	t.Helper()
	if err := os.RemoveAll(base); err != nil {
		t.Fatal(err)
	}
	cmd := tortured(t, base, tortureSteps)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for range 3000 {
		time.Sleep(10 * time.Millisecond)
		if _, err := os.Stat(filepath.Join(base, "checkpoints", "step-000015")); err == nil {
			break
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	if err := os.RemoveAll(filepath.Join(base, "checkpoints", "step-000020")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"latest", "best"} { // as they were at that step
		if err := os.WriteFile(filepath.Join(base, "checkpoints", name), []byte("step-000015\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// damageRun damages one thing in a run directory and says what.
func damageRun(t *testing.T, run, mine string, r *rand.Rand) string {
	t.Helper()
	step := filepath.Join(run, "checkpoints", fmt.Sprintf("step-%06d", []int{10, 15, 15, 15}[r.IntN(4)]))
	files := []string{filepath.Join(step, "state.json"), filepath.Join(step, "state.json"), filepath.Join(step, "model.safetensors"), filepath.Join(step, "optimizer.safetensors"),
		filepath.Join(run, "metrics.jsonl"), filepath.Join(run, "metrics.jsonl"), filepath.Join(run, "progress.json"), filepath.Join(run, "config.yaml"),
		filepath.Join(run, "checkpoints", "latest"), filepath.Join(run, "checkpoints", "best")}
	if events, _ := filepath.Glob(filepath.Join(run, "events.*")); len(events) > 0 {
		files = append(files, events[0])
	}
	file := files[r.IntN(len(files))]
	rel, _ := filepath.Rel(run, file)
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	must(err)
	switch r.IntN(10) {
	case 0:
		must(os.Remove(file))
		return rel + " removed"
	case 1:
		must(os.Truncate(file, int64(r.IntN(len(b)+1))))
		return rel + " cut"
	case 2: // as after a power cut: blocks that were never written
		from := r.IntN(len(b) + 1)
		must(os.WriteFile(file, append(b[:from:from], make([]byte, len(b)-from)...), 0o666))
		return rel + " zeros at the end"
	case 3:
		must(os.WriteFile(file, append(b, []byte("\ngarbage\n")...), 0o666))
		return rel + " longer"
	case 4:
		must(os.Mkdir(filepath.Dir(mine), 0o777))
		must(os.WriteFile(mine, []byte("mine"), 0o666))
		return "notes in the place of the next checkpoint"
	case 5:
		must(os.Rename(step, step+"x"))
		must(os.Symlink(step+"x", step))
		return rel + ": its folder a link"
	case 6:
		must(os.Rename(filepath.Join(run, "checkpoints", "step-000015"), filepath.Join(run, "checkpoints", "step-000020")))
		return "folder renamed to a later step"
	case 7:
		must(os.Remove(file))
		must(os.Mkdir(file, 0o777))
		return rel + " a folder"
	default:
		bad := bytes.Clone(b)
		at, bit := r.IntN(len(bad)), r.IntN(8)
		bad[at] ^= 1 << bit
		must(os.WriteFile(file, bad, 0o666))
		return fmt.Sprintf("%s: bit %d of byte %d", rel, bit, at)
	}
}
