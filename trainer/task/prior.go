package task

import (
	"context"
	"fmt"
	"math"
	"slices"

	"magvit/kernels"
	"magvit/kernels/philox"
	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/codes"
	"magvit/trainer/config"
	"magvit/trainer/data"
	"magvit/trainer/metrics"
	"magvit/trainer/usage"
)

// resolvePrior fills what a prior's configuration leaves to the codes, or to the clips and the tokenizer that makes their
// codes, and refuses what codes do not have.
func resolvePrior(src data.Source, c config.Config) (config.Config, error) {
	classes := src.Classes()
	s, ok := src.(*codes.Source)
	if !ok && c.Train.Tokenizer == "" {
		return c, usage.Errorf("model.prior.kind: %s: a prior trains on codes that magvit encode made, with train.shuffle_labels: false, or on clips with the tokenizer that makes their codes in train.tokenizer (magvit train --tokenizer RUN)", c.Model.Prior.Kind)
	}
	if ok && c.Train.Tokenizer != "" {
		return c, usage.Errorf("train.tokenizer: %s: the data are codes already; leave it out", c.Train.Tokenizer)
	}
	codebook, sha256 := 0, ""
	var levels []int
	if ok {
		if s.Codebook == 0 {
			return c, usage.Errorf("the codes do not say of which codebook they are; want those of magvit encode")
		}
		if err := onlyPixels(c); err != nil {
			return c, err
		}
		if codebook, sha256, levels = s.Codebook, s.Tokenizer, s.Levels; len(levels) == 0 {
			levels = []int{s.Codebook}
		}
		c.Model = c.Model.ForCodes(s.Tokens(), levels, len(classes), sha256)
	} else {
		var tok *model.Tokenizer
		var err error
		if c, tok, sha256, err = tokenizer(c); err != nil {
			return c, err
		}
		if c.Data.Crop.Batch != 0 {
			return c, usage.Errorf("data.crop.batch: %d: a prior is of whole clips; legal: 0", c.Data.Crop.Batch)
		}
		clip := model.Shape{N: 1, T: tok.Padded(c.Data.Frames), H: c.Data.Height, W: c.Data.Width}
		if err := tok.Check(clip); err != nil {
			return c, usage.Errorf("train.tokenizer: %w", err)
		}
		grid := tok.CodeShape(clip)
		codebook, levels = tok.CodebookSize(), tok.CodebookLevels()
		if c.Model.Channels = c.Data.Channels; len(c.Model.Prior.Clip) == 0 {
			c.Model.Prior.Clip = []int{clip.T, clip.H, clip.W}
		}
		c.Model = c.Model.ForCodes([]int{grid[1], grid[2], grid[3] * grid[4]}, levels, len(classes), sha256)
	}
	switch p := c.Model.Prior; {
	case p.CodebookSize() != codebook:
		return c, usage.Errorf("model.prior.digits: %v: they make %d codes; legal: numbers whose product is the codebook's %d", p.Digits, p.CodebookSize(), codebook)
	case p.Classes < len(classes):
		return c, usage.Errorf("model.prior.classes: %d; legal: the codes' %d or more", p.Classes, len(classes))
	case sha256 != "" && p.Tokenizer != sha256:
		return c, usage.Errorf("model.prior.tokenizer: %.12s; the codes are of the tokenizer %.12s", p.Tokenizer, sha256)
	}
	return c, nil
}

// onlyPixels refuses settings of data that codes do not have.
func onlyPixels(c config.Config) error {
	d := c.Data
	for _, k := range []struct {
		key string
		bad bool
	}{
		{"flip", d.Flip}, {"transpose", d.Transpose}, {"reverse", d.Reverse}, {"shift", d.Shift != 0}, {"noise", d.Noise != 0}, {"rotation", d.Rotation != 0},
		{"crop.batch", d.Crop.Batch != 0}, {"foreground_weight", d.ForegroundWeight != 0}, {"stride", d.Stride > 1}, {"fps", d.FPS != 0},
	} {
		if k.bad {
			return usage.Errorf("data.%s: set with model.prior.kind %s; legal: off, as codes are no pixels", k.key, c.Model.Prior.Kind)
		}
	}
	return nil
}

// Prior computes how likely codes are, and samples them. It is used by one goroutine at a time.
type Prior struct {
	Trained
	Network *model.Transformer

	be       kernels.Backend
	offsets  []int
	params   kernels.Buffer
	programs map[int]*model.Program // by number of clips
	unigrams *metrics.CodeModel     // of the training clips, counted once
	coder    coder                  // of a prior that is trained on clips
}

