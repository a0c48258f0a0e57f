package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"magvit/trainer/data"
)

// shown is a clip to be written.
type shown struct {
	name     string
	label    int
	frames   int // real ones; t - frames more repeat the last
	t, h, w  int
	c        int
	video    []float32 // [T,H,W,C]
	original []float32 // the same shape, left of video; nil: video alone
}

// sink writes clips to a place. What it writes stands aside until finish puts it
// in its place; abort, harmless after finish, leaves nothing behind.
type sink interface {
	add(shown) error
	finish() error
	abort()
}

// mediaKinds are the places that clips can be written to.
var mediaKinds = []string{".npz", ".mp4", ".gif"}

// fpsFlag is of every command that writes a video.
func fpsFlag() cli.Flag {
	return &cli.IntFlag{Name: "fps", Value: 8, Usage: "frames a second of .mp4 and .gif"}
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

func openSink(c *cli.Context, classes []string) (sink, error) {
	path := c.String("out")
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	return newSink(c.Context, path, classes, c.Int("fps"))
}

func newSink(ctx context.Context, path string, classes []string, fps int) (sink, error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".npz":
		return &npzSink{path: path, classes: classes}, nil
	case "":
		return newFolderSink(path)
	}
	return &movieSink{ctx: ctx, path: path, fps: fps}, nil
}

// checkOut says whether a path to write to has one of the endings, and a folder
// that exists or can be made.
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

// checkFolder says whether a folder exists or can be made.
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

// npzSink gathers clips and writes them as one .npz file.
type npzSink struct {
	path    string
	classes []string
	clips   []shown
}

func (s *npzSink) add(clip shown) error {
	clip.video, clip.original = clamped(clip.video), clamped(clip.original)
	s.clips = append(s.clips, clip)
	return nil
}

func (s *npzSink) finish() error {
	first := s.clips[0]
	t := 0
	for _, clip := range s.clips {
		t = max(t, clip.frames)
	}
	shape := []int{len(s.clips), t, first.c, first.h, first.w}
	gather := func(of func(shown) []float32) (all []float32) {
		for _, clip := range s.clips {
			frame := clip.h * clip.w * clip.c
			for f := range t {
				all = appendPlanes(all, of(clip)[min(f, clip.frames-1)*frame:][:frame], clip.c)
			}
		}
		return all
	}
	arrays := []data.Array{{Name: "videos", Shape: shape, Data: gather(func(c shown) []float32 { return c.video })}}
	if first.original != nil {
		arrays = append(arrays, data.Array{Name: "originals", Shape: shape, Data: gather(func(c shown) []float32 { return c.original })})
	}
	var l lists
	for _, clip := range s.clips {
		l.add(clip.name, clip.label, clip.frames)
	}
	return data.WriteArrays(s.path, append(arrays, l.arrays(s.classes)...)...)
}

func (s *npzSink) abort() {}

// lists are the arrays that go along with clips.
type lists struct {
	names   []string
	labels  []int64
	frames  []int32
	labeled bool
}

func (l *lists) add(name string, label, frames int) {
	l.names, l.labels, l.frames = append(l.names, name), append(l.labels, int64(label)), append(l.frames, int32(frames))
	l.labeled = l.labeled || label >= 0
}

func (l *lists) arrays(classes []string) []data.Array {
	n := len(l.names)
	a := []data.Array{{Name: "names", Shape: []int{n}, Data: l.names}, {Name: "frames", Shape: []int{n}, Data: l.frames}}
	if l.labeled {
		a = append(a, data.Array{Name: "labels", Shape: []int{n}, Data: l.labels})
	}
	if l.labeled && len(classes) > 0 {
		a = append(a, data.Array{Name: "classes", Shape: []int{len(classes)}, Data: classes})
	}
	return a
}

// appendPlanes appends a frame [H,W,C] as [C,H,W].
func appendPlanes(dst, frame []float32, c int) []float32 {
	for k := range c {
		for i := k; i < len(frame); i += c {
			dst = append(dst, frame[i])
		}
	}
	return dst
}

// clamped is a copy with values in [0,1], what a viewer sees.
func clamped(x []float32) []float32 {
	if x == nil {
		return nil
	}
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = min(max(v, 0), 1)
	}
	return y
}

// folderSink writes a folder of PNG for each clip.
type folderSink struct {
	path, aside string
	n           int
}

func newFolderSink(path string) (*folderSink, error) {
	aside, err := os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	return &folderSink{path: path, aside: aside}, err
}

func (s *folderSink) add(clip shown) error {
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\: `, r) {
			return '_'
		}
		return r
	}, clip.name)
	dir := filepath.Join(s.aside, fmt.Sprintf("%06d-%s", s.n, name))
	s.n++
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	for f := range clip.frames {
		if err := writePNG(filepath.Join(dir, fmt.Sprintf("%04d.png", f)), clip.picture(f)); err != nil {
			return err
		}
	}
	return nil
}

func writePNG(path string, img image.Image) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(png.Encode(f, img), f.Close())
}

func (s *folderSink) finish() error {
	os.Remove(s.path) // an empty folder; anything else stays and fails the next line
	if err := os.Chmod(s.aside, 0o755); err != nil {
		return err
	}
	return os.Rename(s.aside, s.path)
}

func (s *folderSink) abort() { os.RemoveAll(s.aside) }

// gap is the number of grey pixels between an original and its reconstruction.
const gap = 2

// width of a frame's picture.
func (c shown) width() int {
	if c.original != nil {
		return 2*c.w + gap
	}
	return c.w
}

// picture is frame f, the original to the left.
func (c shown) picture(f int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, c.width(), c.h))
	for i := range img.Pix {
		img.Pix[i] = 0x80
		if i%4 == 3 {
			img.Pix[i] = 0xff
		}
	}
	c.draw(img, f, c.original, 0)
	c.draw(img, f, c.video, c.width()-c.w)
	return img
}

func (c shown) draw(img *image.NRGBA, f int, video []float32, left int) {
	if video == nil {
		return
	}
	frame := video[f*c.h*c.w*c.c:]
	for y := range c.h {
		for x := range c.w {
			for k := range 3 {
				v := frame[(y*c.w+x)*c.c+min(k, c.c-1)]
				img.Pix[img.PixOffset(left+x, y)+k] = uint8(min(max(v, 0), 1)*255 + .5)
			}
		}
	}
}

// closeSink puts what n clips made into its place, or leaves nothing after an error.
func closeSink(ctx context.Context, s sink, n int, err error) error {
	defer s.abort()
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case n == 0:
		return usagef("none of the clips could be read; nothing was written")
	}
	return s.finish()
}
