package trainer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"magvit/trainer/trainertest"
	"magvit/trainer/usage"
)

// A run directory that somebody removes or replaces ends the run at the next step, whether it is interrupted then or not,
// with an error that names it, and is not made again.
func TestRunDirectoryIsRemovedMeanwhile(t *testing.T) {
	remove := os.RemoveAll
	replace := func(dir string) error { return errors.Join(os.Rename(dir, dir+"-old"), os.Mkdir(dir, 0o777)) }
	for name, c := range map[string]struct {
		change    func(dir string) error
		at        int // step
		interrupt bool
		want      []string
	}{
		"removed":         {remove, 3, false, []string{"step 4 was not saved", "was removed or renamed", "continues the newest checkpoint"}},
		"replaced":        {replace, 3, false, []string{"step 4 was not saved", "was replaced"}},
		"and interrupted": {remove, 3, true, []string{"interrupted after step 3, and saving failed", "was removed or renamed"}},
		"at the end":      {remove, 6, false, []string{"step 6 was not saved", "was removed or renamed"}},
	} {
		t.Run(name, func(t *testing.T) {
			o, log := small(t, "train.save_every=2", "train.eval_every=0")
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			o.OnStep = func(step int) {
				if step != c.at {
					return
				}
				trainertest.Check(t, c.change(o.Out))
				if c.interrupt {
					stop()
				}
			}
			_, err := Run(ctx, o)
			trainertest.Refused(t, err, append(c.want, o.Out)...)
			if errors.Is(err, ErrInterrupted) || !errors.Is(err, usage.Error) {
				t.Errorf("%v: want an error of the user's, and none that says that the run was saved", err)
			}
			left, bad := filepath.Glob(filepath.Join(o.Out, "*"))
			if len(left) > 0 || bad != nil {
				t.Errorf("made again: %v, %v\n%s", left, bad, log)
			}
			if _, err := os.Stat(o.Out); c.want[1] == "was removed or renamed" && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the folder was made again: %v", err)
			}
		})
	}
}
