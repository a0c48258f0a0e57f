package trainer

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/config"
	"magvit/trainer/data"
	"magvit/trainer/metrics"
	"magvit/trainer/task"
)

// looking is the options of a run of a classifier's preset on small clips.
func looking(t *testing.T, preset string, clips, steps int) Options {
	t.Helper()
	cfg, err := config.Preset(preset)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Train.Steps, cfg.Train.LogEvery, cfg.Train.EvalEvery, cfg.Train.SaveEvery = steps, 1, 0, 0
	be := kernels.NewCPU(0)
	t.Cleanup(func() { be.Close() })
	return Options{Config: cfg, Source: trajectories(t, clips, 42), Out: filepath.Join(t.TempDir(), "run"), Resume: "auto", Backend: be}
}

func predicted(t *testing.T, o Options, split string) metrics.Classification {
	t.Helper()
	p, of, err := task.Open(o.Backend, o.Out)
	if err != nil {
		t.Fatal(err)
	}
	clips, err := task.NewClips(t.Context(), of.Config, o.Source, split)
	if err != nil {
		t.Fatal(err)
	}
	e, err := p.Evaluate(t.Context(), clips, nil)
	if err != nil {
		t.Fatal(err)
	}
	return *e.At(of.Step).Classify
}

// Eight clips, as they are, are learnt by heart: classes and ways on.
func TestClassifiersOverfitEightClips(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: trains for longer")
	}
	for _, preset := range []string{"i3d-small", "slowfast-small"} {
		o := looking(t, preset, 10, 100)
		c := &o.Config
		c.Data.Flip, c.Data.Transpose, c.Data.Reverse, c.Data.Shift, c.Data.Rotation = false, false, false, 0, 0
		c.Train.WeightDecay, c.Train.LR = 0, 3e-3
		run(t, t.Context(), o)
		r := predicted(t, o, "train")
		f := r.Forecast
		t.Logf("%s: accuracy %.2f, cross-entropy %.3f, forecast %.2f px, constant position %.2f px", preset, r.Accuracy, r.CrossEntropy, f.Error, f.ConstantPosition)
		if r.Clips != 8 || r.Accuracy != 1 || !(f.Error < f.ConstantPosition/3) {
			t.Errorf("%s: %+v", preset, r)
		}
	}
}

// A classifier's run in one piece and one interrupted twice have the same bits, and
// the file at the end says what the checkpoint does.
func TestClassifierResumes(t *testing.T) {
	straight := looking(t, "slowfast-small", 12, 6)
	straight.Config.Train.SaveEvery, straight.Config.Train.EvalEvery = 2, 3
	r := run(t, t.Context(), straight)
	parts := straight
	parts.Out = filepath.Join(t.TempDir(), "parts")
	for _, stop := range []int{3, 4} {
		ctx, cancel := context.WithCancel(t.Context())
		o := parts
		o.OnStep = func(step int) {
			if step == stop {
				cancel()
			}
		}
		if r, err := Run(ctx, o); err == nil || r.Step != stop {
			t.Fatalf("interrupted at step %d: stopped at step %d with error %v", stop, r.Step, err)
		}
		cancel()
	}
	run(t, t.Context(), parts)
	if again := run(t, t.Context(), parts); again.Classified == nil { // nothing is left to do, not even to evaluate
		t.Error("a finished run does not know its evaluation")
	}
	for _, file := range []string{"model.safetensors", "optimizer.safetensors"} {
		a, errA := os.ReadFile(filepath.Join(straight.Out, "checkpoints", "step-000006", file))
		b, errB := os.ReadFile(filepath.Join(parts.Out, "checkpoints", "step-000006", file))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs between a run in one piece and a resumed one (%v, %v)", file, errA, errB)
		}
	}
	if a, b := timeless(t, straight.Out), timeless(t, parts.Out); a != b {
		t.Errorf("metrics differ:\n%s\n%s", a, b)
	}
	text, err := os.ReadFile(filepath.Join(straight.Out, metrics.ClassifyFile))
	if err != nil {
		t.Fatal(err)
	}
	var kept metrics.Classification
	if err := json.Unmarshal(text, &kept); err != nil {
		t.Fatal(err)
	}
	again := predicted(t, straight, "val")
	if kept.Step != 6 || kept.Preset != "slowfast-small" || kept.CrossEntropy != again.CrossEntropy || kept.Forecast.Error != again.Forecast.Error {
		t.Errorf("%s says %+v, the checkpoint %+v", metrics.ClassifyFile, kept, again)
	}
	if r.Classified == nil || r.Classified.CrossEntropy != kept.CrossEntropy {
		t.Errorf("the run returns %+v", r.Classified)
	}
	if _, err := os.Stat(filepath.Join(straight.Out, "checkpoints", "best")); err == nil {
		t.Error("a best checkpoint is kept: it was chosen by the clips that it is judged on")
	}
}

