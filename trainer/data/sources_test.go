package data

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"magvit/trainer/usage"
)

type tarFile struct {
	name string
	data []byte
}

func tarOf(t *testing.T, files ...tarFile) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o600, Size: int64(len(f.data)), Format: tar.FormatUSTAR}); err != nil {
			t.Fatal(err)
		}
		w.Write(f.data)
	}
	w.Close()
	return b.Bytes()
}

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A folder, a list of it and a tar archive of it give the same batches.
func TestFolderListAndShardGiveTheSameBatches(t *testing.T) {
	root := t.TempDir()
	var members []tarFile
	var csv, text, jsonl bytes.Buffer
	csv.WriteString("split,label,path\n")
	for i, class := range []string{"a", "a", "b", "b"} {
		name := fmt.Sprintf("%s/%d.mkv", class, i)
		path := filepath.Join(root, name)
		os.MkdirAll(filepath.Dir(path), 0o700)
		makeFilm(t, path, "testsrc2=s=32x24:r=25:d=0.4", "-vf", fmt.Sprintf("hue=h=%d", 50*i), "-c:v", "ffv1")
		members = append(members, tarFile{name, read(t, path)})
		fmt.Fprintf(&csv, ",%s,%s\n", class, name)
		fmt.Fprintf(&text, "%s %s\n", name, class)
		fmt.Fprintf(&jsonl, `{"path":%q,"label":%q}`+"\n", name, class)
	}
	greyFrames(t, filepath.Join(root, "c", "x"), 32, 24, 0, 100, 200)
	for i := range 3 {
		name := fmt.Sprintf("c/x/frame-%d.png", i)
		members = append(members, tarFile{name, read(t, filepath.Join(root, name))})
	}
	csv.WriteString(",c,c/x\n")
	text.WriteString("c/x c\n")
	jsonl.WriteString(`{"path":"c/x","label":"c"}`)
	sources := map[string]Source{
		"folder": mustOpen(t, Options{}, root),
		"csv":    mustOpen(t, Options{}, write(t, filepath.Join(root, "l.csv"), csv.Bytes())),
		"txt":    mustOpen(t, Options{}, write(t, filepath.Join(root, "l.txt"), text.Bytes())),
		"jsonl":  mustOpen(t, Options{}, write(t, filepath.Join(root, "l.jsonl"), jsonl.Bytes())),
		"tar":    mustOpen(t, Options{}, write(t, filepath.Join(t.TempDir(), "set.tar"), tarOf(t, members...))),
	}
	cfg := Config{Height: 16, Width: 16, Frames: 3, Channels: 3, Flip: true, Shift: 2, ValShare: .2, Workers: 1}
	var want []Batch
	l := mustLoad(t, sources["folder"], cfg, 3, true)
	for range 4 {
		want = append(want, next(t, l))
	}
	for kind, src := range sources {
		if d := cmp.Diff([]string{"a/0.mkv 0", "a/1.mkv 0", "b/2.mkv 1", "b/3.mkv 1", "c/x 2"}, names(src)); d != "" {
			t.Errorf("%s: %s", kind, d)
		}
		l := mustLoad(t, src, cfg, 3, true)
		for step := range want {
			if d := cmp.Diff(want[step], next(t, l), sameFloats); d != "" {
				t.Fatalf("%s, step %d: %s", kind, step, d)
			}
		}
	}
}

