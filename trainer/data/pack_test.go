package data

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"magvit/trainer/usage"
)

// A packed set has the same batches, names, labels, parts, positions and split as its
// source, and is not packed twice.
func TestPackedSetsReadTheSame(t *testing.T) {
	root := filepath.Join(t.TempDir(), "set")
	for _, name := range []string{"train/a/x", "train/b/y", "train/b/z", "val/a/w"} {
		greyFrames(t, filepath.Join(root, name), 6, 4, 10, 60, 110, 160, 210)
	}
	greyFrames(t, filepath.Join(root, "train/a/short"), 6, 4, 9, 90)
	cfg := Config{Height: 4, Width: 6, Frames: 5, Channels: 3, Flip: true, ValShare: .2, Workers: 1}
	src, dir := mustOpen(t, Options{}, root), filepath.Join(t.TempDir(), "packed")
	if skipped, err := Pack(t.Context(), src, cfg, dir, nil); err != nil || len(skipped) > 0 {
		t.Fatal(skipped, err)
	}
	packed := mustOpen(t, Options{}, dir)
	if d := cmp.Diff(names(src), names(packed)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(src.Classes(), packed.Classes()); d != "" {
		t.Error(d)
	}
	a, b := mustLoad(t, src, cfg, 2, true), mustLoad(t, packed, cfg, 2, true)
	for step := range 5 {
		want, got := next(t, a), next(t, b)
		if far := farthest(want.Video, got.Video); far > 1e-6 { // bytes to floats twice
			t.Errorf("step %d: off by %v", step, far)
		}
		want.Video, got.Video = nil, nil
		if d := cmp.Diff(want, got, sameFloats); d != "" {
			t.Errorf("step %d: %s", step, d)
		}
	}
	trainA, valA, _ := Split(src, .2)
	trainB, valB, err := Split(packed, .2)
	if d := cmp.Diff([][]int{trainA, valA}, [][]int{trainB, valB}); d != "" || err != nil {
		t.Error(d, err)
	}
	shard := filepath.Join(dir, "000000.npz")
	old := time.Now().Add(-time.Hour)
	os.Chtimes(shard, old, old)
	if _, err := Pack(t.Context(), src, cfg, dir, nil); err != nil {
		t.Error(err)
	}
	if st, err := os.Stat(shard); err != nil || time.Since(st.ModTime()) < time.Minute {
		t.Errorf("the shard was written again: %v", err)
	}
	cfg.Frames = 3
	if _, err := Pack(t.Context(), src, cfg, dir, nil); err == nil || !strings.Contains(err.Error(), "packed otherwise") {
		t.Errorf("other settings: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	set, err := Synth(SynthConfig{Clips: 4, Seed: 1, Size: 16, Frames: 4})
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "dots")
	if _, err := Pack(t.Context(), set, Config{ValShare: .2}, dir, nil); err != nil {
		t.Fatal(err)
	}
	packed = mustOpen(t, Options{}, dir)
	for i := range 4 {
		want, got := mustRead(t, set, i), mustRead(t, packed, i)
		if d := cmp.Diff([][]float32{want.Video, want.Points, want.Trajectory}, [][]float32{got.Video, got.Points, got.Trajectory}, sameFloats); d != "" || got.Name != want.Name {
			t.Errorf("clip %d: %s", i, d)
		}
	}
}

// Damage in a shard costs the clip that it is in.
func TestDamagedPackedClipIsLeftOut(t *testing.T) {
	root, dir := filepath.Join(t.TempDir(), "set"), filepath.Join(t.TempDir(), "packed")
	for i, name := range []string{"a", "b", "c"} {
		greyFrames(t, filepath.Join(root, name), 4, 4, uint8(50+10*i), uint8(51+10*i))
	}
	if _, err := Pack(t.Context(), mustOpen(t, Options{}, root), Config{ValShare: .2}, dir, nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "000000.npz")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(raw, bytes.Repeat([]byte{60}, 16)) // of clip b
	if at < 0 {
		t.Fatal("the bytes of a clip are not in the shard")
	}
	raw[at] ^= 4
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	src := mustOpen(t, Options{}, dir)
	var read []string
	skipped, err := Each(t.Context(), src, upTo(3), Config{ValShare: .2}, 1, func(b *Batch) error { read = append(read, b.Names[0]); return nil })
	if d := cmp.Diff([]string{"a", "c"}, read); d != "" || err != nil || len(skipped) != 1 || !strings.Contains(skipped[0].Error(), "damaged") {
		t.Errorf("%s, %v, left out: %v", d, err, skipped)
	}
}

// A folder that is removed, or replaced, between two shards is an error.
func TestPackedFolderIsRemovedMeanwhile(t *testing.T) {
	set, err := Synth(SynthConfig{Clips: PackShard + 1, Seed: 1, Size: 16, Frames: 4})
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(dir string) error{
		"was removed or renamed": os.RemoveAll,
		"was replaced":           func(dir string) error { return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o777)) },
	} {
		dir := filepath.Join(t.TempDir(), "packed")
		_, err := Pack(t.Context(), set, Config{ValShare: .2}, dir, func(n, of int) {
			if n < of {
				if err := change(dir); err != nil {
					t.Fatal(err)
				}
			}
		})
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, usage.Error) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
