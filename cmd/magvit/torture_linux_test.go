package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A disk that is full at some moment ends a training with a sentence; with room it ends as the run in one piece.
func TestTortureFullDisks(t *testing.T) {
	n, r := campaign(t, 2)
	straight := straightRun(t)
	ended, fits := 0, 0
	for range n {
		disk := t.TempDir()
		size := 8<<10 + r.IntN(24<<20)
		if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
			t.Skipf("a tmpfs cannot be mounted here: %v", err)
		}
		what := fmt.Sprintf("a disk of %d bytes", size)
		out := filepath.Join(disk, "run")
		status, log := outcome(t, tortured(t, out, tortureSteps), what)
		switch {
		case status == done:
			fits++
		case status != badInput && status != failed || !strings.Contains(log, "no space left on device"):
			t.Errorf("%s: exit %d\n%s", what, status, log)
		default:
			ended++
			if err := syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=256m"); err != nil {
				t.Fatal(err)
			}
			if status, log := outcome(t, tortured(t, out, tortureSteps), what+", then enlarged"); status != done {
				t.Errorf("%s, then enlarged: exit %d\n%s", what, status, log)
			}
		}
		if d := differs(t, straight, out); d != "" {
			t.Errorf("%s: %s", what, d)
		}
		if left := litter(t, out); len(left) > 0 {
			t.Errorf("%s: left behind %v", what, left)
		}
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	}
	t.Logf("full disks: %d; %d ended with a sentence and continued with room, %d were large enough", n, ended, fits)
}
