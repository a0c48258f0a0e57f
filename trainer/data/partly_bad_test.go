package data

import (
	"archive/zip"
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUnknownPositionsAreLeftOutAndNamed(t *testing.T) {
	shape, v := ramp(3, 4, 3, 2, 2)
	_, points := ramp(3, 4, 2)
	_, space := ramp(3, 4, 3)
	points[(1*4+2)*2] = float32(math.NaN())
	points[(1*4+3)*2+1] = float32(math.Inf(1))
	space[(2*4+0)*3+1] = 1e38
	src := mustOpen(t, Options{}, tempNPZ(t, Array{"videos", shape, v}, Array{"points_2d", []int{3, 4, 2}, points}, Array{"trajectory_3d", []int{3, 4, 3}, space}))
	text := strings.Join(src.Problems(), "\n")
	for _, want := range []string{"points_2d: 2 of 12 positions are left out, the first at clip 1, frame 2: NaN", "trajectory_3d: 1 of 12 positions are left out, the first at clip 2, frame 0: 1e+38"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q does not say %q", text, want)
		}
	}
	for _, c := range []struct {
		frames        int
		points, space []bool
	}{{2, []bool{true, true, true}, []bool{true, true, false}}, {4, []bool{true, false, true}, []bool{true, true, false}}} {
		b := next(t, mustLoad(t, src, Config{Frames: c.frames, ValShare: .2}, 3, false))
		if d := cmp.Diff([][]bool{c.points, c.space}, [][]bool{b.HasPoints, b.HasSpace}); d != "" {
			t.Errorf("%d frames: %s", c.frames, d)
		}
		for _, x := range append(b.Points, b.Space...) {
			if x != x || math.Abs(float64(x)) > maxPosition {
				t.Fatalf("a batch holds position %v", x)
			}
		}
	}
}

// object is an array of Python objects: a header and a pickle that is not read.
func object(shape string) []byte {
	dict := "{'descr': '|O', 'fortran_order': False, 'shape': " + shape + ", }\n"
	return append(append([]byte(npyMagic+"\x01\x00"), byte(len(dict)), byte(len(dict)>>8)), dict+"\x80\x04N."...)
}

func TestUnreadableOptionalArraysDoNotRefuseTheFile(t *testing.T) {
	videos := npy("<f4", []int{2, 1, 3, 1, 1}, make([]float32, 6))
	for _, name := range []string{"labels", "descriptions", "equations", "points_2d", "trajectory_3d", "classes", "unrelated"} {
		members := map[string][]byte{"videos.npy": videos, name + ".npy": object("(2,)")}
		if name == "classes" {
			members["labels.npy"] = npy("<i8", []int{2}, []int64{0, 1})
		}
		src := mustOpen(t, Options{}, tempFile(t, "a.npz", zipOf(t, zip.Deflate, members)))
		if mustRead(t, src, 1).T != 1 {
			t.Errorf("%s: clip 1 is not read", name)
		}
		if told := strings.Contains(strings.Join(src.Problems(), ""), name); told == (name == "unrelated") {
			t.Errorf("%s: problems %q", name, src.Problems())
		}
	}
	codes := tempFile(t, "codes.npz", zipOf(t, zip.Deflate, map[string][]byte{"codes.npy": npy("<i4", []int{1}, []int32{7}), "note.npy": object("(1,)")}))
	a, err := ReadArrays(codes)
	if err != nil || len(a) != 1 || !cmp.Equal(a["codes"].Data, []int64{7}) {
		t.Errorf("codes with an unrelated array: %v, %v", a, err)
	}
	if _, err := ReadArrays(codes, "note"); err == nil {
		t.Error("an array of objects that was asked for is read without an error")
	}
}

