package trainer

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"magvit/kernels"
	"magvit/trainer/config"
	"magvit/trainer/data"
	"magvit/trainer/metrics"
	"magvit/trainer/report"
	"magvit/trainer/usage"
)

const (
	evalBatch  = 4  // clips that are encoded together
	meanSample = 64 // training clips whose mean frame is a baseline, at most
)

// Evaluation is a set of held-out clips with what they are compared with.
type Evaluation struct {
	Source  data.Source
	Indices []int       // of the clips
	Data    data.Config // how they are read; resolved
	Mean    []float32   // [H,W,C] mean frame of the training clips, or nil
	Show    []int       // indices of clips to be returned beside their reconstructions
}

// Run encodes each clip, decodes its integer codes and compares. beat, if not
// nil, is called between batches. Clips that cannot be read are listed.
func (e Evaluation) Run(ctx context.Context, c *Codec, beat func() error) (r metrics.Report, shown []report.Pair, skipped []*data.ClipError, err error) {
	d := e.Data
	acc, err := metrics.New(metrics.Config{H: d.Height, W: d.Width, C: d.Channels,
		CodebookSize: c.Tokenizer.CodebookSize(), Levels: c.Tokenizer.CodebookLevels(),
		Classes: e.Source.Classes(), MeanFrame: e.Mean, Foreground: data.Foreground})
	if err != nil {
		return r, nil, nil, err
	}
	show := map[int]bool{}
	for _, i := range e.Show {
		show[i] = true
	}
	skipped, err = data.Each(ctx, e.Source, e.Indices, d, evalBatch, func(b *data.Batch) error {
		codes, err := c.Encode(b.Video, b.Shape())
		if err != nil {
			return err
		}
		recon, err := c.Decode(codes, b.Shape())
		if err != nil {
			return err
		}
		size, per := b.T*b.H*b.W*b.C, len(codes)/b.N
		grid, err := c.CodeShape(b.Shape())
		if err != nil {
			return err
		}
		for n, i := range b.Index {
			if i < 0 {
				continue // a row that fills up the last batch
			}
			target, guess := b.Video[n*size:][:size], recon[n*size:][:size]
			if err := acc.Add(b.Names[n], b.Labels[n], b.Frames[n], target, guess, codes[n*per:][:per]); err != nil {
				return err
			}
			if show[i] {
				shown = append(shown, report.Pair{Name: b.Names[n], Class: className(e.Source, b.Labels[n]), T: b.Frames[n], H: b.H, W: b.W, C: b.C,
					Target: slices.Clone(target), Recon: slices.Clone(guess), Codes: slices.Clone(codes[n*per:][:per]), Grid: [4]int(grid[1:])})
			}
		}
		if beat != nil {
			return beat()
		}
		return nil
	})
	if err != nil {
		return r, nil, skipped, fmt.Errorf("evaluation: %w", err)
	}
	if r = acc.Report(); r.Clips == 0 {
		return r, nil, skipped, usage.Errorf("evaluation: none of %d clips can be read", len(e.Indices))
	}
	return r, shown, skipped, nil
}

// Only is the evaluation of some clips, by name, all of them shown.
func (e Evaluation) Only(clips []metrics.Clip) Evaluation {
	var some []int
	for _, i := range e.Indices {
		if slices.ContainsFunc(clips, func(c metrics.Clip) bool { return c.Name == e.Source.Name(i) }) {
			some = append(some, i)
		}
	}
	e.Indices, e.Show = some, some
	return e
}

func className(src data.Source, label int) string {
	if label < 0 {
		return ""
	}
	if names := src.Classes(); label < len(names) {
		return names[label]
	}
	return fmt.Sprintf("class %d", label)
}

// meanFrame is the mean frame [H,W,C] of the training clips, or of some spread
// evenly among many.
func meanFrame(ctx context.Context, src data.Source, train []int, cfg data.Config) ([]float32, error) {
	var m metrics.MeanFrame
	_, err := data.Each(ctx, src, spread(train, meanSample), cfg, evalBatch, func(b *data.Batch) error {
		size := b.H * b.W * b.C
		for n, i := range b.Index {
			if i >= 0 {
				m.Add(b.Frames[n], size, b.Video[n*b.T*size:][:b.T*size])
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("mean frame: %w", err)
	}
	return m.Image(), nil
}

// spread is at most n of the indices, evenly spread; 0 is all of them.
func spread(indices []int, n int) []int {
	if n == 0 || len(indices) <= n {
		return indices
	}
	some := make([]int, n)
	for k := range some {
		some[k] = indices[k*len(indices)/n]
	}
	return some
}

// samples is n of the clips, one of each class before a second one of any.
func samples(src data.Source, indices []int, n int) (chosen []int) {
	byLabel := map[int][]int{}
	for _, i := range indices {
		byLabel[src.Label(i)] = append(byLabel[src.Label(i)], i)
	}
	labels := slices.Sorted(maps.Keys(byLabel))
	for pass := 0; len(chosen) < min(n, len(indices)); pass++ {
		for _, l := range labels {
			if pass < len(byLabel[l]) && len(chosen) < n {
				chosen = append(chosen, byLabel[l][pass])
			}
		}
	}
	return chosen
}

// EvaluateCheckpoint evaluates a checkpoint (see OpenCodec) on clips: those held
// out ("val"), the others ("train"), or "all". The split is that of a training run
// on the same clips.
func EvaluateCheckpoint(ctx context.Context, be kernels.Backend, path string, src data.Source, split string) (metrics.Report, error) {
	c, err := OpenCodec(be, path)
	if err != nil {
		return metrics.Report{}, err
	}
	e, err := NewEvaluation(ctx, c.Config, src, split)
	if err != nil {
		return metrics.Report{}, err
	}
	r, _, _, err := e.Run(ctx, c, nil)
	return r, err
}

// NewEvaluation chooses the clips of a split, "val", "train" or "all".
func NewEvaluation(ctx context.Context, c config.Config, src data.Source, split string) (Evaluation, error) {
	src = control(src, c)
	e := Evaluation{Source: src, Data: c.Data}
	if split == "all" {
		e.Indices = make([]int, src.Len())
		for i := range e.Indices {
			e.Indices[i] = i
		}
	}
	train, val, err := data.Split(src, c.Data.ValShare)
	switch {
	case split == "all" && err != nil:
		train = e.Indices // too few to be split
	case err != nil:
		return e, err
	case split == "val":
		e.Indices = val
	case split == "train":
		e.Indices = train
	case split != "all":
		return e, usage.Errorf("split %q: want val, train or all", split)
	}
	if len(e.Indices) == 0 {
		return e, usage.Errorf("there are no clips")
	}
	if c.Model.Classifies() {
		return e, nil // the mean frame is a guess at pixels
	}
	e.Mean, err = meanFrame(ctx, src, train, e.Data)
	return e, err
}
