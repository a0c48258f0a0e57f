package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"magvit/trainer/atomicfile"
)

// Store keeps the checkpoints of one run.
type Store struct {
	Dir    string                                    // RUN/checkpoints
	Create func(name string) (io.WriteCloser, error) // os.Create, except in tests
	Log    *slog.Logger                              // nil: nothing is logged
}

// NewStore returns the store in RUN/checkpoints, which need not exist.
func NewStore(dir string) *Store {
	return &Store{Dir: dir, Create: func(name string) (io.WriteCloser, error) { return os.Create(name) }}
}

// StepName is the name of the checkpoint after a step.
func StepName(step int) string { return fmt.Sprintf("step-%06d", step) }

// stepOf is the inverse of StepName.
func stepOf(name string) (step int, ok bool) {
	digits, ok := strings.CutPrefix(name, "step-")
	step, err := strconv.Atoi(digits)
	return step, ok && err == nil && name == StepName(step)
}

// Steps lists the checkpoints by step, oldest first.
func (s *Store) Steps() (steps []int, err error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		step, ok := stepOf(e.Name())
		if !ok {
			continue
		}
		if info, err := os.Stat(filepath.Join(s.Dir, e.Name())); err == nil && info.IsDir() { // a link to a folder counts
			steps = append(steps, step)
		}
	}
	slices.Sort(steps)
	return steps, err
}

// Sweep removes the temporary folders of writers that were killed.
func (s *Store) Sweep() {
	for _, path := range append(atomicfile.Left(s.Dir, "step-*"), s.pointers()...) {
		os.RemoveAll(path)
	}
}

// pointers lists the temporary files of latest and best.
func (s *Store) pointers() []string {
	return append(atomicfile.Left(s.Dir, "latest"), atomicfile.Left(s.Dir, "best")...)
}

// Save writes a checkpoint under a temporary name, flushes it, renames it, reads it back
// and only then calls it the latest. On an error nothing of it remains, and older
// checkpoints are unchanged. The run's folder has to be there.
func (s *Store) Save(st *State, snap Snapshot, average bool) (err error) {
	name := StepName(snap.Step)
	defer func() {
		if err == nil {
			return
		}
		err = fmt.Errorf("checkpoint %s was not saved: %w", name, err)
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			err = fmt.Errorf("disk full: %w; it takes about %d MB; older checkpoints are intact: free some space, then resume", err, (4+int64(st.Len)*4*4)>>20+1)
		}
	}()
	if err := os.Mkdir(s.Dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	final := filepath.Join(s.Dir, name)
	tmp, err := atomicfile.CreateDir(final)
	if err != nil {
		return err
	}
	defer tmp.Abort()
	if err := s.write(tmp.Name(), st, snap, average); err != nil {
		return err
	}
	if err := s.setAside(final); err != nil {
		return err
	}
	if err := tmp.Commit(); err != nil {
		return err
	}
	if _, err := Verify(final); err != nil {
		s.remove(final)
		return fmt.Errorf("read back: %w", err)
	}
	return s.Point("latest", name)
}

// setAside renames a folder that is in the place of a new checkpoint: one that was damaged,
// another run's, or a folder of the user.
func (s *Store) setAside(dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if os.Remove(dir) == nil {
		return nil // it was empty
	}
	for n := 1; ; n++ {
		to := fmt.Sprintf("%s.replaced-%d", dir, n)
		if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		err := os.Rename(dir, to)
		if err == nil {
			s.warn("the folder in the place of a new checkpoint was renamed", "from", dir, "to", to)
		}
		return err
	}
}

func (s *Store) warn(text string, attributes ...any) {
	if s.Log != nil {
		s.Log.Warn(text, attributes...)
	}
}

