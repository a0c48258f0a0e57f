package task

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"magvit/trainer/config"
	"magvit/trainer/data"
	"magvit/trainer/metrics"
	"magvit/trainer/quality"
	"magvit/trainer/ranks"
	"magvit/trainer/usage"
)

const (
	EvalBatch  = 4  // clips that are evaluated together
	meanSample = 64 // training clips whose mean frame is a baseline, at most
)

// Clips are the clips of an evaluation.
type Clips struct {
	Source  data.Source
	Indices []int       // of the clips in Source
	Data    data.Config // how they are read; resolved
	Mean    []float32   // [H,W,C] mean frame of the training clips, or nil
	Train   []int       // indices of the training clips
	Show    []int       // indices of the clips to draw with their reconstructions

	Ranks *ranks.Group // that evaluate together, for rank 0; nil: this process alone

	// Judge, if not nil, is called with each clip and its reconstruction, of a Codec. The pair is valid during the call.
	Judge func(quality.Pair) error
}

// only returns the clips with the given names, all of them to be drawn.
func (e Clips) only(clips []metrics.Clip) Clips {
	var some []int
	for _, i := range e.Indices {
		if slices.ContainsFunc(clips, func(c metrics.Clip) bool { return c.Name == e.Source.Name(i) }) {
			some = append(some, i)
		}
	}
	e.Indices, e.Show, e.Judge, e.Ranks = some, some, nil, nil
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

// meanFrame returns the mean frame [H,W,C] of at most meanSample training clips, evenly spaced.
func meanFrame(ctx context.Context, src data.Source, train []int, cfg data.Config) ([]float32, error) {
	var m metrics.MeanFrame
	_, err := data.Each(ctx, src, spread(train, meanSample), cfg, EvalBatch, func(b *data.Batch) error {
		size := b.H * b.W * b.C
		for n := range b.N {
			m.Add(b.Frames[n], size, b.Video[n*b.T*size:][:b.T*size])
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("mean frame: %w", err)
	}
	return m.Image(), nil
}

// spread returns at most n of the indices, evenly spaced; 0 means all of them.
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

// samples returns n of the clips, one of each class before a second one of any.
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

// ValidationClips returns the held-out clips that a training is evaluated on.
func ValidationClips(ctx context.Context, c config.Config, src data.Source, train, val []int) (e Clips, err error) {
	e = Clips{Source: src, Indices: spread(val, c.Train.EvalClips), Data: c.Data, Train: train}
	e.Show = samples(src, e.Indices, c.Train.Samples)
	e.Mean, err = baseline(ctx, c, src, train)
	return e, err
}

// baseline returns the mean frame of the training clips for tasks that predict pixels, nil for others.
func baseline(ctx context.Context, c config.Config, src data.Source, train []int) ([]float32, error) {
	if c.Model.Classifies() || c.Model.IsPrior() {
		return nil, nil
	}
	return meanFrame(ctx, src, train, c.Data)
}

// NewClips returns the clips of a split, held out ("val"), the others ("train"), those that the data name for testing ("test") or "all". The split is that of a training
// with this configuration on the same clips.
func NewClips(ctx context.Context, c config.Config, src data.Source, split string) (Clips, error) {
	src = Labelled(src, c)
	e := Clips{Source: src, Data: c.Data}
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
	case split == "test":
		if e.Indices, err = data.TestClips(src); err != nil {
			return e, err
		}
	case split != "all":
		return e, usage.Errorf("split %q: want val, train, test or all", split)
	}
	if len(e.Indices) == 0 {
		return e, usage.Errorf("there are no clips")
	}
	e.Train = train
	if !c.Model.IsPrior() { // imported weights were trained on clips of another program, whose sizes are not known
		if c.Data, err = data.Resolve(ctx, src, e.Indices, c.Data); err != nil {
			return e, err
		}
		e.Data = c.Data
	}
	e.Mean, err = baseline(ctx, c, src, train)
	return e, err
}
