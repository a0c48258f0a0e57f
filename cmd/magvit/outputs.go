package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"magvit/trainer/data"
)

// mediaKinds are the extensions of files that clips can be written to.
var mediaKinds = []string{".npz", ".mp4", ".gif"}

// fpsFlag belongs to every command that writes a video.
func fpsFlag() cli.Flag {
	return &cli.IntFlag{Name: "fps", Value: 8, Usage: "frames per second of .mp4 and .gif"}
}

// checkMedia checks --out and --fps before any work is done.
func checkMedia(c *cli.Context) error {
	if fps := c.Int("fps"); fps < 1 || fps > 240 {
		return usagef("--fps %d: want 1 to 240", fps)
	}
	path := c.String("out")
	if filepath.Ext(path) != "" {
		return checkOut(path, mediaKinds...)
	}
	if entries, err := os.ReadDir(path); err == nil && len(entries) > 0 {
		return usagef("--out %s: a folder that is not empty; name another one for the PNGs", path)
	}
	return checkOut(path)
}

func openWriter(c *cli.Context, classes []string) (data.Writer, error) {
	path := c.String("out")
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	return data.NewWriter(c.Context, path, classes, c.Int("fps"))
}

// checkOut checks that an output path has one of the extensions, and a folder that exists
// or can be made.
func checkOut(path string, endings ...string) error {
	ok := len(endings) == 0
	for _, e := range endings {
		ok = ok || strings.EqualFold(filepath.Ext(path), e)
	}
	if !ok {
		return usagef("--out %s: want a name that ends in %s%s", path, strings.Join(endings, ", "),
			map[bool]string{true: ", or in nothing for a folder of PNG"}[len(endings) > 1])
	}
	if len(endings) > 0 {
		if st, err := os.Stat(path); err == nil && st.IsDir() {
			return usagef("--out %s: a folder; want a file", path)
		}
	}
	return checkFolder("--out", filepath.Dir(path))
}

// checkFolder checks that a folder exists or can be made.
func checkFolder(flag, path string) error {
	for at := path; ; at = filepath.Dir(at) {
		st, err := os.Stat(at)
		switch {
		case err == nil && !st.IsDir():
			return usagef("%s: %s is a file, not a folder", flag, at)
		case err == nil:
			return nil
		case !errors.Is(err, fs.ErrNotExist) && !strings.Contains(err.Error(), "not a directory"):
			return usagef("%s: %w", flag, err)
		case at == filepath.Dir(at):
			return usagef("%s: %w", flag, err)
		}
	}
}

// closeWriter finishes what n clips were written to, or removes it after an error.
func closeWriter(ctx context.Context, w data.Writer, n int, err error) error {
	defer w.Abort()
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case n == 0:
		return usagef("none of the clips could be read; nothing was written")
	}
	return w.Finish()
}
