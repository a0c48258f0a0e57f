package trainer

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/data"
	"magvit/trainer/pretrained"
	"magvit/trainer/rundir"
	"magvit/trainer/task"
	"magvit/trainer/usage"
	"magvit/trainer/version"
)

// open prepares a run: it resolves the configuration against the clips, enters
// the run directory, and restores the newest checkpoint if there is one.
func open(ctx context.Context, o Options) (*training, error) {
	t := &training{opt: o, cfg: o.Config, be: o.Backend, log: o.Log, clock: time.Now, group: o.Ranks, evaluated: -1, gathered: -1}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	if err := t.cfg.Validate(); err != nil {
		return nil, err
	}
	if err := t.precision(); err != nil {
		return nil, err
	}
	if be, ok := t.be.(kernels.ConvChooser); ok {
		k, err := kernels.ParseConvKernels(t.cfg.Train.Kernels)
		if err != nil {
			return nil, err
		}
		be.UseConvKernels(k)
	}
	fresh := true
	if t.group.First() {
		dir, empty, err := rundir.Open(o.Out, t.log)
		if err != nil {
			return nil, err
		}
		fresh, t.dir, t.store = empty, dir, checkpoint.NewStore(dir.File("checkpoints"))
		t.store.Log = t.log
	}
	if err := t.prepare(ctx, fresh); err != nil {
		if t.loader != nil {
			t.loader.Close()
		}
		switch {
		case t.dir == nil:
		case !t.dir.Begun():
			t.dir.Abandon()
		default:
			t.dir.Close()
		}
		return nil, err
	}
	return t, nil
}

func (t *training) prepare(ctx context.Context, fresh bool) error {
	if err := t.meet(ctx); err != nil {
		return err
	}
	if err := t.divide(ctx); err != nil {
		return err
	}
	if err := t.resolve(ctx); err != nil {
		return err
	}
	if err := t.sameClips(ctx); err != nil {
		return err
	}
	from := ""
	var err error
	if t.dir != nil {
		if from, err = t.resume(fresh); err != nil {
			return err
		}
	}
	if from, err = t.adopt(ctx, from); err != nil {
		return err
	}
	if err := t.build(ctx, from); err != nil {
		return err
	}
	t.began, t.secondsBefore, t.agreed, t.savedAt = t.clock(), t.snap.Seconds, t.snap.Seconds, t.snap.Seconds
	if t.dir == nil {
		return nil
	}
	step := -1
	if from != "" {
		step = t.snap.Step
	}
	evals, err := t.dir.Begin(t.cfg, step, t.began)
	if err != nil {
		return err
	}
	if want := t.snap.Records; from != "" && want.Bytes > 0 && t.store.Owns(from) && t.dir.Records() != want {
		t.log.Warn("metrics.jsonl is not what was written up to the checkpoint: some of its records are lost or changed", "bytes", t.dir.Records().Bytes, "were", want.Bytes)
	}
	for _, e := range evals {
		t.recordEval(e)
	}
	t.writeProgress("training", true)
	return nil
}

// precision refuses a precision that the backend does not compute in.
func (t *training) precision() error {
	has := kernels.PrecisionOf(t.be).String()
	if want := t.cfg.Train.Precision; want != has {
		return usage.Errorf("train.precision: %q; legal on %s: %s", want, t.be.Name(), has)
	}
	return nil
}

