package trainer

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/data"
	"magvit/trainer/task"
	"magvit/trainer/usage"
)

// resume finds the checkpoint to continue from, "" to start from nothing, and
// refuses what would mix two runs.
func (t *training) resume(fresh bool) (from string, err error) {
	out, want := t.opt.Out, t.opt.Resume
	var snap checkpoint.Snapshot
	var skipped []error
	named := want != "auto" && want != "" && want != "never"
	switch {
	case named && t.opt.Init != "":
		return "", usage.Errorf("--resume %s and --init %s: give one of them: --resume continues with the optimizer's state, --init begins a new run with the weights", want, t.opt.Init)
	case want == "never" && !fresh:
		return "", usage.Errorf("run directory %s is not empty: choose another --out, or continue its run: --resume auto", out)
	case want == "never":
	case named:
		if from, snap, skipped, err = checkpoint.Find(want); err != nil {
			return "", err
		}
		if _, ok := snap.Files[checkpoint.OptimizerFile]; !ok {
			return "", usage.Errorf("--resume %s: weights alone, imported or exported, without the optimizer's state: begin a run with them by --init %s", want, want)
		}
		if err := t.owns(from, snap.Step, fresh); err != nil {
			return "", err
		}
	default:
		if from, snap, skipped, err = t.store.Newest(); err != nil {
			return "", usage.Errorf("run directory %s: %w", out, err)
		}
		if from == "" && len(skipped) > 0 {
			return "", usage.Errorf("run directory %s: none of its checkpoints verifies: %w; begin a new run in another --out", out, errors.Join(skipped...))
		}
	}
	for _, s := range skipped {
		t.log.Warn("checkpoint passed over: " + s.Error())
	}
	was, ok, err := t.dir.Config()
	if from != "" {
		was, err = snap.Configuration(filepath.Join(from, checkpoint.StateFile))
	} else if !ok && err == nil && !fresh {
		err = usage.Errorf("run directory %s holds other files and no run: choose another --out", out)
	}
	if err != nil {
		return "", err
	}
	if from == "" && !ok {
		return "", nil
	}
	if err := t.keepBackground(was); err != nil {
		return "", err
	}
	if err := t.compare(was, from, named && fresh); err != nil {
		return "", err
	}
	if classes := t.opt.Source.Classes(); from != "" && snap.Classes != nil && !slices.Equal(snap.Classes, classes) {
		return "", usage.Errorf("the clips are of the classes %s; those of %s were %s: want the same, whose numbers the network learnt", strings.Join(classes, ", "), from, strings.Join(snap.Classes, ", "))
	}
	if from != "" && t.perceptual != nil && snap.Perceptual != "" && snap.Perceptual != t.perceptual.SHA256() {
		return "", usage.Errorf("model.loss.perceptual.weights: %s: other weights (sha256 %.16s) than those that %s was trained with (%.16s); want the same", t.cfg.Model.Loss.Perceptual.Weights, t.perceptual.SHA256(), from, snap.Perceptual)
	}
	if from != "" && t.opt.Init != "" && snap.Init == "" {
		return "", usage.Errorf("--init %s: run directory %s holds a run that began with other weights: choose another --out, or leave --init out to continue it", t.opt.Init, out)
	}
	if from != "" {
		t.snap = snap
		if t.store.Owns(from) { // else the checkpoint is another run's, and this one has none yet
			t.newest, t.savedStep = filepath.Base(from), snap.Step
		}
		t.continued(was, snap, from)
	}
	return from, nil
}

// keepBackground continues with the background that the run found in its clips, which may have changed.
func (t *training) keepBackground(was config.Config) (err error) {
	if t.cfg.Data.Background != data.MeanBackground || was.Data.Background != data.MeanBackground || was.Model.Background == t.cfg.Model.Background {
		return nil
	}
	t.cfg.Model.Background = was.Model.Background
	return t.buildNetwork()
}

// compare refuses to continue with settings that belong to another run. A checkpoint that
// begins a run directory of its own (fork) may train with other settings, on the same network.
func (t *training) compare(was config.Config, from string, fork bool) error {
	diff := config.Differences(was, t.cfg, config.Resumable...)
	if len(diff) == 0 {
		return nil
	}
	name := cmp.Or(from, t.opt.Out)
	network := slices.DeleteFunc(slices.Clone(diff), func(d config.Difference) bool { return !strings.HasPrefix(d.Key, "model.") })
	switch {
	case fork && len(network) == 0:
		t.log.Info("a new run from the checkpoint, with other settings: " + diff.String())
		return nil
	case fork:
		return usage.Errorf("%s is a run of another configuration: %s; the network must be the same to continue with the optimizer's state: begin with its weights instead, --init %s (--init-partial takes those that fit)", name, network, name)
	}
	return usage.Errorf("%s is a run of another configuration: %s; continue with the same one, or begin a run in another --out: with --resume CHECKPOINT from its step and optimizer, or with --init CHECKPOINT from its weights alone", name, diff)
}

// continued logs what continues, and what differs from a run in one piece.
func (t *training) continued(was config.Config, snap checkpoint.Snapshot, from string) {
	if snap.Clips != fingerprint(t.opt.Source) {
		t.log.Warn("the clips are not those of the run so far: batches and held-out clips differ from now on")
	}
	if now := kernels.InstructionsOf(t.be); snap.Instructions != "" && snap.Instructions != now {
		t.log.Warn("the run so far was computed with other instructions: its last bits differ from those of a run in one piece", "so_far", snap.Instructions, "now", now)
	}
	t.log.Info("resuming", "checkpoint", from, "step", snap.Step)
	t.extend(was.Train, snap)
}