// What clips do not have is left out, or refused where it was asked for.
func TestClassifierTakesWhatThereIs(t *testing.T) {
	o := looking(t, "i3d-small", 12, 1)
	o.Source = without{o.Source, true, false}
	run(t, t.Context(), o)
	r := predicted(t, o, "val")
	if f := r.Forecast; f == nil || f.Of != model.ForecastSpace || f.Unit != "units of trajectory_3d" || r.Clips == 0 {
		t.Errorf("clips without points_2d: %+v", r)
	}
	o = looking(t, "i3d-small", 12, 1)
	o.Source = without{o.Source, true, true}
	run(t, t.Context(), o)
	if r = predicted(t, o, "val"); r.Forecast != nil || r.Clips == 0 {
		t.Errorf("clips without positions: %+v", r)
	}
	full := trajectories(t, 12, 42)
	for _, c := range []struct {
		set  string
		src  data.Source
		want string
	}{
		{"model.classify.forecast=image", without{full, true, true}, "no such positions"},
		{"model.classify.classes=3", full, "the clips have 4"},
		{"data.crop.batch=2", full, "whole clips"},
		{"train.epochs=-1", full, "train.epochs: -1"},
		{"model.classify.horizon=6", full, "horizon of 6"},
	} {
		o := looking(t, "slowfast-small", 12, 1)
		o.Source = c.src
		if err := o.Config.Set(c.set); err != nil {
			t.Fatal(err)
		}
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.set, err, c.want)
		}
	}
}

// without leaves positions out.
type without struct {
	data.Source
	points, space bool
}

func (w without) Read(ctx context.Context, i int) (data.Clip, error) {
	c, err := w.Source.Read(ctx, i)
	if w.points {
		c.Points = nil
	}
	if w.space {
		c.Trajectory = nil
	}
	return c, err
}

// A classifier has no codes.
func TestClassifierIsNoCodec(t *testing.T) {
	o := looking(t, "i3d-small", 12, 1)
	run(t, t.Context(), o)
	if _, err := task.OpenCodec(o.Backend, o.Out); err == nil || !strings.Contains(err.Error(), "a classifier (i3d on pixels), which makes no codes; magvit eval") {
		t.Errorf("error %v", err)
	}
}

// Epochs become steps: 30 times 9 clips in batches of 4 are 67.5, rounded.
func TestEpochs(t *testing.T) {
	o := looking(t, "i3d-small", 11, 0)
	o.Config.Train.Epochs = 30
	tr, err := open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	tr.end(nil)
	if tr.cfg.Train.Steps != 68 {
		t.Errorf("%d steps, want 68", tr.cfg.Train.Steps)
	}
	o = tiny(t, 0)
	o.Config.Train.Epochs, o.Config.Data.Crop.Batch, o.Config.Data.Crop.Size = 1, 2, 16
	if _, err := open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "epochs count whole clips") {
		t.Errorf("epochs of crops: error %v", err)
	}
}

// Shuffled labels are a permutation of the clips' labels, the same each time.
func TestShuffledLabels(t *testing.T) {
	src := trajectories(t, 40, 1)
	c := config.Config{Train: config.Train{ShuffleLabels: true, Seed: 3}}
	a, b := task.Labelled(src, c), task.Labelled(src, c)
	count, moved := map[int]int{}, 0
	for i := range src.Len() {
		if a.Label(i) != b.Label(i) {
			t.Fatal("two permutations of one seed differ")
		}
		count[a.Label(i)]++
		if a.Label(i) != src.Label(i) {
			moved++
		}
	}
	if count[0] != 10 || count[3] != 10 || moved < 20 {
		t.Errorf("labels %v, %d of 40 moved", count, moved)
	}
	if c.Train.ShuffleLabels = false; task.Labelled(src, c) != src {
		t.Error("without the key the labels change")
	}
}
