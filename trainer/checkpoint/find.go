package checkpoint

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"magvit/trainer/usage"
)

// Find returns the checkpoint that a path means: a checkpoint's folder, a
// run's (its newest one that verifies), or a text file latest or best. skipped
// holds an error for each newer one of a run that does not verify.
func Find(path string) (dir string, snap Snapshot, skipped []error, err error) {
	const wanted = "want a run's folder, a checkpoint's, or checkpoints/latest or best in a run"
	info, err := os.Stat(path)
	if err != nil {
		return "", snap, nil, usage.Errorf("checkpoint: %w; %s", err, wanted)
	}
	if !info.IsDir() {
		name, err := namedIn(path)
		switch kind := strings.ToLower(filepath.Ext(path)); {
		case err != nil:
			return "", snap, nil, usage.Errorf("checkpoint: %w", err)
		case strings.HasPrefix(name, "step-"):
			path = filepath.Join(filepath.Dir(path), name)
		case slices.Contains([]string{".pt", ".pth", ".ckpt", ".bin", ".jit", ".safetensors"}, kind):
			return "", snap, nil, usage.Errorf("checkpoint %s: a file of weights; %s: magvit inspect shows what it holds, and magvit import makes a run of those of other programs; one of magvit export begins a training by train --init", path, wanted)
		default:
			return "", snap, nil, usage.Errorf("checkpoint %s: %s", path, wanted)
		}
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

// namedIn is the checkpoint that a text file latest or best names, "" if a file is none.
func namedIn(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	const longest = 64 // bytes
	text, err := io.ReadAll(io.LimitReader(f, longest+1))
	if err != nil || len(text) > longest {
		return "", err
	}
	return string(bytes.TrimSpace(text)), nil
}