func TestShardsInTheNamingOfWebdataset(t *testing.T) {
	dir := t.TempDir()
	gif := onePixelGIF(t, 3)
	png := func(v uint8) []byte {
		d := filepath.Join(t.TempDir(), "f")
		greyFrames(t, d, 2, 2, v)
		return read(t, filepath.Join(d, "frame-0.png"))
	}
	for i := range 3 {
		write(t, filepath.Join(dir, fmt.Sprintf("s-%03d.tar", i)), tarOf(t,
			tarFile{fmt.Sprintf("%d0.gif", i), gif}, tarFile{fmt.Sprintf("%d0.cls", i), []byte("7\n")}, tarFile{fmt.Sprintf("%d0.txt", i), []byte("a caption")},
			tarFile{fmt.Sprintf("%d1.png", i), png(9)}, tarFile{fmt.Sprintf("%d1.json", i), []byte(`{"label":"dog","split":"val"}`)},
			tarFile{fmt.Sprintf("%d2.0000.png", i), png(1)}, tarFile{fmt.Sprintf("%d2.0001.png", i), png(2)},
			tarFile{fmt.Sprintf("%d3.npy", i), npy("|u1", []int{2, 2, 2, 3}, make([]uint8, 24))},
			tarFile{fmt.Sprintf("%d3.wav", i), []byte("sound")}, tarFile{fmt.Sprintf("%d3.json", i), []byte(` "12"`)}))
	}
	src := mustOpen(t, Options{}, filepath.Join(dir, "s-{000..002}.tar"))
	if src.Len() != 12 {
		t.Fatalf("%d clips: %v", src.Len(), names(src))
	}
	if d := cmp.Diff([]string{"10.gif 0", "11 2", "12 -1", "13.npy 1"}, names(src)[4:8]); d != "" {
		t.Error(d)
	}
	for i, want := range []int{3, 1, 2, 2} {
		if c := mustRead(t, src, i); c.T != want || c.H < 1 {
			t.Errorf("%s: %d frames, want %d", c.Name, c.T, want)
		}
	}
	if Part(src, 1) != "val" || Part(src, 0) != "" {
		t.Errorf("parts %q, %q", Part(src, 0), Part(src, 1))
	}
	if p := strings.Join(src.Problems(), ""); !strings.Contains(p, "3 .wav") {
		t.Errorf("problems %q do not count the sound", p)
	}
}

func TestCompressedArchivesAreNamedAsSuch(t *testing.T) {
	_, err := Open(t.Context(), []string{write(t, filepath.Join(t.TempDir(), "s.tar.gz"), nil)}, Options{})
	if !errors.Is(err, usage.Error) || !strings.Contains(err.Error(), "unpack it") {
		t.Error(err)
	}
}

// Behind a damaged header the next whole one is found; a cut archive keeps what it has.
func TestDamagedShardsLoseOnlyTheDamagedClips(t *testing.T) {
	gif := onePixelGIF(t, 2)
	raw := tarOf(t, tarFile{"0.gif", gif}, tarFile{"1.gif", gif}, tarFile{"2.gif", gif})
	damaged := bytes.Clone(raw)
	second := 512 + (len(gif)+511)/512*512
	copy(damaged[second:], bytes.Repeat([]byte{0xff}, 300))
	for name, c := range map[string]struct {
		raw  []byte
		want []string
		told string
	}{
		"a header": {damaged, []string{"0.gif -1", "2.gif -1"}, "damaged from byte"},
		"the end":  {raw[:second+512+10], []string{"0.gif -1"}, "1.gif is cut off"},
		"no end":   {raw[:second], []string{"0.gif -1"}, ""},
	} {
		src := mustOpen(t, Options{}, write(t, filepath.Join(t.TempDir(), "a.tar"), c.raw))
		if d := cmp.Diff(c.want, names(src)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if p := strings.Join(src.Problems(), ""); !strings.Contains(p, c.told) {
			t.Errorf("%s: problems %q do not say %q", name, p, c.told)
		}
	}
}

func TestListsAreExplained(t *testing.T) {
	dir := t.TempDir()
	greyFrames(t, filepath.Join(dir, "a b"), 2, 2, 0)
	for _, c := range []struct{ name, text, want string }{
		{"l.csv", "", "no clips in the list"},
		{"l.csv", "none.mp4", "l.csv:1: stat"},
		{"l.csv", "name,label\na b,x", "as a first line names them: path, file,"},
		{"l.csv", "path,label\n\"a b\",x\n,y\n", "line 3: no path"},
		{"l.csv", "a b,x,zero", `start "zero"`},
		{"l.csv", "a b,x,3,2", "start before end"},
		{"l.csv", "a b,x,0,0,some", `split "some"; legal: train, val, test`},
		{"l.csv", "a b,x,0,2", "for video files only"},
		{"l.jsonl", "{\"label\":1}", "line 1: want an object"},
		{"l.jsonl", "{\"path\":\"a b\",\"label\":[1]}", "\"label\" is neither text nor a number"},
		{"l.txt", "l.txt", "a list names video files"},
		{"l.txt", strings.Repeat("a", 1<<20), "line 1: longer than 1048576 bytes"},
		{"l.jsonl", "\n" + strings.Repeat("a", 1<<20), "line 2: longer than 1048576 bytes"},
	} {
		_, err := Open(t.Context(), []string{write(t, filepath.Join(dir, c.name), []byte(c.text))}, Options{})
		if !errors.Is(err, usage.Error) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.name) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
	src := mustOpen(t, Options{}, write(t, filepath.Join(dir, "l.txt"), []byte("# comment\n\na b\na b 5\n")))
	if d := cmp.Diff([]string{"a b -1", "a b 0"}, names(src)); d != "" {
		t.Error(d)
	}
	src = mustOpen(t, Options{}, write(t, filepath.Join(dir, "films", "l.txt"), []byte(".\n")))
	if _, err := src.Read(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "without images") {
		t.Errorf("a listed folder of films: %v", err)
	}
}

// TestOneClipInTwoParts lists a clip for training and validation: that is told.
func TestOneClipInTwoParts(t *testing.T) {
	dir := t.TempDir()
	greyFrames(t, filepath.Join(dir, "a"), 2, 2, 0)
	greyFrames(t, filepath.Join(dir, "b"), 2, 2, 0)
	for text, want := range map[string]string{"a,x,,,train\nb,x,,,train\n./a,x,,,val\n": "1 clip for training and for validation or test, too (a)", "a,x,,,train\nb,x,,,val\n": ""} {
		src := mustOpen(t, Options{}, write(t, filepath.Join(dir, "l.csv"), []byte(text)))
		if got := strings.Join(src.Problems(), "; "); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%q: problems %q, want %q", text, got, want)
		}
	}
}

