package data

import (
	"archive/zip"
	"bytes"
	"context"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// limited fails the test if f takes more than 5 seconds or allocates more than 1 GiB.
func limited(t *testing.T, size int, f func()) {
	t.Helper()
	began, before := time.Now(), allocated()
	f()
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("took %v for %d bytes", d, size)
	}
	if n := allocated() - before; n > 1<<30 {
		t.Errorf("%d MiB allocated for %d bytes", n>>20, size)
	}
}

// readAllOf opens a file, reads its first clips and divides it.
func readAllOf(t *testing.T, path string) {
	t.Helper()
	src, err := Open(context.Background(), []string{path}, Options{Memory: 1 << 10})
	if err != nil {
		return
	}
	defer src.Close()
	for i := range min(src.Len(), 3) {
		if c, err := src.Read(context.Background(), i); err == nil {
			if err := (&decoded{Clip: c}).check(); err != nil {
				t.Error(err)
			}
		}
		if l := src.Label(i); l < -1 || l >= 0 && l >= len(src.Classes()) {
			t.Errorf("clip %d has label %d of %d classes", i, l, len(src.Classes()))
		}
		src.Name(i)
	}
	if train, val, err := Split(src, .2); err == nil && len(train)+len(val) != src.Len() {
		t.Errorf("%d and %d of %d clips", len(train), len(val), src.Len())
	}
}

// FuzzMembers: whole archives of three odd members. how says which are stored, and of which the size is a lie.
func FuzzMembers(f *testing.F) {
	v := npy("<f4", []int{2, 2, 3, 1, 1}, make([]float32, 12))
	l := npy("<i8", []int{2}, []int64{0, 1})
	f.Add("videos.npy", v, "labels.npy", l, "classes.npy", npy("<U3", []int{2}, make([]uint32, 6)), uint8(0), uint32(0))
	f.Add("videos", v, "trajectory_3d.npy", npy("<f4", []int{2, 2, 3}, make([]float32, 12)), "points_2d.npy", npy("<f8", []int{2, 2, 2}, make([]float64, 8)), uint8(1), uint32(0))
	f.Add("videos.npy", npy("|u1", []int{2, 2, 1, 3, 4}, make([]uint8, 48)), "videos.npy", v, "equations.npy", npy("<U0", []int{2}, []uint8{}), uint8(2), uint32(7))
	f.Add("../videos.npy", v, "/labels.npy", l, "clip_frames.npy", npy("<i4", []int{2}, []int32{1, 2}), uint8(3), uint32(1<<31))
	f.Fuzz(func(t *testing.T, name1 string, array1 []byte, name2 string, array2 []byte, name3 string, array3 []byte, how uint8, lie uint32) {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for i, m := range []struct {
			name string
			raw  []byte
		}{{name1, array1}, {name2, array2}, {name3, array3}} {
			h := &zip.FileHeader{Name: m.name, Method: zip.Deflate}
			create := z.CreateHeader
			if how>>i&1 == 1 {
				h.Method = zip.Store
			}
			if how>>(i+3)&1 == 1 {
				h.Method, h.CRC32, create = zip.Store, crc32.ChecksumIEEE(m.raw), z.CreateRaw
				h.CompressedSize64, h.UncompressedSize64 = uint64(len(m.raw)), uint64(len(m.raw))+uint64(lie)
			}
			w, err := create(h)
			if err == nil {
				_, err = w.Write(m.raw)
			}
			if err != nil {
				return
			}
		}
		z.Close()
		path := filepath.Join(t.TempDir(), "a.npz")
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		limited(t, b.Len(), func() {
			ReadArrays(path)
			readAllOf(t, path)
		})
	})
}

// FuzzShapes: an .npy file of any type and shape.
func FuzzShapes(f *testing.F) {
	f.Add("<f4", int64(1), int64(2), int64(3), int64(4), int64(5), []byte("abc"))
	f.Add("|u1", int64(1)<<40, int64(1)<<40, int64(3), int64(0), int64(-1), []byte{})
	f.Add("<U1048576", int64(1), int64(1), int64(1), int64(1), int64(1), []byte{})
	f.Add("|u1", int64(2), int64(2), int64(1), int64(2), int64(2), make([]byte, 16))
	f.Fuzz(func(t *testing.T, descr string, a, b, c, d, e int64, tail []byte) {
		raw := append(appendNpyHeader(nil, descr, []int{int(a), int(b), int(c), int(d), int(e)}), tail...)
		path := filepath.Join(t.TempDir(), "a.npy")
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		limited(t, len(raw), func() { readAllOf(t, path) })
	})
}
