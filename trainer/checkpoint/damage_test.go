package checkpoint

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/config"
	"magvit/trainer/trainertest"
	"magvit/trainer/version"
)

// saved is a store with checkpoints of these steps.
func saved(t *testing.T, steps ...int) (*Store, *State, Snapshot) {
	t.Helper()
	c, err := config.Parse("mini", []byte(trainertest.Mini))
	trainertest.Check(t, err)
	net, err := model.Build(c.Model)
	trainertest.Check(t, err)
	be := kernels.NewCPU(1)
	t.Cleanup(func() { be.Close() })
	st, err := NewState(be, net)
	trainertest.Check(t, err)
	trainertest.Check(t, be.Write(st.Params, st.Initial(net, 1)))
	s := NewStore(filepath.Join(t.TempDir(), "checkpoints"))
	snap := Snapshot{Best: 20, BestStep: steps[0], Seed: 1, Clips: "some"}
	trainertest.Check(t, snap.SetConfig(c))
	for _, step := range steps {
		snap.Step = step
		trainertest.Check(t, s.Save(st, snap, true))
	}
	return s, st, snap
}

// Every flipped bit of state.json is found, also in its own hash, and so is a step that was edited.
func TestStateFileIsUnderAHash(t *testing.T) {
	s, _, _ := saved(t, 3)
	dir := filepath.Join(s.Dir, StepName(3))
	good, err := os.ReadFile(filepath.Join(dir, StateFile))
	trainertest.Check(t, err)
	if _, err := decode(good); err != nil {
		t.Fatal(err)
	}
	passed := 0
	for i := range good[:len(good)-1] { // the last byte ends the line
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			if _, err := decode(bad); err == nil {
				t.Errorf("bit %d of byte %d, in %q", bit, i, good[max(i-20, 0):i+1])
			} else if !errors.Is(err, ErrDamaged) {
				t.Errorf("bit %d of byte %d: %v is not damage", bit, i, err)
			} else {
				passed++
			}
		}
	}
	t.Logf("%d flipped bits found", passed)
	for _, n := range []int{0, 1, len(good) / 2, len(good) - 3} {
		if _, err := decode(good[:n]); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	edited := bytes.Replace(good, []byte(`"step": 3`), []byte(`"step": 5`), 1)
	trainertest.Check(t, os.WriteFile(filepath.Join(dir, StateFile), edited, 0o666))
	if _, err := Verify(dir); !errors.Is(err, ErrDamaged) {
		t.Errorf("an edited step: %v", err)
	}
}

// Files of versions before the hash are read; their unknown keys, a damaged configuration
// and a damaged key of the step are found.
func TestStateFileWithoutAHash(t *testing.T) {
	_, _, snap := saved(t, 3)
	snap.Files = map[string]Digest{ModelFile: {1, "x"}}
	snap.Version = version.String()
	text, err := snap.encode()
	trainertest.Check(t, err)
	at := bytes.LastIndexByte(text, ',')
	text = append(bytes.Clone(text[:at]), []byte("\n}\n")...)
	old, err := decode(text)
	trainertest.Check(t, err)
	if old.StateHash != "" || old.Step != 3 {
		t.Fatalf("%+v", old)
	}
	trainertest.Check(t, old.checkConfig())
	for from, to := range map[string]string{`"step"`: `"stdp"`, `"seed": 42`: `"sedd": 42`, `"lr": 0.004`: `"lr": 0.005`, `"flip"`: `"flap"`} {
		if !bytes.Contains(text, []byte(from)) {
			t.Fatalf("%s is not in\n%s", from, text)
		}
		s, err := decode(bytes.Replace(text, []byte(from), []byte(to), 1))
		if err == nil {
			err = s.checkConfig()
		}
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s for %s: error %v", to, from, err)
		}
	}
}

// A folder under another step's name is no checkpoint of that step.
func TestFoldersExchanged(t *testing.T) {
	s, _, _ := saved(t, 3, 6)
	a, b := filepath.Join(s.Dir, StepName(3)), filepath.Join(s.Dir, StepName(9))
	trainertest.Check(t, os.Rename(a, b))
	dir, snap, skipped, err := s.Newest()
	trainertest.Check(t, err)
	if filepath.Base(dir) != StepName(6) || snap.Step != 6 || len(skipped) != 1 || !strings.Contains(skipped[0].Error(), "of step 3") {
		t.Errorf("newest %s, skipped %v", dir, skipped)
	}
}

