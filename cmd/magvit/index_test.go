package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"magvit/trainer/data"
)

// films makes a folder of films that are read by windows.
func films(t *testing.T, n int) string {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed")
	}
	dir := t.TempDir()
	for i := range n {
		out, err := exec.Command(ffmpeg, "-nostdin", "-y", "-loglevel", "error", "-f", "lavfi", "-i", fmt.Sprintf("testsrc2=s=480x360:r=25:d=2,hue=h=%d*n", 7*i+1),
			"-c:v", "mpeg4", "-q:v", "5", "-g", "10", filepath.Join(dir, fmt.Sprintf("%d.mp4", i))).CombinedOutput()
		if err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	return dir
}

// A set of films is indexed, trained on with held-out films of another folder, and
// encoded without gaps.
func TestFilmsFromIndexToCodes(t *testing.T) {
	train, val, dir := films(t, 3), films(t, 1), t.TempDir()
	index, run, codes := filepath.Join(dir, "set.index"), filepath.Join(dir, "run"), filepath.Join(dir, "codes.npz")
	out, _ := magvit(t, "index", train, "--out", index)
	if !strings.Contains(out, "3 films") {
		t.Errorf("index says %q", out)
	}
	magvit(t, "train", "--preset", "tiny", "--data", train, "--val", val, "--index", index, "--out", run, "--steps", "2",
		"--set", "data.size=32", "--set", "data.frames=8", "--set", "train.samples=0")
	if text, err := os.ReadFile(index); err != nil || strings.Count(string(text), "\n") != 5 {
		t.Errorf("the held-out film was not added to the index: %v", err)
	}
	magvit(t, "encode", "--checkpoint", run, "--data", val, "--windows", "all", "--out", codes)
	a, err := data.ReadArrays(codes)
	if err != nil {
		t.Fatal(err)
	}
	names := a["names"].Data.([]string)
	if len(names) != 7 || names[1] != "0.mp4@8" { // 50 frames in windows of 8
		t.Errorf("encoded %v", names)
	}
}
