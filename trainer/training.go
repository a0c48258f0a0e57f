package trainer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/atomicfile"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/data"
	"magvit/trainer/metrics"
	"magvit/trainer/report"
)

// none is a number that is not known yet.
var none = metrics.Number(math.NaN())

// training is a run at work.
type training struct {
	opt   Options
	cfg   config.Config // resolved
	be    kernels.Backend
	say   *slog.Logger
	clock func() time.Time

	dir     *runDir
	store   *checkpoint.Store
	net     model.Network
	state   *checkpoint.State
	stepper *Stepper
	loader  *data.Loader
	eval    Evaluation

	// By what is trained, one of these is nil.
	codec     *Codec
	predictor *Predictor

	snap      checkpoint.Snapshot // where the run stands
	began     time.Time
	before    float64 // seconds of the run before this process
	last      string  // newest checkpoint's name
	saved     int     // step of the newest checkpoint
	evaluated int     // step of the last evaluation, -1 before the first
	report    metrics.Report
	// of a classifier instead
	classified *metrics.Classification
	watch      progress

	now        step
	fetched    int           // clips of the batch that waits on the backend, 0: none does
	missed     error         // why the one that was to be fetched ahead is not there
	waited     time.Duration // by the loader, up to the last step
	busy, idle time.Duration // since the last record: at work and waiting, and waiting
	clips      int           // since the last record
}

// elapsed is the run's time in seconds, without interruptions.
func (t *training) elapsed() float64 { return t.before + t.clock().Sub(t.began).Seconds() }

// share is how much of the run is done, in [0,1].
func (t *training) share() (s float64) {
	if n := t.cfg.Train.Steps; n > 0 {
		s = float64(t.snap.Step) / float64(n)
	}
	if m := t.cfg.Train.Minutes; m > 0 {
		s = max(s, t.elapsed()/(60*m))
	}
	return min(s, 1)
}

func (t *training) finished() bool { return t.share() >= 1 }

// note takes an evaluation into account: the last, and perhaps the best.
func (t *training) note(e metrics.EvalRecord) {
	t.evaluated = e.Step
	if t.classified = e.Classify; e.Classify != nil {
		t.watch.Accuracy = e.Classify.Accuracy
		return
	}
	t.watch.PSNR = e.Val.PSNR
	if e.Step > 0 && e.Val.PSNR.Finite() && !(t.snap.Best >= e.Val.PSNR) {
		t.snap.Best, t.snap.BestStep = e.Val.PSNR, e.Step
	}
}

// evaluate runs an evaluation before the first step, every so many steps and at
// the end, once for each step.
func (t *training) evaluate(ctx context.Context) error {
	step, every := t.snap.Step, t.cfg.Train.EvalEvery
	due := step == 0 || every > 0 && step%every == 0 || t.finished()
	if !due || t.evaluated == step {
		return nil
	}
	if err := t.beat("evaluating", true); err != nil {
		return err
	}
	if t.predictor != nil {
		return t.classify(ctx, step)
	}
	r, shown, unread, err := t.eval.Run(ctx, t.codec, func() error { return t.beat("evaluating", false) })
	if err != nil {
		return err
	}
	record := metrics.EvalRecord{Step: step, Val: r}
	if err := t.dir.evaluation(record, t.clock()); err != nil {
		return err
	}
	t.report = r
	t.note(record)
	name, best := r.BestBaseline(func(s metrics.Scores) metrics.Number { return s.PSNR })
	t.say.Info("evaluation", "step", step, "psnr", float64(r.PSNR), "foreground_psnr", float64(r.ForegroundPSNR), "ssim", float64(r.SSIM),
		"best_baseline", name, "its_psnr", float64(best), "codes_used", r.Codes.Used, "perplexity", float64(r.Codes.Perplexity), "unread", len(unread))
	if err := t.dir.histograms(step, t.state); err != nil {
		return err
	}
	return t.pictures(ctx, step, r, shown)
}

// drawn is how many clips stand in a picture of the worst, the best, or of codes.
const drawn = 3

// pictures draws the samples of an evaluation, a file for each class, their codes, and
// the worst and best clips.
func (t *training) pictures(ctx context.Context, step int, r metrics.Report, shown []report.Pair) error {
	if len(shown) == 0 {
		return nil
	}
	if err := os.MkdirAll(t.dir.file("samples"), 0o777); err != nil {
		return err
	}
	slices.SortStableFunc(shown, func(a, b report.Pair) int { return strings.Compare(a.Class, b.Class) })
	var firsts []report.Pair // of each class
	for rest := shown; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].Class == rest[0].Class {
			n++
		}
		if err := t.picture(step, rest[0].Class, rest[:n]); err != nil {
			return err
		}
		firsts, rest = append(firsts, rest[0]), rest[n:]
	}
	var codes bytes.Buffer
	if err := report.CodeMap(&codes, firsts[:min(drawn, len(firsts))], t.codec.Tokenizer.CodebookLevels()); err != nil {
		return err
	}
	if err := t.file(step, report.CodesName, "png", codes.Bytes()); err != nil {
		return err
	}
	if r.Clips <= len(shown) {
		return nil // all are shown
	}
	for _, e := range []struct {
		name  string
		clips []metrics.Clip
	}{{report.BestName, r.Best}, {report.WorstName, r.Worst}} {
		_, some, _, err := t.eval.Only(e.clips[:min(drawn, len(e.clips))]).Run(ctx, t.codec, nil)
		if err != nil {
			return err
		}
		if err := t.picture(step, e.name, some); err != nil {
			return err
		}
	}
	return nil
}

