package data

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"magvit/trainer/usage"
)

// grey writes frames named name-0.png, ... of w by h pixels of one value each.
func greyFrames(t *testing.T, dir string, w, h int, values ...uint8) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i, v := range values {
		m := image.NewGray(image.Rect(0, 0, w, h))
		for k := range m.Pix {
			m.Pix[k] = v
		}
		var b bytes.Buffer
		if err := png.Encode(&b, m); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("frame-%d.png", i)), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func names(src Source) []string {
	var n []string
	for i := range src.Len() {
		n = append(n, fmt.Sprintf("%s %d", src.Name(i), src.Label(i)))
	}
	return n
}

func TestFolderBecomesClips(t *testing.T) {
	root := filepath.Join(t.TempDir(), "set")
	greyFrames(t, filepath.Join(root, "b", "x"), 2, 2, 0)
	greyFrames(t, filepath.Join(root, "a", "y"), 2, 2, 0)
	greyFrames(t, filepath.Join(root, "z"), 2, 2, 0)
	greyFrames(t, filepath.Join(root, ".hidden", "x"), 2, 2, 0)
	os.WriteFile(filepath.Join(root, "a", "w.GIF"), nil, 0o600)
	os.WriteFile(filepath.Join(root, "a", "notes.txt"), nil, 0o600)
	src := mustOpen(t, Options{}, root)
	if d := cmp.Diff([]string{"a/w.GIF 0", "a/y 0", "b/x 1", "z -1"}, names(src)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"a", "b"}, src.Classes()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"x -1"}, names(mustOpen(t, Options{}, filepath.Join(root, "b", "x")))); d != "" {
		t.Errorf("a folder of frames itself: %s", d)
	}
	if d := cmp.Diff([]string{"x -1", "w.GIF -1", "y -1"}, names(mustOpen(t, Options{}, filepath.Join(root, "b"), filepath.Join(root, "a")))); d != "" {
		t.Errorf("two folders: %s", d)
	}
	if d := cmp.Diff([]string{"w.GIF -1"}, names(mustOpen(t, Options{}, filepath.Join(root, "a", "*.GIF")))); d != "" {
		t.Errorf("a pattern: %s", d)
	}
}

// A pattern of files in several folders tells files of the same name apart, and gives the classes that the folder gives.
func TestPatternOfSeveralFolders(t *testing.T) {
	root := filepath.Join(t.TempDir(), "set")
	greyFrames(t, filepath.Join(root, "a"), 2, 2, 0, 1)
	greyFrames(t, filepath.Join(root, "b", "c"), 2, 2, 0)
	for _, c := range []struct {
		pattern []string
		want    []string
	}{
		{[]string{"*", "*.png"}, []string{"a/frame-0.png 0", "a/frame-1.png 0"}},
		{[]string{"?", "*", "*.png"}, []string{"b/c/frame-0.png 0"}},
		{[]string{"b", "[abc]", "*.png"}, []string{"c/frame-0.png 0"}},
		{[]string{"a", "*0.png"}, []string{"frame-0.png -1"}},
		{[]string{"a", "frame-*"}, []string{"frame-0.png -1", "frame-1.png -1"}},
	} {
		src := mustOpen(t, Options{}, filepath.Join(append([]string{root}, c.pattern...)...))
		if d := cmp.Diff(c.want, names(src)); d != "" {
			t.Errorf("%v: %s", c.pattern, d)
		}
		if got := mustRead(t, src, 0); got.Name != src.Name(0) || got.T != 1 {
			t.Errorf("%v: clip 0 reads as %q of %d frames", c.pattern, got.Name, got.T)
		}
	}
	t.Chdir(root)
	if d := cmp.Diff([]string{"a/frame-0.png 0", "a/frame-1.png 0"}, names(mustOpen(t, Options{}, "*/*.png"))); d != "" {
		t.Errorf("a relative pattern: %s", d)
	}
}

