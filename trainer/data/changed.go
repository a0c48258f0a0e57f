package data

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"
)

// fileState tells whether a file is the one that was read before.
type fileState struct {
	size  int64 // bytes; of a folder, images
	mtime int64 // nanoseconds since 1970; of a folder 0, as programs that only look leave files in it
}

func stateOf(path string) (s fileState, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return s, err
	}
	if !info.IsDir() {
		return stateOfFile(info), nil
	}
	entries, err := os.ReadDir(path)
	for _, e := range entries {
		if slices.Contains(imageKinds, kindOf(e.Name())) {
			s.size++
		}
	}
	return s, err
}

func stateOfFile(info fs.FileInfo) fileState {
	return fileState{info.Size(), info.ModTime().UnixNano()}
}

// same is an error where a file is not what it was.
func (was fileState) same(now fileState) error {
	switch {
	case was == now:
		return nil
	case was.mtime == 0:
		return fmt.Errorf("it has changed while it was in use: %d images, there were %d", now.size, was.size)
	}
	at := func(ns int64) string { return time.Unix(0, ns).Format("2006-01-02 15:04:05.000") }
	return fmt.Errorf("it has changed while it was in use: %d bytes of %s, there were %d of %s", now.size, at(now.mtime), was.size, at(was.mtime))
}

// errEmpty is the error of a file of 0 bytes, whatever its kind.
var errEmpty = errors.New("the file is empty (0 bytes)")

// unchanged is an error where the file of clip i is empty, or not what it was when the clip was first read.
func (f *files) unchanged(i int) error {
	now, err := stateOf(f.path(i))
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	was, known := f.states[i]
	switch {
	case !known && now.size == 0 && f.kind(i) == "/":
		return errors.New("a folder without images; name the films in it, or open the folder by itself")
	case !known && now.size == 0:
		return errEmpty
	}
	if !known {
		f.states[i] = now
		return nil
	}
	return was.same(now)
}
