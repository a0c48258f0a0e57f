package trainer

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"magvit/trainer/data"
	"magvit/trainer/metrics"
)

// step is the current step of a training.
type step struct {
	began time.Time // before it waited for its first batch
	clips int
	Outcome
	used int // distinct codes in its last batch, where the step is logged
	lr   float64
}

// fetch writes the next batch of this rank to the backend, unless it was prefetched. With the
// first one it reads all of the rank's batches of a step, whose counts weigh each other.
func (t *training) fetch(ctx context.Context) error {
	if t.pendingClips > 0 || t.prefetchErr != nil || t.part().from == t.part().to {
		return t.prefetchErr
	}
	b, err := t.next(ctx)
	if err == nil {
		err = t.stepper.Feed(b)
	}
	if err != nil {
		return err
	}
	t.pendingClips = b.N
	return nil
}

// part is what this rank computes of a step's batches.
func (t *training) part() part { return t.stepper.part }

func (t *training) next(ctx context.Context) (*data.Batch, error) {
	n := t.part().to - t.part().from
	if t.cfg.Train.Accumulate == 1 {
		return t.loader.Next(ctx)
	}
	if len(t.batches) == 0 {
		var all []*data.Batch
		for i := range n {
			b, err := t.loader.Next(ctx)
			if err != nil {
				return nil, err
			}
			if n > 1 { // the loader's is valid until it has the next one
				if i == len(t.copies) {
					t.copies = append(t.copies, &data.Batch{})
				}
				b.CopyTo(t.copies[i])
				b = t.copies[i]
			}
			all = append(all, b)
		}
		t.counts, t.batches, t.ofStep = t.stepper.Counts(all), all, all
	}
	b := t.batches[0]
	t.batches = t.batches[1:]
	return b, ctx.Err()
}

// prefetch fetches the next step's first batch while the backend computes. An error
// is returned when the batch is fetched.
func (t *training) prefetch(ctx context.Context) {
	if n := t.cfg.Train.Steps; n == 0 || t.snap.Step+1 < n {
		t.prefetchErr = t.fetch(ctx)
	}
}

// runBatches starts the backend on this rank's batches of the step.
func (t *training) runBatches(ctx context.Context) error {
	p := t.part()
	t.state.Gathered = nil // it was that of the step before
	if err := t.measure(ctx); err != nil {
		return err
	}
	if p.from == p.to {
		return t.stepper.Idle(t.position())
	}
	for n := p.from; n < p.to; n++ {
		if err := t.fetch(ctx); err != nil {
			return err
		}
		if err := t.enqueue(n); err != nil {
			return err
		}
	}
	return nil
}

// measure makes what all batches of the step share, see Stepper.Measures. The first batch of this rank is
// measured last: Run goes on with it.
func (t *training) measure(ctx context.Context) error {
	if !t.stepper.Measures() {
		return nil
	}
	p := t.part()
	for n := p.to - 1; n >= p.from; n-- {
		if p.to-p.from > 1 {
			if err := t.stepper.Feed(t.ofStep[n-p.from]); err != nil {
				return err
			}
		}
		if err := t.stepper.Measure(n, t.position()); err != nil {
			return err
		}
	}
	return t.stepper.Average(ctx)
}

// position is that of the next step in the schedule.
func (t *training) position() Position {
	m := Position{Step: t.snap.Step, Updates: t.snap.Step - t.snap.Skipped, DiscriminatorUpdates: t.snap.DiscriminatorUpdates, Progress: t.fraction(), Extension: t.snap.Extension}
	t.current.lr = learningRate(t.cfg.Train, m)
	return m
}

// enqueue starts the backend on a batch of the step.
func (t *training) enqueue(n int) error {
	t.current.clips += t.pendingClips
	t.pendingClips = 0
	t.updating = n == t.part().to-1 && (t.group.Size() == 1 || t.stepper.reducer.onDevice())
	return t.stepper.Run(n, t.position())
}

// finishStep waits for the step and counts it. It fails when too many in a row were not
// applied because their loss or gradient was not finite.
func (t *training) finishStep(ctx context.Context) (err error) {
	asked := t.clock()
	if t.current.Outcome, err = t.stepper.Wait(ctx); err != nil {
		return fmt.Errorf("step %d: %w", t.snap.Step+1, err)
	}
	hidden := t.clock().Sub(asked) > time.Millisecond // the backend was still at work when the next batch was there
	if t.logDue(t.snap.Step + 1) {
		if t.current.used, err = t.used(ctx); err != nil {
			return err
		}
	}
	if t.current.Applied() {
		t.snap.BadInARow = 0
		if t.current.Adversarial {
			t.snap.DiscriminatorUpdates++
		}
	} else if err := t.skip(ctx); err != nil {
		return err
	}
	t.snap.Step++
	t.updating = false
	t.busy += t.clock().Sub(t.current.began)
	if !hidden {
		t.idle += t.loader.Waited() - t.waited
	}
	t.waited = t.loader.Waited()
	t.loggedClips += t.current.clips
	return nil
}

