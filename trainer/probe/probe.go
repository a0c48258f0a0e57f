// Package probe turns codes and labels into a verdict.
//
// Labelled clips enter a Set with their integer codes. Run fits classifiers on the
// codes (their embeddings, with positions), on the continuous latents, on pixels
// and on trivial features of the motion, and measures distances between codes. The
// Result is printed by WriteText and drawn by trainer/report. Clips in a
// ForecastSet, whose first frames are seen, become a ForecastResult.
//
// Why the accuracy from codes is reported with others: alone it means
// nothing. It has to be compared with chance, with shuffled labels, with the same
// heads on pixels, and with mean speed as the only feature.
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
	Steps   int    // upper bound of a fit's steps; 0: the head's recipe
	Workers int    // goroutines; 0: one for each core; the result does not depend on it
	// Progress, if not nil, is called after each fit.
	Progress func(done, total int)
}

// Result of a probe. Scores are by HeadNames and BestName.
type Result struct {
	Step       int              `json:"step"`            // of the checkpoint
	Data       []string         `json:"data,omitempty"`  // paths of the clips
	Split      string           `json:"split,omitempty"` // val, train or all
	Classes    []string         `json:"classes"`
	Clips      []int            `json:"clips"` // of each class
	Views      int              `json:"views"` // of each clip, to fit on; tests use the first
	Splits     int              `json:"splits"`
	Fitted     int              `json:"fitted"`  // clips of a split that heads are fitted on
	Stopped    int              `json:"stopped"` // clips of a split for early stopping
	Tested     int              `json:"tested"`
	Seed       uint64           `json:"seed"`
	Duplicates []Duplicate      `json:"duplicates"`
	Chance     metrics.Number   `json:"chance"`   // 1/classes
	Majority   metrics.Number   `json:"majority"` // always the largest class
	Codes      map[string]Score `json:"codes"`
	Latents    map[string]Score `json:"latents,omitempty"`
	Pixels     map[string]Score `json:"pixels"`
	Motion     map[string]Score `json:"motion"`             // by Shortcuts: the best of linear, mlp, centroid, nearest
	Track      Score            `json:"track"`              // the same, with the path and form heads, on the measured path: what a perfect locator would give
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
	classes, labels, err := s.presentClasses()
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

	// The slowest come first, so that the workers finish at about the same time.
	kinds := []kind{{name: "pixels", f: s.pixels, space: true}, {name: "codes", f: s.codes, space: true}}
	const codesIndex = 1
	if !s.latents.empty() {
		kinds = append(kinds, kind{name: "latents", f: s.latents, space: true})
	}
	kinds = append(kinds, kind{name: "shuffled", f: s.codes, space: true, shuffle: true}, kind{name: "track", f: s.motionField(path.coordinates), measured: true})
	for _, name := range Shortcuts {
		kinds = append(kinds, kind{name: name, f: s.motionField(func(p path) []float32 { return p.shortcut(name) })})
	}
	paths, err := s.pathsOf(ctx, kinds, splits, o)
	if err != nil {
		return r, err
	}
	trials := make([]trial, 0, len(kinds)*len(splits))
	for i, k := range kinds {
		for rep, sp := range splits {
			t := trial{name: k.name, f: k.f, space: k.space, labels: labels, classes: len(classes),
				views: s.Views, s: sp, rep: rep, seed: o.Seed, steps: o.Steps, paths: paths[i*len(splits)+rep]}
			if k.shuffle {
				t.labels, t.paths = shuffled(labels, o.Seed, rep), paths[codesIndex*len(splits)+rep]
			}
			trials = append(trials, t)
		}
	}
	outcomes := make([]map[string]outcome, len(trials))
	err = parallel(ctx, len(trials), o, func(ctx context.Context, i int) (err error) {
		outcomes[i], err = trials[i].run(ctx)
		return err
	})
	if err != nil {
		return r, err
	}
	for i, k := range kinds {
		table := scores(outcomes[i*o.Splits:][:o.Splits], splits, func(rep int) []int { return trials[i*o.Splits+rep].labels }, classes)
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

// kind is one kind of features.
type kind struct {
	name           string
	f              Field
	space, shuffle bool
	measured       bool // the features are the measured paths
}

// pathsOf gives the paths of all examples for each kind and split, nil where a kind
// has none of its own.
func (s *Set) pathsOf(ctx context.Context, kinds []kind, splits []split, o Options) ([][]path, error) {
	paths := make([][]path, len(kinds)*len(splits))
	err := parallel(ctx, len(paths), o, func(ctx context.Context, i int) (err error) {
		k, rep := kinds[i/len(splits)], i%len(splits)
		if k.measured {
			paths[i] = s.motion
		} else if k.space && !k.shuffle {
			paths[i], err = s.locatePaths(ctx, k.f, splits[rep].fit, o.Steps, philox.New(o.Seed, "probe "+k.name+" locator", uint64(rep), 0))
		}
		return err
	})
	return paths, err
}

// parallel calls do for 0 to n-1 on o.Workers goroutines.
func parallel(ctx context.Context, n int, o Options, do func(ctx context.Context, i int) error) error {
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
