package data

import (
	"archive/zip"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"magvit/kernels/philox"
)

// asFloats is a Source of which clips are only read whole, as floats.
type asFloats struct{ Source }

// byteSources are sources of clips [T,H,W,C] of bytes, of every kind that has them.
func byteSources(t *testing.T) map[string]Source {
	t.Helper()
	r := philox.New(5, "pixels", 0, 0)
	pixels := func(shape ...int) []byte {
		n := 1
		for _, d := range shape {
			n *= d
		}
		b := make([]byte, n)
		for k := range b {
			b[k] = byte(r.IntN(256))
			if k%3 > 0 { // most are the background
				b[k] = 200
			}
		}
		return npy("|u1", shape, b)
	}
	dir := t.TempDir()
	folder := filepath.Join(dir, "folder")
	for k, n := range []int{6, 8} {
		if err := os.MkdirAll(folder, 0o777); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, fmt.Sprintf("%d.gif", k)), animation(t, n))
	}
	colour, grey := pixels(3, 7, 3, 20, 30), pixels(3, 7, 1, 20, 30)
	return map[string]Source{
		"animations":       mustOpen(t, Options{}, folder),
		"array on disk":    mustOpen(t, Options{}, write(t, filepath.Join(dir, "a.npy"), colour)),
		"array in memory":  mustOpen(t, Options{}, write(t, filepath.Join(dir, "a.npz"), zipOf(t, zip.Deflate, map[string][]byte{"videos.npy": colour}))),
		"grey":             mustOpen(t, Options{}, write(t, filepath.Join(dir, "g.npy"), grey)),
		"array in archive": mustOpen(t, Options{}, write(t, filepath.Join(dir, "a.tar"), tarOf(t, tarFile{"a.npy", pixels(7, 3, 20, 30)}, tarFile{"b.npy", pixels(6, 20, 30, 3)}))),
	}
}

// Ways to make batches that touch all of a sampler.
var samplings = map[string]Config{
	"as stored": {Height: 20, Width: 30, Frames: 4, Channels: 3, ValShare: .3, Workers: 1},
	"cut":       {Height: 16, Width: 16, Frames: 4, Channels: 3, Flip: true, Shift: 2, ForegroundWeight: 2, Grow: 1, ValShare: .3, Workers: 1},
	"letterbox": {Height: 33, Width: 24, Frames: 3, Stride: 2, Channels: 3, Fit: fitLetterbox, Rotation: 5, ValShare: .3, Workers: 1},
	"grey":      {Height: 9, Width: 12, Frames: 9, Channels: 1, Fit: fitStretch, ValShare: .3, Workers: 1, Crop: Crop{Batch: 3, Frames: 3, Size: 8, Moving: .8, WholeEvery: 2}},
}

// Batches of clips that stay bytes have the bits of those of the clips as floats, and no reader has floats of them.
func TestBytesGiveTheBatchesOfFloats(t *testing.T) {
	for name, src := range byteSources(t) {
		for how, cfg := range samplings {
			want, got := batches(t, asFloats{src}, cfg, 4), batches(t, src, cfg, 4)
			if !slices.EqualFunc(want, got, slices.Equal) {
				t.Errorf("%s, %s: the batches differ", name, how)
			}
		}
		mem := &memory{}
		if c, _, err := readPart(t.Context(), src, 0, fixedRequest([]int{1, 2}, fit{}), nil, mem); err != nil || c.bytes == nil || len(mem.floats) > 0 {
			t.Errorf("%s: %d bytes and %d floats of a clip, %v", name, len(c.bytes), len(mem.floats), err)
		}
	}
}

// The background of bytes is that of their floats.
func TestBackgroundOfBytes(t *testing.T) {
	d := decoded{Clip: Clip{T: 1, H: 1, W: 256, C: 1}, bytes: make([]byte, 256)}
	for from := range 256 { // the median is any byte
		for k := range d.bytes {
			d.bytes[k] = byte(min(max(from+k-127, 0), 255))
		}
		var got, want [1]float32
		d.background(got[:])
		Background(want[:], d.clip(nil).Video)
		if got != want || want[0] != float32(from)/255 {
			t.Fatalf("%v, want %v, %v", got, want, float32(from)/255)
		}
	}
}