// skip counts a step that was not applied and logs why.
func (t *training) skip(ctx context.Context) error {
	what, err := t.firstNonFinite()
	if err != nil {
		return err
	}
	if what, err = t.blame(ctx, what); err != nil {
		return err
	}
	t.snap.Skipped++
	t.snap.Unlogged++
	t.snap.BadInARow++
	t.log.Warn("step not applied: NaN or Inf", "step", t.snap.Step+1, "first", what, "in_a_row", t.snap.BadInARow)
	if t.snap.BadInARow < t.cfg.Train.NaNPatience {
		return nil
	}
	last := "no checkpoint was saved before"
	if t.newest != "" {
		last = "the last good checkpoint is " + t.newest
	}
	return fmt.Errorf("step %d: %s; %d steps in a row met NaN or Inf (train.nan_patience); %s; a smaller train.lr or train.clip_norm may help",
		t.snap.Step+1, what, t.snap.BadInARow, last)
}

// firstNonFinite names the first value that is not finite, of a parameter or else of a gradient.
func (t *training) firstNonFinite() (string, error) {
	params, err := t.state.Read(t.state.Params)
	if err != nil {
		return "", err
	}
	if bad := t.state.FirstNonFinite(params); bad != "" {
		return "parameter " + bad, nil
	}
	grads, err := t.state.Read(t.stepper.optimizer.gradient)
	if err != nil {
		return "", err
	}
	if bad := t.state.FirstNonFinite(grads); bad != "" {
		return "gradient of " + bad, nil
	}
	if finite(t.current.Loss) {
		return "the gradient's norm is too large for float32", nil
	}
	return fmt.Sprintf("loss = %v, with a finite gradient", t.current.Loss), nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// logDue reports whether a step is logged.
func (t *training) logDue(step int) bool {
	return step%t.cfg.Train.LogEvery == 0 || step == t.cfg.Train.Steps
}

// logStep writes the step's record, where it is due, and progress.json. A run directory that is gone ends the run.
func (t *training) logStep() error {
	if t.dir != nil {
		if err := t.dir.Check(); err != nil { // hours of training that nothing can be kept of are no use
			return err
		}
	}
	if t.logDue(t.snap.Step) && t.dir == nil {
		t.snap.Unlogged, t.busy, t.idle, t.loggedClips = 0, 0, 0, 0
	} else if t.logDue(t.snap.Step) {
		r := metrics.StepRecord{Step: t.snap.Step, Loss: metrics.Number(t.current.Loss), Terms: t.current.Terms,
			CodesUsed: t.current.used, LR: metrics.Number(t.current.lr), GradNorm: metrics.Number(t.current.Norm), Skipped: t.snap.Unlogged,
			ClipsPerSecond: metrics.Number(float64(t.loggedClips) / t.busy.Seconds()), Seconds: metrics.Number(t.elapsed()),
			Waiting: metrics.Number(t.idle.Seconds() / t.busy.Seconds())}
		if t.current.Adversarial {
			r.DiscriminatorGradNorm = new(metrics.Number(t.current.DiscriminatorNorm))
		}
		if err := t.dir.Step(r, t.clock()); err != nil {
			return err
		}
		t.logUnread()
		t.watchAdversary(r)
		t.progress.Loss, t.progress.Terms, t.progress.Recon, t.progress.ClipsPerSecond = r.Loss, r.Terms, r.Terms.Of("recon"), r.ClipsPerSecond
		t.snap.Unlogged, t.busy, t.idle, t.loggedClips = 0, 0, 0, 0
		t.log.Info("step", "step", r.Step, "loss", float64(r.Loss), "grad_norm", float64(r.GradNorm), "lr", float64(r.LR),
			"clips_per_s", float64(r.ClipsPerSecond), "waiting", float64(r.Waiting))
	}
	if t.opt.OnStep != nil {
		t.opt.OnStep(t.snap.Step)
	}
	t.writeProgress("training", false)
	return nil
}

// watchAdversary warns, once, of adversarial training that goes wrong.
func (t *training) watchAdversary(r metrics.StepRecord) {
	if !r.Adversarial() {
		return
	}
	t.recent = append(t.recent, r)
	t.recent = t.recent[max(0, len(t.recent)-metrics.AdversaryWindow):]
	problem, advice := metrics.JudgeAdversary(t.recent)
	kind, _, _ := strings.Cut(problem, ":")
	if kind != t.problem && problem != "" {
		t.log.Warn("adversarial training: "+problem+"; "+advice, "step", r.Step)
	}
	t.problem = kind
}
