// Package probe turns codes and labels into a verdict.
//
// Labelled clips enter a Set with their integer codes; Run fits classifiers on the
// codes (their embeddings, position kept), on the continuous latents, on pixels
// and on trivial features of the motion, and looks at how codes lie: a Result
// comes out, which WriteText prints and trainer/report draws. Clips in a
// ForecastSet, of which the first frames are seen, become a ForecastResult.
//
// Why so many lines beside the one of the codes: an accuracy alone says nothing.
// It counts against chance, against labels that were shuffled, against what the
// same heads get from pixels, and against what mean speed alone would tell.
package probe

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"magvit/kernels/philox"
	"magvit/trainer/metrics"
)

// FileName is the name of a Result, as JSON, in a run directory.
const FileName = "probe.json"

// Options of Run.
type Options struct {
	Splits  int    // repetitions; 0: 5
	Seed    uint64 // of splits, weights and orders
	Steps   int    // most steps of a fit; 0: as many as the head's recipe has
	Workers int    // goroutines; 0: one for each core; the result does not depend on it
	// Progress, if not nil, is told how much is done.
	Progress func(done, total int)
}

// Result of a probe. Scores are by HeadNames and BestName.
type Result struct {
	Step       int              `json:"step"`            // of the checkpoint
	Data       []string         `json:"data,omitempty"`  // where the clips came from
	Split      string           `json:"split,omitempty"` // which of them
	Classes    []string         `json:"classes"`
	Clips      []int            `json:"clips"` // of each class
	Views      int              `json:"views"` // of each clip, to fit on; tests see the first
	Splits     int              `json:"splits"`
	Fitted     int              `json:"fitted"` // clips of a split: to fit on,
	Stopped    int              `json:"stopped"`
	Tested     int              `json:"tested"`
	Seed       uint64           `json:"seed"`
	Duplicates []Duplicate      `json:"duplicates"`
	Chance     metrics.Number   `json:"chance"`   // 1/classes
	Majority   metrics.Number   `json:"majority"` // always the largest class
	Codes      map[string]Score `json:"codes"`
	Latents    map[string]Score `json:"latents,omitempty"`
	Pixels     map[string]Score `json:"pixels"`
	Motion     map[string]Score `json:"motion"`             // by Shortcuts: the best of linear, mlp, centroid, nearest
	Track      Score            `json:"track"`              // the same, path and form on the measured path: what a perfect locator would give
	Shuffled   map[string]Score `json:"shuffled"`           // heads on codes, with permuted labels
	Compared   []Compared       `json:"compared,omitempty"` // networks on pixels, from their own runs
	Geometry   Geometry         `json:"geometry"`
	Verdict    []Finding        `json:"verdict"`
}

// Run fits and tests every head. It is an error if there are fewer than two
// classes, or too few clips of one (usage.Error).
func Run(ctx context.Context, s *Set, o Options) (r Result, err error) {
	if o.Splits == 0 {
		o.Splits = 5
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	classes, labels, err := s.present()
	if err != nil {
		return r, err
	}
	r = Result{Classes: classes, Clips: make([]int, len(classes)), Views: s.Views, Splits: o.Splits, Seed: o.Seed,
		Duplicates: append([]Duplicate{}, s.Duplicates...), Chance: metrics.Number(1 / float64(len(classes))), Motion: map[string]Score{}}
	for _, l := range labels {
		r.Clips[l]++
		r.Majority = max(r.Majority, metrics.Number(float64(r.Clips[l])/float64(len(labels))))
	}
	if r.Geometry, err = s.geometry(labels, len(classes), o.Seed); err != nil {
		return r, err
	}
	splits := make([]split, o.Splits)
	for rep := range splits {
		splits[rep] = splitClips(labels, len(classes), rep, o.Seed)
	}
	r.Fitted, r.Stopped, r.Tested = len(splits[0].fit), len(splits[0].stop), len(splits[0].test)

	// The longest ones first, so that no worker is left alone with one.
	kinds := []kind{{name: "pixels", f: s.pixels, space: true}, {name: "codes", f: s.codes, space: true}}
	const codesAt = 1
	if !s.latents.empty() {
		kinds = append(kinds, kind{name: "latents", f: s.latents, space: true})
	}
	kinds = append(kinds, kind{name: "shuffled", f: s.codes, space: true, shuffle: true}, kind{name: "track", f: s.motionField(path.whole), known: true})
	for _, name := range Shortcuts {
		kinds = append(kinds, kind{name: name, f: s.motionField(func(p path) []float32 { return p.shortcut(name) })})
	}
	paths, err := s.follow(ctx, kinds, splits, o)
	if err != nil {
		return r, err
	}
	trials := make([]trial, 0, len(kinds)*len(splits))
	for i, k := range kinds {
		for rep, sp := range splits {
			t := trial{name: k.name, f: k.f, space: k.space, labels: labels, classes: len(classes),
				views: s.Views, s: sp, rep: rep, seed: o.Seed, steps: o.Steps, paths: paths[i*len(splits)+rep]}
			if k.shuffle {
				t.labels, t.paths = shuffled(labels, o.Seed, rep), paths[codesAt*len(splits)+rep]
			}
			trials = append(trials, t)
		}
	}
	outcomes := make([]map[string]outcome, len(trials))
	err = all(ctx, len(trials), o, func(ctx context.Context, i int) (err error) {
		outcomes[i], err = trials[i].run(ctx)
		return err
	})
	if err != nil {
		return r, err
	}
	for i, k := range kinds {
		part := outcomes[i*o.Splits:][:o.Splits]

		table := scores(part, splits, func(rep int) []int { return trials[i*o.Splits+rep].labels }, classes)
		switch k.name {
		case "codes":
			r.Codes = table
		case "latents":
			r.Latents = table
		case "pixels":
			r.Pixels = table
		case "shuffled":
			r.Shuffled = table
		case "track":
			r.Track = table[BestName]
		default:
			r.Motion[k.name] = table[BestName]
		}
	}
	r.Verdict = r.verdict()
	return r, nil
}

// kind is a kind of features.
type kind struct {
	name           string
	f              Field
	space, shuffle bool
	known          bool // the measured paths are these features
}

// follow gives the paths of all examples for each kind and split, nil where a kind
// has none of its own.
func (s *Set) follow(ctx context.Context, kinds []kind, splits []split, o Options) ([][]path, error) {
	paths := make([][]path, len(kinds)*len(splits))
	err := all(ctx, len(paths), o, func(ctx context.Context, i int) (err error) {
		k, rep := kinds[i/len(splits)], i%len(splits)
		if k.known {
			paths[i] = s.motion
		} else if k.space && !k.shuffle {
			paths[i], err = s.located(ctx, k.f, splits[rep].fit, o.Steps, philox.New(o.Seed, "probe "+k.name+" locator", uint64(rep), 0))
		}
		return err
	})
	return paths, err
}

// all does n jobs on some goroutines.
func all(ctx context.Context, n int, o Options, do func(ctx context.Context, i int) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	errs := make([]error, n)
	next := make(chan int)
	var wg sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for range min(o.Workers, n) {
		wg.Go(func() {
			for i := range next {
				if errs[i] = do(ctx, i); errs[i] != nil {
					stop()
				}
				mu.Lock()
				if done++; o.Progress != nil {
					o.Progress(done, n)
				}
				mu.Unlock()
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	return errors.Join(errs...)
}
