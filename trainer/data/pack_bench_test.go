package data

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"magvit/kernels/philox"
)

// BenchmarkPackedClip compares the two ways to read a clip of a shard that the page cache holds: pread
// into a buffer, as arrays does, and a mapped file. Both convert the bytes to floats.
func BenchmarkPackedClip(b *testing.B) {
	const clips, size = 64, 17 * 3 * 128 * 128
	path := filepath.Join(b.TempDir(), "shard")
	raw := make([]byte, clips*size)
	for i := range raw {
		raw[i] = byte(i * 31)
	}
	if err := os.WriteFile(path, raw, 0o666); err != nil {
		b.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	video, buffer := make([]float32, size), make([]byte, size)
	r := philox.New(1, "bench packed", 0, 0)
	b.Run("pread", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			if _, err := file.ReadAt(buffer, int64(r.IntN(clips))*size); err != nil {
				b.Fatal(err)
			}
			bytesToFloat(video, buffer)
		}
	})
	mapped, err := unix.Mmap(int(file.Fd()), 0, clips*size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Munmap(mapped)
	b.Run("mapped", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			k := r.IntN(clips)
			bytesToFloat(video, mapped[k*size:(k+1)*size])
		}
	})
}
