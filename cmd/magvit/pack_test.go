package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// Films are packed, packed again at once, and trained on without ffmpeg.
func TestPackedFilmsAreTrainedOn(t *testing.T) {
	set, packed := films(t, 3), filepath.Join(t.TempDir(), "packed")
	args := []string{"pack", set, "--out", packed, "--size", "32", "--frames", "8", "--json"}
	var first, again written
	for _, w := range []*written{&first, &again} {
		out, _ := magvit(t, args...)
		if err := json.Unmarshal([]byte(out), w); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if first.Clips != 3 || first.Path != packed || again.Clips != 3 {
		t.Errorf("packed %+v, then %+v", first, again)
	}
	cmd := program(t, "train", "--preset", "tiny", "--data", packed, "--out", "run", "--steps", "2", "--set", "train.samples=0")
	cmd.Env = append(os.Environ(), "PATH="+t.TempDir())
	if _, log, status := finish(t, cmd); status != done {
		t.Errorf("training on packed clips: exit %d\n%s", status, log)
	}
}
