package codes

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"magvit/trainer/data"
	"magvit/trainer/usage"
)

// clipsInMemory is a Source of n clips of 2 frames of 1×2 pixels, whose values are their number; bad ones cannot be read.
type clipsInMemory struct {
	n   int
	bad map[int]bool
}

func (s clipsInMemory) Len() int           { return s.n }
func (s clipsInMemory) Name(i int) string  { return fmt.Sprintf("films/%02d.mp4", i) }
func (s clipsInMemory) Label(i int) int    { return i%3 - 1 }
func (s clipsInMemory) Classes() []string  { return []string{"cat", "dog"} }
func (s clipsInMemory) Problems() []string { return nil }
func (s clipsInMemory) Close() error       { return nil }
func (s clipsInMemory) Read(_ context.Context, i int) (data.Clip, error) {
	if s.bad[i] {
		return data.Clip{}, &data.ClipError{Name: s.Name(i), Err: errors.New("damaged")}
	}
	c := data.Clip{Name: s.Name(i), Label: s.Label(i), T: 2, H: 1, W: 2, C: 1, Span: [2]int{0, 2}, Video: make([]float32, 4)}
	for k := range c.Video {
		c.Video[k] = float32(i) / 64
	}
	return c, nil
}

// encoding of 10 clips, 4 a shard, the codes of clip i being 6i to 6i+5 on a grid of 3×1×2.
func encoding(t *testing.T, dir, format string, factors ...int) *Encoding {
	src := clipsInMemory{n: 10, bad: map[int]bool{1: true, 4: true, 5: true, 6: true, 7: true}}
	e := &Encoding{Dir: dir, Format: format, Source: src, PerShard: 4, Of: 1, Batch: 3, Log: slog.New(slog.DiscardHandler),
		Header: Header{Grid: [3]int{3, 1, 2}, Codebooks: 1, Codebook: 64, Levels: []int{4, 4, 4}, Factors: factors, Quantizer: "fsq", Size: [2]int{1, 2},
			DigitOrder: DigitOrder, BitOrder: FirstLowest, Tokenizer: strings.Repeat("ab", 32), Step: 7, Source: []string{"films"}, Classes: src.Classes()},
		Rate: func(int) (float64, error) { return 12.5, nil },
	}
	for i := range src.n {
		e.Indices = append(e.Indices, i)
	}
	var err error
	if e.Config, err = data.Resolve(t.Context(), src, e.Indices, data.Config{Frames: 2, Channels: 1, ValShare: .2}); err != nil {
		t.Fatal(err)
	}
	e.Encode = func(b *data.Batch) (codes []int32, err error) {
		for n := range b.N {
			for k := range 6 {
				codes = append(codes, int32(b.Video[n*4]*64)*6+int32(k))
			}
		}
		return codes, t.Context().Err()
	}
	return e
}

func run(t *testing.T, e *Encoding) Result {
	t.Helper()
	r, err := e.Run(t.Context(), func(int, int) {})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// files are the contents of a folder by name.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		all[d.Name()] = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func blocks(t *testing.T, path string) (s *Set, all Block) {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Each(t.Context(), func(b Block) error {
		if b.First != len(all.Names) {
			t.Errorf("a block begins at clip %d, want %d", b.First, len(all.Names))
		}
		all.Codes = append(all.Codes, b.Codes...)
		all.Names, all.Labels, all.Frames = append(all.Names, b.Names...), append(all.Labels, b.Labels...), append(all.Frames, b.Frames...)
		all.FPS, all.FrameRange = append(all.FPS, b.FPS...), append(all.FrameRange, b.FrameRange...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, all
}

// TestForms writes one set in each form, with and without factors, and reads the same from each.
func TestForms(t *testing.T) {
	want := Block{}
	for _, i := range []int{0, 2, 3, 8, 9} {
		for k := range 6 {
			want.Codes = append(want.Codes, int32(6*i+k))
		}
		want.Names, want.Labels, want.Frames = append(want.Names, fmt.Sprintf("films/%02d.mp4", i)), append(want.Labels, int64(i%3-1)), append(want.Frames, 2)
		want.FPS, want.FrameRange = append(want.FPS, 12.5), append(want.FrameRange, [2]int32{0, 2})
	}
	for _, format := range []string{"npz", "npy", "tar"} {
		for _, factors := range [][]int{nil, {4, 16}} {
			t.Run(fmt.Sprint(format, factors), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "codes")
				e := encoding(t, path, format, factors...)
				if format == "npz" {
					path += ".npz"
					if err := WriteNPZ(path, e.Header, want, nil); err != nil {
						t.Fatal(err)
					}
				} else if r := run(t, e); !r.Whole || r.Clips != 5 || r.LeftOut != 5 {
					t.Errorf("%+v, want 5 clips, 5 left out", r)
				}
				s, got := blocks(t, path)
				if !reflect.DeepEqual(got, want) {
					t.Errorf("read\n%+v\nwant\n%+v", got, want)
				}
				if !reflect.DeepEqual(s.Header, e.Header) || s.Clips != 5 {
					t.Errorf("header\n%+v\nwant\n%+v", s.Header, e.Header)
				}
				if format == "npz" {
					return
				}
				one, first := blocks(t, filepath.Join(path, "000000."+format))
				if one.Clips != 3 || !slices.Equal(first.Codes, want.Codes[:18]) || one.Codebook != 64 || !slices.Equal(first.Names, want.Names[:3]) ||
					!slices.Equal(one.Classes, e.Header.Classes) {
					t.Errorf("one shard: %d clips %v, codebook %d, classes %v", one.Clips, first, one.Codebook, one.Classes)
				}
			})
		}
	}
}