// What cannot be read may be good: it is neither passed over nor replaced.
func TestReadErrorIsNoDamage(t *testing.T) {
	s, _, _ := saved(t, 3, 6)
	state := filepath.Join(s.Dir, StepName(6), StateFile)
	trainertest.Check(t, errors.Join(os.Remove(state), os.Mkdir(state, 0o777))) // reading a folder fails for root too
	dir, _, skipped, err := s.Newest()
	if err == nil || dir != "" || len(skipped) != 0 || errors.Is(err, ErrDamaged) {
		t.Fatalf("newest %q, skipped %v, error %v", dir, skipped, err)
	}
	trainertest.Refused(t, err, StepName(6), "cannot be read", "nothing was changed")
	if _, _, _, err := Find(filepath.Dir(s.Dir)); err == nil {
		t.Error("Find passed it over")
	}
}

// A path that is no checkpoint is answered with what it is, and what would be legal.
func TestFindSaysWhatIsThere(t *testing.T) {
	s, _, _ := saved(t, 3)
	run := filepath.Dir(s.Dir)
	trainertest.Check(t, errors.Join(os.WriteFile(filepath.Join(run, "theirs.ckpt"), make([]byte, 1000), 0o666), os.WriteFile(filepath.Join(run, "model.safetensors"), []byte("step"), 0o666),
		os.WriteFile(filepath.Join(run, "notes.txt"), []byte("step 3"), 0o666)))
	for name, want := range map[string]string{
		"best":              "checkpoints/latest or best in a run",
		"theirs.ckpt":       "magvit import makes a run",
		"model.safetensors": "begins a training by train --init",
		"notes.txt":         "want a run's folder",
	} {
		_, _, _, err := Find(filepath.Join(run, name))
		trainertest.Refused(t, err, name, want)
	}
	if dir, _, _, err := Find(filepath.Join(s.Dir, "latest")); err != nil || filepath.Base(dir) != StepName(3) {
		t.Errorf("latest is %s, %v", dir, err)
	}
}

// A folder in the place of a new checkpoint keeps its files under another name.
func TestSaveDestroysNothing(t *testing.T) {
	s, st, snap := saved(t, 3)
	mine := filepath.Join(s.Dir, StepName(6))
	trainertest.Check(t, errors.Join(os.Mkdir(mine, 0o777), os.WriteFile(filepath.Join(mine, "notes.txt"), []byte("mine"), 0o666)))
	snap.Step = 6
	for range 2 { // the second time there is a good checkpoint in the place
		trainertest.Check(t, s.Save(st, snap, true))
		if _, err := Verify(mine); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(mine+".replaced-1", "notes.txt")); string(text) != "mine" {
		t.Errorf("the user's file: %q, %v", text, err)
	}
	if _, err := Verify(mine + ".replaced-2"); err != nil {
		t.Errorf("the good checkpoint is gone: %v", err)
	}
}

// Pruning removes a checkpoint's own files only, and no folder without a checkpoint.
func TestPruneDestroysNothing(t *testing.T) {
	s, _, _ := saved(t, 3, 6, 9)
	trainertest.Check(t, os.WriteFile(filepath.Join(s.Dir, StepName(6), "notes.txt"), []byte("mine"), 0o666))
	other := filepath.Join(s.Dir, StepName(4))
	trainertest.Check(t, errors.Join(os.Mkdir(other, 0o777), os.WriteFile(filepath.Join(other, "thesis.tex"), nil, 0o666)))
	trainertest.Check(t, s.Prune(1, 0))
	var left []string
	trainertest.Check(t, filepath.WalkDir(s.Dir, func(path string, d os.DirEntry, err error) error {
		if rel, _ := filepath.Rel(s.Dir, path); err == nil && !d.IsDir() {
			left = append(left, rel)
		}
		return err
	}))
	want := "latest step-000004/thesis.tex step-000006/notes.txt step-000009/model.safetensors step-000009/optimizer.safetensors step-000009/state.json"
	if got := strings.Join(left, " "); got != want {
		t.Errorf("left\n%s, want\n%s", got, want)
	}
}

// A run that was killed before it wrote latest and best has them again.
func TestRepair(t *testing.T) {
	s, _, snap := saved(t, 3, 6)
	trainertest.Check(t, errors.Join(s.Point("latest", StepName(3)), s.Point("best", StepName(1))))
	snap.Step, snap.BestStep = 6, 6
	trainertest.Check(t, s.Repair(snap))
	for _, name := range []string{"latest", "best"} {
		if text, err := os.ReadFile(filepath.Join(s.Dir, name)); string(text) != StepName(6)+"\n" {
			t.Errorf("%s is %q, %v", name, text, err)
		}
	}
}

func TestSweepRemovesOwnFilesOnly(t *testing.T) {
	s, _, _ := saved(t, 3)
	for _, name := range []string{".tmp-1-step-000006", ".tmp-2-latest", ".tmp-mine"} {
		trainertest.Check(t, os.Mkdir(filepath.Join(s.Dir, name), 0o777))
	}
	s.Sweep()
	left, _ := filepath.Glob(filepath.Join(s.Dir, ".tmp-*"))
	if len(left) != 1 || filepath.Base(left[0]) != ".tmp-mine" {
		t.Errorf("left %v", left)
	}
}