// Clips of the same name are told: their codes are told apart by it.
func TestClipsOfOneName(t *testing.T) {
	root := filepath.Join(t.TempDir(), "set")
	greyFrames(t, filepath.Join(root, "a"), 2, 2, 0, 1)
	greyFrames(t, filepath.Join(root, "b"), 2, 2, 0, 1)
	var files []string
	for _, f := range []string{"a/frame-0.png", "a/frame-1.png", "b/frame-0.png"} {
		files = append(files, filepath.Join(root, f))
	}
	problems := mustOpen(t, Options{}, files...).Problems()
	if want := "1 name is that of several clips (frame-0.png)"; len(problems) != 1 || !strings.HasPrefix(problems[0], want) {
		t.Errorf("problems %q, want %q", problems, want)
	}
	if problems := mustOpen(t, Options{}, files[:2]...).Problems(); len(problems) != 0 {
		t.Errorf("problems %q of different names", problems)
	}
	if problems := mustOpen(t, Options{}, filepath.Join(root, "*", "*.png")).Problems(); len(problems) != 0 {
		t.Errorf("problems %q of a pattern", problems)
	}
}

// With Options.Images the images of a folder are clips of one frame and of any size, of the class of their folder.
func TestImagesOfFolders(t *testing.T) {
	root := filepath.Join(t.TempDir(), "set")
	greyFrames(t, filepath.Join(root, "a"), 4, 2, 0, 9)
	greyFrames(t, filepath.Join(root, "b", "c"), 2, 2, 50)
	greyFrames(t, filepath.Join(root, "val"), 6, 6, 7)
	greyFrames(t, root, 8, 8, 200)
	src := mustOpen(t, Options{Images: true, Val: []string{filepath.Join(root, "val")}}, root)
	want := []string{"a/frame-0.png 0", "a/frame-1.png 0", "b/c/frame-0.png 1", "frame-0.png -1", "frame-0.png -1"}
	if d := cmp.Diff(want, names(src)); d != "" {
		t.Error(d)
	}
	if c := mustRead(t, src, 1); c.T != 1 || c.W != 4 || c.Video[0] != float32(9)/255 {
		t.Errorf("%s: %d frames of width %d, value %v", c.Name, c.T, c.W, c.Video[0])
	}
}

func TestSeveralSourcesShareClasses(t *testing.T) {
	root := filepath.Join(t.TempDir(), "set")
	greyFrames(t, filepath.Join(root, "1", "x"), 2, 2, 0)
	greyFrames(t, filepath.Join(root, "up", "x"), 2, 2, 0)
	shape, v := ramp(2, 1, 3, 2, 2)
	src := mustOpen(t, Options{}, root, tempNPZ(t, Array{"videos", shape, v}, Array{"labels", []int{2}, []int64{1, 0}}))
	if d := cmp.Diff([]string{"0", "1", "up"}, src.Classes()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"clips.npz/000000 1", "clips.npz/000001 0", "1/x 1", "up/x 2"}, names(src)); d != "" {
		t.Error(d)
	}
	for i := range 4 {
		if c := mustRead(t, src, i); c.Label != src.Label(i) || c.Name != src.Name(i) {
			t.Errorf("clip %d reads as %q, %d", i, c.Name, c.Label)
		}
	}
}

func TestBadPathsAreExplained(t *testing.T) {
	empty := t.TempDir()
	for _, c := range []struct{ path, want string }{
		{filepath.Join(empty, "none.npz"), "no such file"},
		{filepath.Join(empty, "*.mp4"), "matches no file"},
		{empty, "no clips in"},
	} {
		if _, err := Open(t.Context(), []string{c.path}, Options{}); !errors.Is(err, usage.Error) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.path, err, c.want)
		}
	}
	if _, err := Open(t.Context(), nil, Options{}); !errors.Is(err, usage.Error) {
		t.Errorf("no paths: %v", err)
	}
}

func TestFramesAreReadInNaturalOrder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "clip")
	greyFrames(t, dir, 3, 2, 0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
	c := mustRead(t, mustOpen(t, Options{}, dir), 0)
	if c.T != 11 || c.H != 2 || c.W != 3 || c.C != 3 {
		t.Fatalf("read [%d,%d,%d,%d], want [11,2,3,3]", c.T, c.H, c.W, c.C)
	}
	for f := range 11 {
		if got, want := c.Video[f*18], float32(10*f)/255; got != want {
			t.Errorf("frame %d holds %v, want %v", f, got, want)
		}
	}
}

