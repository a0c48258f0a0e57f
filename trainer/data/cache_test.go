package data

import (
	"bytes"
	"context"
	"encoding/binary"
	"image"
	"image/color"
	"image/gif"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"magvit/trainer/atomicfile"
)

// batches reads n batches of a set, and returns their values.
func batches(t *testing.T, src Source, cfg Config, n int) (all [][]float32) {
	t.Helper()
	indices := make([]int, src.Len())
	for i := range indices {
		indices[i] = i
	}
	l, err := NewLoader(src, indices, cfg, 2, 7, true)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range n {
		b, err := l.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, slices.Clone(b.Video))
	}
	return all
}

// animation is a GIF of n frames.
func animation(t *testing.T, n int) []byte {
	t.Helper()
	var g gif.GIF
	for k := range n {
		m := image.NewPaletted(image.Rect(0, 0, 40, 36), color.Palette{color.Black, color.White, color.RGBA{200, 30, 60, 255}})
		for p := range m.Pix {
			m.Pix[p] = byte((p/7 + k) % 3)
		}
		g.Image, g.Delay = append(g.Image, m), append(g.Delay, 4)
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, &g); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// cached lists the files of a cache.
func cached(t *testing.T, dir string) (paths []string, total int64) {
	t.Helper()
	filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, cacheKind) && !strings.HasPrefix(e.Name(), atomicfile.Prefix) {
			info, _ := e.Info()
			paths, total = append(paths, path), total+info.Size()
		}
		return err
	})
	return paths, total
}

