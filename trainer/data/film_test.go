package data

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"magvit/kernels/philox"
)

// makeFilm encodes a test picture that differs in every frame.
func makeFilm(t *testing.T, path string, args ...string) {
	t.Helper()
	source := "testsrc2=s=64x48:r=25:d=3"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		source, args = args[0], args[1:]
	}
	source += ",hue=h=37*n" // frames that differ everywhere
	args = append([]string{"-nostdin", "-y", "-loglevel", "error", "-f", "lavfi", "-i", source}, append(args, "file:"+path)...)
	if out, err := exec.Command(needFFmpeg(t), args...).CombinedOutput(); err != nil {
		t.Skipf("this ffmpeg cannot make %s: %v %s", filepath.Base(path), err, out)
	}
}

// filesOf is the Source of files inside an opened one.
func filesOf(t *testing.T, src Source) *files {
	t.Helper()
	for _, p := range src.(*joined).parts {
		if f, ok := p.(*files); ok {
			return f
		}
	}
	t.Fatal("no files")
	return nil
}

// asFilms makes every clip be read by windows.
func asFilms(t *testing.T, src Source) *files {
	f := filesOf(t, src)
	for i := range f.clips {
		f.films[i] = true
	}
	return f
}

func fixedRequest(frames []int, f fit) request {
	return request{choose: func(int, func(int) float64) ([]int, fit) { return frames, f }}
}

// Windows of a film hold the frames that decoding it whole gives, in every container
// and with every kind of key frames. -short tries one of each way to seek.
func TestWindowsEqualTheWholeFilm(t *testing.T) {
	for name, args := range map[string][]string{
		"b frames.mp4":   {"-c:v", "libx264", "-g", "50", "-bf", "3"},
		"open gop.mkv":   {"-c:v", "libx264", "-x264-params", "open-gop=1:keyint=20:bframes=3"},
		"one key.mov":    {"-c:v", "libx264", "-g", "1000"},
		"fragments.mp4":  {"-c:v", "libx264", "-g", "25", "-movflags", "frag_keyframe+empty_moov"},
		"xvid.avi":       {"-c:v", "mpeg4", "-q:v", "3", "-g", "30", "-bf", "2"},
		"vp9.webm":       {"-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "30"},
		"vp8.webm":       {"-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-g", "30", "-auto-alt-ref", "0"},
		"mpeg2.mpg":      {"-c:v", "mpeg2video", "-g", "15", "-bf", "2", "-q:v", "3"},
		"transport.ts":   {"-c:v", "libx264", "-g", "25", "-bf", "2"},
		"theora.ogv":     {"-c:v", "libtheora", "-q:v", "7", "-g", "25"},
		"windows.wmv":    {"-c:v", "wmv2", "-q:v", "3", "-g", "25"},
		"flash.flv":      {"-c:v", "flv", "-q:v", "3", "-g", "25"},
		"raw.h264":       {"-c:v", "libx264", "-g", "25"},
		"hevc.mp4":       {"-c:v", "libx265", "-x265-params", "log-level=none:keyint=25", "-preset", "ultrafast"},
		"variable.mkv":   {"-c:v", "libx264", "-g", "20", "-vf", "setpts='PTS+floor(N/7)*0.013/TB'", "-vsync", "passthrough"},
		"late start.mkv": {"-c:v", "libx264", "-g", "20", "-output_ts_offset", "2.5"},
		"motion.nut":     {"-c:v", "ffv1"},
	} {
		if testing.Short() && !slices.Contains([]string{"b frames.mp4", "open gop.mkv", "xvid.avi", "raw.h264", "variable.mkv"}, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), name)
			makeFilm(t, path, append([]string{"testsrc2=s=64x48:r=25:d=2.4"}, args...)...)
			whole := mustRead(t, mustOpen(t, Options{}, path), 0)
			f := asFilms(t, mustOpen(t, Options{Cache: -1, Index: &Index{}}, path))
			n, _, _, err := f.length(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			if n != whole.T {
				t.Errorf("the scan counts %d frames, decoding gives %d", n, whole.T)
			}
			size := whole.H * whole.W * 3
			r := philox.New(1, "windows", 0, 0)
			for k := range 2 {
				start, step, count := 1+r.IntN(n-13), 1+r.IntN(3), 4
				if k == 1 {
					start, step = n-4, 1
				}
				frames := []int{start, start + step, start + 2*step, start + 3*step}
				c, part, err := readPart(t.Context(), f, 0, fixedRequest(frames, fit{}), nil, nil)
				if err != nil || part || c.T != count {
					t.Fatalf("frames %v: %d frames, whole %v, %v", frames, c.T, part, err)
				}
				for j, at := range frames {
					if d := farthest(c.Video[j*size:(j+1)*size], whole.Video[at*size:(at+1)*size]); d > 1e-6 { // byte/255 against byte * (1/255)
						t.Errorf("frame %d of window %v is not frame %d of the film: off by %v", j, frames, at, d)
					}
				}
			}
		})
	}
}

