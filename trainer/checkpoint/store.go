package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
}

// NewStore returns the store in RUN/checkpoints, which need not exist.
func NewStore(dir string) *Store {
	return &Store{dir, func(name string) (io.WriteCloser, error) { return os.Create(name) }}
}

// StepName is the name of the checkpoint after a step.
func StepName(step int) string { return fmt.Sprintf("step-%06d", step) }

// Steps lists the checkpoints by step, oldest first.
func (s *Store) Steps() (steps []int, err error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		n, ok := strings.CutPrefix(e.Name(), "step-")
		if step, bad := strconv.Atoi(n); ok && bad == nil && e.IsDir() && e.Name() == StepName(step) {
			steps = append(steps, step)
		}
	}
	slices.Sort(steps)
	return steps, err
}

// Sweep removes the temporary folders of writers that were killed.
func (s *Store) Sweep() {
	left, _ := filepath.Glob(filepath.Join(s.Dir, ".tmp-*")) // the pattern is right
	for _, dir := range left {
		os.RemoveAll(dir)
	}
}

// Save writes a checkpoint under a temporary name, flushes it, renames it, reads it back
// and only then calls it the latest. On an error nothing of it remains, and older
// checkpoints are unchanged.
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
	if err := os.MkdirAll(s.Dir, 0o777); err != nil {
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
	if _, err := Verify(final); err != nil {
		os.RemoveAll(final) // a damaged one, which was skipped
	}
	if err := tmp.Commit(); err != nil {
		return err
	}
	if _, err := Verify(final); err != nil {
		os.RemoveAll(final)
		return fmt.Errorf("read back: %w", err)
	}
	return s.Point("latest", name)
}

// write makes the files of a checkpoint in a folder.
func (s *Store) write(dir string, st *State, snap Snapshot, average bool) error {
	tensors := map[string][]Tensor{}
	for _, sec := range st.sections(average) {
		arena, err := st.Read(sec.arena)
		if err != nil {
			return err
		}
		if bad := st.FirstNonFinite(arena); bad != "" {
			return fmt.Errorf("%s%s", sec.prefix, bad)
		}
		for i, p := range st.Layout.Params {
			tensors[sec.file] = append(tensors[sec.file], Tensor{sec.prefix + p.Name, p.Shape, st.Part(arena, i)})
		}
	}
	snap.Files = map[string]Digest{}
	for _, file := range []string{ModelFile, OptimizerFile} {
		d, err := s.put(filepath.Join(dir, file), func(w io.Writer) error {
			return WriteTensors(w, tensors[file], map[string]string{"format": "magvit", "step": strconv.Itoa(snap.Step)})
		})
		if err != nil {
			return err
		}
		snap.Files[file] = d
	}
	return s.putState(dir, snap)
}

// putState writes state.json.
func (s *Store) putState(dir string, snap Snapshot) error {
	text, err := json.MarshalIndent(snap, "", "  ")
	if err == nil {
		_, err = s.put(filepath.Join(dir, StateFile), func(w io.Writer) error { _, err := w.Write(append(text, '\n')); return err })
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

// Prune removes all but the newest checkpoints and the best one; keep 0 removes none.
func (s *Store) Prune(keep, best int) error {
	steps, err := s.Steps()
	if err != nil || keep == 0 {
		return err
	}
	for _, step := range steps[:max(len(steps)-keep, 0)] {
		if step != best {
			if err := os.RemoveAll(filepath.Join(s.Dir, StepName(step))); err != nil {
				return err
			}
		}
	}
	return nil
}

// Verify reads a checkpoint's state.json and compares its files with what it says.
func Verify(dir string) (snap Snapshot, err error) {
	text, err := os.ReadFile(filepath.Join(dir, StateFile))
	if err != nil {
		return snap, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&snap); err != nil {
		return snap, fmt.Errorf("%s: not JSON: %w", StateFile, err)
	}
	if snap.Step < 0 || snap.Skipped < 0 || len(snap.Config) == 0 || snap.Files[ModelFile].SHA256 == "" {
		return snap, fmt.Errorf("%s: not that of a checkpoint", StateFile)
	}
	for _, name := range []string{ModelFile, OptimizerFile} {
		want, ok := snap.Files[name]
		if !ok {
			continue // a checkpoint for use only has no optimizer
		}
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return snap, err
		}
		h := sha256.New()
		n, err := io.Copy(h, f)
		f.Close()
		switch {
		case err != nil:
			return snap, fmt.Errorf("%s: %w", name, err)
		case n != want.Bytes:
			return snap, fmt.Errorf("%s: %d bytes, %d were written: truncated or replaced", name, n, want.Bytes)
		case hex.EncodeToString(h.Sum(nil)) != want.SHA256:
			return snap, fmt.Errorf("%s: content is not what was written: damaged", name)
		}
	}
	return snap, nil
}

// Newest finds the newest checkpoint that verifies, "" if there are none. skipped holds
// an error for each newer one that does not.
func (s *Store) Newest() (dir string, snap Snapshot, skipped []error, err error) {
	steps, err := s.Steps()
	for _, step := range slices.Backward(steps) {
		dir := filepath.Join(s.Dir, StepName(step))
		if snap, err := Verify(dir); err != nil {
			skipped = append(skipped, fmt.Errorf("%s: %w", StepName(step), err))
		} else {
			return dir, snap, skipped, nil
		}
	}
	return "", snap, skipped, err
}
