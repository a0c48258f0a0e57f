package task

import (
	"context"
	"fmt"
	"log/slog"
	"math"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/data"
	"magvit/trainer/metrics"
	"magvit/trainer/probe"
	"magvit/trainer/ranks"
	"magvit/trainer/usage"
)

// resolveClassifier fills classes, forecast and unit from the clips.
func resolveClassifier(ctx context.Context, src data.Source, train []int, c config.Config, log *slog.Logger) (config.Config, error) {
	if n := c.Data.Crop.Batch; n > 0 {
		return c, usage.Errorf("data.crop.batch: %d: a classifier looks at whole clips; set data.crop.batch=0", n)
	}
	image, space, err := positions(ctx, src, train, c.Data)
	if err != nil {
		return c, err
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
		return c, usage.Errorf("model.classify.classes: %d, but the clips have %d", want, classes)
	}
	if c.Model.Classify.OnCodes() {
		var tok *model.Tokenizer
		var sha256 string
		if c.Train.Tokenizer == "" {
			return c, usage.Errorf("model.classify.input: %s: want the run of a tokenizer in train.tokenizer (magvit train --tokenizer RUN)", c.Model.Classify.Input)
		}
		if c, tok, sha256, err = tokenizer(c); err != nil {
			return c, err
		}
		c.Model = c.Model.ForTokenizer(model.GridOf(tok, sha256))
	}
	c.Model = c.Model.ForClips(classes, c.Data.Frames, forecast)
	kind := c.Model.Classify.Forecast
	if !has[kind] {
		return c, usage.Errorf("model.classify.forecast: %s: the clips have no such positions (image: points_2d, space: trajectory_3d); legal: auto, none", kind)
	}
	if kind == model.ForecastNone {
		log.Warn("the clips have neither points_2d nor trajectory_3d, or none are to be forecast: no forecasting head")
	}
	if classes < 2 {
		log.Warn("the clips have labels of fewer than two classes: no classification head", "classes", classes)
	}
	if d := &c.Data; kind == model.ForecastSpace && (d.Flip || d.Transpose || d.Rotation > 0) {
		log.Warn("mirrored and rotated pictures do not show the paths of trajectory_3d: data.flip, data.transpose and data.rotation are off")
		d.Flip, d.Transpose, d.Rotation = false, false, 0
	}
	if k := &c.Model.Classify; kind != model.ForecastNone && k.Unit == 0 {
		if k.Unit, err = positionSpread(ctx, src, train, c); err != nil {
			return c, err
		}
	}
	if kind == model.ForecastNone || !c.Model.Classify.OnCodes() {
		return c, nil
	}
	net, err := model.NewClassifier(c.Model)
	if err != nil {
		return c, usage.Wrap(err)
	}
	padded := c
	padded.Data.Frames = net.Padded(c.Data.Frames)
	be := kernels.NewCPU(0)
	defer be.Close()
	codec, err := OpenCodec(be, c.Train.Tokenizer)
	if err != nil {
		return c, err
	}
	return c, causal(ctx, padded, src, train, net.Seen(padded.Data.Frames), codec.Encode)
}

// positions reports which positions the training clips have, by four of them.
func positions(ctx context.Context, src data.Source, train []int, cfg data.Config) (image, space bool, err error) {
	_, err = data.Each(ctx, src, spread(train, 4), cfg, 1, func(b *data.Batch) error {
		image, space = image || b.HasPoints[0], space || b.HasSpace[0]
		return nil
	})
	return image, space, err
}