func farthest(a, b []float32) float64 {
	far := 0.
	for i := range a {
		far = max(far, math.Abs(float64(a[i]-b[i])))
	}
	return far
}

// memoryFilms are clips of memorySource that are read by windows.
type memoryFilms struct{ *memorySource }

func (s memoryFilms) length(_ context.Context, i int) (int, func(int) float64, bool, error) {
	return s.clips[i].T, func(k int) float64 { return float64(k) / 25 }, true, nil
}

func (s memoryFilms) readPart(ctx context.Context, i int, want request, _ *cursor, _ *memory) (decoded, bool, error) {
	c, err := s.Read(ctx, i)
	if err != nil {
		return decoded{}, false, err
	}
	frames, f := want.choose(c.T, func(k int) float64 { return float64(k) / 25 })
	size := c.H * c.W * c.C
	w := Clip{Name: c.Name, Label: c.Label, T: len(frames), H: f.H, W: f.W, C: c.C, Video: make([]float32, len(frames)*f.H*f.W*c.C)}
	for k, at := range frames {
		fitFrame(&scaled{}, w.Video[k*f.H*f.W*c.C:(k+1)*f.H*f.W*c.C], c.Video[at*size:(at+1)*size], c.H, c.W, c.C, f, 1)
	}
	return decoded{Clip: w}, false, nil
}

// Batches of windows are the same for any number of workers and after Seek.
func TestWindowsDependOnSeedAndStepOnly(t *testing.T) {
	films := memoryFilms{&memorySource{}}
	for i, n := range []int{25, 50, 75} {
		c := dots(1, n, 24, 32).clips[0]
		for k := range c.Video {
			c.Video[k] *= 1 - float32(i)/4
		}
		films.clips = append(films.clips, c)
	}
	cfg := Config{Height: 24, Width: 24, Frames: 5, Channels: 3, Flip: true, ValShare: .3, Workers: 1}
	for windows, items := range map[string]int{"random": 3, "first": 3, "3": 9, "all": 5 + 10 + 15} {
		cfg.Windows, cfg.Workers = windows, 1
		var want []Batch
		l := mustLoad(t, films, cfg, 2, true)
		for range 6 {
			want = append(want, next(t, l))
		}
		if got := l.items.len(); got != items {
			t.Errorf("%s: %d windows, want %d", windows, got, items)
		}
		cfg.Workers = 3
		l = mustLoad(t, films, cfg, 2, true)
		for _, step := range []int{0, 4, 2} {
			l.Seek(step)
			if d := cmp.Diff(want[step], next(t, l), sameFloats); d != "" {
				t.Errorf("%s, step %d, 3 workers: %s", windows, step, d)
			}
		}
	}
}