// TestTwoCodebooksWithFactors has two codes at a position, each stored as two factors: those of the first come first.
func TestTwoCodebooksWithFactors(t *testing.T) {
	want := Block{Codes: []int32{5, 63, 0, 17}, Clips: Clips{Names: []string{"a", "b"}, Frames: []int32{1, 1}, FPS: []float32{0, 0}, FrameRange: [][2]int32{{0, 1}, {0, 1}}}}
	h := Header{Grid: [3]int{1, 1, 1}, Codebooks: 2, Codebook: 64, Levels: []int{4, 4, 4}, Factors: []int{4, 16}}
	if got := split(nil, want.Codes, h.Factors); !slices.Equal(got, []int32{1, 1, 3, 15, 0, 0, 1, 4}) || !slices.Equal(h.Stored(), []int{1, 1, 1, 4}) {
		t.Errorf("stored %v of shape %v", got, h.Stored())
	}
	path := filepath.Join(t.TempDir(), "a.npz")
	if err := WriteNPZ(path, h, want, nil); err != nil {
		t.Fatal(err)
	}
	raw, err := h.content("tar", 0, want)
	if err == nil {
		err = os.WriteFile(path[:len(path)-4]+".tar", raw, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{path, path[:len(path)-4] + ".tar"} {
		s, got := blocks(t, path)
		if !reflect.DeepEqual(got, want) || s.Codebooks != 2 || s.Clips != 2 {
			t.Errorf("%s: %d codebooks, %+v; want 2, %+v", filepath.Ext(path), s.Codebooks, got, want)
		}
	}
}

// TestJobsMakeOneSet compares the files of one run, of three jobs in any order, and of one that is cancelled after each shard.
func TestJobsMakeOneSet(t *testing.T) {
	for _, format := range Formats {
		dir := t.TempDir()
		run(t, encoding(t, filepath.Join(dir, "one"), format))
		want := files(t, filepath.Join(dir, "one"))
		for i, job := range []int{2, 0, 1} {
			e := encoding(t, filepath.Join(dir, "jobs"), format)
			e.Job, e.Of = job, 3
			if r := run(t, e); r.Whole != (i == 2) {
				t.Errorf("%s: job %d, %d of 3: whole is %v", format, job, i+1, r.Whole)
			}
		}
		if got := files(t, filepath.Join(dir, "jobs")); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: three jobs wrote %d files, want those of one", format, len(got))
		}
		again := 0
		for whole := false; !whole; again++ {
			e := encoding(t, filepath.Join(dir, "again"), format)
			ctx, stop := context.WithCancel(t.Context())
			encoded := false
			do := e.Encode
			e.Encode = func(b *data.Batch) ([]int32, error) { encoded = true; return do(b) }
			r, err := e.Run(ctx, func(int, int) {
				if encoded {
					stop()
				}
			})
			if whole = r.Whole; err != nil && !errors.Is(err, context.Canceled) || again > 5 {
				t.Fatal(again, err)
			}
			stop()
		}
		if got := files(t, filepath.Join(dir, "again")); !reflect.DeepEqual(got, want) || again < 2 {
			t.Errorf("%s: begun %d times, files differ from those of one run: %d", format, again, len(got))
		}
	}
}

func TestResumeRefusesAndRepairs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "codes")
	run(t, encoding(t, dir, "npy"))
	want := files(t, dir)
	other := encoding(t, dir, "npy")
	other.Config.Stride = 2
	if _, err := other.Run(t.Context(), func(int, int) {}); err == nil || !strings.Contains(err.Error(), "encoded otherwise") {
		t.Errorf("another stride: %v", err)
	}
	fewer := encoding(t, dir, "npy")
	fewer.Indices = fewer.Indices[1:]
	if _, err := fewer.Run(t.Context(), func(int, int) {}); err == nil || !strings.Contains(err.Error(), "encoded otherwise") {
		t.Errorf("other clips: %v", err)
	}
	damaged := []byte(want["000000.npy"])
	damaged[len(damaged)-1] ^= 1
	for name, content := range map[string]string{"000000.npy": string(damaged), ".tmp-1-000002.npy": "half"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if r := run(t, encoding(t, dir, "npy")); r.Kept != 2 {
		t.Errorf("%d shards kept, want the two whole ones", r.Kept)
	}
	if got := files(t, dir); !reflect.DeepEqual(got, want) {
		t.Errorf("files after repair: %d, want %d, the same", len(got), len(want))
	}
}

