package data

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"magvit/trainer/usage"
)

// ramp is [N,T,C,H,W] with a different value everywhere, from 0 to 1.
func ramp(shape ...int) ([]int, []float32) {
	n := 1
	for _, d := range shape {
		n *= d
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i) / float32(n-1)
	}
	return shape, v
}

func tempFile(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func tempNPZ(t *testing.T, arrays ...Array) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clips.npz")
	if err := WriteArrays(path, arrays...); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustOpen(t *testing.T, opt Options, paths ...string) Source {
	t.Helper()
	src, err := Open(t.Context(), paths, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

func mustRead(t *testing.T, src Source, i int) Clip {
	t.Helper()
	c, err := src.Read(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// zipOf makes an archive by hand: members with any bytes, packed or not.
func zipOf(t *testing.T, method uint16, members map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, raw := range members {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: method})
		if err == nil {
			_, err = w.Write(raw)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func npy(descr string, shape []int, numbers any) []byte {
	b := bytes.NewBuffer(appendNpyHeader(nil, descr, shape))
	if err := binary.Write(b, binary.LittleEndian, numbers); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// One clip of 1x3x1x2: the planes R, G, B become pixels.
func TestArraysBecomeChannelsLast(t *testing.T) {
	shape := []int{1, 1, 3, 1, 2}
	want := []float32{0, .4, .8, .2, .6, 1}
	singles, doubles, bytes := []float32{0, .2, .4, .6, .8, 1}, []float64{0, .2, .4, .6, .8, 1}, []uint8{0, 51, 102, 153, 204, 255}
	for name, raw := range map[string][]byte{
		"float32": npy("<f4", shape, singles), "float64": npy("<f8", shape, doubles), "uint8": npy("|u1", shape, bytes),
	} {
		for kind, path := range map[string]string{
			"npy":          tempFile(t, "a.npy", raw),
			"npz stored":   tempFile(t, "a.npz", zipOf(t, zip.Store, map[string][]byte{"videos.npy": raw})),
			"npz deflated": tempFile(t, "a.npz", zipOf(t, zip.Deflate, map[string][]byte{"videos.npy": raw})),
		} {
			for place, opt := range map[string]Options{"memory": {}, "spilled": {Memory: 1, TempDir: t.TempDir()}} {
				c := mustRead(t, mustOpen(t, opt, path), 0)
				if c.T != 1 || c.H != 1 || c.W != 2 || c.C != 3 || !cmp.Equal(c.Video, want, cmp.Comparer(func(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-7 })) {
					t.Errorf("%s, %s, %s: %+v, want video %v", kind, name, place, c, want)
				}
			}
		}
	}
}

func TestSpilledVideosEqualThoseInMemoryAndAreRemoved(t *testing.T) {
	shape, v := ramp(5, 3, 3, 4, 6)
	path, dir := tempNPZ(t, Array{"videos", shape, v}), t.TempDir()
	memory, spilled := mustOpen(t, Options{}, path), mustOpen(t, Options{Memory: 1, TempDir: dir}, path)
	for i := range 5 {
		if d := cmp.Diff(mustRead(t, memory, i), mustRead(t, spilled, i), sameFloats); d != "" {
			t.Errorf("clip %d: %s", i, d)
		}
	}
	if err := spilled.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%s is left after Close", left[0].Name())
	}
}

func TestShardsShareTheMemoryLimit(t *testing.T) {
	shape, v := ramp(2, 1, 3, 2, 2)
	one := tempNPZ(t, Array{"videos", shape, v})
	src := mustOpen(t, Options{Memory: 100, TempDir: t.TempDir()}, one, one) // 96 bytes each
	parts := src.(*joined).parts
	if a, b := parts[0].(*arrays), parts[1].(*arrays); a.disk != nil || b.disk == nil {
		t.Error("want the first shard in memory and the second one spilled")
	}
	if d := cmp.Diff(mustRead(t, src, 1), mustRead(t, src, 3), sameFloats); d != "" {
		t.Error(d)
	}
}

func TestOptionalArrays(t *testing.T) {
	shape, v := ramp(2, 2, 3, 1, 1)
	_, path3 := ramp(2, 2, 3)
	src := mustOpen(t, Options{}, tempNPZ(t, Array{"videos", shape, v}, Array{"labels", []int{2}, []uint8{1, 0}},
		Array{"trajectory_3d", []int{2, 2, 3}, path3}, Array{"equations", []int{2}, []string{"a", "b²"}}, Array{"classes", []int{2}, []string{"up", "down"}}))
	c := mustRead(t, src, 1)
	if c.Label != 0 || src.Label(0) != 1 || c.Equation != "b²" || c.Description != "" || c.Name != "clips.npz/000001" {
		t.Errorf("clip 1 is %+v", c)
	}
	if d := cmp.Diff([]string{"up", "down"}, src.Classes()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(path3[6:], c.Trajectory); d != "" {
		t.Error(d)
	}
}

func TestLabelsOfAnyWidth(t *testing.T) {
	shape, v := ramp(2, 1, 1, 1, 1)
	videos := npy("<f4", shape, v)
	for descr, numbers := range map[string]any{
		"|i1": []int8{-1, 3}, "|u1": []uint8{0, 3}, "<i2": []int16{-1, 3}, "<u2": []uint16{0, 3},
		"<i4": []int32{-1, 3}, "<u4": []uint32{0, 3}, "<i8": []int64{-1, 3}, "<u8": []uint64{0, 3},
	} {
		src := mustOpen(t, Options{}, tempFile(t, "a.npz", zipOf(t, zip.Deflate, map[string][]byte{"videos.npy": videos, "labels.npy": npy(descr, []int{2}, numbers)})))
		first := 0
		if descr[1] == 'i' {
			first = -1
		}
		if src.Label(0) != first || src.Label(1) != 3 || len(src.Classes()) != 4 {
			t.Errorf("%s: labels %d %d of %d classes, want %d 3 of 4", descr, src.Label(0), src.Label(1), len(src.Classes()), first)
		}
	}
}

func TestBadArraysAreExplained(t *testing.T) {
	good := npy("<f4", []int{2, 2, 3, 1, 1}, make([]float32, 12))
	with := func(i int, v float32, scale float32) []byte {
		x := make([]float32, 12)
		for k := range x {
			x[k] = float32(k) / 11 * scale
		}
		if i >= 0 {
			x[i] = v
		}
		return npy("<f4", []int{2, 2, 3, 1, 1}, x)
	}
	text := func(dict string) []byte {
		return append(append([]byte(npyMagic+"\x01\x00"), byte(len(dict)), byte(len(dict)>>8)), dict...)
	}
	zeros := func(shape ...int) []byte {
		n := 1
		for _, d := range shape {
			n *= d
		}
		return npy("<f4", shape, make([]float32, n))
	}
	whole := zipOf(t, zip.Deflate, map[string][]byte{"videos.npy": good})
	flipped := zipOf(t, zip.Store, map[string][]byte{"videos.npy": with(-1, 0, 1)})
	flipped[30+len("videos.npy")+128+2] ^= 1 // a bit of the first value: legal, but not what was stored
	for _, c := range []struct {
		name string
		file string
		raw  []byte
		want []string
	}{
		{"empty", "a.npz", nil, []string{"not a whole .npz"}},
		{"text", "a.npz", []byte("hello"), []string{"not a whole .npz"}},
		{"cut off", "a.npz", whole[:len(whole)-30], []string{"not a whole .npz", "cut off"}},
		{"a bit flipped", "a.npz", flipped, []string{"damaged", "checksum"}},
		{"no videos", "a.npz", zipOf(t, zip.Deflate, map[string][]byte{"images.npy": good}), []string{`no array "videos"`, "holds images"}},
		{"no arrays", "a.npz", zipOf(t, zip.Deflate, nil), []string{"holds nothing"}},
		{"not an array", "a.npz", zipOf(t, zip.Deflate, map[string][]byte{"videos.npy": []byte("P6 is something else")}), []string{"not a numpy array"}},
		{"three axes", "a.npy", zeros(2, 3, 4), []string{"3 axes", "[N,T,3,H,W]"}},
		{"one clip", "a.npy", zeros(5, 3, 4, 4), []string{"videos[None]"}},
		{"grey", "a.npy", zeros(5, 7, 4, 4), []string{"numpy.expand_dims(videos, 2)"}},
		{"colours first", "a.npy", zeros(2, 3, 5, 4, 4), []string{"looks like [N,3,T,H,W]", "transpose(0, 2, 1, 3, 4)"}},
		{"colours last", "a.npy", zeros(2, 5, 4, 4, 3), []string{"looks like channels last", "transpose(0, 1, 4, 2, 3)"}},
		{"no colours", "a.npy", zeros(2, 5, 2, 4, 4), []string{"no axis of 3 colours"}},
		{"no clips", "a.npy", zeros(0, 5, 3, 4, 4), []string{"holds no clips"}},
		{"NaN", "a.npy", with(10, float32(math.NaN()), 1), []string{"clip 1, frame 1 holds NaN"}},
		{"Inf in npz", "a.npz", zipOf(t, zip.Store, map[string][]byte{"videos.npy": with(4, float32(math.Inf(1)), 1)}), []string{"clip 0, frame 1 holds +Inf"}},
		{"0 to 255", "a.npy", with(-1, 0, 255), []string{"divide by 255", "uint8"}},
		{"-1 to 1", "a.npy", with(0, -1, 1), []string{"(videos + 1) / 2"}},
		{"far out", "a.npy", with(7, -500, 1), []string{"clip 1 holds -500", "legal: 0 to 1"}},
		{"whole numbers", "a.npy", npy("<i8", []int{1, 1, 3, 1, 1}, make([]int64, 3)), []string{"type <i8", "uint8"}},
		{"objects", "a.npy", text("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }"), []string{"Python objects"}},
		{"structured", "a.npy", text("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }"), []string{"structured"}},
		{"big-endian", "a.npy", text("{'descr': '>f4', 'fortran_order': False, 'shape': (1, 1, 3, 1, 1), }"), []string{"big-endian", "astype('<f4')"}},
		{"fortran", "a.npy", text("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1, 3, 1, 1), }"), []string{"Fortran", "ascontiguousarray"}},
		{"absurd", "a.npy", text("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 3, 4294967296, 9), }"), []string{"absurd"}},
		{"negative", "a.npy", text("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 1, 3, 1, 1), }"), []string{"not legal"}},
		{"large claim", "a.npy", text("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 16, 3, 64, 64), }"), []string{"cut off"}},
		{"large claim packed", "a.npz", zipOf(t, zip.Deflate, map[string][]byte{"videos.npy": text("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 16, 3, 64, 64), }")}), []string{"the archive holds 0"}},
		{"short", "a.npy", good[:len(good)-1], []string{"needs 48 bytes, the file holds 47"}},
		{"header cut off", "a.npy", good[:40], []string{"cut off in its header"}},
		{"labels of other length", "a.npz", zipOf(t, zip.Deflate, map[string][]byte{"videos.npy": good, "labels.npy": npy("<i8", []int{3}, make([]int64, 3))}), []string{"shape [3]", "2 clips"}},
		{"labels with fractions", "a.npz", zipOf(t, zip.Deflate, map[string][]byte{"videos.npy": good, "labels.npy": npy("<f4", []int{2}, []float32{1, .5})}), []string{"labels are <f4", "clip 1 has 0.5"}},
		{"too many clips", "a.npy", text("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 1, 1, 1, 1), }"), []string{"1000000000000 clips", "legal: up to 16777216"}},
		{"too large a clip", "a.npy", text("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1000, 3, 1000, 1000), }"), []string{"3000000000 values", "legal: up to 268435456"}},
		{"labels out of range", "a.npz", zipOf(t, zip.Deflate, map[string][]byte{"videos.npy": good, "labels.npy": npy("<i8", []int{2}, []int64{0, 1 << 40})}), []string{"clip 1 has 1099511627776"}},
		{"trajectory of other length", "a.npz", zipOf(t, zip.Deflate, map[string][]byte{"videos.npy": good, "trajectory_3d.npy": zeros(2, 5, 3)}), []string{"trajectory_3d", "[2,2,3]"}},
		{"unknown kind", "a.xyz", good, []string{"unknown kind", ".npz"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			src, err := Open(t.Context(), []string{tempFile(t, c.file, c.raw)}, Options{TempDir: dir})
			if err == nil {
				src.Close()
				t.Fatal("opened without an error")
			}
			if !errors.Is(err, usage.Error) {
				t.Errorf("%q is not usage.Error", err)
			}
			for _, w := range append(c.want, c.file) {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("%s is left behind", left[0].Name())
			}
		})
	}
}

func TestWriteArraysThenRead(t *testing.T) {
	want := map[string]Array{
		"codes": {"codes", []int{2, 3}, []int64{0, 1, 2, 3, 4, 1 << 20}},
		"names": {"names", []int{2}, []string{"", "ünï"}},
		"one":   {"one", []int{}, []float32{.5}},
	}
	path := filepath.Join(t.TempDir(), "a.npz")
	if err := WriteArrays(path, Array{"codes", []int{2, 3}, []int32{0, 1, 2, 3, 4, 1 << 20}}, want["names"], want["one"]); err != nil {
		t.Fatal(err)
	}
	got, err := ReadArrays(path)
	if err != nil {
		t.Fatal(err)
	}
	got["one"] = Array{"one", append([]int{}, got["one"].Shape...), got["one"].Data}
	if d := cmp.Diff(want, got, sameFloats); d != "" {
		t.Error(d)
	}
	if _, err := ReadArrays(path, "labels"); err == nil || !strings.Contains(err.Error(), "it holds codes, names, one") {
		t.Errorf("a missing array: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("%d files in the folder, want 1", len(left))
	}
	if err := WriteArrays(filepath.Join(path, "no", "folder.npz")); !errors.Is(err, usage.Error) {
		t.Errorf("writing into a folder that is not there: %v", err)
	}
}

// An archive of many or oddly named arrays is refused in a sentence.
func TestArchiveOfManyArraysIsRefusedInASentence(t *testing.T) {
	arrays := []Array{{"long" + strings.Repeat("/long", 5000), []int{1}, []int32{1}}, {"line\nbreak", []int{1}, []int32{1}}}
	for i := range 500 {
		arrays = append(arrays, Array{fmt.Sprintf("x%d", i), []int{1}, []int32{1}})
	}
	_, err := Open(t.Context(), []string{tempNPZ(t, arrays...)}, Options{})
	if err == nil || len(err.Error()) > 1000 || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "494 more") {
		t.Errorf("%.1500v", err)
	}
}

func TestNumpyReadsWhatIsWritten(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil || exec.Command(python, "-c", "import numpy").Run() != nil {
		t.Skip("python3 with numpy is not installed")
	}
	set, err := Synth(SynthConfig{Clips: 5, Seed: 1, Size: 16, Frames: 3})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a.npz")
	if err := set.WriteNPZ(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(python, "-c", `import numpy, sys
d = numpy.load(sys.argv[1])
for k in sorted(d): print(k, d[k].dtype.kind, *d[k].shape)
print(d["videos"].min(), d["videos"].max())`, path).CombinedOutput()
	want := "classes U 4\ndescriptions U 5\nequations U 5\nlabels i 5\npoints_2d f 5 3 2\ntrajectory_3d f 5 3 3\nvideos f 5 3 3 16 16\n0.0 1.0\n"
	if err != nil || string(out) != want {
		t.Errorf("numpy says %v\n%s\nwant\n%s", err, out, want)
	}
}

// FuzzArrays: whatever the bytes, Open gives clips or an error, and does not ask
// for memory that the bytes do not justify.
func FuzzArrays(f *testing.F) {
	good := npy("<f4", []int{2, 2, 3, 1, 1}, make([]float32, 12))
	f.Add(good, true)
	f.Add(good[:50], true)
	f.Add([]byte(npyMagic+"\x02\x00\xff\xff\xff\xff"), true)
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, _ := z.Create("videos.npy")
	w.Write(good)
	w, _ = z.Create("labels.npy")
	w.Write(npy("<i8", []int{2}, []int64{0, 1}))
	z.Close()
	f.Add(b.Bytes(), false)
	f.Fuzz(func(t *testing.T, raw []byte, plain bool) {
		name := "a.npz"
		if plain {
			name = "a.npy"
		}
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		src, err := Open(context.Background(), []string{path}, Options{Memory: 1 << 20})
		if err != nil {
			return
		}
		defer src.Close()
		c, err := src.Read(context.Background(), src.Len()-1)
		if err == nil && len(c.Video) != c.T*c.H*c.W*c.C {
			t.Errorf("%d values in a clip of %d,%d,%d,%d", len(c.Video), c.T, c.H, c.W, c.C)
		}
	})
}

// FuzzHeader: what a header claims is consistent, or an error.
func FuzzHeader(f *testing.F) {
	f.Add(appendNpyHeader(nil, "<f4", []int{2, 3}))
	f.Add(appendNpyHeader(nil, "<U7", []int{}))
	f.Add([]byte(npyMagic + "\x03\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := readNpyHeader(bytes.NewReader(raw), "a")
		if err != nil {
			return
		}
		n := int64(h.size)
		for _, d := range h.shape {
			n *= int64(d)
		}
		if n != h.bytes || n < 0 || h.start > int64(len(raw)) {
			t.Errorf("%+v of %d bytes", h, len(raw))
		}
	})
}
