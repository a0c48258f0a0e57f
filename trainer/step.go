package trainer

import (
	"context"
	"fmt"
	"math"
	"time"

	"magvit/trainer/metrics"
)

// step is what the current step has come to so far.
type step struct {
	began time.Time // before it waited for its first batch
	clips int
	Outcome
	used int // different codes in its last batch, where the step is logged
	lr   float64
}

// fetch gives the next batch to the backend, unless it is there already.
func (t *training) fetch(ctx context.Context) error {
	if t.fetched > 0 || t.missed != nil {
		return t.missed
	}
	b, err := t.loader.Next(ctx)
	if err == nil {
		err = t.stepper.Feed(b)
	}
	if err != nil {
		return err
	}
	t.fetched = b.N
	return nil
}

// ahead fetches the next step's first batch while the backend is at work. What goes
// wrong is said when the batch is asked for.
func (t *training) ahead(ctx context.Context) {
	if n := t.cfg.Train.Steps; n == 0 || t.snap.Step+1 < n {
		t.missed = t.fetch(ctx)
	}
}

// enqueue lets the backend begin with a batch of the step.
func (t *training) enqueue(part int) error {
	m := Moment{Step: t.snap.Step, Updates: t.snap.Step - t.snap.Skipped, Progress: t.share()}
	t.now.lr = learningRate(t.cfg.Train, m.Step, m.Progress)
	t.now.clips += t.fetched
	t.fetched = 0
	return t.stepper.Run(part, m)
}

// settle waits for the step and counts it. It fails when too many in a row were not
// applied, as their loss or gradient was not finite.
func (t *training) settle() (err error) {
	asked := t.clock()
	if t.now.Outcome, err = t.stepper.Wait(); err != nil {
		return fmt.Errorf("step %d: %w", t.snap.Step+1, err)
	}
	hidden := t.clock().Sub(asked) > time.Millisecond // the backend was still at work when the next batch was there
	if t.logs(t.snap.Step + 1) {
		if t.now.used, err = t.stepper.used(); err != nil {
			return err
		}
	}
	if t.now.Applied() {
		t.snap.BadInARow = 0
	} else if err := t.skip(); err != nil {
		return err
	}
	t.snap.Step++
	t.busy += t.clock().Sub(t.now.began)
	if !hidden {
		t.idle += t.loader.Waited() - t.waited
	}
	t.waited = t.loader.Waited()
	t.clips += t.now.clips
	return nil
}

// skip counts a step that is not applied and says what is wrong with it.
func (t *training) skip() error {
	what, err := t.culprit()
	if err != nil {
		return err
	}
	t.snap.Skipped++
	t.snap.Unlogged++
	t.snap.BadInARow++
	t.say.Warn("step not applied: NaN or Inf", "step", t.snap.Step+1, "first", what, "in_a_row", t.snap.BadInARow)
	if t.snap.BadInARow < t.cfg.Train.NaNPatience {
		return nil
	}
	last := "no checkpoint was saved before"
	if t.last != "" {
		last = "the last good checkpoint is " + t.last
	}
	return fmt.Errorf("step %d: %s; %d steps in a row met NaN or Inf (train.nan_patience); %s; a smaller train.lr or train.clip_norm may help",
		t.snap.Step+1, what, t.snap.BadInARow, last)
}

// culprit names the first tensor that is not finite: a parameter, or else a gradient.
func (t *training) culprit() (string, error) {
	params, err := t.state.Read(t.state.Params)
	if err != nil {
		return "", err
	}
	if bad := t.state.FirstNonFinite(params); bad != "" {
		return "parameter " + bad, nil
	}
	grads, err := t.state.Read(t.stepper.solver.gradient)
	if err != nil {
		return "", err
	}
	if bad := t.state.FirstNonFinite(grads); bad != "" {
		return "gradient of " + bad, nil
	}
	if finite(t.now.Loss) {
		return "the gradient's norm is too large for float32", nil
	}
	return fmt.Sprintf("loss = %v, with a finite gradient", t.now.Loss), nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// logs says whether a step is logged.
func (t *training) logs(step int) bool {
	return step%t.cfg.Train.LogEvery == 0 || step == t.cfg.Train.Steps
}

// log writes the step's record, where it is due, and tells who watches.
func (t *training) log() error {
	if t.logs(t.snap.Step) {
		r := metrics.StepRecord{Step: t.snap.Step, Loss: metrics.Number(t.now.Loss), Terms: t.now.Terms,
			CodesUsed: t.now.used, LR: metrics.Number(t.now.lr), GradNorm: metrics.Number(t.now.Norm), Skipped: t.snap.Unlogged,
			ClipsPerSecond: metrics.Number(float64(t.clips) / t.busy.Seconds()), Seconds: metrics.Number(t.elapsed()),
			Waiting: metrics.Number(t.idle.Seconds() / t.busy.Seconds())}
		if err := t.dir.step(r, t.clock()); err != nil {
			return err
		}
		t.watch.Loss, t.watch.Terms, t.watch.Recon, t.watch.ClipsPerSecond = r.Loss, r.Terms, r.Terms.Of("recon"), r.ClipsPerSecond
		t.snap.Unlogged, t.busy, t.idle, t.clips = 0, 0, 0, 0
		t.say.Info("step", "step", r.Step, "loss", float64(r.Loss), "grad_norm", float64(r.GradNorm), "lr", float64(r.LR),
			"clips_per_s", float64(r.ClipsPerSecond), "waiting", float64(r.Waiting))
	}
	if t.opt.OnStep != nil {
		t.opt.OnStep(t.snap.Step)
	}
	return t.beat("training", false)
}