// remove removes a checkpoint's own files, and its folder if nothing else is in it.
func (s *Store) remove(dir string) error {
	var errs []error
	for _, name := range []string{StateFile, OptimizerFile, ModelFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := os.Remove(dir); err != nil {
		if entries, bad := os.ReadDir(dir); bad == nil && len(entries) > 0 {
			s.warn("a checkpoint was removed; other files in its folder stay", "folder", dir, "files", len(entries))
		} else {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// write makes the files of a checkpoint in a folder.
func (s *Store) write(dir string, st *State, snap Snapshot, average bool) error {
	files := map[string]*stream{}
	for _, sec := range st.sections(average) {
		if files[sec.file] == nil {
			files[sec.file] = &stream{}
		}
		for i, p := range st.Layout.Params {
			files[sec.file].add(sec.prefix+p.Name, p.Shape, p.Len(), func(dst []float32) error { return st.read(dst, sec, i) })
		}
	}
	snap.Files = map[string]Digest{}
	for _, file := range []string{ModelFile, OptimizerFile} {
		d, err := s.put(filepath.Join(dir, file), func(w io.Writer) error { return files[file].write(w, snap.Step) })
		if err != nil {
			return err
		}
		snap.Files[file] = d
	}
	return s.putState(dir, snap)
}

// putState writes state.json.
func (s *Store) putState(dir string, snap Snapshot) error {
	text, err := snap.encode()
	if err == nil {
		_, err = s.put(filepath.Join(dir, StateFile), func(w io.Writer) error { _, err := w.Write(text); return err })
	}
	return err
}

// put writes one file, flushes it to the disk and returns its size and hash.
func (s *Store) put(name string, content func(io.Writer) error) (Digest, error) {
	f, err := s.Create(name)
	if err != nil {
		return Digest{}, err
	}
	h := sha256.New()
	n := &counter{}
	err = content(io.MultiWriter(f, h, n))
	if sync, ok := f.(interface{ Sync() error }); ok && err == nil {
		err = sync.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return Digest{n.n, hex.EncodeToString(h.Sum(nil))}, err
}

type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) { c.n += int64(len(b)); return len(b), nil }

// Point writes the name of a checkpoint to the text file latest or best.
func (s *Store) Point(file, name string) error {
	return atomicfile.WriteBytes(filepath.Join(s.Dir, file), []byte(name+"\n"))
}

// Prune removes the checkpoints before the newest ones, except the best; keep 0 removes none.
func (s *Store) Prune(keep, best int) error {
	steps, err := s.Steps()
	if err != nil || keep == 0 {
		return err
	}
	steps = slices.DeleteFunc(steps, func(step int) bool {
		_, err := os.Stat(filepath.Join(s.Dir, StepName(step), StateFile))
		return errors.Is(err, fs.ErrNotExist) // no checkpoint
	})
	for _, step := range steps[:max(len(steps)-keep, 0)] {
		if step != best {
			if err := s.remove(filepath.Join(s.Dir, StepName(step))); err != nil {
				return err
			}
		}
	}
	return nil
}

// Owns reports whether a checkpoint's folder is in the store.
func (s *Store) Owns(dir string) bool {
	a, errA := os.Stat(filepath.Dir(dir))
	b, errB := os.Stat(s.Dir)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// Repair writes latest and best as they belong to the newest checkpoint: a run that was killed between a checkpoint and
// these files left older names in them.
func (s *Store) Repair(newest Snapshot) error {
	if err := s.Point("latest", StepName(newest.Step)); err != nil {
		return err
	}
	if newest.BestStep == 0 {
		return nil
	}
	if _, err := os.Stat(filepath.Join(s.Dir, StepName(newest.BestStep), StateFile)); err != nil {
		return nil // lost: best keeps the name that it has
	}
	return s.Point("best", StepName(newest.BestStep))
}

// Newest finds the newest checkpoint that verifies, "" if there are none. skipped holds
// an error for each newer one that is damaged. One that cannot be read is an error:
// it may be good.
func (s *Store) Newest() (dir string, snap Snapshot, skipped []error, err error) {
	steps, err := s.Steps()
	for _, step := range slices.Backward(steps) {
		dir := filepath.Join(s.Dir, StepName(step))
		switch snap, err := Verify(dir); {
		case err == nil:
			return dir, snap, skipped, nil
		case errors.Is(err, ErrDamaged):
			skipped = append(skipped, fmt.Errorf("%s: %w", StepName(step), err))
		default:
			return "", snap, skipped, fmt.Errorf("%s cannot be read: %w; nothing was changed: mend that and try again, or move the folder away to use an older checkpoint", StepName(step), err)
		}
	}
	return "", snap, skipped, err
}
