package data

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"magvit/kernels/philox"
)

// Windows without gaps are the same with and without a list of them.
func TestTilingEqualsTiles(t *testing.T) {
	r := philox.New(5, "tiling", 0, 0)
	for range 2000 {
		n, w := 1+r.IntN(200), windowing{frames: 1 + r.IntN(20), stride: 1 + r.IntN(4)}
		want := w.tiles(n, nil)
		got := Config{Windows: "all"}.tiling(n, w, nil)
		if got.n != len(want) {
			t.Fatalf("%d frames, %+v: %d windows, want %d", n, w, got.n, len(want))
		}
		for k, start := range want {
			if got.start(k) != start {
				t.Fatalf("%d frames, %+v: window %d starts at %d, want %d", n, w, k, got.start(k), start)
			}
		}
	}
}

// BenchmarkStart reads the index of 100,000 films, opens and divides the set, and prepares a loader of all windows. It
// reports the CPU seconds too.
func BenchmarkStart(b *testing.B) {
	const films = 100_000
	dir := b.TempDir()
	x := &Index{}
	for i := range films {
		path := filepath.Join(dir, fmt.Sprintf("%03d", i/1000), fmt.Sprintf("%06d.mp4", i))
		if i%1000 == 0 {
			os.Mkdir(filepath.Dir(path), 0o777)
		}
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			b.Fatal(err)
		}
		x.put(path, nil, &timeline{N: 1800, Width: 1280, Height: 720, Codec: "h264", Keys: 8, KeyAt: []int{0, 250, 500, 750, 1000, 1250, 1500, 1750}, Period: 1. / 30}, "")
	}
	file := filepath.Join(dir, "set.index")
	if err := x.Write(file); err != nil {
		b.Fatal(err)
	}
	for _, windows := range []string{"random", "all"} {
		b.Run(windows, func(b *testing.B) {
			began := cpuSeconds(b)
			for b.Loop() {
				x, err := ReadIndex(file)
				if err != nil || x.Len() != films {
					b.Fatal(err)
				}
				src, err := Open(b.Context(), []string{dir}, Options{Index: x})
				if err != nil {
					b.Fatal(err)
				}
				all, _, err := Split(src, .2)
				if err != nil {
					b.Fatal(err)
				}
				cfg, err := Resolve(b.Context(), src, all, Config{Size: 128, Frames: 17, Channels: 3, Windows: windows, ValShare: .2})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := newItems(b.Context(), src, all, cfg, true); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((cpuSeconds(b)-began)/float64(b.N), "cpu-s/op")
		})
	}
}

// cpuSeconds are the seconds that this process has computed, in user and in system mode.
func cpuSeconds(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