func TestUnreadableClipsAreClipErrors(t *testing.T) {
	root := t.TempDir()
	greyFrames(t, filepath.Join(root, "mixed"), 2, 2, 0)
	greyFrames(t, filepath.Join(root, "other"), 3, 2, 0)
	os.Rename(filepath.Join(root, "other", "frame-0.png"), filepath.Join(root, "mixed", "frame-1.png"))
	os.WriteFile(filepath.Join(root, "bad.gif"), []byte("GIF89a and nothing more"), 0o600)
	greyFrames(t, filepath.Join(root, "torn"), 2, 2, 0, 0)
	os.WriteFile(filepath.Join(root, "torn", "frame-1.png"), []byte("\x89PNG"), 0o600)
	src := mustOpen(t, Options{}, root)
	want := map[string]string{"mixed": "frame-1.png: 3x2", "bad.gif": "gif", "torn": "frame-1.png"}
	for i := range src.Len() {
		_, err := src.Read(t.Context(), i)
		if bad := (*ClipError)(nil); !errors.As(err, &bad) || bad.Name != src.Name(i) || !strings.Contains(err.Error(), want[src.Name(i)]) {
			t.Errorf("%s: %v, want a ClipError with %q", src.Name(i), err, want[src.Name(i)])
		}
	}
	if src.Len() != len(want) {
		t.Errorf("%d clips, want %d", src.Len(), len(want))
	}
}

// Three frames of 2x1 pixels: red all over; then green on the left, taken away
// after it (background: clear; previous: the red comes back); then nothing.
func TestGIFDisposal(t *testing.T) {
	red, green := color.RGBA{255, 0, 0, 255}, color.RGBA{0, 255, 0, 255}
	for disposal, left := range map[byte][]float32{
		gif.DisposalNone: {0, 1, 0}, gif.DisposalBackground: {1, 1, 1}, gif.DisposalPrevious: {1, 0, 0},
	} {
		full := image.NewPaletted(image.Rect(0, 0, 2, 1), color.Palette{red, green, color.RGBA{}})
		dot := image.NewPaletted(image.Rect(0, 0, 1, 1), full.Palette)
		dot.Pix[0] = 1
		none := image.NewPaletted(image.Rect(0, 0, 1, 1), full.Palette)
		none.Pix[0] = 2
		var b bytes.Buffer
		err := gif.EncodeAll(&b, &gif.GIF{Image: []*image.Paletted{full, dot, none}, Delay: []int{1, 1, 1}, Disposal: []byte{gif.DisposalNone, disposal, gif.DisposalNone}})
		if err != nil {
			t.Fatal(err)
		}
		c := mustRead(t, mustOpen(t, Options{}, tempFile(t, "a.gif", b.Bytes())), 0)
		want := append([]float32{1, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0}, append(left, 1, 0, 0)...)
		if d := cmp.Diff(want, c.Video, sameFloats); d != "" || c.T != 3 {
			t.Errorf("disposal %d: %s", disposal, d)
		}
	}
}