// resolve fills what the configuration leaves to the clips, checks that network
// and clips fit, and chooses the held-out clips.
func (t *training) resolve(ctx context.Context) (err error) {
	t.opt.Source = task.Labelled(t.opt.Source, t.cfg)
	src := t.opt.Source
	train, val, err := data.Split(src, t.cfg.Data.ValShare)
	if err != nil {
		return err
	}
	if t.cfg.Data, err = data.Resolve(ctx, src, train, t.cfg.Data); err != nil {
		return err
	}
	if t.cfg, err = task.Resolve(ctx, src, train, t.cfg, t.log); err != nil {
		return err
	}
	if p := t.cfg.Model.Loss.Perceptual; p.Kind != "none" && !t.cfg.Model.Classifies() {
		if t.perceptual, err = pretrained.Perceptual(p.Kind, p.Weights); err != nil {
			return fmt.Errorf("model.loss.perceptual: %w", err)
		}
	}
	if err = t.buildNetwork(); err != nil {
		return usage.Wrap(err)
	}
	for i, l := range t.cfg.Model.Layers {
		if strings.HasPrefix(l.Name, "cond_") {
			return usage.Errorf("model.layers[%d]: %s needs a condition for each clip, which clips do not have; such a tokenizer can be imported and exported, not trained", i, l.Name)
		}
	}
	t.cfg.Data.Frames = t.net.Padded(t.cfg.Data.Frames)
	if c := t.cfg.Data.Channels; c != t.cfg.Model.Channels {
		return usage.Errorf("model.channels: %d, but the clips have %d; set model.channels=%d or data.channels=%d", t.cfg.Model.Channels, c, c, t.cfg.Model.Channels)
	}
	for _, s := range append(t.cfg.Data.Shapes(t.cfg.Train.Batch), t.cfg.Data.Whole(task.EvalBatch)) {
		if err := t.net.Check(model.Shape{N: s.N, T: s.T, H: s.H, W: s.W}); err != nil {
			return usage.Errorf("batch %v of the configured data does not fit the configured model: %w", s, err)
		}
	}
	if size := t.cfg.Model.DiscriminatorSize(); t.cfg.Model.HasDiscriminator() {
		for _, s := range t.cfg.Data.Shapes(t.cfg.Train.Batch) {
			if s.H < size || s.W < size {
				return usage.Errorf("batches %v, but the discriminator judges frames of %d×%d pixels; set model.discriminator.size=%d or less, or larger data.crop", s, size, size, min(s.H, s.W))
			}
		}
	}
	if err := t.checkMemory(); err != nil {
		return err
	}
	if c, n := t.cfg.Train, t.cfg.Data.Crop.Batch; c.Steps == 0 && c.Epochs > 0 && n > 0 {
		return usage.Errorf("train.epochs: %v with data.crop.batch: %d: epochs count whole clips; set train.steps", c.Epochs, n)
	}
	if t.loader, err = data.NewLoader(src, train, t.cfg.Data, t.cfg.Train.Batch, t.cfg.Train.Seed, true); err != nil {
		return err
	}
	if c := &t.cfg.Train; c.Steps == 0 && c.Epochs > 0 {
		c.Steps = max(1, int(math.Round(c.Epochs*float64(t.loader.Items())/float64(c.Batch*c.Accumulate))))
	}
	if t.clips, err = task.ValidationClips(ctx, t.cfg, src, train, val); err != nil {
		return err
	}
	task.WarnOfBackground(t.cfg, t.clips.Mean, t.log)
	about := task.New(t.be, t.net, t.cfg, nil).Describe()
	length := []any{}
	if n := t.cfg.Train.Steps; n > 0 {
		length = append(length, "steps", n)
	}
	if m := t.cfg.Train.Minutes; m > 0 {
		length = append(length, "minutes", m)
	}
	t.log.Info("training on "+t.be.Name(), slices.Concat(length, []any{"precision", t.cfg.Train.Precision, "parameters", t.net.NumParams()}, about,
		[]any{"clips", src.Len(), "train", len(train), "val", len(val), "classes", len(src.Classes())})...)
	t.logProblems()
	return nil
}

// buildNetwork builds the network that the configuration describes.
func (t *training) buildNetwork() (err error) {
	t.net, err = model.Build(t.cfg.Model)
	if tok, ok := t.net.(*model.Tokenizer); ok {
		tok.Perceptual = t.perceptual
	}
	return err
}

// build makes the state, fresh or from a checkpoint, and what works on it.
func (t *training) build(ctx context.Context, from string) (err error) {
	if t.dir != nil {
		t.store.Sweep()
	}
	frozen, err := model.Freeze(t.net.Declared(), t.cfg.Train.Freeze)
	if err != nil {
		return usage.Errorf("train.freeze: %w", err)
	}
	if frozen > 0 {
		t.log.Info("parameters that are not trained", "frozen", frozen, "of", len(t.net.Declared()))
	}
	if t.stepper, err = newStepper(t.be, t.net, t.cfg, t.group); err != nil {
		return err
	}
	t.state, t.stepper.step = t.stepper.state, t.snap.Step
	if err := t.weights(ctx, from); err != nil {
		return err
	}
	if err := t.copyState(ctx); err != nil {
		return err
	}
	t.snap.Instructions = kernels.InstructionsOf(t.be)
	if t.perceptual != nil {
		t.snap.Perceptual = t.perceptual.SHA256()
	}
	t.snap.Clips, t.snap.Version = fingerprint(t.opt.Source), version.String()
	if m := t.cfg.Model; m.Classifies() || m.IsPrior() {
		t.snap.Classes = t.opt.Source.Classes()
	}
	if err := t.snap.SetConfig(t.cfg); err != nil {
		return err
	}
	t.task = t.stepper.task
	t.loader.Restrict(t.cfg.Train.Accumulate, t.part().from, t.part().to)
	t.loader.Seek(t.snap.Step)
	t.progress = rundir.Progress{Device: t.be.Name(), Precision: t.cfg.Train.Precision, Parameters: t.net.NumParams(), Version: t.snap.Version,
		Steps: t.cfg.Train.Steps, Minutes: t.cfg.Train.Minutes, Loss: unknown, Recon: unknown, PSNR: unknown, Accuracy: unknown, ClipsPerSecond: unknown}
	return nil
}
