package trainer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"magvit/trainer/usage"
)

func arenas(t *testing.T, s *state) (all [][]float32) {
	t.Helper()
	for _, sec := range s.sections(true) {
		a, err := s.read(sec.arena)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	return all
}

func TestCheckpointRoundTrip(t *testing.T) {
	o, _ := small(t)
	tr, err := open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.train(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended, err := tr.end(nil)
	if err != nil {
		t.Fatal(err)
	}
	// The codec uses the average, as the run did, and not the weights themselves.
	if got, err := EvaluateCheckpoint(t.Context(), o.Backend, o.Out, o.Source, "val"); err != nil || got.PSNR != ended.Report.PSNR {
		t.Errorf("the checkpoint evaluates to %v dB, the run to %v dB (%v)", got.PSNR, ended.Report.PSNR, err)
	}
	dir := filepath.Join(o.Out, "checkpoints", "step-000006")
	again, err := newState(o.Backend, tr.net)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.load(dir, true); err != nil {
		t.Fatal(err)
	}
	was, is := arenas(t, tr.state), arenas(t, again)
	for i := range was {
		if !slices.Equal(was[i], is[i]) {
			t.Errorf("arena %d is not what was saved", i)
		}
		for k := range i {
			if slices.Equal(was[i], was[k]) {
				t.Errorf("arenas %d and %d are equal: the test shows nothing", i, k)
			}
		}
	}
	for _, name := range []string{"latest", "best"} {
		text, err := os.ReadFile(filepath.Join(o.Out, "checkpoints", name))
		if err != nil || string(text) != "step-000006\n" {
			t.Errorf("%s says %q, %v", name, text, err)
		}
		// The file is as good as the folder.
		c, err := OpenCodec(o.Backend, filepath.Join(o.Out, "checkpoints", name))
		if err != nil || c.Step != 6 {
			t.Errorf("%s: %v", name, err)
		}
	}
	left, _ := filepath.Glob(filepath.Join(o.Out, "checkpoints", ".*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A network of another width must not take these weights.
func TestCheckpointOfAnotherModel(t *testing.T) {
	o, _ := small(t, "train.steps=1")
	run(t, t.Context(), o)
	wider, _ := small(t, "model.init_dim=16", "model.squeeze_excite=open")
	wider.Out = filepath.Join(t.TempDir(), "wider")
	tr, err := open(t.Context(), wider)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.end(nil)
	err = tr.state.load(filepath.Join(o.Out, "checkpoints", "step-000001"), true)
	refused(t, err, "conv_in.conv.weight is [8 1 3 3 48], the model has [16 1 3 3 48]", "is missing")
	// The configuration is compared first, and says it in fewer words.
	wider.Out, wider.Resume = filepath.Join(t.TempDir(), "wider"), o.Out
	_, err = Run(t.Context(), wider)
	refused(t, err, "another configuration", "model.init_dim: 16, was 8", "model.squeeze_excite: open, was none")
	if _, statErr := os.Stat(wider.Out); !errors.Is(statErr, os.ErrNotExist) {
		t.Errorf("a refused run left %s behind: %v", wider.Out, statErr)
	}
}

// damage changes a file of a checkpoint.
func damage(t *testing.T, dir, file string, change func([]byte) []byte) {
	t.Helper()
	path := filepath.Join(dir, file)
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(b), 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestDamagedCheckpointsArePassedOver(t *testing.T) {
	o, log := small(t, "train.save_every=2", "train.keep_last=0")
	run(t, t.Context(), o)
	want, err := os.ReadFile(filepath.Join(o.Out, "checkpoints", "step-000006", modelFile))
	if err != nil {
		t.Fatal(err)
	}
	at := func(step int) string { return filepath.Join(o.Out, "checkpoints", stepName(step)) }
	damage(t, at(6), modelFile, func(b []byte) []byte { return b[:len(b)-5] })
	damage(t, at(4), optimizerFile, func(b []byte) []byte { b[len(b)/2] ^= 4; return b })

	c, err := OpenCodec(o.Backend, o.Out)
	if err != nil || c.Step != 2 || len(c.Skipped) != 2 {
		t.Fatalf("codec of step %v, passed over %v, %v; want step 2 and two of them", c.Step, c.Skipped, err)
	}
	_, err = OpenCodec(o.Backend, at(4))
	refused(t, err, "step-000004", "optimizer.safetensors", "damaged")

	log.Reset()
	if r := run(t, t.Context(), o); r.Step != 6 {
		t.Fatalf("ended at step %d", r.Step)
	}
	for _, w := range []string{"step-000006: model.safetensors: ", "truncated", "step-000004: optimizer.safetensors", "step-000002 step=2"} {
		if !strings.Contains(log.String(), w) {
			t.Errorf("log does not say %q:\n%s", w, log)
		}
	}
	got, err := os.ReadFile(filepath.Join(at(6), modelFile))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("gone on from step 2, step 6 differs from the run in one piece (%v)", err)
	}

	// With none left the run is not silently begun again.
	for _, step := range []int{2, 4, 6} {
		damage(t, at(step), stateFile, func([]byte) []byte { return []byte("{") })
	}
	_, err = Run(t.Context(), o)
	refused(t, err, "none of its checkpoints verifies", "step-000002: state.json")
	if !errors.Is(err, usage.Error) {
		t.Errorf("%v is not the user's affair", err)
	}
}

func TestBadTensorFiles(t *testing.T) {
	var good bytes.Buffer
	if err := writeTensors(&good, []tensor{{"a", []int{2}, []float32{1, 2}}, {"b", nil, []float32{3}}}, nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	write := func(b []byte) {
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write(good.Bytes())
	m, err := readTensors(path)
	if err != nil || !slices.Equal(m["a"].values, []float32{1, 2}) || !slices.Equal(m["b"].values, []float32{3}) || len(m["b"].shape) != 0 {
		t.Fatalf("read %v, %v", m, err)
	}
	head := binary.LittleEndian.Uint64(good.Bytes())
	for name, change := range map[string]func([]byte) []byte{
		"empty":            func(b []byte) []byte { return nil },
		"header too large": func(b []byte) []byte { b[7] = 0x7f; return b },
		"header cut":       func(b []byte) []byte { return b[:head/2] },
		"values cut":       func(b []byte) []byte { return b[:len(b)-1] },
		"bad JSON":         func(b []byte) []byte { b[8] = '!'; return b },
		"overlap":          func(b []byte) []byte { return bytes.Replace(b, []byte("[8,12]"), []byte("[4,12]"), 1) },
		"wrong shape":      func(b []byte) []byte { return bytes.Replace(b, []byte("[2]"), []byte("[3]"), 1) },
		"wrong type":       func(b []byte) []byte { return bytes.Replace(b, []byte(`"F32"`), []byte(`"F99"`), 1) },
	} {
		b := change(bytes.Clone(good.Bytes()))
		if bytes.Equal(b, good.Bytes()) {
			t.Fatalf("%s: nothing was changed", name)
		}
		write(b)
		if _, err := readTensors(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want one that names the file", name, err)
		}
	}
}

// full is a file on a disk with so many bytes left.
type full struct{ left int }

func (f *full) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, syscall.ENOSPC
	}
	return len(b), nil
}
func (f *full) Close() error { return nil }

func TestDiskFullWhileSaving(t *testing.T) {
	o, _ := small(t, "train.save_every=2")
	tr, err := open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	tr.opt.OnStep = func(step int) {
		if step == 4 {
			tr.store.create = func(string) (io.WriteCloser, error) { return &full{5000}, nil }
		}
	}
	r, err := tr.end(tr.train(t.Context()))
	refused(t, err, "disk full", "step-000004", "older checkpoints are intact")
	if r.Checkpoint != "step-000002" || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("newest checkpoint %q, error %v", r.Checkpoint, err)
	}
	intact(t, o.Out, "step-000002")
}

// intact checks that a run holds this one checkpoint, good, and no leftovers.
func intact(t *testing.T, dir, name string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "checkpoints"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != name && e.Name() != "latest" && e.Name() != "best" {
			t.Errorf("left behind: %s", e.Name())
		}
	}
	if _, err := verify(filepath.Join(dir, "checkpoints", name)); err != nil {
		t.Error(err)
	}
}

func TestPruneKeepsTheBest(t *testing.T) {
	s := newStore(t.TempDir())
	for step := 1; step <= 5; step++ {
		if err := os.Mkdir(filepath.Join(s.dir, stepName(step)), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		keep, best int
		want       []int
	}{{0, 2, []int{1, 2, 3, 4, 5}}, {9, 2, []int{1, 2, 3, 4, 5}}, {2, 2, []int{2, 4, 5}}, {1, 5, []int{5}}} {
		if err := s.prune(c.keep, c.best); err != nil {
			t.Fatal(err)
		}
		if got, err := s.steps(); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("prune(%d, %d) leaves %v, %v; want %v", c.keep, c.best, got, err, c.want)
		}
	}
}
