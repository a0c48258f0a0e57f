package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"magvit/trainer/torture"
	"magvit/trainer/trainertest"
)

// A run directory that is damaged at random, between step 15 and its continuation, gives the same result, or one with a
// warning, or is refused with a sentence.
func TestTortureDamage(t *testing.T) {
	n, r := torture.Campaign(t, 12, 281)
	straight, _ := straightRun(t)
	base := copyOf(t, straight) // as if the last checkpoint had not been written
	trainertest.Check(t, os.RemoveAll(filepath.Join(base, "checkpoints", lastStep)))
	for name, step := range map[string]string{"latest": "step-000015\n", "best": "step-000010\n"} {
		trainertest.Check(t, os.WriteFile(filepath.Join(base, "checkpoints", name), []byte(step), 0o666))
	}
	same, told, refused := 0, 0, 0
	for range n {
		run := copyOf(t, base)
		what := damageRun(t, run, r)
		status, log := outcome(t, tortured(t, run), what)
		switch d := ""; {
		case status == failed || status == badInput:
			refused++
			if !strings.Contains(log, "magvit: ") {
				t.Errorf("%s: refused without a sentence\n%s", what, log)
			}
		case status != done:
			t.Errorf("%s: exit %d\n%s", what, status, log)
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
			if kept, _ := filepath.Glob(filepath.Join(run, "checkpoints", lastStep+"*", "notes.txt")); len(kept) != 1 {
				t.Errorf("%s: the user's file is gone", what)
			}
		}
		if left := litter(run); len(left) > 0 {
			t.Errorf("%s: left behind %v", what, left)
		}
		os.RemoveAll(run)
	}
	t.Logf("damaged run directories: %d; %d ended the same, %d with a warning, %d were refused with a sentence", n, same, told, refused)
}

// damageRun damages one thing in a run directory and says what.
func damageRun(t *testing.T, run string, r *rand.Rand) string {
	t.Helper()
	checkpoints := filepath.Join(run, "checkpoints")
	step := filepath.Join(checkpoints, fmt.Sprintf("step-%06d", []int{10, 15, 15, 15}[r.IntN(4)]))
	files := []string{filepath.Join(step, "state.json"), filepath.Join(step, "state.json"), filepath.Join(step, "model.safetensors"), filepath.Join(step, "optimizer.safetensors"),
		filepath.Join(run, "metrics.jsonl"), filepath.Join(run, "metrics.jsonl"), filepath.Join(run, "progress.json"), filepath.Join(run, "config.yaml"),
		filepath.Join(checkpoints, "latest"), filepath.Join(checkpoints, "best")}
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
	switch r.IntN(15) {
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
		mine := filepath.Join(checkpoints, lastStep, "notes.txt")
		must(os.Mkdir(filepath.Dir(mine), 0o777))
		must(os.WriteFile(mine, []byte("mine"), 0o666))
		return "notes in the place of the next checkpoint"
	case 5:
		must(os.Rename(step, step+"x"))
		must(os.Symlink(step+"x", step))
		return filepath.Base(step) + " a link"
	case 6:
		must(os.Rename(filepath.Join(checkpoints, "step-000015"), filepath.Join(checkpoints, lastStep)))
		return "step-000015 renamed to a later step"
	case 7:
		must(os.Remove(file))
		must(os.Mkdir(file, 0o777))
		return rel + " a folder"
	case 8:
		must(os.Remove(file))
		must(os.Symlink(filepath.Join(run, "nowhere"), file))
		return rel + " a link to nothing"
	case 9: // two files exchanged
		other := files[r.IntN(len(files))]
		c, err := os.ReadFile(other)
		must(err)
		must(os.WriteFile(file, c, 0o666))
		must(os.WriteFile(other, b, 0o666))
		return rel + " exchanged with " + filepath.Base(other)
	case 10: // a number of a text changed
		numbers := regexp.MustCompile(`[0-9]+`).FindAllIndex(b, -1)
		if len(numbers) == 0 {
			return "nothing"
		}
		at := numbers[r.IntN(len(numbers))]
		new := []string{"0", "-1", "17", "1000000", "1e999", "null"}[r.IntN(6)]
		must(os.WriteFile(file, slices.Concat(b[:at[0]], []byte(new), b[at[1]:]), 0o666))
		return fmt.Sprintf("%s: %s at %d is %s", rel, b[at[0]:at[1]], at[0], new)
	case 11: // a line twice, or none in its place
		lines := bytes.SplitAfter(b, []byte("\n"))
		at := r.IntN(len(lines))
		line := lines[at]
		if r.IntN(2) == 0 {
			line = []byte("\n")
		}
		must(os.WriteFile(file, slices.Concat(bytes.Join(lines[:at], nil), line, bytes.Join(lines[at:], nil)), 0o666))
		return fmt.Sprintf("%s: a line before line %d", rel, at+1)
	default:
		bad := bytes.Clone(b)
		at, bit := r.IntN(len(bad)), r.IntN(8)
		bad[at] ^= 1 << bit
		must(os.WriteFile(file, bad, 0o666))
		return fmt.Sprintf("%s: bit %d of byte %d", rel, bit, at)
	}
}
