package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/atomicfile"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/data"
	"magvit/trainer/metrics"
	"magvit/trainer/ranks"
	"magvit/trainer/report"
	"magvit/trainer/rundir"
	"magvit/trainer/task"
)

// unknown is a number that is not known yet.
var unknown = metrics.Number(math.NaN())

// training is the state of a run.
type training struct {
	opt   Options
	cfg   config.Config // resolved
	be    kernels.Backend
	log   *slog.Logger
	clock func() time.Time
	group *ranks.Group // nil: this process alone

	dir        *rundir.Dir // nil on ranks but the first
	store      *checkpoint.Store
	net        model.Network
	perceptual model.FrozenNet // of model.loss.perceptual, or nil
	state      *checkpoint.State
	stepper    *Stepper
	task       task.Task // with the weights that are evaluated
	loader     *data.Loader
	clips      task.Clips // held out

	snap          checkpoint.Snapshot // counts up to the last step
	began         time.Time
	secondsBefore float64            // of the run before this process
	words         *ranks.Gathering   // of the next step, nil: not proposed yet
	agreed        float64            // seconds of the run, as several ranks agreed on before the step
	verified      int                // step after which all ranks had the same weights
	gathered      int                // step whose sharded state was gathered, -1: none
	newest        string             // newest checkpoint's name
	savedStep     int                // step of the newest checkpoint
	savedAt       float64            // seconds of the run at the last checkpoint that was due
	evaluated     int                // step of the last evaluation, -1 before the first
	evaluation    metrics.EvalRecord // the last one
	undrawn       *task.Evaluation   // one whose pictures are still to be drawn
	unsaved       bool               // the last checkpoint could not be written
	updating      bool               // the update of a step is on the backend and not counted yet
	progress      rundir.Progress

	recent  []metrics.StepRecord // the last ones that JudgeAdversary looks at
	problem string               // of adversarial training, as logged last

	current      step
	batches      []*data.Batch        // the others of the step, where it has several
	copies       []*data.Batch        // their memory
	ofStep       []*data.Batch        // all of the step's that this rank computes, where it has several
	counts       []map[string]float64 // of all of these, see Stepper.Weigh; nil of steps of one batch
	pendingClips int                  // clips of the batch that was prefetched, 0 without one
	prefetchErr  error                // why the prefetched batch is missing
	waited       time.Duration        // by the loader, up to the last step
	busy, idle   time.Duration        // since the last record: steps with their waiting, and waiting alone
	loggedClips  int                  // clips trained on since the last record
	unread       int                  // unreadable clips that were logged
	told         map[string]bool      // problems of the clips that were logged
}

// elapsed returns the run's time in seconds, without interruptions.
func (t *training) elapsed() float64 { return t.secondsBefore + t.clock().Sub(t.began).Seconds() }

// seconds is the run's time that decides on what comes next: of several ranks that of the
// first one before the step.
func (t *training) seconds() float64 {
	if t.group.Size() == 1 {
		return t.elapsed()
	}
	return t.agreed
}

// fraction returns how much of the run is done, in [0,1].
func (t *training) fraction() float64 { return fraction(t.cfg.Train, t.snap.Step, t.seconds()) }

// finished reports whether the run's steps or minutes are used up. A run takes at least one step.
func (t *training) finished() bool { return t.snap.Step > 0 && t.fraction() >= 1 }

// recordEval keeps an evaluation as the last one, and its step as the best where its PSNR is the highest.
func (t *training) recordEval(e metrics.EvalRecord) {
	t.evaluated, t.evaluation = e.Step, e
	t.progress.PSNR, t.progress.Accuracy = e.PSNR(), e.Accuracy()
	if e.Step > 0 && e.PSNR().Finite() && !(t.snap.Best >= e.PSNR()) {
		t.snap.Best, t.snap.BestStep = e.PSNR(), e.Step
	}
}

// evaluationDue reports whether the step has an evaluation: that before the first step, every
// eval_every steps, and at the end.
func (t *training) evaluationDue() bool {
	step, every := t.snap.Step, t.cfg.Train.EvalEvery
	return step == 0 || every > 0 && step%every == 0 || t.finished()
}

