package data

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"magvit/kernels/philox"
)

// readMP4 reads a description into memory that held another one.
func readMP4(file io.ReaderAt, size int64) (*mp4Film, error) {
	f := &mp4Film{moov: make([]byte, 7), size: make([]uint32, 3), offset: make([]int64, 9000), dts: make([]int64, 3), pts: make([]int64, 9000), key: slices.Repeat([]bool{true}, 9000), shown: make([]int32, 5)}
	return f, f.read(file, size)
}

// Samples are ordered by time whether few or most of them are out of place.
func TestSamplesInTheOrderOfTime(t *testing.T) {
	r := philox.New(1, "samples", 0, 0)
	for _, far := range []int{1, 4, 16, 5000} {
		f := &mp4Film{pts: make([]int64, 3000)}
		for i := range f.pts {
			f.pts[i] = int64(i + r.IntN(far))
		}
		f.sort()
		seen := make([]bool, len(f.pts))
		for k, i := range f.shown {
			if seen[i] || k > 0 && f.pts[f.shown[k-1]] > f.pts[i] {
				t.Fatalf("up to %d out of place: sample %d is at %d", far, i, k)
			}
			seen[i] = true
		}
	}
}

// Windows of a film that is cut to the samples they need have the bits of the film decoded
// whole: with frames that none is predicted from, open groups, edit lists, rotation, pixels
// that are not square, other formats and rates that vary.
func TestShortenedFilmsHaveTheSameBits(t *testing.T) {
	dir := t.TempDir()
	x264 := func(args ...string) []string {
		return append([]string{"-c:v", "libx264", "-preset", "fast", "-g", "24", "-keyint_min", "24"}, args...)
	}
	for name, args := range map[string][]string{
		"pyramid.mp4": x264("-bf", "4", "-b-pyramid", "normal"),
		"open.mp4":    x264("-x264-params", "open-gop=1:bframes=3", "-use_editlist", "0"),
		"format.mov":  x264("-vf", "setsar=4/3", "-pix_fmt", "yuv422p10le", "-colorspace", "bt709", "-color_range", "pc"),
		"varying.mp4": x264("-vf", "select='not(eq(mod(n,5),3))'", "-fps_mode", "passthrough", "-movflags", "faststart"),
		"sound.mp4":   {"-f", "lavfi", "-i", "sine=d=3", "-c:v", "libx264", "-g", "24", "-c:a", "aac", "-shortest"},
	} {
		path := filepath.Join(dir, name)
		makeFilm(t, path, args...)
		src, err := Open(t.Context(), []string{path}, Options{Index: &Index{}})
		if err != nil {
			t.Fatal(err)
		}
		f := filesOf(t, src)
		whole, err := f.readWhole(t.Context(), 0, maxPixels)
		if err != nil {
			t.Fatal(err)
		}
		table, err := f.timeline(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		asFilms(t, src)
		for _, first := range []int{24, 45} { // a key frame, and a frame between two
			frames := []int{first, first + 1, first + 2, first + 3, first + 4}
			short, at, done, ok := f.shortened(0, table, frames)
			if !ok {
				t.Fatalf("%s was not shortened", name)
			}
			c, err := f.decodeFrames(t.Context(), 0, short, at, frames, fit{}, nil, nil, nil)
			done()
			if name == "open.mp4" && err == nil && c.T < len(frames) {
				continue // it is read from the film itself
			}
			if err != nil || c.T != len(frames) {
				t.Fatalf("%s from %d: %d frames, %v", name, first, c.T, err)
			}
			size := whole.h * whole.w * 3
			want := make([]float32, 5*size)
			for i := range want {
				want[i] = float32(whole.rgb[first*size+i]) * (1. / 255)
			}
			if !cmp.Equal(c.Video, want, sameFloats) {
				t.Errorf("%s: the window at %d differs from the whole film", name, first)
			}
		}
	}
}

// What is not predicted from is left out in front of a window; without B-frames nothing is.
func TestShortenLeavesFramesOut(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]struct {
		args []string
		less bool
	}{
		"b.mp4": {[]string{"-c:v", "libx264", "-g", "60", "-bf", "2", "-b-pyramid", "none", "-sc_threshold", "0"}, true},
		"p.mp4": {[]string{"-c:v", "libx264", "-g", "60", "-bf", "0", "-sc_threshold", "0"}, false},
	} {
		path := filepath.Join(dir, name)
		makeFilm(t, path, want.args...)
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := readMP4(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			t.Fatal(err)
		}
		r, _, err := f.shorten(50, 52)
		if err != nil {
			t.Fatal(err)
		}
		short, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readMP4(bytes.NewReader(short), int64(len(short)))
		if err != nil {
			t.Fatal(err)
		}
		if n := len(got.size); n < 20 || n > 56 || (n < 45) != want.less {
			t.Errorf("%s: %d samples for frames 50 to 52 of a group of 60", name, n)
		}
	}
}

// A film that is cut off while its window is read is an error; one that has no description of
// H.264 samples, or a damaged one, is left to ffmpeg.
func TestShortenRefusesWhatItDoesNotKnow(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.mp4")
	makeFilm(t, path, "-c:v", "libx264", "-g", "24")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := readMP4(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	f.file = bytes.NewReader(raw[:f.offset[40]+1])
	r, _, err := f.shorten(38, 44)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a film that was cut off gives %v", err)
	}
	for _, args := range [][]string{{"-c:v", "mpeg4"}, {"-c:v", "libx264", "-movflags", "frag_keyframe+empty_moov"}} {
		path := filepath.Join(dir, "other.mp4")
		makeFilm(t, path, args...)
		other, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readMP4(bytes.NewReader(other), int64(len(other))); !errors.Is(err, errNotShortened) {
			t.Errorf("%v: %v", args, err)
		}
	}
	moov := bytes.Index(raw, []byte("moov"))
	for k := moov; k < len(raw); k += 3 { // damage anywhere in the description
		bad := bytes.Clone(raw)
		bad[k] ^= 0xff
		if f, err := readMP4(bytes.NewReader(bad), int64(len(bad))); err == nil {
			if r, _, err := f.shorten(3, min(9, len(f.shown)-1)); err == nil {
				io.Copy(io.Discard, r)
			}
		}
	}
}

// A window that cannot be read from the shortened film is read from the film itself.
func TestShortenedFilmFallsBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.mp4")
	makeFilm(t, path, "-c:v", "libx264", "-g", "24")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// A description of times that is wrong by one sample.
	at := bytes.Index(raw, []byte("stss"))
	copy(raw[at:], "free")
	if err := os.WriteFile(path, raw, 0o666); err != nil {
		t.Fatal(err)
	}
	src, err := Open(t.Context(), []string{path}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := asFilms(t, src)
	c, _, err := f.readPart(context.Background(), 0, fixedRequest([]int{30, 31, 32}, fit{}), nil, nil)
	if err != nil || c.T != 3 {
		t.Errorf("%d frames, %v", c.T, err)
	}
}
