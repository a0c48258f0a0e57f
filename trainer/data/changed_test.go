package data

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What shrinks, changes or disappears while it is in use costs its clips, each with a name and the reason; the others are read on.
func TestChangedClipsAreLeftOutByName(t *testing.T) {
	root := filepath.Join(t.TempDir(), "set")
	write(t, filepath.Join(root, "gone.gif"), onePixelGIF(t, 3))
	write(t, filepath.Join(root, "longer.gif"), onePixelGIF(t, 3))
	write(t, filepath.Join(root, "stays.gif"), onePixelGIF(t, 3))
	greyFrames(t, filepath.Join(root, "folder"), 2, 2, 1, 2, 3)
	cut := write(t, filepath.Join(root, "cut.npy"), npy("|u1", []int{1, 3, 3, 2, 2}, make([]uint8, 36)))
	src := mustOpen(t, Options{Cache: -1}, root)
	cfg := Config{Size: 2, Frames: 3, Channels: 3, ValShare: .2, Workers: 1}
	l := mustLoad(t, src, cfg, 5, true)
	for range 3 {
		next(t, l)
	}
	if s := l.Skipped(); len(s) > 0 {
		t.Fatal(s)
	}
	os.Remove(filepath.Join(root, "gone.gif"))
	write(t, filepath.Join(root, "longer.gif"), onePixelGIF(t, 4))
	os.Remove(filepath.Join(root, "folder", "frame-1.png"))
	os.Truncate(cut, 100)
	for range 8 { // the first ones were prefetched
		next(t, l)
	}
	told := map[string]string{}
	for _, e := range l.Skipped() {
		told[e.Name] = e.Error()
	}
	for name, want := range map[string]string{
		"gone.gif": "no such file", "longer.gif": "has changed while it was in use", "folder": "2 images, there were 3", "cut.npy/000000": "100 bytes of",
	} {
		reading := name == "folder" && strings.Contains(told[name], "no such file") // a worker had begun to read it
		if !strings.Contains(told[name], want) && !reading {
			t.Errorf("%s: %q, want %q", name, told[name], want)
		}
	}
	if len(told) != 4 {
		t.Errorf("left out: %v", told)
	}
}

// A film that grows shorter after it was indexed is left out, not shown with a repeated frame.
func TestAFilmThatShrinksIsLeftOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.mkv")
	makeFilm(t, path, "testsrc2=s=32x24:r=25:d=1", "-c:v", "ffv1")
	src := mustOpen(t, Options{Index: &Index{}}, path)
	f := asFilms(t, src)
	if _, _, err := f.readPart(t.Context(), 0, fixedRequest([]int{0, 1}, fit{}), nil, nil); err != nil {
		t.Fatal(err)
	}
	raw := read(t, path)
	write(t, path, raw[:len(raw)/2])
	_, _, err := f.readPart(t.Context(), 0, fixedRequest([]int{20, 21}, fit{}), nil, nil)
	if bad := (*ClipError)(nil); !errors.As(err, &bad) || !strings.Contains(err.Error(), "has changed") {
		t.Errorf("%v", err)
	}
}

// An old ffmpeg is refused with what to install, as it concerns every film; a film whose codec it lacks is left out with it.
func TestAnOldOrPartialFFmpegIsTold(t *testing.T) {
	film := tempFile(t, "a.mp4", []byte("x"))
	for version, want := range map[string]string{"3.4.8-0ubuntu0.2": "version 3.4; wanted: 4.2 or newer (apt-get install ffmpeg", "4.1.9": "version 4.1; wanted"} {
		fakeVersion(t, version, "exit 0")
		src := mustOpen(t, Options{}, film)
		for _, read := range []func() error{
			func() error { _, err := src.Read(t.Context(), 0); return err },
			func() error { _, _, err := length(t.Context(), src, 0); return err },
			func() error { _, err := Resolve(t.Context(), src, []int{0}, Config{ValShare: .2}); return err },
		} {
			err := read()
			if bad := (*ClipError)(nil); errors.As(err, &bad) || !errors.Is(err, errFFmpeg) || !strings.Contains(err.Error(), want) {
				t.Errorf("version %s: %v, want %q", version, err, want)
			}
		}
	}
	for said, want := range map[string]string{
		"Decoder (codec hevc) not found for input stream #0:0":                     "codec hevc",
		"[vist#0:0/hevc @ 0x5] Decoding requested, but no decoder found for: hevc": "decoder found for: hevc",
		"Unknown decoder 'libvpx-vp9'":                                             "libvpx-vp9", "Unknown encoder 'pam'": "pam",
	} {
		fakeVersion(t, "5.1.9", `echo "`+said+`" >&2; exit 1`)
		_, err := mustOpen(t, Options{}, film).Read(t.Context(), 0)
		if bad := (*ClipError)(nil); !errors.As(err, &bad) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "install a complete one (apt-get") {
			t.Errorf("%q: %v", said, err)
		}
	}
	// A build without its version's number is taken for a recent one.
	fakeVersion(t, "N-109542-g9d5e66942c", "echo broken >&2; exit 1")
	if _, err := mustOpen(t, Options{Stall: time.Second}, film).Read(t.Context(), 0); err == nil || errors.Is(err, errFFmpeg) {
		t.Error(err)
	}
}
