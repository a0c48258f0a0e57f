package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"magvit/trainer/data"
)

// mediaKinds are the extensions of files that clips can be written to.
var mediaKinds = []string{".npz", ".mp4", ".gif"}

// mediaFlags belong to every command that writes clips.
func mediaFlags() []cli.Flag {
	return []cli.Flag{
		&cli.Float64Flag{Name: "fps", DefaultText: "as the clips have, else 8", Usage: "frames per second of .mp4 and .gif"},
		&cli.StringFlag{Name: "layout", Value: "sequence", Usage: "several clips in .mp4 and .gif: sequence, grid, or files, each with its number"},
		jsonFlag(),
	}
}

const defaultFPS = 8

// written is what commands that write clips or codes print with --json.
type written struct {
	Path  string `json:"path"`
	Clips int    `json:"clips"`
	Shape []int  `json:"shape,omitempty"` // of codes
	Codes int    `json:"codebook,omitempty"`
}

// printWritten prints the result as JSON, or as a line of text.
func printWritten(c *cli.Context, w written, format string, args ...any) error {
	if ext := filepath.Ext(w.Path); c.String("layout") == "files" && isMovie(w.Path) {
		w.Path = strings.TrimSuffix(w.Path, ext) + "-*" + ext
	}
	if c.Bool("json") {
		return printJSON(c, w)
	}
	return printLine(c.App.Writer, "%s: "+format, append([]any{w.Path}, args...)...)
}

// checkMedia checks --out and --fps before any work is done.
func checkMedia(c *cli.Context) error {
	if fps := c.Float64("fps"); c.IsSet("fps") && !(fps >= .1 && fps <= 1000) {
		return usagef("--fps %v: want .1 to 1000", fps)
	}
	if l := c.String("layout"); !slices.Contains(data.Layouts, l) {
		return usagef("--layout %s: want %s", l, strings.Join(data.Layouts, ", "))
	}
	path := c.String("out")
	if filepath.Ext(path) != "" {
		return checkOut("--out", path, mediaKinds...)
	}
	if entries, err := os.ReadDir(path); err == nil && len(entries) > 0 {
		return usagef("--out %s: a folder that is not empty; name another one for the PNGs", path)
	}
	return checkOut("--out", path)
}

func isMovie(path string) bool {
	ext := strings.ToLower(filepath.Ext(path))
	return ext == ".mp4" || ext == ".gif"
}

// openWriter opens --out. fps is the rate of the clips, used unless --fps is given; 0 is unknown.
func openWriter(c *cli.Context, classes []string, fps float64) (data.Writer, error) {
	if c.IsSet("fps") {
		fps = c.Float64("fps")
	}
	if fps == 0 {
		fps = defaultFPS
	}

	path := c.String("out")
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	return data.NewWriter(c.Context, path, classes, fps, c.String("layout"))
}

// checkOut checks that the output path of a flag has one of the extensions, and a folder that
// exists or can be made.
func checkOut(flag, path string, endings ...string) error {
	ok := len(endings) == 0
	for _, e := range endings {
		ok = ok || strings.EqualFold(filepath.Ext(path), e)
	}
	if !ok {
		return usagef("%s %s: want a name that ends in %s%s", flag, path, strings.Join(endings, ", "),
			map[bool]string{true: ", or in nothing for a folder of PNG"}[len(endings) > 1])
	}
	if len(endings) > 0 {
		if st, err := os.Stat(path); err == nil && st.IsDir() {
			return usagef("%s %s: a folder; want a file", flag, path)
		}
	}
	return checkFolder(flag, filepath.Dir(path))
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