// What is next to the clips may be stored in any byte order, in Fortran's order of axes, as text of no length, and as whole
// numbers.
func TestSmallArraysAreReadAsNumpyStoresThem(t *testing.T) {
	stored := func(descr, order, shape string, b ...byte) []byte {
		dict := "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }\n"
		return append(append([]byte(npyMagic+"\x01\x00"), byte(len(dict)), byte(len(dict)>>8)), append([]byte(dict), b...)...)
	}
	src := mustOpen(t, Options{}, tempFile(t, "a.npz", zipOf(t, zip.Deflate, map[string][]byte{
		"videos.npy":        npy("|u1", []int{2, 2, 1, 1, 1}, make([]uint8, 4)),
		"labels.npy":        stored(">i2", "False", "(2,)", 0, 1, 0, 0),
		"classes.npy":       stored(">U1", "False", "(2,)", 0, 0, 0, 'a', 0, 0, 0, 'b'),
		"equations.npy":     stored("<U0", "False", "(2,)"),
		"points_2d.npy":     stored("|u1", "True", "(2, 2, 2)", 0, 4, 2, 6, 1, 5, 3, 7),
		"trajectory_3d.npy": stored(">f2", "False", "(2, 2, 3)", append(make([]byte, 22), 0x3c, 0)...),
	})))
	a, b := mustRead(t, src, 0), mustRead(t, src, 1)
	if d := cmp.Diff([][]float32{{0, 1, 2, 3}, {4, 5, 6, 7}, {0, 0, 0, 0, 0, 1}}, [][]float32{a.Points, b.Points, b.Trajectory}); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"a.npz/000000 1", "a.npz/000001 0"}, names(src)); d != "" || !cmp.Equal(src.Classes(), []string{"a", "b"}) || b.Equation != "" {
		t.Errorf("%s, classes %v, equation %q", d, src.Classes(), b.Equation)
	}
	if p := src.Problems(); len(p) > 0 {
		t.Errorf("problems %q", p)
	}
}