// A part of a film, named by its seconds in a list.
func TestListedPartsOfAFilm(t *testing.T) {
	dir := t.TempDir()
	makeFilm(t, filepath.Join(dir, "a.mp4"), "testsrc2=s=32x24:r=25:d=2", "-c:v", "libx264", "-g", "10")
	whole := mustRead(t, mustOpen(t, Options{}, filepath.Join(dir, "a.mp4")), 0)
	src := mustOpen(t, Options{}, write(t, filepath.Join(dir, "l.csv"), []byte("path,start,end\na.mp4,0,.4\na.mp4,0.8,1.2\na.mp4,1.2,\n")))
	if d := cmp.Diff([]string{"a.mp4@0-0.4 -1", "a.mp4@0.8-1.2 -1", "a.mp4@1.2- -1"}, names(src)); d != "" {
		t.Error(d)
	}
	for i, want := range [][2]int{{0, 10}, {20, 30}, {30, 50}} {
		c := mustRead(t, src, i)
		if c.T != want[1]-want[0] || farthest(c.Video, whole.Video[want[0]*32*24*3:want[1]*32*24*3]) > 0 {
			t.Errorf("part %d: %d frames, want %d to %d", i, c.T, want[0], want[1])
		}
	}
}

func TestPartsByFolderAndByVal(t *testing.T) {
	root := filepath.Join(t.TempDir(), "set")
	for _, part := range []string{"train", "val", "test"} {
		for _, class := range []string{"a", "b"} {
			greyFrames(t, filepath.Join(root, part, class, "x"), 2, 2, 0)
		}
	}
	greyFrames(t, filepath.Join(root, "train", "y"), 2, 2, 0)
	src := mustOpen(t, Options{}, root)
	train, val, err := Split(src, .2)
	var got [2][]string
	for k, indices := range [][]int{train, val} {
		for _, i := range indices {
			got[k] = append(got[k], names(src)[i])
		}
	}
	if d := cmp.Diff([2][]string{{"train/a/x 0", "train/b/x 1", "train/y -1"}, {"val/a/x 0", "val/b/x 1"}}, got); d != "" || err != nil {
		t.Error(d, err)
	}
	if Part(src, 0) != "test" {
		t.Errorf("clip %s is of part %q", src.Name(0), Part(src, 0))
	}
	// A folder called train among others that are no parts is a class.
	other := filepath.Join(t.TempDir(), "set")
	greyFrames(t, filepath.Join(other, "train", "x"), 2, 2, 0)
	greyFrames(t, filepath.Join(other, "car", "x"), 2, 2, 0)
	if d := cmp.Diff([]string{"car", "train"}, mustOpen(t, Options{}, other).Classes()); d != "" {
		t.Error(d)
	}
	src = mustOpen(t, Options{Val: []string{filepath.Join(root, "val", "a")}}, other)
	if train, val, err := Split(src, .2); err != nil || len(train) != 2 || len(val) != 1 || src.Name(val[0]) != "x" {
		t.Errorf("--val: %v %v %v of %v", train, val, err, names(src))
	}
}

