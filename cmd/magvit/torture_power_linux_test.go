package main

import (
	little "encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"magvit/trainer/torture"
	"magvit/trainer/trainertest"
)

// ext4 makes an ext4 file system of 48 MB in a file. Its journal is committed every second, so that a power cut meets
// files in every state.
func ext4(t *testing.T) (image string) {
	t.Helper()
	image = filepath.Join(t.TempDir(), "disk")
	trainertest.Check(t, os.WriteFile(image, nil, 0o666))
	trainertest.Check(t, os.Truncate(image, 48<<20))
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
		t.Skipf("mkfs.ext4 does not work here: %v %s", err, out)
	}
	return image
}

// mounted mounts an image through a loop device; mounting replays its journal. It is undone by the returned function.
func mounted(t *testing.T, image string) (dir string, unmount func()) {
	t.Helper()
	dir = t.TempDir()
	if out, err := exec.Command("mount", "-o", "loop,commit=1", image, dir).CombinedOutput(); err != nil {
		t.Skipf("an image cannot be mounted here, which takes root and a loop device: %v %s", err, out)
	}
	return dir, func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}
}

// eventSteps is the last step that a run's TensorBoard files hold. Both checksums are passed over: trainer/events
// tests them.
func eventSteps(t *testing.T, run string) (last uint64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(run, "events.out.tfevents.*"))
	trainertest.Check(t, err)
	for _, file := range files {
		b, err := os.ReadFile(file)
		trainertest.Check(t, err)
		for len(b) >= 12 {
			n := little.LittleEndian.Uint64(b)
			if uint64(len(b)) < 16+n {
				break // torn
			}
			event := b[12 : 12+n]
			if len(event) > 10 && event[0] == 1<<3|1 && event[9] == 2<<3 { // wall_time, step
				step, _ := little.Uvarint(event[10:])
				last = max(last, step)
			}
			b = b[16+n:]
		}
	}
	return last
}

// A power cut at a random moment, after which the disk holds what had been written to it by then, costs no checkpoint
// that was saved before: the training goes on from it, and ends as the run in one piece.
func TestTorturePowerCuts(t *testing.T) {
	n, r := torture.Campaign(t, 1, 12)
	straight, took := straightRun(t)
	early := 0
	for cuts := 0; cuts < n; {
		image := ext4(t)
		dir, unmount := mounted(t, image)
		out := filepath.Join(dir, "run")
		cmd := tortured(t, out)
		trainertest.Check(t, cmd.Start())
		time.Sleep(moment(r, took))
		trainertest.Check(t, cmd.Process.Signal(syscall.SIGSTOP))
		disk, err := os.ReadFile(image) // what is only in the page cache of ext4 is not in it
		trainertest.Check(t, err)
		saved, err := filepath.Glob(filepath.Join(out, "checkpoints", "step-*", "state.json"))
		trainertest.Check(t, err)
		cmd.Process.Kill()
		cmd.Wait()
		unmount()
		if cmd.ProcessState.ExitCode() >= 0 {
			continue // it had ended before
		}
		cuts++
		what := fmt.Sprintf("power cut %d", cuts)
		trainertest.Check(t, os.WriteFile(image, disk, 0o666))
		dir, unmount = mounted(t, image)
		out = filepath.Join(dir, "run")
		lasting, err := filepath.Glob(filepath.Join(out, "checkpoints", "step-*", "state.json"))
		trainertest.Check(t, err)
		if len(lasting) == 0 {
			early++
		} else {
			var step uint64
			fmt.Sscanf(filepath.Base(filepath.Dir(lasting[len(lasting)-1])), "step-%d", &step)
			if got := eventSteps(t, out); got < step {
				t.Errorf("%s: checkpoint of step %d, and TensorBoard's file ends at step %d", what, step, got)
			}
		}
		// The last one may not have been synced when the power went.
		if len(lasting) < len(saved)-1 {
			t.Errorf("%s: %s of the checkpoints %s are left", what, strings.Join(lasting, " "), strings.Join(saved, " "))
		}
		completed(t, straight, out, what)
		unmount()
	}
	t.Logf("power cuts: %d; %d before the first checkpoint", n, early)
}