// A folder's files that cannot be read, and what this program wrote into it, cost their clips and a sentence.
func TestAFolderIsReadWithoutItsBadFiles(t *testing.T) {
	root := filepath.Join(t.TempDir(), "set")
	greyFrames(t, filepath.Join(root, "a"), 2, 2, 0, 9)
	greyFrames(t, filepath.Join(root, "b"), 2, 2, 5)
	if _, err := Pack(t.Context(), mustOpen(t, Options{}, root), Config{ValShare: .2}, filepath.Join(root, "packed"), nil); err != nil {
		t.Fatal(err)
	}
	good := npy("|u1", []int{1, 1, 1, 2, 2}, make([]uint8, 4))
	for name, b := range map[string][]byte{
		"codes.npz": zipOf(t, zip.Deflate, map[string][]byte{"codes.npy": npy("<i4", []int{1}, []int32{7})}), "cut.npz": []byte("PK"), "cut.npy": good[:60],
		"good.npy": good, "set.index": []byte(indexFormat + "\n"),
	} {
		if err := os.WriteFile(filepath.Join(root, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	src := mustOpen(t, Options{}, root)
	if d := cmp.Diff([]string{"good.npy/000000 -1", "a -1", "b -1"}, names(src)); d != "" {
		t.Error(d)
	}
	told := strings.Join(src.Problems(), "\n")
	for _, want := range []string{"codes.npz: codes, not clips", "cut.npz: not a whole", "cut.npy: cut off", "1 shards of packed clips are left out"} {
		if !strings.Contains(told, want) {
			t.Errorf("problems do not say %q:\n%s", want, told)
		}
	}
	if strings.Contains(told, "set.index") {
		t.Errorf("an index is told as a problem:\n%s", told)
	}
	if src := mustOpen(t, Options{}, filepath.Join(root, "packed")); src.Len() != 2 {
		t.Errorf("%d packed clips, want 2", src.Len())
	}
	if _, err := Open(t.Context(), []string{filepath.Join(root, "cut.npz")}, Options{}); err == nil {
		t.Error("a bad file that was named is opened")
	}
}

// Clips of float16, as people store them to save room.
func TestHalfPrecisionVideos(t *testing.T) {
	raw := appendNpyHeader(nil, "<f2", []int{1, 1, 1, 1, 2})
	raw = append(raw, 0, 0x38, 0, 0x3c) // 0.5, 1
	for name, file := range map[string][]byte{"a.npy": raw, "a.npz": zipOf(t, zip.Deflate, map[string][]byte{"videos.npy": raw})} {
		if v := mustRead(t, mustOpen(t, Options{}, tempFile(t, name, file)), 0).Video; !cmp.Equal(v, []float32{.5, 1}) {
			t.Errorf("%s: %v", name, v)
		}
	}
}

func TestTheLaterOfTwoMembersCounts(t *testing.T) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, v := range []float32{.25, .75} {
		w, _ := z.Create("videos.npy")
		w.Write(npy("<f4", []int{1, 1, 1, 1, 1}, []float32{v}))
	}
	z.Close()
	if v := mustRead(t, mustOpen(t, Options{}, tempFile(t, "a.npz", b.Bytes())), 0).Video[0]; v != .75 {
		t.Errorf("read %v, want the later .75", v)
	}
}

func TestLabelsAsTextAndAsWholeFloats(t *testing.T) {
	videos := npy("<f4", []int{4, 1, 1, 1, 1}, make([]float32, 4))
	open := func(labels []byte) Source {
		return mustOpen(t, Options{}, tempFile(t, "a.npz", zipOf(t, zip.Deflate, map[string][]byte{"videos.npy": videos, "labels.npy": labels})))
	}
	descr, raw := npyBytes([]string{"run", "jump", "", "run"})
	src := open(append(appendNpyHeader(nil, descr, []int{4}), raw...))
	if d := cmp.Diff([]string{"a.npz/000000 1", "a.npz/000001 0", "a.npz/000002 -1", "a.npz/000003 1"}, names(src)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"jump", "run"}, src.Classes()); d != "" {
		t.Error(d)
	}
	src = open(npy("<f8", []int{4, 1}, []float64{0, 2, -1, 1}))
	if d := cmp.Diff([]string{"a.npz/000000 0", "a.npz/000001 2", "a.npz/000002 -1", "a.npz/000003 1"}, names(src)); d != "" {
		t.Error(d)
	}
}

func TestARunDirectoryIsNotData(t *testing.T) {
	root := filepath.Join(t.TempDir(), "set")
	greyFrames(t, filepath.Join(root, "a"), 2, 2, 0)
	run := filepath.Join(root, "runs", "1")
	greyFrames(t, filepath.Join(run, "samples"), 2, 2, 0)
	os.MkdirAll(filepath.Join(run, "checkpoints"), 0o700)
	os.WriteFile(filepath.Join(run, "config.yaml"), nil, 0o600)
	src := mustOpen(t, Options{}, root)
	if d := cmp.Diff([]string{"a -1"}, names(src)); d != "" {
		t.Error(d)
	}
	if p := strings.Join(src.Problems(), ""); !strings.Contains(p, run) {
		t.Errorf("problems %q do not name %s", p, run)
	}
	if _, err := Open(t.Context(), []string{run}, Options{}); err == nil || !strings.Contains(err.Error(), "training run") {
		t.Errorf("a run given as data: %v", err)
	}
}

// Codes in the forms of magvit encode are called that, and not clips of an odd shape.
func TestCodesAreNotClips(t *testing.T) {
	root := t.TempDir()
	shards, archive := filepath.Join(root, "shards"), filepath.Join(root, "codes.tar")
	if err := os.Mkdir(shards, 0o777); err != nil {
		t.Fatal(err)
	}
	array := npy("<i4", []int{4, 4, 4, 4}, make([]int32, 256))
	for name, content := range map[string][]byte{"index.json": []byte("{\n \"format\": \"magvit-codes\", \"version\": 1}"), "000000.npy": array, "000000.json": []byte("{}")} {
		if err := os.WriteFile(filepath.Join(shards, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(archive, tarOf(t, tarFile{"000000_00000.codes.npy", array}, tarFile{"000000_00000.json", []byte("{}")}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{shards, filepath.Join(shards, "000000.npy"), archive} {
		_, err := Open(t.Context(), []string{path}, Options{})
		if err == nil || !strings.Contains(err.Error(), path+": codes, not clips") || strings.Contains(err.Error(), "axes") {
			t.Errorf("%v", err)
		}
	}
	greyFrames(t, filepath.Join(root, "film"), 2, 2, 0, 9)
	src := mustOpen(t, Options{}, root)
	if d := cmp.Diff([]string{"film -1"}, names(src)); d != "" {
		t.Error(d)
	}
	if told := strings.Join(src.Problems(), "\n"); strings.Count(told, "codes, not clips") != 2 {
		t.Errorf("problems:\n%s", told)
	}
}
