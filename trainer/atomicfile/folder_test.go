package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"magvit/trainer/usage"
)

func TestFolderThatIsGone(t *testing.T) {
	for name, c := range map[string]struct {
		change func(path string) error
		want   string // in the error; "": none
	}{
		"unchanged":    {func(string) error { return nil }, ""},
		"a file in it": {func(path string) error { return os.WriteFile(filepath.Join(path, "a"), nil, 0o666) }, ""},
		"removed":      {os.RemoveAll, "was removed or renamed"},
		"renamed":      {func(path string) error { return os.Rename(path, path+"-old") }, "was removed or renamed"},
		"made again":   {func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o777)) }, "was replaced"},
		"a file":       {func(path string) error { return errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o666)) }, "was replaced"},
		"behind a link": {func(path string) error {
			return errors.Join(os.Rename(path, path+"-old"), os.Symlink(path+"-old", path))
		}, ""},
		"renamed and back": {func(path string) error {
			return errors.Join(os.Rename(path, path+"-old"), os.Rename(path+"-old", path))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "deep", "out")
			f, err := OpenFolder(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := c.change(path); err != nil {
				t.Fatal(err)
			}
			err = f.Check()
			if c.want == "" && err != nil {
				t.Error(err)
			}
			if c.want != "" && (!errors.Is(err, ErrGone) || !errors.Is(err, usage.Error) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