func newPrior(be kernels.Backend, net *model.Transformer, of Trained, params kernels.Buffer) *Prior {
	return &Prior{Trained: of, Network: net, be: be, offsets: checkpoint.NewLayout(net).Offsets, params: params, programs: map[int]*model.Program{},
		coder: coder{be: be, path: of.Config.Train.Tokenizer, sha256: net.Config.Prior.Tokenizer}}
}

// OpenPrior reads a prior's checkpoint as Open does.
func OpenPrior(be kernels.Backend, path string) (*Prior, error) {
	t, _, err := Open(be, path)
	if err != nil {
		return nil, err
	}
	p, ok := t.(*Prior)
	if !ok {
		return nil, usage.Errorf("checkpoint %s: not a prior over codes; magvit train --preset prior-demo makes one", path)
	}
	return p, nil
}

// settings are those of the network.
func (p *Prior) settings() model.Prior { return p.Network.Config.Prior }

func (p *Prior) Describe() []any {
	s := p.settings()
	return []any{"prior", s.Kind, "codes_per_clip", s.Tokens(), "codebook", s.CodebookSize(), "digits", fmt.Sprint(s.Digits), "of_classes", s.Classes}
}

// example is what a prior is trained on: what it sees of the codes of clips, and what it is to predict.
type example struct {
	tokens, targets []int32   // [N,L]; NoCode: nothing
	classes         []float32 // [N,L]
}

// codes returns the codes of a batch's clips [N,L].
func (p *Prior) codes(b *data.Batch) ([]int32, error) {
	if len(p.settings().Clip) == 0 {
		return whole(b.Video), nil
	}
	return p.coder.codes(b.Video, b.Shape())
}

// examples of a training batch with these codes, by its number alone.
func (p *Prior) examples(b *data.Batch, codes []int32) (e example) {
	s, seed, step := p.settings(), p.Config.Train.Seed, uint64(b.Number)
	length := s.Tokens()
	for n := range b.N {
		clip := codes[n*length:][:length]
		class := b.Labels[n]
		if class < 0 || philox.New(seed, "class", step, uint64(n)).Float64() < s.ClassDropout {
			class = s.Classes
		}
		e.add(class, clip)
		if s.Kind == model.Autoregressive {
			e.shift(length)
			continue
		}
		r := philox.New(seed, "mask", step, uint64(n))
		from := 0
		if given := r.Float64() < s.GivenFrames; given && s.Grid[0] > 1 {
			from = (1 + r.IntN(s.Grid[0]-1)) * s.Grid[1] * s.Grid[2]
		}
		hidden := int(math.Ceil(math.Cos(math.Pi/2*r.Float64()) * float64(length-from))) // MaskGIT's cosine schedule
		e.hide(r, length, from, max(hidden, 1))
	}
	return e
}

// whole converts codes from the numbers of a batch.
func whole(values []float32) []int32 {
	list := make([]int32, len(values))
	for i, v := range values {
		list[i] = int32(v)
	}
	return list
}

// add appends a clip, of which everything is seen and to be predicted.
func (e *example) add(class int, clip []int32) {
	e.tokens, e.targets = append(e.tokens, clip...), append(e.targets, clip...)
	for range clip {
		e.classes = append(e.classes, float32(class))
	}
}

// shift delays the tokens of the last clip by one.
func (e *example) shift(length int) {
	last := e.tokens[len(e.tokens)-length:]
	copy(last[1:], last)
	last[0] = model.NoCode
}

// hide masks that many tokens of the last clip from a token on, at random, and makes them the targets.
func (e *example) hide(r *philox.Stream, length, from, hidden int) {
	tokens, targets := e.tokens[len(e.tokens)-length:], e.targets[len(e.targets)-length:]
	for i := range targets {
		targets[i] = model.NoCode
	}
	for _, i := range r.Perm(length - from)[:hidden] {
		targets[from+i], tokens[from+i] = tokens[from+i], model.NoCode
	}
}

// Feed writes what the network sees of the codes, and the targets.
func (p *Prior) Feed(to *model.Program, b *data.Batch) error {
	codes, err := p.codes(b)
	if err != nil {
		return err
	}
	e := p.examples(b, codes)
	if err := p.write(to, e.tokens, e.classes); err != nil {
		return err
	}
	labels := make([]float32, len(e.targets))
	for d := range p.settings().Digits {
		p.Network.Labels(labels, e.targets, d)
		if err := p.be.Write(to.Buffer(model.LabelInput(d)), labels); err != nil {
			return err
		}
	}
	return nil
}