// Batches of films by windows equal those of the films read whole but for the background, and are the same for any number of
// workers.
func TestWindowsOfFilmsDependOnSeedAndStepOnly(t *testing.T) {
	dir := t.TempDir()
	for i := range 2 {
		makeFilm(t, filepath.Join(dir, fmt.Sprintf("%d.mp4", i)), fmt.Sprintf("testsrc2=s=64x48:r=25:d=%d", 1+i), "-vf", fmt.Sprintf("hue=h=%d", 90*i), "-c:v", "libx264", "-g", "12")
	}
	cfg := Config{Height: 24, Width: 24, Frames: 5, Channels: 3, Flip: true, ValShare: .3, Workers: 1}
	whole := mustLoad(t, mustOpen(t, Options{}, dir), cfg, 2, true)
	src := mustOpen(t, Options{Index: &Index{}}, dir)
	asFilms(t, src)
	var want []Batch
	l := mustLoad(t, src, cfg, 2, true)
	for step := range 3 {
		b := next(t, l)
		if d := farthest(b.Video, next(t, whole).Video); d > 1e-5 { // rounding of bytes before and after the filter
			t.Errorf("step %d differs from films that are read whole by %v", step, d)
		}
		want = append(want, b)
	}
	l.Close()
	cfg.Workers = 3
	l = mustLoad(t, src, cfg, 2, true)
	for step := range want {
		if d := cmp.Diff(want[step], next(t, l), sameFloats); d != "" {
			t.Errorf("step %d, 3 workers: %s", step, d)
		}
	}
}

