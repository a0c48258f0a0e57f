package main

import (
	"io/fs"
	"os"
	"path/filepath"

	"magvit/trainer/data"
)

// protect refuses an output path that is, contains or links to an input of the command, or that is a file within an
// input folder. It is called before anything is written. inputs are paths, folders and patterns of files.
func protect(output, name string, inputs ...string) error {
	return protectFrom(func(string) bool { return false }, output, name, inputs...)
}

// protectFrom is protect for a command that goes on with its own output, which may be in an input folder: own reports
// whether that is what is there.
func protectFrom(own func(path string) bool, output, name string, inputs ...string) error {
	if output == "" {
		return nil
	}
	target := resolved(output)
	_, err := os.Stat(target)
	replaces := err == nil && !own(target)
	for _, pattern := range inputs {
		if pattern == "" { // a flag that is not given
			continue
		}
		matches, err := filepath.Glob(pattern)
		if _, statErr := os.Stat(pattern); statErr == nil || err != nil || len(matches) == 0 {
			matches = []string{pattern}
		}
		for _, m := range matches {
			input := resolved(m)
			switch {
			case sameFile(target, input), sameFile(output, m):
				return usagef("%s %s: that is the input %s; name another path, so that it is not lost", name, output, m)
			case within(input, target):
				return usagef("%s %s: the input %s is in that folder; name another path, so that it is not lost", name, output, m)
			case replaces && within(target, input):
				return usagef("%s %s: a file of the input %s; name another path, so that it is not lost", name, output, m)
			}
		}
		if replaces {
			if m := linked(target, matches); m != "" {
				return usagef("%s %s: the same file as the input %s; name another path, so that it is not lost", name, output, m)
			}
		}
		for _, m := range matches {
			if err := protectListed(output, name, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// isIndex reports whether a file is an index of films.
func isIndex(path string) bool {
	st, err := os.Stat(path)
	if err != nil || st.Size() == 0 || !st.Mode().IsRegular() {
		return false
	}
	_, err = data.ReadIndex(path)
	return err == nil
}

// protectListed refuses an output path that is or contains what a list names. A list may have a million lines, so that
// links are followed only where the output exists.
func protectListed(output, name, list string) error {
	full, err := filepath.Abs(output)
	if err != nil {
		return err
	}
	st, err := os.Stat(output)
	exists := err == nil
	for _, m := range data.Listed(list) {
		input, err := filepath.Abs(m)
		if err != nil {
			return err
		}
		same := input == full || within(input, full)
		if !same && exists {
			other, err := os.Stat(m)
			same = err == nil && (os.SameFile(st, other) || other.IsDir() && within(full, input))
		}
		if same {
			return usagef("%s %s: %s lists %s, which is there; name another path, so that it is not lost", name, output, list, m)
		}
	}
	return nil
}

// checkpointInputs are the files of the checkpoint that a path names: its folder, or those of a run.
func checkpointInputs(path string) []string {
	if st, err := os.Stat(filepath.Join(path, "checkpoints")); path == "" || err != nil || !st.IsDir() {
		return []string{path}
	}
	return []string{filepath.Join(path, "checkpoints"), filepath.Join(path, "config.yaml"), filepath.Join(path, "metrics.jsonl"), filepath.Join(path, "progress.json")}
}

// resolved is the absolute path with links followed, as far as it exists.
func resolved(path string) string {
	full, err := filepath.Abs(path)
	if err != nil {
		full = filepath.Clean(path)
	}
	for at, rest := full, ""; ; at, rest = filepath.Dir(at), filepath.Join(filepath.Base(at), rest) {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(real, rest)
		}
		if link, err := os.Readlink(at); err == nil { // a link to what does not exist
			if !filepath.IsAbs(link) {
				link = filepath.Join(filepath.Dir(at), link)
			}
			return filepath.Join(link, rest)
		}
		if at == filepath.Dir(at) {
			return full
		}
	}
}

// within reports whether path is below the folder dir. Both are resolved.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != "." && filepath.IsLocal(rel)
}

// sameFile reports whether two paths are one, or name the same existing file, by links too.
func sameFile(a, b string) bool {
	if a == b {
		return true
	}
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// linked returns a file below the folders that is the existing file at path, by a hard or symbolic link; "" if none is.
func linked(path string, folders []string) (found string) {
	st, err := os.Stat(path)
	if err != nil || st.IsDir() {
		return ""
	}
	for _, dir := range folders {
		filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil // what cannot be read is reported by who reads it
			}
			if other, err := os.Stat(p); err == nil && os.SameFile(st, other) {
				found = p
				return filepath.SkipAll
			}
			return nil
		})
	}
	return found
}
