package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// emptyFiles makes empty files and returns their folder.
func emptyFiles(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestProtect(t *testing.T) {
	dir := emptyFiles(t, "clips.npz", "data/a/1.mp4", "data/b/2.mp4", "run/checkpoints/step-000001/state.json", "other.npz")
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, link := range [][2]string{{"clips.npz", "link.npz"}, {"data", "films"}, {"gone.npz", "broken.npz"}} {
		if err := os.Symlink(link[0], in(link[1])); err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range [][2]string{{"clips.npz", "hard.npz"}, {"data/a/1.mp4", "hard.mp4"}} {
		if err := os.Link(in(link[0]), in(link[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(in("list.csv"), []byte("path,label\ndata/a/1.mp4,x\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		out, input string
		refused    bool
	}{
		{"clips.npz", "clips.npz", true},
		{"./data/../clips.npz", "clips.npz", true},
		{"link.npz", "clips.npz", true},
		{"clips.npz", "link.npz", true},
		{"hard.npz", "clips.npz", true},
		{"clips.npz", "*.npz", true},
		{"hard.mp4", "data", true},
		{"hard.mp4", "data/*", true},
		{"data/a/1.mp4", "data", true},
		{"films/a/1.mp4", "data", true},
		{"data/a/1.mp4", "films", true},
		{"data/a/1.mp4", "data/a/*.mp4", true},
		{"broken.npz", "gone.npz", true},
		{"data", "data/a/1.mp4", true},
		{".", "clips.npz", true},
		{"run/checkpoints/step-000001/state.json", "run/checkpoints", true},
		{"data/a/1.mp4", "list.csv", true},
		{"films/a/1.mp4", "list.csv", true},
		{"hard.mp4", "*.csv", true},
		{"data/a", "list.csv", true},
		{"data/a/2.mp4", "list.csv", false},
		{"list.csv", "list.csv", true},
		{"data/new.mp4", "data", false},
		{"new.npz", "clips.npz", false},
		{"other.npz", "clips.npz", false},
		{"run/codes.npz", "run/checkpoints", false},
		{"other.npz", "data", false},
		{"dat", "data", false},
		{"new", "data", false},
	} {
		err := protect(in(c.out), "--out", in(c.input))
		if (err != nil) != c.refused {
			t.Errorf("--out %s with the input %s: %v, refused must be %v", c.out, c.input, err, c.refused)
		}
	}
}

// TestOutputsAmongTheClips repeats commands whose output is in the folder of the clips: they go on with it.
func TestOutputsAmongTheClips(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	content, err := os.ReadFile(clips(t))
	if err := errors.Join(err, os.WriteFile(in("clips.npz"), content, 0o666)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		magvit(t, "train", "--preset", "tiny", "--data", dir, "--out", in("runs/a"), "--steps", "1")
		magvit(t, "index", dir, "--out", in("set.index"))
		magvit(t, "pack", dir, "--out", in("packed"), "--size", "16", "--frames", "2")
		magvit(t, "encode", "--checkpoint", in("runs/a"), "--data", dir, "--out", in("codes"), "--limit", "2")
	}
	for _, args := range [][]string{
		{"train", "--preset", "tiny", "--data", dir, "--out", in("packed"), "--steps", "1"},
		{"pack", dir, "--out", in("runs/a")},
		{"index", dir, "--out", in("clips.npz")},
		{"encode", "--checkpoint", in("runs/a"), "--data", dir, "--out", in("packed")},
	} {
		before := listing(t, dir)
		if _, stderr, status := finish(t, program(t, args...)); status != badInput {
			t.Errorf("%v: exit %d, want %d\n%s", args, status, badInput, stderr)
		}
		if after := listing(t, dir); after != before {
			t.Fatalf("%v changed its inputs:\n%s\nwas\n%s", args, after, before)
		}
	}
}

// TestInputsStay names inputs as outputs: every command refuses, and no byte changes.
func TestInputsStay(t *testing.T) {
	dir := t.TempDir()
	run := copyOf(t, trainedRun(t))
	data := filepath.Join(dir, "clips.npz")
	content, err := os.ReadFile(clips(t))
	if err == nil {
		err = os.WriteFile(data, content, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	codes := filepath.Join(dir, "codes.npz")
	magvit(t, "encode", "--checkpoint", run, "--data", data, "--out", codes, "--limit", "2")
	before := listing(t, dir) + listing(t, run)
	weights, err := filepath.Glob(filepath.Join(run, "checkpoints", "step-*", "model.safetensors"))
	if err != nil || len(weights) == 0 {
		t.Fatalf("no weights in %s: %v", run, err)
	}
	for _, args := range [][]string{
		{"encode", "--checkpoint", run, "--data", data, "--out", data},
		{"reconstruct", "--checkpoint", run, "--data", data, "--out", data},
		{"reconstruct", "--checkpoint", run, "--data", dir, "--out", data},
		{"decode", "--checkpoint", run, "--codes", codes, "--out", codes},
		{"decode", "--checkpoint", run, "--codes", codes, "--out", dir},
		{"decode", "--checkpoint", run, "--codes", codes, "--out", data},
		{"train", "--preset", "tiny", "--data", data, "--out", dir, "--steps", "1"},
		{"train", "--preset", "tiny", "--data", data, "--out", data, "--steps", "1"},
		{"export", "--to", "safetensors", "--checkpoint", run, weights[0]},
		{"export", "--to", "lean", "--checkpoint", run, run},
	} {
		_, stderr, status := finish(t, program(t, args...))
		if status != badInput || strings.Contains(stderr, "goroutine") {
			t.Errorf("%v: exit %d, want %d\n%s", args, status, badInput, stderr)
		}
		if after := listing(t, dir) + listing(t, run); after != before {
			t.Fatalf("%v changed its inputs:\n%s\nwas\n%s", args, after, before)
		}
	}
}

// listing is the names, sizes and times of all files below a folder.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, st os.FileInfo, err error) error {
		if err == nil && !st.IsDir() {
			b.WriteString(path + " " + st.ModTime().String() + "\n")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