// Folders of parts below those of classes, and with a size or year behind the name.
func TestPartsByFolderAtAnyDepth(t *testing.T) {
	for _, c := range []struct {
		clips []string
		want  []string // name, part and class
	}{
		{[]string{"a/train/x", "a/val/y", "b/train/x", "b/val/y"}, []string{"a/train/x train a", "a/val/y val a", "b/train/x train b", "b/val/y val b"}},
		{[]string{"videos/train/a/x", "videos/test/a/x"}, []string{"videos/test/a/x test a", "videos/train/a/x train a"}},
		{[]string{"train_256/a/x", "val_256/a/x"}, []string{"train_256/a/x train a", "val_256/a/x val a"}},
		{[]string{"train2017/x", "val2017/x", "more/x"}, []string{"more/x  more", "train2017/x train videos", "val2017/x val videos"}},
		{[]string{"train_station/x", "test_tube/x", "train/x"}, []string{"test_tube/x  test_tube", "train/x  train", "train_station/x  train_station"}},
	} {
		root := filepath.Join(t.TempDir(), "set")
		for _, name := range c.clips {
			greyFrames(t, filepath.Join(root, name), 2, 2, 0)
		}
		src := mustOpen(t, Options{}, root)
		var got []string
		for i := range src.Len() {
			class := "videos"
			if l := src.Label(i); l >= 0 {
				class = src.Classes()[l]
			}
			got = append(got, src.Name(i)+" "+Part(src, i)+" "+class)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Error(d)
		}
	}
}

// Arrays, archives and folders of parts next to each other.
func TestPartsByFile(t *testing.T) {
	array, clip := npy("|u1", []int{1, 2, 3, 2, 2}, make([]uint8, 24)), npy("|u1", []int{2, 2, 2, 3}, make([]uint8, 24))
	for _, c := range []struct{ files, want []string }{
		{[]string{"train_0.npy", "train_1.npy", "val.npy", "more.npy"}, []string{"more.npy ", "train_0.npy train", "train_1.npy train", "val.npy val"}},
		{[]string{"train.npy", "test/x.npy"}, []string{"x.npy test", "train.npy train"}},
		{[]string{"train.npy", "val.txt"}, []string{"train.npy "}},
		{[]string{"val.npy", "x.npy"}, []string{"val.npy ", "x.npy "}},
	} {
		root := t.TempDir()
		for _, name := range c.files {
			write(t, filepath.Join(root, name), array)
		}
		src := mustOpen(t, Options{}, root)
		var got []string
		for i := range src.Len() {
			got = append(got, path.Dir(src.Name(i))+" "+Part(src, i))
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Error(d)
		}
	}
	root := t.TempDir()
	write(t, filepath.Join(root, "train.tar"), tarOf(t, tarFile{"a.npy", clip}))
	write(t, filepath.Join(root, "val.tar"), tarOf(t, tarFile{"b.npy", clip}))
	src := mustOpen(t, Options{}, root)
	if train, val, err := Split(src, .2); err != nil || len(train) != 1 || len(val) != 1 || Part(src, val[0]) != "val" {
		t.Errorf("archives: %v, %v, %v", train, val, err)
	}
}

