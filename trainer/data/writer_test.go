package data

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestInterruptedWritingLeavesNothing(t *testing.T) {
	clip := OutputClip{Name: "a", Frames: 3, T: 3, H: 4, W: 6, C: 3, Video: make([]float32, 3*4*6*3)}
	for _, name := range []string{"x.npz", "x.gif", "x.mp4", "folder"} {
		if _, err := exec.LookPath("ffmpeg"); err != nil && (name == "x.gif" || name == "x.mp4") {
			continue // the test of magvit reconstruct says that it is missing
		}
		for _, interrupt := range []bool{false, true} {
			dir := t.TempDir()
			ctx, stop := context.WithCancel(t.Context())
			s, err := NewWriter(ctx, filepath.Join(dir, name), nil, 8, "")
			if err == nil {
				err = s.Add(clip)
			}
			if err != nil {
				t.Fatal(err)
			}
			want := 1
			if interrupt {
				stop()
				want = 0
			}
			if ctx.Err() == nil {
				err = s.Finish()
			}
			s.Abort()
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			stop()
			if left, err := os.ReadDir(dir); err != nil || len(left) != want {
				t.Errorf("%s, interrupted %v: left %v, %v; want %d", name, interrupt, left, err, want)
			}
		}
	}
}

// fakeFFmpeg puts a shell script in the place of ffmpeg. "$out" in it is the file to write.
func fakeFFmpeg(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	text := "#!/bin/sh\nfor out in \"$@\"; do :; done\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, "ffmpeg"), []byte(text), 0o777); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// TestFailuresOfFFmpegAreErrors has programs in the place of ffmpeg that fail in ways that ffmpeg does.
func TestFailuresOfFFmpegAreErrors(t *testing.T) {
	clip := OutputClip{Name: "a", Frames: 3, T: 3, H: 4, W: 6, C: 3, Video: make([]float32, 3*4*6*3)}
	for name, c := range map[string]struct{ script, want string }{
		"full disk, exit 0":       {`cat > /dev/null; echo half > "$out"; echo "No space left on device" >&2`, "No space left on device"},
		"no output, exit 0":       {`cat > /dev/null`, "wrote nothing"},
		"exit 1":                  {`cat > /dev/null; echo "unknown encoder" >&2; exit 1`, "unknown encoder"},
		"dies at once":            {`exit 7`, "exit status 7"},
		"endless messages":        {`cat > /dev/null; echo half > "$out"; yes "an error" | head -c 10000000 >&2; exit 1`, "an error"},
		"stuck after a frame":     {`head -c 96 > /dev/null; exec sleep 100`, "stuck"},
		"stuck with a descendant": {`head -c 96 > /dev/null; sleep 100; echo`, "stuck"},
	} {
		fakeFFmpeg(t, c.script)
		dir := t.TempDir()
		w, err := NewWriter(t.Context(), filepath.Join(dir, "x.gif"), nil, 8, "")
		if err != nil {
			t.Fatal(err)
		}
		m := w.(*movieWriter)
		m.limit = 200 * time.Millisecond
		for range 2000 {
			if err = w.Add(clip); err != nil {
				break
			}
		}
		if err == nil {
			err = w.Finish()
		}
		w.Abort()
		if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 2000 {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
		if n := len(m.stderr.b); n > tailBytes {
			t.Errorf("%s: %d bytes of messages are in memory", name, n)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
}

// TestLayouts writes three clips of two sizes as a grid and as files.
func TestLayouts(t *testing.T) {
	fakeFFmpeg(t, `cat > "$out"`) // the raw frames
	clip := func(w int, v float32) OutputClip {
		c := OutputClip{Name: "a", Frames: 2, T: 2, H: 2, W: w, C: 1, Video: make([]float32, 2*2*w)}
		for i := range c.Video {
			c.Video[i] = v
		}
		return c
	}
	write := func(layout string) string {
		dir := t.TempDir()
		w, err := NewWriter(t.Context(), filepath.Join(dir, "x.mp4"), nil, 12.5, layout)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Abort()
		for _, c := range []OutputClip{clip(3, 0), clip(3, 1), clip(2, 0)} {
			if err := w.Add(c); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Finish(); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	grid, err := os.ReadFile(filepath.Join(write("grid"), "x.mp4"))
	if err != nil || len(grid) != 2*4*8*6 {
		t.Fatalf("%d bytes of frames, %v; want 2 of 8 x 6", len(grid), err)
	}
	for _, p := range []struct{ x, y, want int }{{0, 0, 0}, {5, 0, 255}, {3, 0, 128}, {0, 4, 0}, {2, 4, 128}, {5, 4, 128}, {7, 1, 255}} {
		if v := grid[(p.y*8+p.x)*4]; int(v) != p.want {
			t.Errorf("pixel (%d,%d) is %d, want %d", p.x, p.y, v, p.want)
		}
	}
	dir := write("files")
	for i, size := range []int{2 * 4 * 6, 2 * 4 * 6, 2 * 4 * 4} {
		if b, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("x-%06d.mp4", i))); err != nil || len(b) != size {
			t.Errorf("file %d: %d bytes, %v; want %d", i, len(b), err, size)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 3 {
		t.Errorf("the folder holds %v, %v", left, err)
	}
	if _, err := NewWriter(t.Context(), "x.gif", nil, 8, "spiral"); err == nil {
		t.Error("a layout that does not exist is taken")
	}
}
