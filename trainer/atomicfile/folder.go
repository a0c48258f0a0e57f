package atomicfile

import (
	"errors"
	"io/fs"
	"os"

	"magvit/trainer/usage"
)

// ErrGone is what errors.Is finds in the error of a Folder that is not at its path any more.
var ErrGone = errors.New("the folder is gone")

// gone is an error with a text of its own that is ErrGone.
type gone struct{ error }

func (gone) Is(target error) bool { return target == ErrGone }
func (g gone) Unwrap() error      { return g.error }

// Folder is a folder that a program writes into for long, while people may remove, rename or replace it. Writers check it,
// and never make it again: who removed it wants it gone, and what was in it is lost.
//
// Why an open folder: its inode cannot be given to another one as long as it is open.
type Folder struct {
	path string
	file *os.File
}

// OpenFolder makes the folder at path, where nothing is there, and opens it.
func OpenFolder(path string) (*Folder, error) {
	if err := os.MkdirAll(path, 0o777); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &Folder{path, f}, nil
}

// Check returns an error that is ErrGone and a usage.Error, if the path does not name the folder any more. Where the system
// does not answer, the folder counts as there.
func (f *Folder) Check() error {
	opened, err := f.file.Stat()
	if err != nil {
		return nil
	}
	named, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return gone{usage.Errorf("folder %s was removed or renamed while it was written to", f.path)}
	case err == nil && !os.SameFile(opened, named):
		return gone{usage.Errorf("folder %s was replaced while it was written to", f.path)}
	}
	return nil
}

// Close closes the folder.
func (f *Folder) Close() error { return f.file.Close() }
