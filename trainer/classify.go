package trainer

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"magvit/kernels"
	"magvit/kernels/philox"
	"magvit/model"
	"magvit/trainer/atomicfile"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/data"
	"magvit/trainer/metrics"
	"magvit/trainer/usage"
)

// ClassifyFile is the evaluation at the end of a classifier's run, in its directory:
// a metrics.Classification of the last weights on the held-out clips. (The run saves
// no best checkpoint: it would be chosen by the clips that it is judged on.)
const ClassifyFile = "classify.json"

// control deals out the labels anew, if the configuration wants that.
func control(src data.Source, c config.Config) data.Source {
	if !c.Train.ShuffleLabels {
		return src
	}
	return data.ShuffleLabels(src, philox.New(c.Train.Seed, "shuffle labels", 0, 0).Perm(src.Len()))
}

// forClips decides what a classifier's configuration leaves to the clips.
func (t *training) forClips(ctx context.Context, src data.Source, train []int) error {
	c := &t.cfg
	if n := c.Data.Crop.Batch; n > 0 {
		return usage.Errorf("data.crop.batch: %d: a classifier looks at whole clips; set data.crop.batch=0", n)
	}
	image, space, err := positions(ctx, src, train, c.Data)
	if err != nil {
		return err
	}
	has := map[string]bool{model.ForecastImage: image, model.ForecastSpace: space, model.ForecastNone: true}
	forecast := model.ForecastNone
	for _, kind := range []string{model.ForecastSpace, model.ForecastImage} {
		if has[kind] {
			forecast = kind
		}
	}
	classes := len(src.Classes())
	if want := c.Model.Classify.Classes; want != 0 && want != classes {
		return usage.Errorf("model.classify.classes: %d, but the clips have %d", want, classes)
	}
	c.Model = c.Model.ForClips(classes, c.Data.Frames, forecast)
	kind := c.Model.Classify.Forecast
	if !has[kind] {
		return usage.Errorf("model.classify.forecast: %s: the clips have no such positions (image: points_2d, space: trajectory_3d); legal: auto, none", kind)
	}
	if kind == model.ForecastNone {
		t.say.Warn("the clips have neither points_2d nor trajectory_3d, or none are to be forecast: no forecasting head")
	}
	if classes < 2 {
		t.say.Warn("the clips have labels of fewer than two classes: no classification head", "classes", classes)
	}
	if d := &c.Data; kind == model.ForecastSpace && (d.Flip || d.Transpose || d.Rotation > 0) {
		t.say.Warn("mirrored and turned pictures do not show the paths of trajectory_3d: data.flip, data.transpose and data.rotation are off")
		d.Flip, d.Transpose, d.Rotation = false, false, 0
	}
	if k := &c.Model.Classify; kind != model.ForecastNone && k.Unit == 0 {
		k.Unit, err = spreadOf(ctx, src, train, *c)
	}
	return err
}

// positions says which positions the clips have: those of the first few are asked.
func positions(ctx context.Context, src data.Source, train []int, cfg data.Config) (image, space bool, err error) {
	_, err = data.Each(ctx, src, spread(train, 4), cfg, 1, func(b *data.Batch) error {
		image, space = image || b.HasPoints[0], space || b.HasSpace[0]
		return nil
	})
	return image, space, err
}

// spreadOf is the root mean square distance of a clip's positions from their mean, over
// some of the training clips: the unit in which forecasts are of size 1. 1 if nothing moves.
func spreadOf(ctx context.Context, src data.Source, train []int, c config.Config) (float64, error) {
	sum, n := 0., 0.
	_, err := data.Each(ctx, src, spread(train, meanSample), c.Data, 1, func(b *data.Batch) error {
		path, has, dims := track(b, c.Model.Classify)
		if !has[0] {
			return nil
		}
		frames := b.Frames[0]
		for d := range dims {
			mean := 0.
			for t := range frames {
				mean += float64(path[t*dims+d]) / float64(frames)
			}
			for t := range frames {
				sum += math.Pow(float64(path[t*dims+d])-mean, 2)
			}
		}
		n += float64(frames)
		return nil
	})
	if err != nil || sum == 0 {
		return 1, err
	}
	return math.Sqrt(sum / n), nil
}

// track is the positions of a batch that are to be forecast, [N,T,dims].
func track(b *data.Batch, k model.Classify) (path []float32, has []bool, dims int) {
	if k.Forecast == model.ForecastSpace {
		return b.Space, b.HasSpace, 3
	}
	return b.Points, b.HasPoints, 2
}