// Batches have the same bits without a cache, while it is filled, from it, and where its files
// are damaged; with clips that are read whole and with windows of films.
func TestCacheHasTheSameBits(t *testing.T) {
	set := t.TempDir()
	makeFilm(t, filepath.Join(set, "a.mp4"), "testsrc2=s=80x48:r=25:d=0.4", "-c:v", "mpeg4", "-q:v", "3", "-g", "4")
	if err := os.WriteFile(filepath.Join(set, "c.gif"), animation(t, 6), 0o666); err != nil {
		t.Fatal(err)
	}
	index := &Index{}
	for _, windowed := range []bool{false, true} {
		cfg := Config{Frames: 5, Size: 32, Windows: "all", Fit: "center", ValShare: .5, Workers: 1, Flip: true, ForegroundWeight: 2}
		read := func(dir string) [][]float32 {
			src, err := Open(t.Context(), []string{set}, Options{Cache: -1, Index: index})
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			if f := filesOf(t, src); windowed {
				f.films[0] = true
			}
			cfg.Cache = dir
			return batches(t, src, cfg, 2)
		}
		dir := filepath.Join(t.TempDir(), "cache")
		want := read("")
		if got := read(dir); !cmp.Equal(got, want, sameFloats) {
			t.Error("batches differ while the cache is filled")
		}
		paths, _ := cached(t, dir)
		if len(paths) < 2 {
			t.Fatalf("%d clips were stored", len(paths))
		}
		filled := time.Now()
		if got := read(dir); !cmp.Equal(got, want, sameFloats) {
			t.Error("batches from the cache differ")
		}
		for _, p := range paths { // read, and not written again
			if st, err := os.Stat(p); err != nil || st.ModTime().After(filled.Add(time.Minute)) {
				t.Error(p, err)
			}
		}
		for k, p := range paths {
			raw, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			if k%2 == 0 {
				raw[len(raw)*2/3] ^= 1
			} else {
				raw = raw[:len(raw)/2]
			}
			if err := os.WriteFile(p, raw, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if got := read(dir); !cmp.Equal(got, want, sameFloats) {
			t.Error("batches differ where the cache is damaged")
		}
	}
}

// What is stored comes from the cache and not from the film; a film that has changed is decoded again.
func TestCacheFollowsTheFiles(t *testing.T) {
	set, dir := t.TempDir(), t.TempDir()
	path := filepath.Join(set, "a.gif")
	times := 0
	read := func() decoded {
		c, err := openCache(dir, 1e9)
		if err != nil {
			t.Fatal(err)
		}
		src, err := Open(t.Context(), []string{path}, Options{Cache: -1})
		if err != nil {
			t.Fatal(err)
		}
		f := filesOf(t, src)
		clip, err := c.through(f.key(0, c, nil, fit{}), nil, true, func() (decoded, error) {
			times++
			c, err := f.readInto(context.Background(), 0, nil)
			return decoded{Clip: c}, err
		})
		if err != nil {
			t.Fatal(err)
		}
		return clip
	}
	for k, want := range []struct{ frames, times int }{{4, 1}, {4, 1}, {5, 2}} {
		if k != 1 {
			if err := os.WriteFile(path, animation(t, want.frames), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if c := read(); c.T != want.frames || times != want.times {
			t.Errorf("read %d: %d frames, decoded %d times, want %+v", k, c.T, times, want)
		}
	}
}

// A cache stays below its bound. What an earlier run left makes room; what this one used stays.
func TestCacheIsBounded(t *testing.T) {
	dir := t.TempDir()
	clip := func(k int) *decoded {
		return &decoded{Clip: Clip{T: 1, H: 10, W: 10, C: 3, Video: append(make([]float32, 299), float32(k)/255)}}
	}
	one := int64(len(encodeCached(clip(0), true)))
	c, err := openCache(dir, 3*one)
	if err != nil {
		t.Fatal(err)
	}
	for k := range 5 {
		c.write(string(rune('a'+k)), clip(k), true)
	}
	if paths, total := cached(t, dir); len(paths) != 3 || total > 3*one {
		t.Errorf("%d files, %d bytes, limit %d", len(paths), total, 3*one)
	}
	long := time.Now().Add(-time.Hour)
	for _, k := range []string{"a", "b", "c"} {
		os.Chtimes(c.path(k), long, long)
	}
	killed := filepath.Join(dir, atomicfile.Prefix+"1-x.clip")
	os.WriteFile(killed, make([]byte, 100), 0o666)
	os.Chtimes(killed, long.Add(-time.Hour), long.Add(-time.Hour))
	if c, err = openCache(dir, 3*one); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(killed); err == nil {
		t.Error("what a killed process left is still there")
	}
	if _, _, ok := c.read("b", nil); !ok {
		t.Error("b is lost")
	}
	for k := range 4 {
		c.write(string(rune('p'+k)), clip(k), true)
	}
	paths, total := cached(t, dir)
	if _, err := os.Stat(c.path("b")); err != nil || len(paths) != 3 || total > 3*one {
		t.Errorf("%d files, %d bytes; what was used: %v", len(paths), total, err)
	}
}

// A cache that cannot be written is a sentence, and the clips are decoded.
func TestCacheWithoutRoom(t *testing.T) {
	dir := t.TempDir()
	c, err := openCache(dir, 1e6)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Dir(c.path("k")), nil, 0o666) // a file where its folder should be
	clip, err := c.through("k", nil, true, func() (decoded, error) {
		return decoded{Clip: Clip{T: 1, H: 1, W: 1, C: 1, Video: []float32{.5}}}, nil
	})
	if err != nil || clip.Video[0] != .5 || !strings.Contains(c.problem(), "1 decoded clips could not be stored") {
		t.Errorf("%v, %v, %q", clip, err, c.problem())
	}
	file := filepath.Join(dir, "file")
	os.WriteFile(file, nil, 0o666)
	if _, err := openCache(file, 1e6); err == nil || !strings.Contains(err.Error(), "data.cache") {
		t.Errorf("a file as cache: %v", err)
	}
}

// Values that are no bytes, negative zeros and time stamps come back with their bits.
func TestCachedClipsHaveTheirBits(t *testing.T) {
	for _, want := range []Clip{
		{T: 2, H: 1, W: 1, C: 3, Video: []float32{0, 1, .5, .25, 1. / 3, 1e-20}, Times: []float64{0, .04}},
		{T: 1, H: 1, W: 2, C: 1, Video: []float32{float32(1) * (1. / 255), float32(255) * (1. / 255)}},
	} {
		for _, whole := range []bool{false, true} {
			raw := encodeCached(&decoded{Clip: want}, whole)
			got, w, err := decodeCached(raw, nil)
			if err != nil || w != whole || !cmp.Equal(got.clip(nil), want, sameFloats) {
				t.Errorf("%+v: %+v, %v", want, got, err)
			}
			for cut := range len(raw) {
				if _, _, err := decodeCached(raw[:cut], nil); err == nil {
					t.Fatalf("a file of %d of %d bytes is read", cut, len(raw))
				}
			}
		}
	}
	var head cachedHead
	copy(head.Magic[:], cacheMagic)
	head.T, head.H, head.W, head.C = 1<<31, 1<<31, 1<<31, 4
	var raw bytes.Buffer
	binary.Write(&raw, binary.LittleEndian, head)
	if _, _, err := decodeCached(append(raw.Bytes(), 0, 0, 0, 0), nil); err == nil {
		t.Error("a clip of 2^95 values is read")
	}
}