func TestHundredThousandClipsOpenInLittleMemory(t *testing.T) {
	const clips, folders = 100_000, 20
	root := t.TempDir()
	for d := range folders {
		dir := filepath.Join(root, fmt.Sprintf("class-%02d", d))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		first := filepath.Join(dir, "00000.gif") // the others are links to it: a made file costs far more
		if err := os.WriteFile(first, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for i := 1; i < clips/folders; i++ {
			if err := os.Link(first, filepath.Join(dir, fmt.Sprintf("%05d.gif", i))); err != nil {
				t.Skipf("the file system does not link: %v", err)
			}
		}
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	src := mustOpen(t, Options{}, root)
	// 32 bytes an entry, 32 for its name, and the spare capacity of a growing slice.
	if used := int64(heap() - before); used > 150*clips {
		t.Errorf("%d bytes held for %d clips, want at most 150 each", used, clips)
	}
	if src.Len() != clips || len(src.Classes()) != folders || src.Name(clips-1) != "class-19/04999.gif" {
		t.Errorf("%d clips of %d classes, the last is %s", src.Len(), len(src.Classes()), src.Name(clips-1))
	}
	train, val, err := Split(src, .2)
	if err != nil || len(train) != 80_000 || len(val) != 20_000 {
		t.Errorf("split into %d and %d: %v", len(train), len(val), err)
	}
}

func needFFmpeg(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed")
	}
	return path
}

func TestVideoFiles(t *testing.T) {
	ffmpeg := needFFmpeg(t)
	frames, root := filepath.Join(t.TempDir(), "f"), t.TempDir()
	values := []uint8{0, 50, 100, 150, 200, 250, 50, 100}
	greyFrames(t, frames, 32, 16, values...)
	make := func(name string, args ...string) {
		args = append([]string{"-loglevel", "error", "-framerate", "10", "-i", filepath.Join(frames, "frame-%d.png")}, append(args, "file:"+filepath.Join(root, name))...)
		if out, err := exec.Command(ffmpeg, args...).CombinedOutput(); err != nil {
			t.Fatalf("making %s: %v %s", name, err, out)
		}
	}
	make("-lossless: a.mkv", "-c:v", "ffv1")
	make("b.avi", "-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p")
	make("c.mp4", "-c:v", "mpeg4", "-q:v", "2")
	os.WriteFile(filepath.Join(root, "d.mp4"), []byte("not a video at all"), 0o600)
	whole, _ := os.ReadFile(filepath.Join(root, "c.mp4"))
	os.WriteFile(filepath.Join(root, "e.mp4"), whole[:len(whole)/2], 0o600)
	src := mustOpen(t, Options{}, root)
	for i, tol := range []float32{1. / 255, 6. / 255, 6. / 255} { // lossless; lossy codecs at their best quality, studio range included
		c := mustRead(t, src, i)
		if c.T != len(values) || c.H != 16 || c.W != 32 || c.C != 3 {
			t.Errorf("%s: [%d,%d,%d,%d], want [%d,16,32,3]", c.Name, c.T, c.H, c.W, c.C, len(values))
			continue
		}
		for f, v := range values {
			got, want := c.Video[f*16*32*3+700], float32(v)/255
			if d := got - want; d > tol || d < -tol {
				t.Errorf("%s: frame %d holds %v, want %v within %v", c.Name, f, got, want, tol)
			}
		}
	}
	for i := 3; i < 5; i++ { // ffmpeg 5 exits with 1, ffmpeg 7 with the low byte of its error
		_, err := src.Read(t.Context(), i)
		if bad := (*ClipError)(nil); !errors.As(err, &bad) || !strings.Contains(err.Error(), "ffmpeg: exit status ") {
			t.Errorf("%s: %v, want a ClipError with what ffmpeg says", src.Name(i), err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fresh := mustOpen(t, Options{}, root)
	if _, err := fresh.Read(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled read: %v", err)
	}
}

func TestWithoutFFmpegOpenSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Open(t.Context(), []string{tempFile(t, "a.mp4", nil)}, Options{})
	if !errors.Is(err, usage.Error) || !strings.Contains(err.Error(), "apt-get install ffmpeg") {
		t.Errorf("%v", err)
	}
}

func TestDecodedClipsAreCachedUpToTheLimit(t *testing.T) {
	root := t.TempDir()
	for i := range 3 {
		greyFrames(t, filepath.Join(root, fmt.Sprint(i)), 2, 2, uint8(i))
	}
	src := mustOpen(t, Options{Cache: 2 * 12}, root)
	for i := range 3 {
		mustRead(t, src, i)
	}
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		_, err := src.Read(t.Context(), i)
		if kept := i < 2; kept != (err == nil) {
			t.Errorf("clip %d after its file is gone: %v; room is for two clips", i, err)
		}
	}
}

func TestInspect(t *testing.T) {
	root := t.TempDir()
	greyFrames(t, filepath.Join(root, "a", "x"), 2, 2, 0, 255)
	greyFrames(t, filepath.Join(root, "a", "y"), 2, 2, 0, 255)
	greyFrames(t, filepath.Join(root, "z"), 3, 2, 255)
	os.WriteFile(filepath.Join(root, "bad.gif"), nil, 0o600)
	info, err := Inspect(t.Context(), mustOpen(t, Options{}, root), 0)
	if err != nil {
		t.Fatal(err)
	}
	problems := info.Problems
	info.Problems = nil
	want := Info{Clips: 4, Read: 3, Unread: 1, Shapes: []ShapeInfo{{2, 2, 2, 3, 2}, {1, 2, 3, 3, 1}}, Min: 0, Max: 1, Mean: 14. / 22,
		Classes: []string{"a"}, PerClass: []int{2}, Unlabelled: 2}
	if d := cmp.Diff(want, info); d != "" {
		t.Error(d)
	}
	if len(problems) != 2 || !strings.Contains(problems[0], "bad.gif") || !strings.Contains(problems[1], "2 different shapes") {
		t.Errorf("problems: %q", problems)
	}
}