// Evaluation with windows "all" shows every frame of a film once, in order.
func TestAllTilesAFilm(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.mp4")
	makeFilm(t, path, "testsrc2=s=64x48:r=25:d=1", "-c:v", "libx264", "-g", "10")
	whole := mustRead(t, mustOpen(t, Options{}, path), 0)
	src := mustOpen(t, Options{}, path)
	asFilms(t, src)
	for _, c := range []struct {
		stride int
		want   []int // first frame of each window
	}{{1, []int{0, 6, 12, 18, 19}}, {2, []int{0, 12, 14}}} {
		var got []int
		cfg := Config{Height: 48, Width: 64, Frames: 6, Channels: 3, Stride: c.stride, Windows: "all", ValShare: .2}
		_, err := Each(t.Context(), src, []int{0}, cfg, 1, func(b *Batch) error {
			size := 48 * 64 * 3
			for at := range whole.T {
				if farthest(b.Video[:size], whole.Video[at*size:(at+1)*size]) < 1e-6 {
					got = append(got, at)
					for j := range 6 {
						if farthest(b.Video[j*size:(j+1)*size], whole.Video[(at+j*c.stride)*size:][:size]) > 1e-6 {
							t.Errorf("stride %d: frame %d of the window at %d is wrong", c.stride, j, at)
						}
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("stride %d: %s", c.stride, d)
		}
	}
}

func TestWindowing(t *testing.T) {
	times := func(k int) float64 { return float64(k) / 25 }
	for _, c := range []struct {
		w      windowing
		n      int
		starts int
		at     int
		frames []int
	}{
		{windowing{4, 1, 0}, 10, 7, 6, []int{6, 7, 8, 9}},
		{windowing{4, 3, 0}, 10, 1, 0, []int{0, 3, 6, 9}},
		{windowing{4, 1, 0}, 2, 1, 0, []int{0, 1}},
		{windowing{3, 1, 5}, 20, 10, 2, []int{2, 7, 12}},
		{windowing{3, 1, 50}, 20, 19, 4, []int{4, 4, 5}},  // half a frame away: the earlier one
		{windowing{3, 2, 10}, 20, 10, 0, []int{0, 5, 10}}, // a window of 10 a second, every second frame of it
		{windowing{4, 1, 10}, 8, 1, 0, []int{0, 2, 5, 7}}, // 0, .1, .2, .3 s
		{windowing{9, 1, 10}, 8, 1, 0, []int{0, 2, 5, 7}}, // too short
		{windowing{2, 1, 12.5}, 8, 6, 5, []int{5, 7}},     // the last legal start
	} {
		if got := c.w.starts(c.n, times); got != c.starts {
			t.Errorf("%+v of %d frames: %d starts, want %d", c.w, c.n, got, c.starts)
		}
		if d := cmp.Diff(c.frames, c.w.pick(nil, c.n, c.at, times)); d != "" {
			t.Errorf("%+v of %d frames from %d: %s", c.w, c.n, c.at, d)
		}
	}
}

// fake writes a program that stands in for ffmpeg and puts it on the PATH.
func fake(t *testing.T, script string) { fakeVersion(t, "5.1.9", script) }

func fakeVersion(t *testing.T, version, script string) {
	t.Helper()
	dir := t.TempDir()
	body := "#!/bin/sh\ncase \"$*\" in *-version*) echo ffmpeg version " + version + "; exit 0;; esac\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, "ffmpeg"), []byte(body), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// A decoder that stalls, dies, or prints without end costs its clip and no more.
func TestBadDecodersAreEndedAndTheClipNamed(t *testing.T) {
	pam := `printf 'P7\nWIDTH 2\nHEIGHT 1\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\nabcdef'`
	for name, c := range map[string]struct{ script, want string }{
		"stalls":              {"exec sleep 1000", "gave no frame for"},
		"stalls later":        {pam + "; exec sleep 1000", "gave no frame for"},
		"holds the pipe open": {pam + "; sleep 1000 & exit 0", "gave no frame for"},
		"endless digits":      {"exec yes 1111111", "not a picture"},
		"one endless line":    {"exec tr '\\0' 1 </dev/zero", "not a picture"},
		"endless frames":      {"while " + pam + "; do :; done", "decodes to more"},
		"endless complaints":  {"yes complaint >&2", "gave no frame for"},
		"a crash":             {pam + "; kill -SEGV $$", "signal"},
		"an error":            {"echo broken film >&2; exit 1", "broken film"},
		"nothing":             {"exit 0", "no frames"},
		"a cut frame":         {`printf 'P7\nWIDTH 2\nHEIGHT 1\nDEPTH 3\nENDHDR\nab'`, "cut off"},
		"a huge frame":        {`printf 'P7\nWIDTH 30000\nHEIGHT 30000\nDEPTH 3\nENDHDR\nab'`, "30000x30000"},
	} {
		t.Run(name, func(t *testing.T) {
			fake(t, c.script)
			limit := maxPixels
			src := mustOpen(t, Options{Stall: 300 * time.Millisecond}, tempFile(t, "a.mp4", []byte("x")))
			if name == "endless frames" {
				limit = 1 << 10
			}
			began := time.Now()
			_, err := filesOf(t, src).pixels(t.Context(), 0, limit)
			if bad := (*ClipError)(nil); !errors.As(err, &bad) || bad.Name != "a.mp4" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want a ClipError with %q", err, c.want)
			}
			if d := time.Since(began); d > 20*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
	fake(t, "exec sleep 1000")
	src := mustOpen(t, Options{}, tempFile(t, "a.mp4", []byte("x")))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := src.Read(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestSoundAloneIsToldAsSuch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sound.mp4")
	if out, err := exec.Command(needFFmpeg(t), "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", "sine=d=0.2", path).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	src := mustOpen(t, Options{}, path)
	_, readErr := src.Read(t.Context(), 0)
	_, _, scanErr := length(t.Context(), src, 0)
	for _, err := range []error{readErr, scanErr} {
		if bad := (*ClipError)(nil); !errors.As(err, &bad) || !strings.Contains(err.Error(), "no video in it") || strings.Contains(err.Error(), "'?'") {
			t.Errorf("%v", err)
		}
	}
}

// A list of packets without end, or none, is refused.
func TestScansEnd(t *testing.T) {
	for script, want := range map[string]string{
		"yes 1111111": "no list of packets", "yes '#'": "no list of packets", "yes ''": "no list of packets",
		"exec tr '\\0' 1 </dev/zero": "no list of packets", "exec sleep 1000": "gave no packet for", "echo '#tb 0: 1/25'": "no frames",
	} {
		fake(t, script)
		src := mustOpen(t, Options{Stall: 300 * time.Millisecond}, tempFile(t, "a.mp4", []byte("x")))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, _, err := length(ctx, src, 0)
		cancel()
		if bad := (*ClipError)(nil); !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error of the clip with %q", script, err, want)
		}
	}
}

func TestFFmpegVersion(t *testing.T) {
	for text, want := range map[string][3]int{
		"ffmpeg version 5.1.9-0+deb12u1 Copyright": {5, 1, 1}, "ffmpeg version n9.0.2-17-g2a571b6068-20260930": {9, 0, 1},
		"ffmpeg version 4.2.7-0ubuntu0.1": {4, 2, 1}, "ffmpeg version N-109542-g9d5e66942c": {0, 0, 0}, "ffmpeg version 2024-01-01-git-abc": {2024, 0, 0}, "other": {0, 0, 0},
	} {
		major, minor, ok := ffmpegVersion(text)
		if want[2] == 1 && (major != want[0] || minor != want[1]) || ok != (want[2] == 1) {
			t.Errorf("%q: %d.%d, %v", text, major, minor, ok)
		}
	}
}

// Shown pixels equal the picture before encoding, reduced to what distinguishes a right
// reader from a wrong one.
func TestFilmsAreShownAsPlayersShowThem(t *testing.T) {
	dir := t.TempDir()
	gray := func(name string, args ...string) string { // 8 frames of 64x48 that grow brighter
		path := filepath.Join(dir, name)
		makeFilm(t, path, append([]string{"testsrc2=s=64x48:r=25:d=0.32", "-vf", "format=gray,geq=lum='20+25*N':cb=128:cr=128"}, args...)...)
		return path
	}
	for _, c := range []struct {
		path    string
		t, h, w int
		first   float32 // of frame 0, of 255
		step    float32 // from frame to frame
		tol     float32
	}{
		{gray("limited.mp4", "-c:v", "libx264", "-qp", "0", "-pix_fmt", "yuv420p"), 8, 48, 64, 20, 25, 2},
		{gray("full.mp4", "-c:v", "libx264", "-qp", "0", "-pix_fmt", "yuvj420p", "-color_range", "pc"), 8, 48, 64, 20, 25, 2},
		{gray("444.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv444p"), 8, 48, 64, 20, 25, 2},
		{gray("gray.mkv", "-c:v", "ffv1", "-pix_fmt", "gray"), 8, 48, 64, 20, 25, 1},
		{gray("10bit.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p10le"), 8, 48, 64, 20, 25, 2},
		{gray("gbr16.mkv", "-c:v", "ffv1", "-pix_fmt", "gbrp16le"), 8, 48, 64, 20, 25, 2},
	} {
		clip := mustRead(t, mustOpen(t, Options{}, c.path), 0)
		if clip.T != c.t || clip.H != c.h || clip.W != c.w {
			t.Errorf("%s: %d frames of %dx%d", filepath.Base(c.path), clip.T, clip.H, clip.W)
			continue
		}
		for f := range clip.T {
			got, want := clip.Video[(f*48*64+1000)*3+1]*255, c.first+float32(f)*c.step
			if d := got - want; d > c.tol || d < -c.tol {
				t.Errorf("%s: frame %d holds %v, want %v", filepath.Base(c.path), f, got, want)
			}
		}
	}
	// The matrix: pure red in BT.709 and BT.601, tagged.
	for _, m := range []string{"bt709", "smpte170m"} {
		path := filepath.Join(dir, m+".mkv")
		makeFilm(t, path, "testsrc2=s=64x48:r=25:d=0.2", "-vf", "drawbox=t=fill:color=red,scale=out_color_matrix="+m+",format=yuv444p", "-colorspace", m, "-color_primaries", m, "-color_trc", m, "-c:v", "ffv1")
		v := mustRead(t, mustOpen(t, Options{}, path), 0).Video
		if v[0] < 252./255 || v[1] > 3./255 || v[2] > 3./255 {
			t.Errorf("red in %s is read as %v", m, v[:3])
		}
	}
}

func TestRotationAspectAndAlpha(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	// White on the left half: after a quarter turn it is above or below.
	makeFilm(t, at("flat.mp4"), "testsrc2=s=64x48:r=25:d=0.2", "-vf", "drawbox=t=fill:color=black,drawbox=w=32:t=fill:color=white", "-c:v", "libx264", "-qp", "0", "-pix_fmt", "yuv444p")
	turn := exec.Command(needFFmpeg(t), "-nostdin", "-y", "-loglevel", "error", "-i", at("flat.mp4"), "-c", "copy", "-metadata:s:v:0", "rotate=90", at("turned.mp4"))
	if out, err := turn.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	c := mustRead(t, mustOpen(t, Options{}, at("turned.mp4")), 0)
	if c.H == 64 && c.W == 48 {
		top, bottom := c.Video[(8*48+24)*3], c.Video[(56*48+24)*3]
		if math.Abs(float64(top-bottom)) < .9 {
			t.Errorf("a turned film: %v above, %v below", top, bottom)
		}
	} else if c.H != 48 { // ffmpeg from 7 on ignores this tag when it copies
		t.Errorf("a turned film is %dx%d", c.W, c.H)
	}
	makeFilm(t, at("wide.mp4"), "testsrc2=s=72x96:r=25:d=0.2", "-vf", "setsar=4/3", "-c:v", "libx264", "-qp", "0")
	makeFilm(t, at("tall.mp4"), "testsrc2=s=96x72:r=25:d=0.2", "-vf", "setsar=3/4", "-c:v", "libx264", "-qp", "0")
	for name, want := range map[string][2]int{"wide.mp4": {96, 96}, "tall.mp4": {96, 96}} {
		if c := mustRead(t, mustOpen(t, Options{}, at(name)), 0); c.H != want[0] || c.W != want[1] {
			t.Errorf("%s is read as %dx%d, want square pixels: %v", name, c.W, c.H, want)
		}
	}
	for name, args := range map[string][]string{
		"vp9.webm": {"-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p"}, "vp8.webm": {"-c:v", "libvpx", "-auto-alt-ref", "0", "-pix_fmt", "yuva420p"}, "vp9.mkv": {"-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p"},
		"clear.mov": {"-c:v", "qtrle", "-pix_fmt", "argb"}, "clear.mkv": {"-c:v", "ffv1", "-pix_fmt", "yuva420p"}, "png.mov": {"-c:v", "png", "-pix_fmt", "rgba"},
	} {
		makeFilm(t, at(name), append([]string{"testsrc2=s=64x48:r=25:d=0.2", "-vf", "format=rgba,colorchannelmixer=rr=0:gg=0:bb=0:aa=0.0"}, args...)...)
		if v := mustRead(t, mustOpen(t, Options{}, at(name)), 0).Video; slices.Min(v) < 252./255 {
			t.Errorf("%s: what is transparent is read as %v, want white", name, slices.Min(v))
		}
	}
}

func TestLongFilmTakesLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("decodes a film of 1080p")
	}
	path := filepath.Join(t.TempDir(), "long.mp4")
	makeFilm(t, path, "testsrc2=s=1920x1080:r=25:d=1.4", "-c:v", "libx264", "-preset", "ultrafast", "-g", "12") // 218 MB of frames
	src := mustOpen(t, Options{}, path)
	l, err := NewLoader(src, []int{0}, Config{Size: 64, Frames: 9, Channels: 3, ValShare: .2, Workers: 1}, 1, 1, true)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	before := allocated()
	for range 4 {
		next(t, l)
	}
	if used := allocated() - before; used > 120<<20 { // a frame is 6 MB, its scaled lines 1 MB
		t.Errorf("%d MB allocated for windows of a film of 1080p", used>>20)
	}
}
