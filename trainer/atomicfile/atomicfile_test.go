package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var errContent = errors.New("no more content")

// names lists a folder.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s: %q, %v; want %q", filepath.Base(path), got, err, want)
	}
}

func TestWriteReplacesWholeFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	for _, content := range []string{"old", "newer and longer", ""} {
		if err := WriteBytes(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		wantFile(t, path, content)
		if st, err := os.Stat(path); err != nil || st.Mode() != 0o644 {
			t.Errorf("mode %v, %v; want 0644", st.Mode(), err)
		}
	}
	if got := names(t, dir); got != "a.json" {
		t.Errorf("the folder holds %q; want a.json alone", got)
	}
}

func TestFailedWriteKeepsTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	if err := WriteBytes(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	err := Write(path, func(w io.Writer) error { io.WriteString(w, "half"); return errContent })
	if !errors.Is(err, errContent) {
		t.Errorf("%v; want the error of the content", err)
	}
	p, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(p, "whole")
	p.file.Close() // so that chmod, sync and close fail
	if err := p.Commit(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("%v; want the error of a file that cannot be flushed", err)
	}
	wantFile(t, path, "old")
	if got := names(t, dir); got != "a.json" {
		t.Errorf("the folder holds %q; want a.json alone", got)
	}
}

// TestRenameFails has a folder in the place of the file.
func TestRenameFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	if err := os.Mkdir(path, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := WriteBytes(path, []byte("new")); err == nil {
		t.Error("a folder was replaced by a file")
	}
	if got := names(t, dir); got != "a.json" {
		t.Errorf("the folder holds %q; want a.json alone", got)
	}
}

// TestOtherProgramsWrite opens the temporary file by its name, as ffmpeg does with -y.
func TestOtherProgramsWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.mp4")
	p, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if base := filepath.Base(p.Name()); filepath.Ext(base) != ".mp4" || !strings.HasPrefix(base, Prefix) {
		t.Errorf("temporary name %q; want %s...mp4", base, Prefix)
	}
	if err := os.WriteFile(p.Name(), []byte("film"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(); err != nil {
		t.Fatal(err)
	}
	p.Abort()
	wantFile(t, path, "film")
}

// TestLeft lists what is left in a folder whose name would be a pattern, or none.
func TestLeft(t *testing.T) {
	for _, name := range []string{"[1]", "[", "a*"} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		p, err := Create(filepath.Join(dir, "a.json"))
		if err != nil {
			t.Fatal(err)
		}
		if got := Left(dir, "a.json"); len(got) != 1 || got[0] != p.Name() {
			t.Errorf("in the folder %s %q are left; want %s", name, got, p.Name())
		}
		if got := append(Left(dir, "b.json"), Left(filepath.Join(dir, "none"), "*")...); got != nil {
			t.Errorf("in the folder %s %q are left; want nothing", name, got)
		}
		p.Abort()
	}
}

func TestWriteDir(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "run")
	fill := func(text string, err error) func(string) error {
		return func(dir string) error {
			return errors.Join(os.MkdirAll(filepath.Join(dir, "sub"), 0o777), os.WriteFile(filepath.Join(dir, "sub", "f"), []byte(text), 0o666), err)
		}
	}
	if err := WriteDir(path, fill("half", errContent)); !errors.Is(err, errContent) {
		t.Errorf("%v; want the error of the content", err)
	}
	if got := names(t, dir); got != "" {
		t.Errorf("the folder holds %q after an error", got)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteDir(path+"/", fill("first", nil)); err != nil {
		t.Fatal(err)
	}
	wantFile(t, filepath.Join(path, "sub", "f"), "first")
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("mode %v, %v; want 0755", st.Mode(), err)
	}
	if err := WriteDir(path, fill("second", nil)); err == nil {
		t.Error("a folder that is not empty was replaced")
	}
	wantFile(t, filepath.Join(path, "sub", "f"), "first")
	if got := names(t, dir); got != "run" {
		t.Errorf("the folder holds %q; want run alone", got)
	}
}

func TestMissingFolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none", "a")
	if err := errors.Join(WriteBytes(path, nil)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("file: %v", err)
	}
	if err := WriteDir(path, func(string) error { return nil }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("folder: %v", err)
	}
}
