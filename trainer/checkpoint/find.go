package checkpoint

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"magvit/trainer/usage"
)

// Find returns the checkpoint that a path means: a checkpoint's folder, a
// run's (its newest one that verifies), or a text file latest or best. skipped
// holds an error for each newer one of a run that does not verify.
func Find(path string) (dir string, snap Snapshot, skipped []error, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", snap, nil, usage.Errorf("checkpoint: %w", err)
	}
	if !info.IsDir() {
		name, err := os.ReadFile(path)
		if err != nil {
			return "", snap, nil, usage.Errorf("checkpoint: %w", err)
		}
		if name = bytes.TrimSpace(name); len(name) > 64 || !strings.HasPrefix(string(name), "step-") {
			return "", snap, nil, usage.Errorf("checkpoint %s: want a run's folder, a checkpoint's, or checkpoints/latest or best in a run", path)
		}
		path = filepath.Join(filepath.Dir(path), string(name))
	}
	if _, err := os.Stat(filepath.Join(path, StateFile)); err == nil {
		abs, err := filepath.Abs(path) // its last element is the folder's name
		if err == nil {
			snap, err = Verify(abs)
		}
		if err != nil {
			return "", snap, nil, usage.Errorf("checkpoint %s: %w", path, err)
		}
		return path, snap, nil, nil
	}
	for _, checkpoints := range []string{filepath.Join(path, "checkpoints"), path} {
		dir, snap, skipped, err = NewStore(checkpoints).Newest()
		if err != nil || dir != "" || len(skipped) > 0 {
			break
		}
	}
	switch {
	case err != nil:
		return "", snap, skipped, usage.Errorf("checkpoint %s: %w", path, err)
	case dir == "" && len(skipped) > 0:
		return "", snap, skipped, usage.Errorf("checkpoint %s: none verifies: %w", path, errors.Join(skipped...))
	case dir == "":
		return "", snap, skipped, usage.Errorf("checkpoint %s: no checkpoint there; want a run's folder, or a checkpoint's with %s in it", path, StateFile)
	}
	return dir, snap, skipped, nil
}
