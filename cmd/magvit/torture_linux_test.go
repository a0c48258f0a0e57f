package main

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
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

// disk mounts a file system of a size at a new folder. It is undone by the returned function.
func disk(t *testing.T, size int) (dir string, unmount func()) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("a tmpfs cannot be mounted here, which takes root: %v", err)
	}
	return dir, func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}
}

func sizeOf(dir string) (n int) {
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if st, err := d.Info(); err == nil {
			n += int(st.Size())
		}
		return nil
	})
	return n
}

// A disk that is full at some moment ends a training with a sentence; with room it ends as the run in one piece.
func TestTortureFullDisks(t *testing.T) {
	n, r := torture.Campaign(t, 3, 69)
	straight, _ := straightRun(t)
	room := sizeOf(straight)
	ended, fits := 0, 0
	for range n {
		size := 8<<10 + r.IntN(room*5/4)
		dir, unmount := disk(t, size)
		what := fmt.Sprintf("a disk of %d bytes", size)
		out := filepath.Join(dir, "run")
		switch status, log := outcome(t, tortured(t, out), what); {
		case status == done:
			fits++
		case status != badInput && status != failed || !strings.Contains(log, "no space left on device"):
			t.Errorf("%s: exit %d\n%s", what, status, log)
		default:
			ended++
			trainertest.Check(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=256m"))
		}
		completed(t, straight, out, what)
		unmount()
	}
	t.Logf("full disks: %d; %d ended with a sentence and continued with room, %d were large enough", n, ended, fits)
}

// outputs are commands that write a file or folder, which is their last argument.
func outputs(t *testing.T) (commands [][]string) {
	_, clips := tortureInputs(t)
	run, _ := straightRun(t)
	codes := filepath.Join(t.TempDir(), "codes.npz")
	magvit(t, "encode", "--checkpoint", run, "--data", clips, "--out", codes)
	for _, line := range []string{
		"synth --clips 40 --size 32 --out x.npz", "encode --checkpoint RUN --data CLIPS --out x.npz", "export --to safetensors --checkpoint RUN x.safetensors", "export --to lean --checkpoint RUN x", "pack CLIPS --out x",
		"decode --checkpoint RUN --codes CODES --out x.npz", "decode --checkpoint RUN --codes CODES --out x.gif", "decode --checkpoint RUN --codes CODES --out x.mp4", "decode --checkpoint RUN --codes CODES --out x",
		"reconstruct --checkpoint RUN --data CLIPS --out x.npz", "reconstruct --checkpoint RUN --data CLIPS --out x.gif", "reconstruct --checkpoint RUN --data CLIPS --out x.mp4", "reconstruct --checkpoint RUN --data CLIPS --out x",
	} {
		commands = append(commands, strings.Fields(strings.NewReplacer("RUN", run, "CLIPS", clips, "CODES", codes).Replace(line)))
	}
	return commands
}

// A command whose output does not fit on the disk fails with a sentence, and leaves nothing of it.
func TestTortureFullDisksOfOutputs(t *testing.T) {
	n, r := torture.Campaign(t, 4, 55)
	commands := outputs(t)
	refused, fits := 0, 0
	for range n {
		args := commands[r.IntN(len(commands))]
		size := 4<<10 + r.IntN(1<<uint(13+r.IntN(8)))
		dir, unmount := disk(t, size)
		name := args[len(args)-1]
		what := fmt.Sprintf("%s to %s on a disk of %d bytes", args[0], name, size)
		cmd := program(t, append(args[:len(args)-1:len(args)-1], filepath.Join(dir, name))...)
		status, log := outcome(t, cmd, what)
		entries, err := os.ReadDir(dir)
		trainertest.Check(t, err)
		switch {
		case status == done && sizeOf(filepath.Join(dir, name)) > 0:
			fits++
		case status == done:
			t.Errorf("%s: exit 0, and nothing was written\n%s", what, log)
		case status != failed && status != badInput || !strings.Contains(strings.ToLower(log), "no space left on device"):
			t.Errorf("%s: exit %d\n%s", what, status, log)
		case len(entries) > 0 && args[0] != "pack": // pack goes on from the shards that are there
			t.Errorf("%s: left behind %v", what, entries)
		default:
			refused++
		}
		if left := litter(dir); len(left) > 0 {
			t.Errorf("%s: left behind %v", what, left)
		}
		unmount()
	}
	t.Logf("full disks of outputs: %d; %d failed with a sentence, %d were large enough", n, refused, fits)
}

// A command that is interrupted at a random moment leaves its whole output or nothing of it.
func TestTortureInterrupts(t *testing.T) {
	n, r := torture.Campaign(t, 2, 80)
	commands := outputs(t)
	gaveUp, ended := 0, 0
	for range n {
		args := commands[r.IntN(len(commands))]
		name := args[len(args)-1]
		to := func(dir string) *exec.Cmd {
			return program(t, append(args[:len(args)-1:len(args)-1], filepath.Join(dir, name))...)
		}
		whole, dir := t.TempDir(), t.TempDir()
		began := time.Now()
		if status, log := outcome(t, to(whole), args[0]); status != done {
			t.Fatalf("%v: exit %d\n%s", args, status, log)
		}
		wait := moment(r, time.Since(began))
		cmd := to(dir)
		what := fmt.Sprintf("%s to %s, interrupted after %v", args[0], name, wait)
		trainertest.Check(t, cmd.Start())
		send := time.AfterFunc(wait, func() { cmd.Process.Signal(syscall.SIGINT) })
		cmd.Wait()
		send.Stop()
		entries, err := os.ReadDir(dir)
		trainertest.Check(t, err)
		switch code := cmd.ProcessState.ExitCode(); {
		case code == done && sizeOf(dir) > sizeOf(whole)*9/10:
			ended++
		case code != interrupted && code != -1: // -1: before the program had its handler
			t.Errorf("%s: %v, %d bytes of %d", what, cmd.ProcessState, sizeOf(dir), sizeOf(whole))
		case len(entries) > 0 && args[0] != "pack": // pack goes on from the shards that are there
			t.Errorf("%s: left behind %v", what, entries)
		default:
			gaveUp++
		}
		if left := litter(dir); len(left) > 0 {
			t.Errorf("%s: left behind %v", what, left)
		}
	}
	t.Logf("interrupted commands: %d; %d left nothing, %d had ended", n, gaveUp, ended)
}

// Errors that reading or writing a file meets end a training with a sentence or cost an ornament, and what continues
// without them ends as the run in one piece.
func TestTortureReadAndWriteErrors(t *testing.T) {
	n, r := torture.Campaign(t, 4, 60)
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed, which injects the errors")
	}
	straight, _ := straightRun(t)
	if out, err := exec.Command(strace, "-f", "-qq", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace cannot trace here: %v %s", err, out)
	}
	ended, unharmed := 0, 0
	for range n {
		out := filepath.Join(t.TempDir(), "run")
		if r.IntN(2) == 0 { // of a run that is continued
			trainertest.Check(t, os.CopyFS(out, os.DirFS(straight)))
			trainertest.Check(t, os.RemoveAll(filepath.Join(out, "checkpoints", lastStep)))
		}
		cmd := tortured(t, out)
		inject := injection(out, r)
		what := strings.Join(inject, " ")
		cmd.Args = append(append([]string{strace, "-f", "-qq", "-o", os.DevNull}, inject...), append([]string{cmd.Path}, cmd.Args[1:]...)...)
		cmd.Path = strace
		switch status, log := outcome(t, cmd, what); {
		case status == done:
			unharmed++
		case status != failed && status != badInput || !strings.Contains(log, "magvit: "):
			t.Errorf("%s: exit %d\n%s", what, status, log)
		default:
			ended++
		}
		completed(t, straight, out, what)
	}
	t.Logf("errors of reading and writing: %d; %d ended the training with a sentence, %d did not end it", n, ended, unharmed)
}

// injection is what strace is told: the system calls that fail, from which on and how often.
func injection(out string, r *rand.Rand) []string {
	call := []string{"fsync", "renameat", "openat", "mkdirat", "write", "read", "ftruncate"}[r.IntN(7)]
	errno := []string{"EIO", "EIO", "EMFILE", "EACCES"}[r.IntN(4)]
	when := fmt.Sprint(1 + r.IntN(8))
	if r.IntN(3) == 0 {
		when += "+" // and all that follow
	}
	args := []string{"-e", "trace=" + call, "-e", fmt.Sprintf("inject=%s:error=%s:when=%s", call, errno, when)}
	if call == "read" || call == "write" || call == "openat" { // else the Go runtime's own calls fail too
		files := []string{"metrics.jsonl", "config.yaml", "progress.json", "checkpoints/step-000015/state.json", "checkpoints/step-000015/model.safetensors", "checkpoints/step-000015/optimizer.safetensors", "checkpoints/latest", "checkpoints/best", "samples"}
		args = append(args, "-P", filepath.Join(out, files[r.IntN(len(files))]))
	}
	return args
}