// aims gives the targets of a forecast: [N,horizon,dims] positions relative to the last
// one seen, in units, and what each counts, [N,horizon]: 0 where a clip has no
// positions or is too short.
//
// Why relative: where a motion is does not tell how it goes on, and an answer of 0 is
// the forecast that it stays.
func aims(b *data.Batch, k model.Classify, seen int) (target, counts []float32) {
	path, has, dims := track(b, k)
	target, counts = make([]float32, b.N*k.Horizon*dims), make([]float32, b.N*k.Horizon)
	for n := range b.N {
		if b.Index[n] < 0 || !has[n] {
			continue
		}
		p := path[n*b.T*dims:][:b.T*dims]
		for h := range k.Horizon {
			t := b.T - k.Horizon + h
			if t >= b.Frames[n] {
				break
			}
			counts[n*k.Horizon+h] = 1
			for d := range dims {
				target[(n*k.Horizon+h)*dims+d] = (p[t*dims+d] - p[(seen-1)*dims+d]) / float32(k.Unit)
			}
		}
	}
	return target, counts
}

// teach writes what a classifier is to say of a batch whose first frames it sees.
func (s *Stepper) teach(p *model.Program, b *data.Batch, seen int) error {
	if p.Buffer("labels") != nil {
		labels := make([]float32, b.N)
		for n, l := range b.Labels {
			labels[n] = float32(l)
		}
		if err := s.be.Write(p.Buffer("labels"), labels); err != nil {
			return err
		}
	}
	if p.Buffer("target") == nil {
		return nil
	}
	target, counts := aims(b, s.cfg.Model.Classify, seen)
	if err := s.be.Write(p.Buffer("target"), target); err != nil {
		return err
	}
	return s.be.Write(p.Buffer("counts"), counts)
}

// classify evaluates a classifier and logs it.
func (t *training) classify(ctx context.Context, step int) error {
	r, unread, err := t.predictor.Evaluate(ctx, t.eval, func() error { return t.beat("evaluating", false) })
	if err != nil {
		return err
	}
	r.Preset, r.Step = t.cfg.Preset, step
	record := metrics.EvalRecord{Step: step, Classify: &r}
	if err := t.dir.evaluation(record, t.clock()); err != nil {
		return err
	}
	t.note(record)
	off := none
	if r.Forecast != nil {
		off = r.Forecast.Error
	}
	t.say.Info("evaluation", "step", step, "accuracy", float64(r.Accuracy), "low", float64(r.Low), "high", float64(r.High),
		"cross_entropy", float64(r.CrossEntropy), "forecast", float64(off), "unread", len(unread))
	if err := t.dir.histograms(step, t.state); err != nil {
		return err
	}
	if !t.finished() {
		return nil
	}
	r.Seconds = metrics.Number(t.elapsed())
	text, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = atomicfile.WriteBytes(t.dir.file(ClassifyFile), append(text, '\n'))
	}
	return err
}

// Predictor gives the classes and forecasts of a classifier's weights. It is used by
// one goroutine at a time.
type Predictor struct {
	Network *model.Classifier
	Config  config.Config // the configuration it was trained with
	Step    int           // of the checkpoint
	Skipped []error       // newer checkpoints that were passed over, and why

	be       kernels.Backend
	offsets  []int
	params   kernels.Buffer
	programs map[model.Shape]*model.Program
}

func newPredictor(be kernels.Backend, net *model.Classifier, c config.Config, params kernels.Buffer) *Predictor {
	return &Predictor{Network: net, Config: c, be: be, offsets: checkpoint.NewLayout(net).Offsets, params: params, programs: map[model.Shape]*model.Program{}}
}

// OpenPredictor reads a classifier's checkpoint, as OpenCodec reads a tokenizer's.
func OpenPredictor(be kernels.Backend, path string) (*Predictor, error) {
	o, params, err := openWeights(be, path)
	if err != nil {
		return nil, err
	}
	net, ok := o.Net.(*model.Classifier)
	if !ok {
		return nil, usage.Errorf("checkpoint %s: a tokenizer; want a classifier", path)
	}
	p := newPredictor(be, net, o.Config, params)
	p.Step, p.Skipped = o.Snapshot.Step, o.Skipped
	return p, nil
}

// HoldsClassifier says whether a checkpoint (see OpenCodec) is a classifier's.
func HoldsClassifier(path string) (bool, error) {
	c, err := checkpoint.Configuration(path)
	return c.Model.Classifies(), err
}