// positionSpread is the root mean square distance of a clip's positions from their mean, over
// some of the training clips: the unit in which forecasts are of size 1. 1 if nothing moves.
func positionSpread(ctx context.Context, src data.Source, train []int, c config.Config) (float64, error) {
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

// forecastTargets returns the targets of a forecast, [N,horizon,dims] positions relative to
// the last observed one in units, and their weights, [N,horizon]: 0 where a clip has no
// positions or is too short.
//
// Why relative: the place of a motion does not determine how it continues, and an output of 0 is
// the forecast of a constant position.
func forecastTargets(b *data.Batch, k model.Classify, seen int) (target, counts []float32) {
	path, has, dims := track(b, k)
	target, counts = make([]float32, b.N*k.Horizon*dims), make([]float32, b.N*k.Horizon)
	for n := range b.N {
		if !has[n] {
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

// pathTargets returns the positions of a batch's moving objects [N,T,2], from the frame's
// middle in units of half its longer side, and their weights [N,T]: 0 where a clip has none.
func pathTargets(b *data.Batch) (positions, located []float32) {
	positions, located = make([]float32, b.N*b.T*2), make([]float32, b.N*b.T)
	half := float32(max(b.H, b.W)) / 2
	for n := range b.N {
		if !b.HasPoints[n] {
			continue
		}
		for t := range b.Frames[n] {
			i := n*b.T + t
			located[i] = 1
			positions[2*i], positions[2*i+1] = (b.Points[2*i]-float32(b.W-1)/2)/half, (b.Points[2*i+1]-float32(b.H-1)/2)/half
		}
	}
	return positions, located
}

// Predictor computes the classes and forecasts of a classifier. It is used by
// one goroutine at a time.
type Predictor struct {
	Trained
	Network *model.Classifier

	be       kernels.Backend
	offsets  []int
	params   kernels.Buffer
	programs map[model.Shape]*model.Program
	coder    coder
}

func newPredictor(be kernels.Backend, net *model.Classifier, of Trained, params kernels.Buffer) *Predictor {
	return &Predictor{Trained: of, Network: net, be: be, offsets: checkpoint.NewLayout(net).Offsets, params: params, programs: map[model.Shape]*model.Program{},
		coder: coder{be: be, path: of.Config.Train.Tokenizer, sha256: net.Config.Classify.Codes.Tokenizer}}
}

func (p *Predictor) Describe() []any {
	k := p.Config.Model.Classify
	return []any{"network", k.Network, "input", k.Input, "forecast", k.Forecast, "steps", p.Config.Train.Steps}
}

// Feed writes codes, labels, and the targets of forecasts and of located positions with
// their weights.
func (p *Predictor) Feed(to *model.Program, b *data.Batch) error {
	if err := p.feedCodes(to, b.Video, b.Shape()); err != nil {
		return err
	}
	if to.Buffer("labels") != nil {
		labels := make([]float32, b.N)
		for n, l := range b.Labels {
			labels[n] = float32(l)
		}
		if err := p.be.Write(to.Buffer("labels"), labels); err != nil {
			return err
		}
	}
	if to.Buffer("positions") != nil {
		positions, located := pathTargets(b)
		if err := p.be.Write(to.Buffer("positions"), positions); err != nil {
			return err
		}
		if err := p.be.Write(to.Buffer("located"), located); err != nil {
			return err
		}
	}
	if to.Buffer("target") == nil {
		return nil
	}
	target, counts := forecastTargets(b, p.Config.Model.Classify, p.Network.Seen(b.T))
	if err := p.be.Write(to.Buffer("target"), target); err != nil {
		return err
	}
	return p.be.Write(to.Buffer("counts"), counts)
}

// feedCodes writes the codes of clips [N,T,H,W,C], where the network gets codes.
func (p *Predictor) feedCodes(to *model.Program, video []float32, s data.Shape) error {
	if to.Buffer("codes") == nil {
		return nil
	}
	codes, err := p.coder.codes(video, s)
	if err != nil {
		return err
	}
	ids := make([]float32, to.Buffer("codes").Len())
	p.Network.CodeIDs(ids, codes)
	return p.be.Write(to.Buffer("codes"), ids)
}

// Counts are the clips with labels, and the positions that are to be forecast and located.
func (p *Predictor) Counts(b *data.Batch) map[string]float64 {
	labelled, positions := 0., 0.
	for _, l := range b.Labels {
		if l >= 0 {
			labelled++
		}
	}
	if k := p.Config.Model.Classify; k.Forecast != model.ForecastNone {
		_, counts := forecastTargets(b, k, p.Network.Seen(b.T))
		for _, c := range counts {
			positions += float64(c)
		}
	}
	seen := 0.
	_, located := pathTargets(b)
	for _, v := range located {
		seen += float64(v)
	}
	return map[string]float64{"cross_entropy": labelled, "forecast": positions, "path": seen}
}

// Pictures draws nothing: classes and positions are no pictures.
func (p *Predictor) Pictures(context.Context, Clips, Evaluation) ([]Picture, error) { return nil, nil }

// Predict returns the logits [N,classes] and the forecasts [N,horizon,dims] of clips
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
	if to := prog.Buffer("video"); to != nil {
		if err := p.be.Write(to, video); err != nil {
			return nil, nil, err
		}
	}
	if err := p.feedCodes(prog, video, s); err != nil {
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

// Evaluate compares predicted classes and forecasts with the truth.
func (p *Predictor) Evaluate(ctx context.Context, e Clips, progress func() error) (found Evaluation, err error) {
	k := p.Config.Model.Classify
	if e.Source, err = p.Renumbered(e.Source); err != nil {
		return found, err
	}
	names := e.Source.Classes()
	if n := k.Classes; n > 1 && len(names) > n {
		return found, usage.Errorf("clips of %d classes: this network was trained on %d", len(names), n)
	}
	for n := len(names); n < k.Classes; n++ {
		names = append(names[:n:n], fmt.Sprintf("class %d", n))
	}
	if k.Classes < 2 {
		names = nil
	}
	acc := metrics.NewClassifier(names, k.Horizon)
	seen := p.Network.Seen(e.Data.Frames)
	answer := func(b *data.Batch) ([]byte, error) {
		logits, forecast, err := p.Predict(b.Video, b.Shape())
		return ranks.Bytes(append(logits, forecast...)), err
	}
	found.Unread, err = e.answers(ctx, answer, func(b *data.Batch, answer []byte) error {
		both := ranks.Floats(answer)
		var logits, forecast []float32
		if k.Classes > 1 {
			logits, both = both[:b.N*k.Classes], both[b.N*k.Classes:]
		}
		if len(both) > 0 {
			forecast = both
		}
		for n, l := range b.Labels {
			if l >= 0 && logits != nil {
				acc.Predict(l, logits[n*k.Classes:][:k.Classes])
			}
		}
		if forecast != nil {
			p.compare(acc, b, forecast, seen)
		}
		if progress != nil {
			return progress()
		}
		return nil
	})
	if err != nil {
		return found, fmt.Errorf("evaluation: %w", err)
	}
	if !e.Ranks.First() {
		return found, nil
	}
	r := acc.Report()
	r.Network, r.Preset, r.Step = k.Network, p.Config.Preset, p.Step
	if r.Forecast != nil {
		r.Forecast.Of, r.Forecast.Seen, r.Forecast.Unit = k.Forecast, seen, "pixels"
		if k.Forecast == model.ForecastSpace {
			r.Forecast.Unit = "units of trajectory_3d"
		}
	}
	if r.Clips == 0 && r.Forecast == nil {
		return found, usage.Errorf("evaluation: none of %d clips has what this network was trained for", len(e.Indices))
	}
	found.Classify = &r
	return found, nil
}

// compare adds the errors of a batch's forecasts and of the baselines.
func (p *Predictor) compare(acc *metrics.Classifier, b *data.Batch, forecast []float32, seen int) {
	k := p.Config.Model.Classify
	target, counts := forecastTargets(b, k, seen)
	path, _, dims := track(b, k)
	for n := range b.N {
		var off [][4]float64
		measured := measuredVelocity(b, n, k, seen)
		for h := range k.Horizon {
			if counts[n*k.Horizon+h] == 0 {
				continue
			}
			var sum [4]float64
			ahead := float64(b.T - k.Horizon + h - (seen - 1)) // frames
			for d := range dims {
				i := (n*k.Horizon+h)*dims + d
				velocity := 0.
				if seen > 1 {
					at := (n*b.T+seen-1)*dims + d
					velocity = (float64(path[at]) - float64(path[at-dims])) / k.Unit
				}
				want := float64(target[i])
				for g, guess := range [4]float64{float64(forecast[i]), 0, velocity * ahead, measured[d] / k.Unit * ahead} {
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

// measuredVelocity is the change of the foreground's middle in clip n from the last but one to
// the last frame seen, in pixels, by the frames seen alone; NaN where positions in space are
// forecast, which no picture shows.
func measuredVelocity(b *data.Batch, n int, k model.Classify, seen int) (v [3]float64) {
	if k.Forecast == model.ForecastSpace {
		return [3]float64{math.NaN(), math.NaN(), math.NaN()}
	}
	frame := b.H * b.W * b.C
	middle := probe.Middles(b.Video[n*b.T*frame:][:seen*frame], data.Shape{N: 1, T: seen, H: b.H, W: b.W, C: b.C})
	for d := range middle[0] {
		v[d] = middle[seen-1][d] - middle[max(seen-2, 0)][d]
	}
	return v
}
