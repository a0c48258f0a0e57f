package data

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"magvit/trainer/atomicfile"
	"magvit/trainer/torture"
)

// cachedClip is clip k of the clips that TestTortureCache stores: bytes for even k, floats for odd ones.
func cachedClip(k int) Clip {
	c := Clip{T: 1 + k%3, H: 8 + k%5, W: 16, C: 3, Times: make([]float64, 1+k%3)}
	c.Video = make([]float32, c.T*c.H*c.W*c.C)
	for i := range c.Video {
		c.Video[i] = float32(byte(i*7+k*31)) * (1. / 255)
		if k%2 == 1 {
			c.Video[i] = c.Video[i]*.99 + .001
		}
	}
	return c
}

const (
	cachedClips  = 40
	cachedLimit  = 60_000 // bytes, less than all of them take
	cacheWorkEnv = "MAGVIT_TEST_CACHE"
)

// readThrough reads all clips through a cache, and fails on any that differs.
func readThrough(t *testing.T, dir string) {
	t.Helper()
	c, err := openCache(dir, cachedLimit)
	if err != nil {
		t.Fatal(err)
	}
	for k := range cachedClips {
		want := cachedClip(k)
		got, err := c.through(fmt.Sprint(k), nil, k%3 == 0, func() (decoded, error) { return decoded{Clip: cachedClip(k)}, nil })
		if err != nil || !slices.Equal(got.clip(nil).Video, want.Video) || !slices.Equal(got.Times, want.Times) || got.H != want.H {
			t.Fatalf("clip %d of the cache differs: %v", k, err)
		}
	}
	if p := c.problem(); p != "" {
		t.Error(p)
	}
}

// TestCacheWork is the process that TestTortureCache kills.
func TestCacheWork(t *testing.T) {
	dir := os.Getenv(cacheWorkEnv)
	if dir == "" {
		t.Skip("run by TestTortureCache")
	}
	fmt.Println("working")
	for {
		readThrough(t, dir)
	}
}

// Killed at any moment, alone or two at a time, processes leave a cache of which each clip has its bits or is decoded
// again, and which stays below its bound.
func TestTortureCache(t *testing.T) {
	n, r := torture.Campaign(t, 6, 200)
	dir := t.TempDir()
	stored, left := 0, 0
	for range n {
		var workers []*exec.Cmd
		for range 1 + r.IntN(2) {
			w := exec.Command(os.Args[0], "-test.run=^TestCacheWork$", "-test.timeout=1m")
			w.Env = append(os.Environ(), cacheWorkEnv+"="+dir)
			out, err := w.StdoutPipe()
			if err == nil {
				err = w.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(out).ReadString('\n'); line != "working\n" {
				t.Fatalf("%q, %v", line, err)
			}
			workers = append(workers, w)
		}
		time.Sleep(time.Duration(r.IntN(20_000)) * time.Microsecond)
		for _, w := range workers {
			if err := w.Process.Kill(); err != nil {
				t.Fatal(err) // it has failed
			}
		}
		for _, w := range workers {
			w.Wait()
		}
		paths, total := cached(t, dir)
		if total > 2*cachedLimit { // two processes count for themselves
			t.Errorf("%d bytes in %d files, limit %d", total, len(paths), cachedLimit)
		}
		stored += len(paths)
		pending := pendingFiles(t, dir)
		for _, p := range pending { // those of a process that was killed long ago are removed
			long := time.Now().Add(-2 * time.Hour)
			if err := os.Chtimes(p, long, long); err != nil {
				t.Fatal(err)
			}
		}
		left += len(pending)
		readThrough(t, dir)
		if p := pendingFiles(t, dir); len(p) > 0 {
			t.Errorf("left behind %v", p)
		}
	}
	t.Logf("kills: %d; %d stored clips and %d half-written files were found after them", n, stored, left)
}

// pendingFiles are the files below a folder that were not complete when their writer was killed.
func pendingFiles(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(e.Name(), atomicfile.Prefix) {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}
