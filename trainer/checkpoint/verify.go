package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// ErrDamaged is what errors.Is finds in the error for a checkpoint whose files are
// missing or not what was written. Other errors say that it could not be read.
var ErrDamaged = errors.New("damaged checkpoint")

type damage struct{ error }

func (damage) Is(target error) bool { return target == ErrDamaged }
func (d damage) Unwrap() error      { return d.error }

func damaged(format string, args ...any) error { return damage{fmt.Errorf(format, args...)} }

// Verify reads a checkpoint's state.json and compares its files with it. Errors of
// reading are tried again before they are returned.
func Verify(dir string) (snap Snapshot, err error) {
	var text []byte
	if err := retry(func() (err error) { text, err = os.ReadFile(filepath.Join(dir, StateFile)); return err }); err != nil {
		return snap, missing(err)
	}
	if snap, err = decode(text); err != nil {
		return snap, err
	}
	if step, ok := stepOf(filepath.Base(dir)); ok && step != snap.Step {
		return snap, damaged("%s: of step %d, in a folder of another step", StateFile, snap.Step)
	}
	if err := snap.checkConfig(); err != nil {
		return snap, err
	}
	for _, name := range []string{ModelFile, OptimizerFile} {
		want, ok := snap.Files[name]
		if !ok {
			continue // a checkpoint for use only has no optimizer
		}
		var got Digest
		if err := retry(func() (err error) { got, err = digestOf(filepath.Join(dir, name)); return err }); err != nil {
			return snap, missing(fmt.Errorf("%s: %w", name, err))
		}
		switch {
		case got.Bytes != want.Bytes:
			return snap, damaged("%s: %d bytes, %d were written: truncated or replaced", name, got.Bytes, want.Bytes)
		case got.SHA256 != want.SHA256:
			return snap, damaged("%s: content is not what was written: damaged", name)
		}
	}
	return snap, nil
}

// missing marks the error for a file that does not exist as damage.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return damage{err}
	}
	return err
}

// retry repeats what fails for another reason than a missing file.
func retry(read func() error) (err error) {
	for wait := 20 * time.Millisecond; wait < time.Second; wait *= 5 {
		if err = read(); err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return err
		}
		time.Sleep(wait)
	}
	return err
}

func digestOf(path string) (d Digest, err error) {
	f, err := os.Open(path)
	if err != nil {
		return d, err
	}
	defer f.Close()
	h := sha256.New()
	d.Bytes, err = io.Copy(h, f)
	d.SHA256 = hex.EncodeToString(h.Sum(nil))
	return d, err
}
