package data

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
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
			s, err := NewWriter(ctx, filepath.Join(dir, name), nil, 8)
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