// evaluate runs an evaluation where it is due, once for each step.
func (t *training) evaluate(ctx context.Context) error {
	step := t.snap.Step
	if !t.evaluationDue() {
		return nil
	}
	if made, err := t.evaluatedBefore(ctx); err != nil || made {
		return err
	}
	t.writeProgress("evaluating", true)
	clips := t.clips
	clips.Ranks = t.group
	e, err := t.task.Evaluate(ctx, clips, func() error { t.writeProgress("evaluating", false); return nil })
	if err != nil {
		return err
	}
	if t.dir == nil {
		t.evaluated = step
		return nil
	}
	record := e.At(step)
	if err := t.dir.Evaluation(record, t.clock()); err != nil {
		return err
	}
	t.recordEval(record)
	t.log.Info("evaluation", append(append([]any{"step", step}, record.Attributes()...), "unread", len(e.Unread))...)
	t.undrawn = &e
	return nil
}

// draw writes the pictures and histograms of an evaluation. It comes after the checkpoint of the step.
func (t *training) draw(ctx context.Context) error {
	e := t.undrawn
	if e == nil {
		return nil
	}
	t.undrawn = nil
	arena, err := t.state.Read(t.state.Params)
	if err != nil {
		return err
	}
	t.dir.Histograms(t.snap.Step, t.state.Layout, arena)
	pictures, err := t.task.Pictures(ctx, t.clips, *e)
	for _, p := range pictures {
		t.dir.Picture(t.snap.Step, p.Name, p.PNG, p.GIF)
	}
	if stop := ctx.Err(); stop != nil {
		return stop
	}
	if err != nil {
		t.log.Warn("pictures of the evaluation: " + err.Error())
	}
	return t.final(e.At(t.snap.Step))
}

// final writes the evaluation at the run's end to a file of its own, for tasks that have one.
func (t *training) final(e metrics.EvalRecord) error {
	file, content := e.Final(t.elapsed())
	if file == "" || !t.finished() {
		return nil
	}
	text, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteBytes(t.dir.File(file), append(text, '\n'))
}

// saveDue reports whether the step has a checkpoint, whatever its evaluation: every save_every
// steps and save_minutes after the last one, but not while steps fail, and at the end.
func (t *training) saveDue() bool {
	every, minutes := t.cfg.Train.SaveEvery, t.cfg.Train.SaveMinutes
	due := every > 0 && t.snap.Step%every == 0 || minutes > 0 && t.seconds()-t.savedAt >= 60*minutes
	return due && t.snap.BadInARow == 0 || t.finished()
}

// checkpoint saves the run, once for each step.
func (t *training) checkpoint() error {
	if t.snap.Step == 0 || t.dir == nil {
		return nil
	}
	if t.savedStep == t.snap.Step { // evaluated after it was saved, as after an interruption
		if t.snap.BestStep == t.snap.Step {
			return t.store.Point("best", t.newest)
		}
		return nil
	}
	if err := t.dir.Check(); err != nil {
		return err
	}
	unflushed := t.dir.Flush()
	t.snap.Seconds, t.snap.Records = t.elapsed(), t.dir.Records()
	if err := t.store.Save(t.state, t.snap, t.cfg.Train.EMA.Decay > 0); err != nil {
		t.unsaved = true
		return errors.Join(err, unflushed)
	}
	t.newest, t.savedStep = checkpoint.StepName(t.snap.Step), t.snap.Step
	if t.snap.BestStep == t.snap.Step {
		if err := t.store.Point("best", t.newest); err != nil {
			return err
		}
	}
	t.log.Info("checkpoint saved", "name", t.newest)
	return errors.Join(unflushed, t.store.Prune(t.cfg.Train.KeepLast, t.snap.BestStep))
}

// rescue saves a checkpoint of a run that ends with an error, where the state is that of
// a whole step, and all of it is here, and adds its name to the error.
func (t *training) rescue(err error) error {
	if errors.Is(err, atomicfile.ErrGone) {
		return fmt.Errorf("step %d was not saved: %w; of a renamed one, the same command with its name continues the newest checkpoint", t.snap.Step, err)
	}
	if t.dir == nil || t.unsaved || !t.state.Shard.Whole() && t.gathered != t.snap.Step || t.updating || t.snap.BadInARow > 0 || t.snap.Step == 0 || t.savedStep == t.snap.Step {
		return err
	}
	if bad := t.checkpoint(); bad != nil {
		return fmt.Errorf("%w; saving step %d failed too: %w", err, t.snap.Step, bad)
	}
	return fmt.Errorf("%w; step %d was saved as %s, continue with --resume auto", err, t.snap.Step, t.newest)
}