// extend tells what another length of the run does to its learning rate, and notes where
// a length with a rate of its own begins.
func (t *training) extend(was config.Train, snap checkpoint.Snapshot) {
	c := t.cfg.Train
	if was.Steps == c.Steps && was.Minutes == c.Minutes || snap.Step == 0 {
		return
	}
	at := func(c config.Train, step int) Position {
		return Position{Step: step, Progress: fraction(c, step, snap.Seconds), Extension: t.snap.Extension}
	}
	last := learningRate(was, at(was, snap.Step-1))
	if c.Extension != "schedule" {
		t.snap.Extension = &checkpoint.Extension{Step: snap.Step, Progress: fraction(c, snap.Step, snap.Seconds), LR: last}
	}
	t.log.Info("the run has another length: train.extension=schedule follows the schedule of the new length, warmup restarts warm-up and schedule, constant keeps the last learning rate",
		"steps", c.Steps, "was", was.Steps, "minutes", c.Minutes, "were", was.Minutes, "extension", c.Extension, "lr", last, "next", learningRate(c, at(c, snap.Step)))
}

// owns checks that a checkpoint that was asked for by name can be continued in
// the run directory: an empty one, or the one where it is the newest.
func (t *training) owns(from string, step int, fresh bool) error {
	if fresh {
		return nil
	}
	if !t.store.Owns(from) {
		return usage.Errorf("run directory %s holds another run than checkpoint %s: choose an empty --out", t.opt.Out, from)
	}
	steps, err := t.store.Steps()
	if err == nil && len(steps) > 0 && slices.Max(steps) > step {
		return usage.Errorf("run directory %s has a newer checkpoint, %s, than %s: remove it, or choose an empty --out", t.opt.Out, checkpoint.StepName(slices.Max(steps)), from)
	}
	return err
}

// weights fills the state: from the checkpoint to continue, from the weights that the run
// begins with, or with the seed's first values.
func (t *training) weights(ctx context.Context, from string) error {
	averaged := t.cfg.Train.EMA.Decay > 0
	if from == "" {
		if err := task.FitCodec(ctx, t.be, t.net, t.clips.Source, t.clips.Train, t.cfg); err != nil {
			return err
		}
		if err := t.stepper.begin(); err != nil {
			return err
		}
		t.snap = checkpoint.Snapshot{Best: unknown, Seed: t.cfg.Train.Seed}
	}
	switch {
	case t.dir == nil:
		return nil // they are those of rank 0
	case from == "":
		return t.initialize()
	}
	was, err := t.snap.Configuration(filepath.Join(from, checkpoint.StateFile))
	if err != nil {
		return err
	}
	had := was.Train.EMA.Decay > 0
	if err := t.state.Load(from, averaged && had); err != nil {
		return err
	}
	if averaged && !had { // the average begins at the weights
		arena, err := t.state.Read(t.state.Params)
		if err != nil {
			return err
		}
		if err := t.be.Write(t.state.EMA, arena); err != nil {
			return err
		}
	}
	if t.store.Owns(from) {
		return t.store.Repair(t.snap)
	}
	return nil
}

// initialize replaces first values by the weights of Options.Init, if there are any.
func (t *training) initialize() error {
	if t.opt.Init == "" {
		if t.opt.InitPartial {
			return usage.Errorf("--init-partial: give the weights with --init")
		}
		return nil
	}
	tensors, source, err := checkpoint.ReadWeights(t.opt.Init)
	if err != nil {
		return err
	}
	arena, err := t.state.Read(t.state.Params)
	if err != nil {
		return err
	}
	fitting, misfits := t.state.Overlay(arena, tensors)
	if rest := slices.DeleteFunc(slices.Clone(misfits), func(m string) bool { return strings.HasPrefix(m, model.DiscriminatorPrefix) }); len(rest) < len(misfits) {
		t.log.Info("the discriminator is not that of the weights: one of the two has none, or another one", "tensors", len(misfits)-len(rest))
		misfits = rest
	}
	switch {
	case len(misfits) > 0 && !t.opt.InitPartial && t.ofImages():
		return usage.Errorf("--init %s: weights of an image tokenizer begin a video network by magvit export --to open-magvit2 and magvit import --inflate, and --init of that run: %s", t.opt.Init, checkpoint.Shorten(misfits))
	case len(misfits) > 0 && !t.opt.InitPartial:
		return usage.Errorf("--init %s: weights of another network: %s; --init-partial takes the %d tensors that fit and leaves the others at their first values", t.opt.Init, checkpoint.Shorten(misfits), fitting)
	case fitting == 0:
		return usage.Errorf("--init %s: none of its tensors fits the network: %s", t.opt.Init, checkpoint.Shorten(misfits))
	case len(misfits) > 0:
		t.log.Warn("weights that do not fit are left out: "+checkpoint.Shorten(misfits), "taken", fitting)
	}
	t.snap.Init = source
	t.log.Info("beginning with the weights of "+source, "tensors", fitting)
	return errors.Join(t.be.Write(t.state.Params, arena), t.be.Write(t.state.EMA, arena))
}

// ofImages reports whether Options.Init is of an image tokenizer, and the run's network one of clips of the same family.
func (t *training) ofImages() bool {
	c, err := checkpoint.Configuration(t.opt.Init)
	return err == nil && c.Model.Published.Images && !t.cfg.Model.Published.Images && t.cfg.Model.Compat == c.Model.Compat
}

// fraction returns how much of a run is done after steps and seconds, in [0,1].
func fraction(c config.Train, step int, seconds float64) (f float64) {
	if n := c.Steps; n > 0 {
		f = float64(step) / float64(n)
	}
	if m := c.Minutes; m > 0 {
		f = max(f, seconds/(60*m))
	}
	return min(f, 1)
}