func TestFactors(t *testing.T) {
	bits := slices.Repeat([]int{2}, 18)
	factors, err := SplitDigits(bits, []int{6, 12})
	if err != nil || !slices.Equal(factors, []int{64, 4096}) {
		t.Fatalf("%v, %v; want 64 and 4096", factors, err)
	}
	// The first sub-vocabulary has the low bits: 0b101100111000_100001 is 0b100001 and 0b101100111000.
	got := split(nil, []int32{0b101100111000_100001, 1<<18 - 1}, factors)
	if !slices.Equal(got, []int32{0b100001, 0b101100111000, 63, 4095}) {
		t.Errorf("split: %v", got)
	}
	if whole, err := join(got, factors); err != nil || !slices.Equal(whole, []int32{0b101100111000_100001, 1<<18 - 1}) {
		t.Errorf("join: %v, %v", whole, err)
	}
	if factors, err := SplitDigits([]int{8, 5, 5, 5}, []int{1, 2, 1}); err != nil || !slices.Equal(factors, []int{8, 25, 5}) {
		t.Errorf("%v, %v; want 8, 25, 5", factors, err)
	}
	for _, digits := range [][]int{{6, 11}, {6, 13}, {0, 18}, {-1, 19}} {
		if _, err := SplitDigits(bits, digits); err == nil || !strings.Contains(err.Error(), "18") {
			t.Errorf("%v of 18 digits: %v", digits, err)
		}
	}
	if _, err := join([]int32{64, 0}, []int{64, 4096}); err == nil {
		t.Error("a factor beyond its size was taken")
	}
}

