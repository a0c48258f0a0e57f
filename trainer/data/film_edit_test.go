package data

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// remux copies a film's packets.
func remux(t *testing.T, from, to string, args ...string) {
	t.Helper()
	args = append(append([]string{"-nostdin", "-y", "-loglevel", "error"}, args...), "-i", from, "-c", "copy", "-avoid_negative_ts", "disabled", to)
	if out, err := exec.Command(needFFmpeg(t), args...).CombinedOutput(); err != nil {
		t.Skipf("this ffmpeg cannot make %s: %v %s", filepath.Base(to), err, out)
	}
}

// withCleanAperture adds a clean aperture of 40x30 to the description of an MP4 film whose
// moov box is at its end.
func withCleanAperture(t *testing.T, film []byte) []byte {
	t.Helper()
	clap := mp4Box("clap", numbers(40, 1, 30, 1, 0, 1, 0, 1))
	out := bytes.Clone(film)
	at := 0
	for _, p := range []struct {
		kind string
		skip int
	}{{"moov", 8}, {"trak", 8}, {"mdia", 8}, {"minf", 8}, {"stbl", 8}, {"stsd", 16}, {"avc1", 0}} {
		for string(film[at+4:at+8]) != p.kind {
			at += int(binary.BigEndian.Uint32(film[at:]))
		}
		n := binary.BigEndian.Uint32(film[at:])
		binary.BigEndian.PutUint32(out[at:], n+uint32(len(clap)))
		if at += p.skip; p.kind == "avc1" {
			at += int(n)
		}
	}
	return append(append(bytes.Clone(out[:at]), clap...), film[at:]...)
}

// Edit lists and clean apertures: numbers of frames, and which, as PyAV 18.1.0 (libavcodec
// 62.28.102) and torchcodec 0.17.0 (exact seek) read films that are made this way.
func TestEditListsAndCleanAperture(t *testing.T) {
	dir := t.TempDir()
	base := filepath.Join(dir, "base.mp4")
	makeFilm(t, base, "testsrc2=s=64x48:r=25:d=2", "-c:v", "libx264", "-g", "12")
	raw, err := os.ReadFile(base)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := mustOpen(t, Options{}, base).Read(t.Context(), 0)
	if err != nil || whole.T != 50 {
		t.Fatal(whole.T, err)
	}
	remux(t, base, filepath.Join(dir, "offset.mp4"), "-ss", "0.5")         // starts between key frames
	remux(t, base, filepath.Join(dir, "empty.mp4"), "-itsoffset", "1")     // an empty edit first
	remux(t, base, filepath.Join(dir, "before.mp4"), "-itsoffset", "-0.2") // negative time stamps, cut off
	if err := os.WriteFile(filepath.Join(dir, "clap.mp4"), withCleanAperture(t, raw), 0o666); err != nil {
		t.Fatal(err)
	}
	size := whole.H * whole.W * 3
	for _, want := range []struct {
		name   string
		frames int
		first  int     // frame of base
		ended  float64 // time stamp of the last frame, after the first one's
	}{
		{"offset.mp4", 37, 13, 1.44},
		{"empty.mp4", 50, 0, 1.96},
		{"before.mp4", 45, 5, 1.76},
		{"clap.mp4", 50, 0, 1.96}, // of the stored size: the aperture is for players
	} {
		src := mustOpen(t, Options{}, filepath.Join(dir, want.name))
		c, err := src.Read(t.Context(), 0)
		if err != nil || c.T != want.frames || c.H != whole.H || c.W != whole.W {
			t.Errorf("%s: %d frames of %dx%d, %v; want %+v", want.name, c.T, c.W, c.H, err, want)
			continue
		}
		if d := farthest(c.Video, whole.Video[want.first*size:(want.first+want.frames)*size]); d > 0 {
			t.Errorf("%s differs from frames %d on by %v", want.name, want.first, d)
		}
		f := asFilms(t, src)
		n, times, _, err := f.length(t.Context(), 0)
		if err != nil || n != want.frames || abs(times(n-1)-times(0)-want.ended) > .001 {
			t.Errorf("%s: %d frames from %g to %g s, %v; want %+v", want.name, n, times(0), times(n-1), err, want)
		}
		last := want.frames - 2
		end, _, err := f.readPart(t.Context(), 0, fixedRequest([]int{last, last + 1}, fit{}), nil, nil)
		if err != nil || end.T != 2 {
			t.Errorf("%s: the last window has %d frames, %v", want.name, end.T, err)
			continue
		}
		if d := farthest(end.Video, whole.Video[(want.first+last)*size:(want.first+want.frames)*size]); d > 1e-6 {
			t.Errorf("%s: its last window differs by %v", want.name, d)
		}
	}
}

// A film of pixels that are not square is stretched before it is fitted: 64x48 with pixels of 4:3 are 85x48
// as players show it, and fill 36 of 64 lines of a letterbox.
func TestLetterboxOfPixelsThatAreNotSquare(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sar.mp4")
	makeFilm(t, path, "color=white:s=64x48:r=25:d=1", "-vf", "setsar=4/3", "-c:v", "libx264")
	f := asFilms(t, mustOpen(t, Options{}, path))
	c, _, err := f.readPart(t.Context(), 0, fixedRequest([]int{3}, fit{mode: fitLetterbox, H: 64, W: 64}), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for y := range 64 {
		for x := range 64 {
			if v, inside := c.Video[(y*64+x)*3], y >= 14 && y < 50; inside && v < .9 || !inside && v != 0 {
				t.Fatalf("line %d, column %d is %v; want white in lines 14 to 49", y, x, v)
			}
		}
	}
}

func abs(x float64) float64 { return max(x, -x) }

// The number of channels of a film is found without a frame of its size as floats.
func TestResolvingAFilmTakesNoFrameOfFloats(t *testing.T) {
	const h, w = 960, 1280
	path := filepath.Join(t.TempDir(), "a.mp4")
	makeFilm(t, path, "color=green:s=1280x960:r=25:d=1", "-c:v", "mpeg4")
	src := mustOpen(t, Options{}, path)
	asFilms(t, src)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cfg, err := Resolve(t.Context(), src, []int{0}, Config{Size: 32, Frames: 4, ValShare: .2})
	runtime.ReadMemStats(&after)
	if err != nil || cfg.Channels != 3 {
		t.Fatal(cfg, err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 2*h*w*4 {
		t.Errorf("%d bytes were allocated; a frame of floats has %d", n, h*w*3*4)
	}
}
