package trainer

import (
	"fmt"
	"math"
	"time"

	"magvit/model"
	"magvit/trainer/data"
	"magvit/trainer/metrics"
)

// step is what the current step has come to so far: means over its batches.
type step struct {
	began time.Time // before it waited for its first batch
	clips int
	loss  float64
	terms map[string]float64 // only where the step is logged
	used  int                // different codes in a batch, the most
	norm  float64
	lr    float64
}

// gradient computes the gradient of one of the step's batches.
func (t *training) gradient(b *data.Batch, part int) error {
	if part == 0 {
		t.now = step{began: t.clock().Add(t.waited - t.loader.Waited()), terms: map[string]float64{}}
	}
	p, err := t.program(b.Shape())
	if err != nil {
		return err
	}
	if err := t.be.Write(p.Video, b.Video); err != nil {
		return err
	}
	if t.predictor != nil {
		err = t.teach(p, b)
	} else {
		err = t.be.Write(p.Weight, b.Weight)
	}
	if err != nil {
		return err
	}
	if p.Boost != nil {
		boost := float32(t.cfg.Model.Quantizer.EntropyScale(t.snap.Step))
		if err := t.be.Write(p.Boost, []float32{boost, boost, 1}); err != nil {
			return err
		}
	}
	if err := p.Run(); err != nil {
		return err
	}
	t.solver.accumulate(part)
	t.now.clips += b.N
	return t.read(p)
}

// read takes the numbers of a batch off the backend: the loss of every step,
// since one that is not finite must not be applied, the rest where it is logged.
func (t *training) read(p *model.Program) error {
	share := 1 / float64(t.cfg.Train.Accumulate)
	var v [1]float32
	if err := t.be.Read(v[:], p.Loss); err != nil {
		return err
	}
	t.now.loss += float64(v[0]) * share
	if !t.logs(t.snap.Step + 1) {
		return nil
	}
	for _, term := range p.Terms {
		if err := t.be.Read(v[:], term.Buffer); err != nil {
			return err
		}
		t.now.terms[term.Name] += float64(v[0]) * share
	}
	if p.Codes == nil {
		return nil
	}
	t.values = sized(t.values, p.Codes.Len())
	if err := t.be.Read(t.values, p.Codes); err != nil {
		return err
	}
	seen := map[float32]bool{}
	for _, code := range t.values {
		seen[code] = true
	}
	t.now.used = max(t.now.used, len(seen))
	return nil
}

// program compiles the training graph for a batch shape once.
func (t *training) program(s data.Shape) (*model.Program, error) {
	if p := t.programs[s]; p != nil {
		return p, nil
	}
	shape := model.Shape{N: s.N, T: s.T, H: s.H, W: s.W}
	g, err := t.net.Training(shape)
	if err != nil {
		return nil, err
	}
	inUse := model.InUse(t.be)
	p, err := g.Compile(t.be, t.state.params, t.state.grads, t.state.offsets)
	if err != nil {
		return nil, fmt.Errorf("train.batch: %w", model.ExplainMemory(t.net, t.be, shape, inUse, err))
	}
	t.programs[s] = p
	return p, nil
}

// update changes the weights by the step's gradient, unless the loss or the
// gradient is not finite. It fails when that has happened too often in a row.
func (t *training) update() (err error) {
	if t.now.norm, err = t.solver.norm(); err != nil {
		return err
	}
	progress := t.share()
	t.now.lr = t.cfg.Train.rate(t.snap.Step, progress)
	if finite(t.now.loss) && finite(t.now.norm) {
		if err := t.solver.apply(t.snap.Step, t.snap.Step-t.snap.Skipped, progress); err != nil {
			return err
		}
		t.snap.BadInARow = 0
	} else if err := t.skip(); err != nil {
		return err
	}
	t.snap.Step++
	t.busy += t.clock().Sub(t.now.began)
	t.idle += t.loader.Waited() - t.waited
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
	params, err := t.state.read(t.state.params)
	if err != nil {
		return "", err
	}
	if bad := t.state.bad(params); bad != "" {
		return "parameter " + bad, nil
	}
	grads, err := t.state.read(t.solver.gradient)
	if err != nil {
		return "", err
	}
	if bad := t.state.bad(grads); bad != "" {
		return "gradient of " + bad, nil
	}
	if finite(t.now.loss) {
		return "the gradient's norm is too large for float32", nil
	}
	return fmt.Sprintf("loss = %v, with a finite gradient", t.now.loss), nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// logs says whether a step is logged.
func (t *training) logs(step int) bool {
	return step%t.cfg.Train.LogEvery == 0 || step == t.cfg.Train.Steps
}

// log writes the step's record, where it is due, and tells who watches.
func (t *training) log() error {
	if t.logs(t.snap.Step) {
		n := func(name string) metrics.Number { return metrics.Number(t.now.terms[name]) }
		r := metrics.StepRecord{Step: t.snap.Step, Loss: metrics.Number(t.now.loss), Recon: n("recon"),
			SampleEntropy: n("per_sample_entropy"), CodebookEntropy: n("batch_entropy"), Commitment: n("commitment"),
			CrossEntropy: n("cross_entropy"), Forecast: n("forecast"),
			Entropy:   n("per_sample_entropy") - metrics.Number(t.cfg.Model.Quantizer.DiversityGamma)*n("batch_entropy"),
			CodesUsed: t.now.used, LR: metrics.Number(t.now.lr), GradNorm: metrics.Number(t.now.norm), Skipped: t.snap.Unlogged,
			ClipsPerSecond: metrics.Number(float64(t.clips) / t.busy.Seconds()), Seconds: metrics.Number(t.elapsed()),
			Waiting: metrics.Number(t.idle.Seconds() / t.busy.Seconds())}
		if t.predictor != nil {
			r.Recon = none
		}
		if err := t.dir.step(r, t.clock()); err != nil {
			return err
		}
		t.watch.Loss, t.watch.Recon, t.watch.ClipsPerSecond = r.Loss, r.Recon, r.ClipsPerSecond
		t.snap.Unlogged, t.busy, t.idle, t.clips = 0, 0, 0, 0
		t.say.Info("step", "step", r.Step, "loss", float64(r.Loss), "grad_norm", float64(r.GradNorm), "lr", float64(r.LR),
			"clips_per_s", float64(r.ClipsPerSecond), "waiting", float64(r.Waiting))
	}
	if t.opt.OnStep != nil {
		t.opt.OnStep(t.snap.Step)
	}
	return t.beat("training", false)
}