// interrupt saves a checkpoint and returns the error that names it. It wraps ErrInterrupted only
// if nothing is lost.
func (t *training) interrupt() error {
	if err := t.checkpoint(); err != nil {
		return fmt.Errorf("interrupted after step %d, and saving failed: %w", t.snap.Step, err)
	}
	if t.snap.Step == 0 {
		return fmt.Errorf("%w before the first step", ErrInterrupted)
	}
	return fmt.Errorf("%w after step %d; saved as %s, go on with --resume auto", ErrInterrupted, t.snap.Step, t.newest)
}

// end writes the report and closes the run directory.
func (t *training) end(err error) (Result, error) {
	t.loader.Close()
	state := "done"
	if errors.Is(err, ErrInterrupted) {
		state = "interrupted"
	} else if err != nil {
		state = "failed"
		t.progress.Error = err.Error()
	}
	t.logUnread()
	if s := t.loader.CacheProblem(); s != "" {
		t.log.Warn(s)
	}
	if t.dir == nil {
		return Result{Step: t.snap.Step, Dir: t.opt.Out}, err
	}
	if gone := t.dir.Check(); gone != nil {
		t.dir.Close()
		if err == nil {
			err = gone
		}
		return Result{Step: t.snap.Step, Dir: t.opt.Out}, err
	}
	t.writeProgress(state, true)
	if closed := t.dir.Close(); closed != nil && err == nil {
		err = closed
	}
	if page, bad := report.Write(t.opt.Out); bad != nil {
		t.log.Error(bad.Error()) // the training is safe; magvit report makes it again
	} else {
		t.log.Info("report written", "file", page)
	}
	return Result{Step: t.snap.Step, Dir: t.opt.Out, Checkpoint: t.newest, Report: t.evaluation.Val, Classified: t.evaluation.Classify, Likelihood: t.evaluation.Prior, BestPSNR: t.snap.Best, BestStep: t.snap.BestStep}, err
}

// logProblems logs the problems of the clips that have not been logged.
func (t *training) logProblems() {
	if t.told == nil {
		t.told = map[string]bool{}
	}
	opened := t.loader == nil
	for _, p := range data.NewProblems(t.clips.Source, t.told) {
		if opened && !t.group.First() {
			continue // all ranks open the same clips; what each reads of them differs
		}
		t.log.Warn("data: " + p)
	}
}

// logUnread names the clips that were found to be unreadable since it was last called.
func (t *training) logUnread() {
	t.logProblems()
	skipped := t.loader.Skipped()
	for _, e := range skipped[t.unread:] {
		t.log.Warn("clip left out: " + e.Error())
	}
	t.unread = len(skipped)
}

// writeProgress replaces progress.json, if it is old or force is set.
func (t *training) writeProgress(state string, force bool) {
	if t.dir == nil {
		return
	}
	p := t.progress
	p.State, p.Step, p.Fraction, p.Seconds, p.Heartbeat = state, t.snap.Step, t.fraction(), t.elapsed(), t.clock()
	p.Skipped, p.UnreadClips, p.Checkpoint, p.BestPSNR = t.snap.Skipped, len(t.loader.Skipped()), t.newest, t.snap.Best
	p.ETASeconds = unknown
	if here := p.Seconds - t.secondsBefore; p.Fraction > 0 && here > 0 {
		p.ETASeconds = metrics.Number(p.Seconds * (1 - p.Fraction) / p.Fraction)
	}
	t.dir.WriteProgress(p, force)
}

// fingerprint identifies a set of clips by their names.
func fingerprint(src data.Source) string {
	h := sha256.New()
	for i := range src.Len() {
		fmt.Fprintln(h, src.Name(i))
	}
	return fmt.Sprintf("%d clips, names %s", src.Len(), hex.EncodeToString(h.Sum(nil)[:8]))
}