// Lists as spreadsheets and other programs write them.
func TestListsOfOtherPrograms(t *testing.T) {
	dir := t.TempDir()
	greyFrames(t, filepath.Join(dir, "a"), 2, 2, 0)
	greyFrames(t, filepath.Join(dir, "b;c"), 2, 2, 0)
	write(t, filepath.Join(dir, "d.npy"), npy("|u1", []int{2, 2, 2, 3}, make([]uint8, 24)))
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"l.csv", "path;label\r\na;x\r\n", []string{"a x"}},
		{"l.csv", "path,label\ra,x\rd.npy,y\r", []string{"a x", "d.npy y"}},
		{"l.csv", "a,x\rd.npy,y", []string{"a x", "d.npy y"}},
		{"l.csv", "path;label\ra;x\r", []string{"a x"}},
		{"l.tsv", "\xff\xfea\x00\t\x00x\x00\r\x00", []string{"a x"}},
		{"l.txt", "a x\rd.npy y\r", []string{"a x", "d.npy y"}},
		{"l.csv", "path,label\r\r\na,x\r\r\n", []string{"a x"}},
		{"l.csv", "\ufefflabel\tpath\nx\ta\n", []string{"a x"}},
		{"l.csv", "\xff\xfep\x00a\x00t\x00h\x00\n\x00a\x00\n\x00", []string{"a "}},
		{"l.txt", "\xfe\xff\x00a\x00 \x00\xe9\x00\n", []string{"a \u00e9"}},
		{"l.txt", "\ufeffa x\n", []string{"a x"}},
		{"l.jsonl", "\ufeff{\"path\":\"a\",\"label\":\"x\"}\n", []string{"a x"}},
		{"l.csv", "b;c\n", []string{"b;c "}},
		{"l.csv", "path,label\nb;c,x;y\nd.npy,z\n", []string{"b;c x;y", "d.npy z"}},
		{"l.jsonl", `{"Video":"a","class":"x","label":"y","meta":{"a":1},"category":[1]}`, []string{"a y"}},
		{"l.jsonl", `{"video":{"codec":1},"file":"a","category":true,"start":null}`, []string{"a true"}},
		{"l.jsonl", `{"path":"a","label":1000000}` + "\n" + `{"path":"d.npy","label":0.5}`, []string{"a 1000000", "d.npy 0.5"}},
	} {
		src := mustOpen(t, Options{}, write(t, filepath.Join(dir, c.name), []byte(c.text)))
		var got []string
		for i := range src.Len() {
			class := ""
			if l := src.Label(i); l >= 0 {
				class = src.Classes()[l]
			}
			got = append(got, src.Name(i)+" "+class)
			if clip := mustRead(t, src, i); clip.H != 2 || clip.W != 2 {
				t.Errorf("%s is %dx%d", clip.Name, clip.W, clip.H)
			}
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%q: %s", c.text, d)
		}
	}
	for text, want := range map[string]float64{"1.5": 1.5, "0:05": 5, "1:02:03.5": 3723.5, "90:00": 5400} {
		if got, err := parseTime(text); err != nil || got != want {
			t.Errorf("%s is %v s, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "1:60", "1:2:3:4", "1:-2", "a:1", "1:"} {
		if got, err := parseTime(text); err == nil {
			t.Errorf("%q is %v s", text, got)
		}
	}
}

// Clips of --data that --val names too are held out, and are not trained on; that is told.
func TestValBelowDataIsNotTrainedOn(t *testing.T) {
	root := filepath.Join(t.TempDir(), "set")
	greyFrames(t, filepath.Join(root, "a", "x"), 2, 2, 0)
	greyFrames(t, filepath.Join(root, "held", "y"), 2, 2, 0)
	gif := onePixelGIF(t, 2)
	write(t, filepath.Join(root, "b", "1.tar"), tarOf(t, tarFile{"0.gif", gif}, tarFile{"1.gif", gif}))
	video := npy("|u1", []int{2, 2, 3, 4, 4}, make([]uint8, 192))
	write(t, filepath.Join(root, "train.npy"), video)
	write(t, filepath.Join(root, "held", "val.npy"), video)
	write(t, filepath.Join(root, "held", "z.gif"), gif)
	t.Chdir(root)
	for _, c := range []struct {
		val        string
		train, all int
		classes    []string
	}{{"held", 5, 9, []string{"a"}}, {filepath.Join(root, "b", "1.tar"), 7, 9, []string{"a", "held"}}} {
		src := mustOpen(t, Options{Val: []string{c.val}}, root)
		train, val, err := Split(src, .2)
		if err != nil || len(train) != c.train || len(train)+len(val) != c.all {
			t.Errorf("--val %s: %d clips for training and %d held out, %v; want %d of %d", c.val, len(train), len(val), err, c.train, c.all)
		}
		for i := range src.Len() {
			if _, err := src.Read(t.Context(), i); err != nil {
				t.Errorf("--val %s: %v", c.val, err)
			}
		}
		if told := strings.Join(src.Problems(), ""); !strings.Contains(told, "clips of --data are among those of --val") {
			t.Errorf("--val %s: problems %q", c.val, told)
		}
		if d := cmp.Diff(c.classes, src.Classes()); d != "" {
			t.Errorf("--val %s: %s", c.val, d)
		}
	}
	if _, _, err := Split(mustOpen(t, Options{Val: []string{root}}, root), .2); err == nil {
		t.Error("all clips are held out, and something is trained on")
	}
}

func TestFilesOfNoKindAreCounted(t *testing.T) {
	root := t.TempDir()
	greyFrames(t, filepath.Join(root, "a"), 2, 2, 0)
	write(t, filepath.Join(root, "b", "1.xyz"), nil)
	write(t, filepath.Join(root, "b", "2.xyz"), nil)
	write(t, filepath.Join(root, "README"), nil)
	got := mustOpen(t, Options{}, root).Problems()
	if len(got) != 1 || !strings.Contains(got[0], "3 files of no kind that is read left out") || !strings.Contains(got[0], "1 without an extension") || !strings.Contains(got[0], "2 .xyz ("+filepath.Join(root, "b", "1.xyz")+")") {
		t.Errorf("problems %q", got)
	}
}

func TestIndexIsUsedUntilTheFileChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.mp4")
	makeFilm(t, path, "-c:v", "libx264", "-g", "10")
	x, err := ReadIndex(filepath.Join(t.TempDir(), "none"))
	if err != nil {
		t.Fatal(err)
	}
	src := mustOpen(t, Options{Index: x}, path)
	if bad, err := Scan(t.Context(), src, 0, 1, 2, nil); err != nil || len(bad) > 0 || x.Len() != 1 {
		t.Fatalf("%v %v, %d films", bad, err, x.Len())
	}
	file := filepath.Join(t.TempDir(), "set.index")
	if err := x.Write(file); err != nil {
		t.Fatal(err)
	}
	again, err := ReadIndex(file)
	if err != nil {
		t.Fatal(err)
	}
	want := x.find(path, nil)
	if d := cmp.Diff(want, again.find(path, nil), cmp.AllowUnexported(timeline{})); d != "" || want.N != 75 || want.Keys != 8 || !slices.Equal(want.KeyAt, []int{0, 10, 20, 30, 40, 50, 60, 70}) {
		t.Errorf("%+v: %s", want, d)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if hash, err := contentHash(bytes.NewReader(raw), 0, int64(len(raw))); err != nil || again.films[keyOf(path, nil)].Hash != hash {
		t.Errorf("hash %q, want %q, %v", again.films[keyOf(path, nil)].Hash, hash, err)
	}
	now := time.Now()
	os.Chtimes(path, now, now)
	fresh, _ := ReadIndex(file)
	if fresh.find(path, nil) != nil {
		t.Error("the entry of a changed file is used")
	}
	for _, text := range []string{"other", indexFormat + "\n{}", indexFormat + "\n{\"path\":\"a\",\"frames\":3,\"times\":[0]}", indexFormat + "\n{\"path\""} {
		if _, err := ReadIndex(write(t, file, []byte(text))); !errors.Is(err, usage.Error) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