func (p *Prior) write(to *model.Program, tokens []int32, classes []float32) error {
	ids := make([]float32, to.Buffer("tokens").Len())
	p.Network.TokenIDs(ids, tokens)
	if err := p.be.Write(to.Buffer("tokens"), ids); err != nil {
		return err
	}
	return p.be.Write(to.Buffer("classes"), classes)
}

// Counts are the codes to predict, whatever they are.
func (p *Prior) Counts(b *data.Batch) map[string]float64 {
	n := 0.
	for _, c := range p.examples(b, make([]int32, b.N*p.settings().Tokens())).targets {
		if c != model.NoCode {
			n++
		}
	}
	return map[string]float64{"cross_entropy": n}
}

// Pictures draws nothing: magvit sample decodes codes.
func (p *Prior) Pictures(context.Context, Clips, Evaluation) ([]Picture, error) { return nil, nil }

// logits of n clips, by digit: [N,L,values].
func (p *Prior) logits(tokens []int32, classes []float32) (logits [][]float32, err error) {
	s := p.settings()
	n := len(tokens) / s.Tokens()
	prog := p.programs[n]
	if prog == nil {
		g, err := p.Network.Predictor(n)
		if err != nil {
			return nil, err
		}
		if prog, err = g.Compile(p.be, p.params, nil, p.offsets); err != nil {
			return nil, err
		}
		p.programs[n] = prog
	}
	if err := p.write(prog, tokens, classes); err != nil {
		return nil, err
	}
	if err := prog.Run(); err != nil {
		return nil, err
	}
	return p.readLogits(prog)
}

func (p *Prior) readLogits(prog *model.Program) (logits [][]float32, err error) {
	for d := range p.settings().Digits {
		from := prog.Buffer(model.LogitsOutput(d))
		v := make([]float32, from.Len())
		if err := p.be.Read(v, from); err != nil {
			return nil, err
		}
		logits = append(logits, v)
	}
	return logits, nil
}

// evalMasks is the number of masks of each clip that a masked prior is evaluated with.
const evalMasks = 8

// bits returns the bits for each code of clips, given their classes: those of an
// autoregressive prior, or an estimate of the bound of a masked one: the mean, over
// numbers of masked codes spread from 1 to all, of the bits of the masked ones. The mean
// over all orders of decoding one by one is the same. The masks of a clip follow from its
// number alone.
func (p *Prior) bits(codes []int32, classes, clips []int) ([]float64, error) {
	s := p.settings()
	length, rounds := s.Tokens(), evalMasks
	if s.Kind == model.Autoregressive {
		rounds = 1
	}
	sums := make([]float64, len(clips))
	for round := range rounds {
		var e example
		for n, i := range clips {
			e.add(classes[n], codes[n*length:][:length])
			if s.Kind == model.Autoregressive {
				e.shift(length)
				continue
			}
			r := philox.New(p.Config.Train.Seed, "evaluation", uint64(i), uint64(round))
			e.hide(r, length, 0, 1+int((float64(round)+r.Float64())/evalMasks*float64(length)))
		}
		logits, err := p.logits(e.tokens, e.classes)
		if err != nil {
			return nil, err
		}
		for n := range clips {
			nats, count := p.nats(logits, e.targets, n*length, (n+1)*length)
			sums[n] += nats / count / math.Ln2 / float64(rounds)
		}
	}
	return sums, nil
}

// nats is the negative logarithm of the probability of the targets from a token to another, and their number.
func (p *Prior) nats(logits [][]float32, targets []int32, from, to int) (sum, count float64) {
	labels := make([]float32, to-from)
	for d, values := range p.settings().Digits {
		p.Network.Labels(labels, targets[from:to], d)
		for i, l := range labels {
			if l >= 0 {
				row := logits[d][(from+i)*values:][:values]
				sum += logSumExp(row, 1) - float64(row[int(l)])
				if d == 0 {
					count++
				}
			}
		}
	}
	return sum, count
}

// logSumExp is log Σ exp(x·scale).
func logSumExp(x []float32, scale float64) float64 {
	most, sum := math.Inf(-1), 0.
	for _, v := range x {
		most = max(most, float64(v)*scale)
	}
	for _, v := range x {
		sum += math.Exp(float64(v)*scale - most)
	}
	return most + math.Log(sum)
}

// maxClasses is the largest number of classes that clips are compared under.
const maxClasses = 16

// evaluated accumulates what Evaluate measures.
type evaluated struct {
	bits                 []float64 // of each clip
	without, other       float64   // sums of the bits without a class and with each of the others
	labelled, ofOwnClass int
}

