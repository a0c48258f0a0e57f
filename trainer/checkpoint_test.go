package trainer

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"magvit/kernels"
	"magvit/trainer/checkpoint"
	"magvit/trainer/task"
	"magvit/trainer/trainertest"
	"magvit/trainer/usage"
)

func arenas(t *testing.T, s *checkpoint.State) (all [][]float32) {
	t.Helper()
	for _, of := range []kernels.Buffer{s.Params, s.M, s.V, s.EMA} {
		a, err := s.Read(of)
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
	again, err := checkpoint.NewState(o.Backend, tr.net)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Load(dir, true); err != nil {
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
		c, err := task.OpenCodec(o.Backend, filepath.Join(o.Out, "checkpoints", name))
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
	err = tr.state.Load(filepath.Join(o.Out, "checkpoints", "step-000001"), true)
	trainertest.Refused(t, err, "conv_in.conv.weight is [8 1 3 3 48], the model has [16 1 3 3 48]", "is missing")
	// The configuration is compared first, and says it in fewer words.
	wider.Out, wider.Resume = filepath.Join(t.TempDir(), "wider"), o.Out
	_, err = Run(t.Context(), wider)
	trainertest.Refused(t, err, "another configuration", "model.init_dim: 16, was 8", "model.squeeze_excite: open, was none")
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
	want, err := os.ReadFile(filepath.Join(o.Out, "checkpoints", "step-000006", checkpoint.ModelFile))
	if err != nil {
		t.Fatal(err)
	}
	at := func(step int) string { return filepath.Join(o.Out, "checkpoints", checkpoint.StepName(step)) }
	damage(t, at(6), checkpoint.ModelFile, func(b []byte) []byte { return b[:len(b)-5] })
	damage(t, at(4), checkpoint.OptimizerFile, func(b []byte) []byte { b[len(b)/2] ^= 4; return b })

	c, err := task.OpenCodec(o.Backend, o.Out)
	if err != nil || c.Step != 2 || len(c.Skipped) != 2 {
		t.Fatalf("codec of step %v, passed over %v, %v; want step 2 and two of them", c.Step, c.Skipped, err)
	}
	_, err = task.OpenCodec(o.Backend, at(4))
	trainertest.Refused(t, err, "step-000004", "optimizer.safetensors", "damaged")

	log.Reset()
	if r := run(t, t.Context(), o); r.Step != 6 {
		t.Fatalf("ended at step %d", r.Step)
	}
	for _, w := range []string{"step-000006: model.safetensors: ", "truncated", "step-000004: optimizer.safetensors", "step-000002 step=2"} {
		if !strings.Contains(log.String(), w) {
			t.Errorf("log does not say %q:\n%s", w, log)
		}
	}
	got, err := os.ReadFile(filepath.Join(at(6), checkpoint.ModelFile))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("gone on from step 2, step 6 differs from the run in one piece (%v)", err)
	}

	// With none left the run is not silently begun again.
	for _, step := range []int{2, 4, 6} {
		damage(t, at(step), checkpoint.StateFile, func([]byte) []byte { return []byte("{") })
	}
	_, err = Run(t.Context(), o)
	trainertest.Refused(t, err, "none of its checkpoints verifies", "step-000002: state.json")
	if !errors.Is(err, usage.Error) {
		t.Errorf("%v is not the user's affair", err)
	}
}

// full is a file on a disk with a number of bytes left.
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
			tr.store.Create = func(string) (io.WriteCloser, error) { return &full{5000}, nil }
		}
	}
	r, err := tr.end(tr.train(t.Context()))
	trainertest.Refused(t, err, "disk full", "step-000004", "older checkpoints are intact")
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
	if _, err := checkpoint.Verify(filepath.Join(dir, "checkpoints", name)); err != nil {
		t.Error(err)
	}
}
