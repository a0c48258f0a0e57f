package trainer

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"magvit/trainer/checkpoint"
	"magvit/trainer/trainertest"
)

// The same on a disk that is really full.
func TestFullTmpfs(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("a tmpfs cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	o, _ := small(t, "train.save_every=2", "train.samples=0", "train.keep_last=0", "train.steps=400", "train.log_every=100")
	o.Out = filepath.Join(disk, "run")
	// Leave room for one checkpoint and a half.
	o.OnStep = func(step int) {
		if step != 3 {
			return
		}
		var fs syscall.Statfs_t
		if err := syscall.Statfs(disk, &fs); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(disk, "filler"), make([]byte, int(fs.Bavail-3)*int(fs.Bsize)), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Run(t.Context(), o)
	trainertest.Refused(t, err, "disk full", "step-000004")
	intact(t, o.Out, "step-000002")

	// Once there is space, the run goes on.
	if err := os.Remove(filepath.Join(disk, "filler")); err != nil {
		t.Fatal(err)
	}
	o.OnStep = nil
	o.Config.Train.Steps = 4
	if r := run(t, t.Context(), o); r.Step != 4 || r.Checkpoint != checkpoint.StepName(4) {
		t.Error(fmt.Sprint("went on to ", r.Step, " and saved ", r.Checkpoint))
	}
}