// compare adds the clips of a batch. Clips with a class are also measured without one and,
// of few classes, with each of the others.
func (p *Prior) compare(a *evaluated, b *data.Batch, codes []int32) error {
	s := p.settings()
	known := func(n int) bool { return b.Labels[n] >= 0 && b.Labels[n] < s.Classes }
	own, any := make([]int, b.N), false
	for n := range own {
		if own[n] = s.Classes; known(n) {
			own[n], any = b.Labels[n], true
		}
	}
	bits, err := p.bits(codes, own, b.Index)
	if err != nil {
		return err
	}
	a.bits = append(a.bits, bits...)
	if !any || s.Classes < 2 || s.Classes > maxClasses {
		return nil
	}
	fewest := slices.Clone(bits)
	for class := range s.Classes + 1 {
		of := slices.Repeat([]int{class}, b.N)
		with, err := p.bits(codes, of, b.Index)
		if err != nil {
			return err
		}
		for n := range with {
			switch {
			case !known(n) || class == own[n]:
			case class == s.Classes:
				a.without += with[n]
			default:
				a.other += with[n] / float64(s.Classes-1)
				fewest[n] = min(fewest[n], with[n])
			}
		}
	}
	for n := range own {
		if known(n) {
			a.labelled++
			if fewest[n] == bits[n] {
				a.ofOwnClass++
			}
		}
	}
	return nil
}

// Evaluate measures the bits of clips' codes, and those of models without a network.
//
// Of several ranks the first does so alone.
func (p *Prior) Evaluate(ctx context.Context, e Clips, progress func() error) (found Evaluation, err error) {
	if !e.Ranks.First() {
		return found, nil
	}
	if e.Source, err = p.Renumbered(e.Source); err != nil {
		return found, err
	}
	s := p.settings()
	if p.unigrams == nil {
		if err := p.countUnigrams(ctx, e); err != nil {
			return found, err
		}
	}
	r := metrics.Likelihood{Preset: p.Config.Preset, Kind: s.Kind, Step: p.Step, Tokens: s.Tokens(), Bound: s.Kind == model.Masked, Uniform: metrics.Number(math.Log2(float64(s.CodebookSize())))}
	var all evaluated
	found.Unread, err = data.Each(ctx, e.Source, e.Indices, e.Data, EvalBatch, func(b *data.Batch) error {
		codes, err := p.codes(b)
		if err != nil {
			return err
		}
		if err := p.compare(&all, b, codes); err != nil {
			return err
		}
		for n := range b.N {
			unigram, before := p.unigrams.Bits(codes[n*s.Tokens():][:s.Tokens()])
			r.Unigram, r.FrameBefore = r.Unigram+metrics.Number(unigram), r.FrameBefore+metrics.Number(before)
		}
		if progress != nil {
			return progress()
		}
		return nil
	})
	if err != nil {
		return found, fmt.Errorf("evaluation: %w", err)
	}
	if len(all.bits) == 0 {
		return found, usage.Errorf("evaluation: none of %d clips can be read", len(e.Indices))
	}
	n := metrics.Number(len(all.bits))
	mean, squares := 0., 0.
	for _, v := range all.bits {
		mean += v / float64(n)
	}
	for _, v := range all.bits {
		squares += (v - mean) * (v - mean)
	}
	half := metrics.Number(1.96 * math.Sqrt(squares/max(float64(n)-1, 1)/float64(n)))
	r.Clips, r.Bits, r.Low, r.High = len(all.bits), metrics.Number(mean), metrics.Number(mean)-half, metrics.Number(mean)+half
	r.Unigram, r.FrameBefore = r.Unigram/n, r.FrameBefore/n
	if k := all.labelled; k > 0 {
		low, high := metrics.Wilson(all.ofOwnClass, k)
		r.Classes = &metrics.ClassBits{Clips: k, Without: metrics.Number(all.without / float64(k)), Other: metrics.Number(all.other / float64(k)),
			Accuracy: metrics.Number(all.ofOwnClass) / metrics.Number(k), Low: low, High: high, Chance: 1 / metrics.Number(s.Classes)}
	}
	found.Prior = &r
	return found, nil
}

// countUnigrams counts the codes of some of the training clips.
func (p *Prior) countUnigrams(ctx context.Context, e Clips) error {
	s := p.settings()
	m := metrics.NewCodeModel(s.CodebookSize(), s.Grid[1]*s.Grid[2])
	_, err := data.Each(ctx, e.Source, spread(e.Train, meanSample*64), e.Data, EvalBatch, func(b *data.Batch) error {
		codes, err := p.codes(b)
		if err != nil {
			return err
		}
		for n := range b.N {
			m.Add(codes[n*s.Tokens():][:s.Tokens()])
		}
		return nil
	})
	if err == nil {
		p.unigrams = m
	}
	return err
}