// TestOddFiles has sets that are damaged, incomplete or not sets.
func TestOddFiles(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole")
	run(t, encoding(t, whole, "npy"))
	change := func(name string, edit func(map[string]string)) string {
		to := filepath.Join(dir, name)
		all := files(t, whole)
		edit(all)
		if err := os.Mkdir(to, 0o777); err != nil {
			t.Fatal(err)
		}
		for n, content := range all {
			if err := os.WriteFile(filepath.Join(to, n), []byte(content), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		return to
	}
	in := func(old, by string) func(map[string]string) {
		return func(m map[string]string) { m[IndexName] = strings.Replace(m[IndexName], old, by, 1) }
	}
	for want, path := range map[string]string{
		"the same command again goes on": change("unfinished", func(m map[string]string) { delete(m, IndexName) }),
		"no such file":                   change("lost", func(m map[string]string) { delete(m, "000000.npy") }),
		"cut off":                        change("cut", func(m map[string]string) { m["000000.npy"] = m["000000.npy"][:150] }),
		"000000.npy: damaged: ": change("flipped", func(m map[string]string) {
			text := []byte(m["000000.npy"])
			text[len(text)-4] ^= 1
			m["000000.npy"] = string(text)
		}),
		"the index has 4 clips":              change("counts", in(`"clips": 3`, `"clips": 4`)),
		"is not a file in that folder":       change("outside", in("000000.npy", "../whole/000000.npy")),
		"format \"something\"":               change("format", in(Format, "something")),
		"version 2":                          change("version", in(`"version": 1`, `"version": 2`)),
		"levels [4 0 4]":                     change("levels", in("\"levels\": [\n  4,\n  4", "\"levels\": [\n  4,\n  0")),
		"make 16 codes; the codebook has 64": change("fewlevels", in("\"levels\": [\n  4,\n  4,", "\"levels\": [\n  4,")),
		"a codebook of -64":                  change("codebook", in("\"codebook\": 64", "\"codebook\": -64")),
		"there are no codes":                 change("nothing", in("\"grid\": [\n  3", "\"grid\": [\n  0")),
		"unexpected end of JSON":             change("json", func(m map[string]string) { m[IndexName] = "{" }),
		"2 names for 3 clips": change("names", func(m map[string]string) {
			m["000000.json"] = strings.Replace(m["000000.json"], `"films/00.mp4",`, "", 1)
		}),
	} {
		s, err := Open(path)
		if err == nil {
			err = s.Each(t.Context(), func(Block) error { return nil })
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", filepath.Base(path), err, want)
		}
	}
	if err := os.WriteFile(filepath.Join(whole, "notes.txt"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := CheckFolder(whole); err == nil || !strings.Contains(err.Error(), "notes.txt") {
		t.Errorf("a folder with something else: %v", err)
	}
}

// TestTarNamesClasses has archives whose members name their classes: some, none, and two names for one number.
func TestTarNamesClasses(t *testing.T) {
	label := func(l int64) *int64 { return &l }
	open := func(samples ...sample) (*Set, error) {
		path := filepath.Join(t.TempDir(), "a.tar")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		w := tar.NewWriter(f)
		add := func(name string, content []byte) {
			err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o644})
			if _, wrong := w.Write(content); err != nil || wrong != nil {
				t.Fatal(err, wrong)
			}
		}
		for i, s := range samples {
			about, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			add(fmt.Sprintf("%d.npy", i), data.AppendNPY(nil, data.Array{Shape: []int{1, 1, 1}, Data: []int32{2}}))
			add(fmt.Sprintf("%d.json", i), about)
		}
		if err := errors.Join(w.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
		return Open(path)
	}
	for _, c := range []struct {
		samples []sample
		want    []string
	}{
		{[]sample{{Label: label(2), Class: "owl"}, {}, {Label: label(0), Class: "cat"}}, []string{"cat", "class 1", "owl"}},
		{[]sample{{Label: label(2)}, {}}, nil},
		{[]sample{{Class: "owl"}}, nil},
	} {
		if s, err := open(c.samples...); err != nil || !slices.Equal(s.Classes, c.want) {
			t.Errorf("%v: %v, %v; want classes %v", c.samples, s, err, c.want)
		}
	}
	for want, samples := range map[string][]sample{
		`class 1 is "cat" and "owl"`: {{Label: label(1), Class: "cat"}, {Label: label(1), Class: "owl"}},
		"a label of 65536":           {{Label: label(maxLabel), Class: "cat"}},
	} {
		if _, err := open(samples...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A folder that is removed, or replaced, between two shards is an error; nothing is left in its place.
func TestFolderIsRemovedMeanwhile(t *testing.T) {
	for want, change := range map[string]func(dir string) error{
		"was removed or renamed": os.RemoveAll,
		"was replaced":           func(dir string) error { return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o777)) },
	} {
		dir := filepath.Join(t.TempDir(), "codes")
		_, err := encoding(t, dir, "npy").Run(t.Context(), func(n, _ int) {
			if n == 4 {
				if err := change(dir); err != nil {
					t.Fatal(err)
				}
			}
		})
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, usage.Error) {
			t.Errorf("%v, want %q", err, want)
		}
		if _, err := os.Stat(filepath.Join(dir, IndexName)); err == nil {
			t.Errorf("%s: there is an index of shards that are lost", want)
		}
	}
}

// TestSourceJoinsClassesByName has two sets whose numbers of classes differ.
func TestSourceJoinsClassesByName(t *testing.T) {
	dir := t.TempDir()
	set := func(name string, classes []string, labels ...int64) string {
		path := filepath.Join(dir, name)
		n := len(labels)
		b := Block{Codes: make([]int32, n), Clips: Clips{Labels: labels, Frames: make([]int32, n), FPS: make([]float32, n)}}
		for i := range n {
			b.Names, b.FrameRange = append(b.Names, fmt.Sprint(name, i)), append(b.FrameRange, [2]int32{0, 1})
		}
		if err := WriteNPZ(path, Header{Grid: [3]int{1, 1, 1}, Codebooks: 1, Codebook: 4, Levels: []int{2, 2}, Classes: classes}, b, nil); err != nil {
			t.Fatal(err)
		}
		return path
	}
	first, second := set("a.npz", []string{"cat", "dog"}, 0, 1, -1), set("b.npz", []string{"bird", "cat", "dog"}, 0, 1, 2, 3)
	s, err := OpenSource(t.Context(), []string{first, second})
	if err != nil {
		t.Fatal(err)
	}
	if want := []int{0, 1, -1, 2, 0, 1, 3}; !slices.Equal(s.labels, want) {
		t.Errorf("labels %v, want %v", s.labels, want)
	}
	if want := []string{"cat", "dog", "bird", "class 3"}; !slices.Equal(s.Classes(), want) {
		t.Errorf("classes %v, want %v", s.Classes(), want)
	}
	unlabelled, numbered, large := set("c.npz", nil, -1), set("d.npz", nil, 1), set("e.npz", nil, 1<<40)
	if _, err := OpenSource(t.Context(), []string{first, unlabelled}); err != nil {
		t.Error(err)
	}
	for want, paths := range map[string][]string{
		"a.npz has names of its classes": {first, unlabelled, numbered},
		"d.npz has numbers alone":        {numbered, second},
		"a label of 1099511627776":       {large},
	} {
		if _, err := OpenSource(t.Context(), paths); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v; want %q", paths, err, want)
		}
	}
}
