// Package atomicfile writes files and folders that exist whole or not at all.
//
// Content is written under a temporary name in the folder of the result, flushed to the disk and renamed; then the
// folder is flushed. After a crash or a power cut the old content is there or the new one, never a part of either. A Folder
// that is written into for long is checked to be the one at its path.
//
// Why not github.com/google/renameio/v2: it does not flush the folder after the rename, makes no folders, and has no
// form for a file that another program (ffmpeg) writes by name.
package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Prefix begins the names of temporary files and folders. What a killed process left behind is found by it.
const Prefix = ".tmp-"

// Left lists what killed processes left in a folder under temporary names of a file or folder, whose base name matches a
// pattern of filepath.Match. The folder's name is no pattern. What cannot be listed is left.
func Left(dir, pattern string) (paths []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if ok, _ := filepath.Match(Prefix+"*-"+pattern, e.Name()); ok {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths
}

// Write replaces the file at path by what content writes, with mode 0644.
func Write(path string, content func(io.Writer) error) error {
	p, err := Create(path)
	if err != nil {
		return err
	}
	defer p.Abort()
	if err := content(p); err != nil {
		return err
	}
	return p.Commit()
}

// WriteBytes replaces the file at path by b, with mode 0644.
func WriteBytes(path string, b []byte) error {
	return Write(path, func(w io.Writer) error { _, err := w.Write(b); return err })
}

// WriteDir makes the folder at path, where nothing or an empty folder may be, from the files that content writes into dir.
func WriteDir(path string, content func(dir string) error) error {
	p, err := CreateDir(path)
	if err != nil {
		return err
	}
	defer p.Abort()
	if err := content(p.Name()); err != nil {
		return err
	}
	return p.Commit()
}

// Pending is a file or folder under its temporary name.
type Pending struct {
	path, tmp string
	file      *os.File // nil for a folder
}

// Create opens a pending file. Its temporary name has the extension of path, for programs that choose a format by it.
func Create(path string) (*Pending, error) {
	f, err := os.CreateTemp(filepath.Dir(path), Prefix+"*-"+filepath.Base(path))
	if err != nil {
		return nil, err
	}
	return &Pending{path, f.Name(), f}, nil
}

// CreateDir makes a pending folder.
func CreateDir(path string) (*Pending, error) {
	path = filepath.Clean(path)
	tmp, err := os.MkdirTemp(filepath.Dir(path), Prefix+"*-"+filepath.Base(path))
	if err != nil {
		return nil, err
	}
	return &Pending{path, tmp, nil}, nil
}

// Name returns the temporary name, under which other programs may write too.
func (p *Pending) Name() string { return p.tmp }

// Write appends b to a pending file.
func (p *Pending) Write(b []byte) (int, error) { return p.file.Write(b) }

// Commit flushes the content and gives it its name. On an error the old content of path stays and nothing else remains,
// except where only the last step fails, the flush of the folder that holds path.
func (p *Pending) Commit() (err error) {
	defer p.Abort()
	if p.file == nil {
		err = p.finishDir()
	} else {
		err = errors.Join(p.file.Chmod(0o644), p.file.Sync(), p.file.Close())
	}
	if err != nil {
		return err
	}
	if err := os.Rename(p.tmp, p.path); err != nil {
		return err
	}
	p.tmp = ""
	return SyncDir(filepath.Dir(p.path))
}

// finishDir flushes a folder with all that it holds and makes room for its name.
func (p *Pending) finishDir() error {
	err := filepath.WalkDir(p.tmp, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return SyncDir(path)
		case d.Type().IsRegular():
			return syncFile(path)
		}
		return nil
	})
	if err == nil {
		err = os.Chmod(p.tmp, 0o755)
	}
	if err != nil {
		return err
	}
	if err := os.Remove(p.path); err != nil && !errors.Is(err, fs.ErrNotExist) { // fails unless it is an empty folder
		return err
	}
	return nil
}

// Abort removes the temporary file or folder. After Commit it does nothing.
func (p *Pending) Abort() {
	if p.tmp == "" {
		return
	}
	if p.file != nil {
		p.file.Close() // its error, if any, was returned by Commit
	}
	os.RemoveAll(p.tmp)
	p.tmp = ""
}

// SyncDir flushes a folder's list of names to the disk. File systems that have no such operation are no error.
func SyncDir(dir string) error {
	err := syncFile(dir)
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
