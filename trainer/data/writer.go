package data

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"

	"magvit/trainer/atomicfile"
)

// OutputClip is a clip to be written.
type OutputClip struct {
	Name     string
	Label    int // class, -1 without one
	Frames   int // real ones; the other T-Frames repeat the last
	T, H, W  int
	C        int
	Video    []float32 // [T,H,W,C]
	Original []float32 // [T,H,W,C], drawn left of Video; nil: Video alone
}

// Writer writes clips to a file or folder, which appears when Finish returns without an error.
type Writer interface {
	Add(OutputClip) error
	Finish() error
	Abort() // removes what was written; harmless after Finish
}

// NewWriter chooses by the extension of path: .npz, .mp4, .gif, or none for a folder of PNG. classes names the labels; fps
// and layout are those of NewMovieWriter.
func NewWriter(ctx context.Context, path string, classes []string, fps float64, layout string) (Writer, error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".npz":
		return &clipArchive{path: path, classes: classes}, nil
	case "":
		return newFolderWriter(path)
	}
	return NewMovieWriter(ctx, path, layout, fps)
}

// clipArchive gathers clips and writes them as one .npz file.
type clipArchive struct {
	path    string
	classes []string
	clips   []OutputClip
}

func (s *clipArchive) Add(clip OutputClip) error {
	clip.Video, clip.Original = clamped(clip.Video), clamped(clip.Original)
	s.clips = append(s.clips, clip)
	return nil
}

func (s *clipArchive) Finish() error {
	first := s.clips[0]
	t := 0
	for _, clip := range s.clips {
		t = max(t, clip.Frames)
	}
	shape := []int{len(s.clips), t, first.C, first.H, first.W}
	gather := func(of func(OutputClip) []float32) (all []float32) {
		for _, clip := range s.clips {
			frame := clip.H * clip.W * clip.C
			for f := range t {
				all = appendPlanes(all, of(clip)[min(f, clip.Frames-1)*frame:][:frame], clip.C)
			}
		}
		return all
	}
	arrays := []Array{{Name: "videos", Shape: shape, Data: gather(func(c OutputClip) []float32 { return c.Video })}}
	if first.Original != nil {
		arrays = append(arrays, Array{Name: "originals", Shape: shape, Data: gather(func(c OutputClip) []float32 { return c.Original })})
	}
	var l Metadata
	for _, clip := range s.clips {
		l.Add(clip.Name, clip.Label, clip.Frames)
	}
	return WriteArrays(s.path, append(arrays, l.Arrays(s.classes)...)...)
}

func (s *clipArchive) Abort() {}

// Metadata gathers what .npz files hold of each clip besides its pixels or codes.
type Metadata struct {
	names   []string
	labels  []int64
	frames  []int32
	labeled bool
}

// Add appends a clip.
func (l *Metadata) Add(name string, label, frames int) {
	l.names, l.labels, l.frames = append(l.names, name), append(l.labels, int64(label)), append(l.frames, int32(frames))
	l.labeled = l.labeled || label >= 0
}

// Len is the number of clips.
func (l *Metadata) Len() int { return len(l.names) }

// Arrays are names and frames, and labels and classes where a clip has a label.
func (l *Metadata) Arrays(classes []string) []Array {
	n := len(l.names)
	a := []Array{{Name: "names", Shape: []int{n}, Data: l.names}, {Name: "frames", Shape: []int{n}, Data: l.frames}}
	if l.labeled {
		a = append(a, Array{Name: "labels", Shape: []int{n}, Data: l.labels})
	}
	if l.labeled && len(classes) > 0 {
		a = append(a, Array{Name: "classes", Shape: []int{len(classes)}, Data: classes})
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

// folderWriter writes a folder of PNG for each clip.
type folderWriter struct {
	*atomicfile.Pending
	n int
}

func newFolderWriter(path string) (*folderWriter, error) {
	p, err := atomicfile.CreateDir(path)
	return &folderWriter{Pending: p}, err
}

func (s *folderWriter) Add(clip OutputClip) error {
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\: `, r) {
			return '_'
		}
		return r
	}, clip.Name)
	dir := filepath.Join(s.Pending.Name(), fmt.Sprintf("%06d-%s", s.n, name))
	s.n++
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	for f := range clip.Frames {
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

func (s *folderWriter) Finish() error { return s.Commit() }

// gap is the number of grey pixels between an original and its reconstruction.
const gap = 2

// width of a frame's picture.
func (c OutputClip) width() int {
	if c.Original != nil {
		return 2*c.W + gap
	}
	return c.W
}

// picture is frame f, the original to the left.
func (c OutputClip) picture(f int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, c.width(), c.H))
	for i := range img.Pix {
		img.Pix[i] = 0x80
		if i%4 == 3 {
			img.Pix[i] = 0xff
		}
	}
	c.draw(img, f, c.Original, 0)
	c.draw(img, f, c.Video, c.width()-c.W)
	return img
}

func (c OutputClip) draw(img *image.NRGBA, f int, video []float32, left int) {
	if video == nil {
		return
	}
	frame := video[f*c.H*c.W*c.C:]
	for y := range c.H {
		for x := range c.W {
			for k := range 3 {
				v := frame[(y*c.W+x)*c.C+min(k, c.C-1)]
				img.Pix[img.PixOffset(left+x, y)+k] = uint8(min(max(v, 0), 1)*255 + .5)
			}
		}
	}
}