// picture draws clips beside their reconstructions, still and moving.
func (t *training) picture(step int, name string, clips []report.Pair) error {
	var still, moving bytes.Buffer
	err := errors.Join(report.SideBySide(&still, clips), report.AnimatedGIF(&moving, clips))
	if err == nil {
		err = t.file(step, name, "png", still.Bytes())
	}
	if err == nil {
		err = atomicfile.WriteBytes(t.dir.file(filepath.Join("samples", report.SampleName(step, name, "gif"))), moving.Bytes())
	}
	return err
}

// file puts a picture among the samples and among the events.
func (t *training) file(step int, name, ext string, b []byte) error {
	if err := t.dir.picture(step, name, b); err != nil {
		return err
	}
	return atomicfile.WriteBytes(t.dir.file(filepath.Join("samples", report.SampleName(step, name, ext))), b)
}

// save writes a checkpoint every so many steps, at a new best and at the end, but
// not while steps fail.
func (t *training) save() error {
	step, every := t.snap.Step, t.cfg.Train.SaveEvery
	if t.snap.BadInARow > 0 && !t.finished() {
		return nil
	}
	if every > 0 && step%every == 0 || t.snap.BestStep == step || t.finished() {
		return t.checkpoint()
	}
	return nil
}

// checkpoint saves the run as it stands, once for each step.
func (t *training) checkpoint() error {
	if t.snap.Step == 0 || t.saved == t.snap.Step {
		return nil
	}
	if err := t.dir.flush(); err != nil {
		return err
	}
	t.snap.Seconds = t.elapsed()
	if err := t.store.Save(t.state, t.snap, t.cfg.Train.EMA.Decay > 0); err != nil {
		return err
	}
	t.last, t.saved = checkpoint.StepName(t.snap.Step), t.snap.Step
	if t.snap.BestStep == t.snap.Step {
		if err := t.store.Point("best", t.last); err != nil {
			return err
		}
	}
	t.say.Info("checkpoint saved", "name", t.last)
	return t.store.Prune(t.cfg.Train.KeepLast, t.snap.BestStep)
}

// interrupt saves what there is and says so. Its error wraps ErrInterrupted only
// if nothing is lost.
func (t *training) interrupt() error {
	if err := t.checkpoint(); err != nil {
		return fmt.Errorf("interrupted after step %d, and saving failed: %w", t.snap.Step, err)
	}
	if t.last == "" {
		return fmt.Errorf("%w before the first step", ErrInterrupted)
	}
	return fmt.Errorf("%w after step %d; saved as %s, go on with --resume auto", ErrInterrupted, t.snap.Step, t.last)
}

// end writes the report and closes the run directory.
func (t *training) end(err error) (Result, error) {
	t.loader.Close()
	state := "done"
	if errors.Is(err, ErrInterrupted) {
		state = "interrupted"
	} else if err != nil {
		state = "failed"
		t.watch.Error = err.Error()
	}
	for _, e := range t.loader.Skipped() {
		t.say.Warn("clip left out: " + e.Error())
	}
	if beat := t.beat(state, true); beat != nil {
		t.say.Error("progress: " + beat.Error())
	}
	if closed := t.dir.close(); closed != nil && err == nil {
		err = closed
	}
	if page, bad := report.Write(t.opt.Out); bad != nil {
		t.say.Error(bad.Error()) // the training is safe; magvit report makes it again
	} else {
		t.say.Info("report written", "file", page)
	}
	return Result{Step: t.snap.Step, Dir: t.opt.Out, Checkpoint: t.last, Report: t.report, Classified: t.classified, BestPSNR: t.snap.Best, BestStep: t.snap.BestStep}, err
}

// beat tells who watches from outside.
func (t *training) beat(state string, force bool) error {
	p := t.watch
	p.State, p.Step, p.Share, p.Seconds, p.Heartbeat = state, t.snap.Step, t.share(), t.elapsed(), t.clock()
	p.Skipped, p.UnreadClips, p.Checkpoint, p.BestPSNR = t.snap.Skipped, len(t.loader.Skipped()), t.last, t.snap.Best
	p.ETASeconds = none
	if here := p.Seconds - t.before; p.Share > 0 && here > 0 {
		p.ETASeconds = metrics.Number(p.Seconds * (1 - p.Share) / p.Share)
	}
	return t.dir.beat(p, force)
}

// fingerprint tells whether two sets have the same clips, by name.
func fingerprint(src data.Source) string {
	h := sha256.New()
	for i := range src.Len() {
		fmt.Fprintln(h, src.Name(i))
	}
	return fmt.Sprintf("%d clips, names %s", src.Len(), hex.EncodeToString(h.Sum(nil)[:8]))
}