// Predict gives the logits [N,classes] and the forecasts [N,horizon,dims] of clips
// [N,T,H,W,C]; nil where there is no head for them.
func (p *Predictor) Predict(video []float32, s data.Shape) (logits, forecast []float32, err error) {
	if s.C != p.Config.Model.Channels {
		return nil, nil, usage.Errorf("clips with %d channels: this network takes %d", s.C, p.Config.Model.Channels)
	}
	shape := model.Shape{N: s.N, T: s.T, H: s.H, W: s.W}
	prog := p.programs[shape]
	if prog == nil {
		g, err := p.Network.Predictor(shape)
		if err != nil {
			return nil, nil, usage.Wrap(err)
		}
		if prog, err = g.Compile(p.be, p.params, nil, p.offsets); err != nil {
			return nil, nil, err
		}
		p.programs[shape] = prog
	}
	if err := p.be.Write(prog.Buffer("video"), video); err != nil {
		return nil, nil, err
	}
	if err := prog.Run(); err != nil {
		return nil, nil, err
	}
	read := func(from kernels.Buffer) (v []float32) {
		if from != nil && err == nil {
			v = make([]float32, from.Len())
			err = p.be.Read(v, from)
		}
		return v
	}
	logits, forecast = read(prog.Buffer("logits")), read(prog.Buffer("forecast"))
	return logits, forecast, err
}

// Evaluate compares guesses and forecasts with the truth. beat, if not nil, is called
// between batches. Clips that cannot be read are listed.
func (p *Predictor) Evaluate(ctx context.Context, e Evaluation, beat func() error) (r metrics.Classification, skipped []*data.ClipError, err error) {
	k := p.Config.Model.Classify
	names := e.Source.Classes()
	if n := k.Classes; n > 1 && len(names) > n {
		return r, nil, usage.Errorf("clips of %d classes: this network was trained on %d", len(names), n)
	}
	for n := len(names); n < k.Classes; n++ {
		names = append(names[:n:n], fmt.Sprintf("class %d", n))
	}
	if k.Classes < 2 {
		names = nil
	}
	acc := metrics.NewClassifier(names, k.Horizon)
	seen := p.Network.Seen(e.Data.Frames)
	skipped, err = data.Each(ctx, e.Source, e.Indices, e.Data, evalBatch, func(b *data.Batch) error {
		logits, forecast, err := p.Predict(b.Video, b.Shape())
		if err != nil {
			return err
		}
		for n, i := range b.Index {
			if l := b.Labels[n]; i >= 0 && l >= 0 && logits != nil {
				acc.Predict(l, logits[n*k.Classes:][:k.Classes])
			}
		}
		if forecast != nil {
			p.compare(acc, b, forecast, seen)
		}
		if beat != nil {
			return beat()
		}
		return nil
	})
	if err != nil {
		return r, skipped, fmt.Errorf("evaluation: %w", err)
	}
	r = acc.Report()
	r.Network, r.Preset, r.Step = k.Network, p.Config.Preset, p.Step
	if r.Forecast != nil {
		r.Forecast.Of, r.Forecast.Seen, r.Forecast.Unit = k.Forecast, seen, "pixels"
		if k.Forecast == model.ForecastSpace {
			r.Forecast.Unit = "units of trajectory_3d"
		}
	}
	if r.Clips == 0 && r.Forecast == nil {
		return r, skipped, usage.Errorf("evaluation: none of %d clips has what this network was trained for", len(e.Indices))
	}
	return r, skipped, nil
}

// compare takes the forecasts of a batch, and those that need no network.
func (p *Predictor) compare(acc *metrics.Classifier, b *data.Batch, forecast []float32, seen int) {
	k := p.Config.Model.Classify
	target, counts := aims(b, k, seen)
	path, _, dims := track(b, k)
	for n := range b.N {
		var off [][3]float64
		for h := range k.Horizon {
			if counts[n*k.Horizon+h] == 0 {
				continue
			}
			var sum [3]float64
			ahead := float64(b.T - k.Horizon + h - (seen - 1)) // frames
			for d := range dims {
				i := (n*k.Horizon+h)*dims + d
				velocity := 0.
				if seen > 1 {
					at := (n*b.T+seen-1)*dims + d
					velocity = (float64(path[at]) - float64(path[at-dims])) / k.Unit
				}
				want := float64(target[i])
				for g, guess := range [3]float64{float64(forecast[i]), 0, velocity * ahead} {
					sum[g] += (guess - want) * (guess - want)
				}
			}
			for g := range sum {
				sum[g] = math.Sqrt(sum[g]) * k.Unit
			}
			off = append(off, sum)
		}
		if off != nil {
			acc.Forecast(b.Labels[n], off)
		}
	}
}
