package events

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// FuzzContinue: whatever an event file holds, a writer continues it.
func FuzzContinue(f *testing.F) {
	dir := f.TempDir()
	w, err := Open(dir, time.Unix(1, 0), 0)
	if err != nil {
		f.Fatal(err)
	}
	if err := w.Scalar(1, "a", 2); err != nil {
		f.Fatal(err)
	}
	if err := w.Histogram(2, "h", []float32{1, 2, 3}); err != nil {
		f.Fatal(err)
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "events*"))
	raw, err := os.ReadFile(names[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw, 1)
	f.Add(raw[:len(raw)-3], 2)
	f.Fuzz(func(t *testing.T, raw []byte, step int) {
		if end, _, err := validPrefix(bytes.NewReader(raw), step); err != nil || end < 0 || end > int64(len(raw)) {
			t.Errorf("%d of %d bytes, %v", end, len(raw), err)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(names[0])), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		w, err := Open(dir, time.Unix(1, 0), step)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Scalar(step, "x", 1); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
