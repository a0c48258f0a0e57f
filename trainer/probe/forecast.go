package probe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"

	"magvit/kernels/philox"
	"magvit/trainer/metrics"
	"magvit/trainer/usage"
)

// ForecastFileName is the name of a ForecastResult, as JSON, in a run directory.
const ForecastFileName = "forecast.json"

// ForecastClip is a clip whose first frames are seen and whose others are forecast.
// The frames seen were encoded alone, so that their codes hold nothing of the others.
type ForecastClip struct {
	Seen  []Example // its views, the first frames only
	Whole []Example // the same views, all frames
	Space []float32 // [T,3] positions in space, or nil
}

// ForecastSet gathers clips to forecast.
type ForecastSet struct {
	// Decode turns a clip's codes [T',H',W',codebooks] into its frames [T,H,W,C].
	// It need not be safe for concurrent use. Nil: no frames are predicted.
	Decode func(codes []int32) ([]float32, error)

	seen       *Set
	whole      []path // [examples], of all frames
	space      [][]float32
	codes      []int32 // [examples, T',H',W',codebooks] of all frames
	codeShape  [4]int
	frames     [4]int    // T,H,W,C of a clip
	later      [][]uint8 // [clips] first views' frames not seen,
	lastSeen   [][]uint8 // and the last one seen
	unlabelled bool
}

// NewForecastSet is an empty set of clips, each in the given number of views.
func NewForecastSet(classes []string, book Codebook, views int) *ForecastSet {
	return &ForecastSet{seen: NewSet(classes, book, views)}
}

// Add appends a clip. One whose seen frames are those of an earlier clip is left out.
func (s *ForecastSet) Add(c ForecastClip) error {
	if len(c.Whole) != len(c.Seen) || len(c.Seen) == 0 {
		return fmt.Errorf("probe: %d views of the frames seen, %d of all: want as many, one at least", len(c.Seen), len(c.Whole))
	}
	w := c.Whole[0]
	if c.Seen[0].T >= w.T || len(c.Space) != 0 && len(c.Space) != 3*w.T {
		return fmt.Errorf("probe: clip %s: %d of %d frames seen, %d values in space: want fewer seen, and 3 values a frame or none", w.Name, c.Seen[0].T, w.T, len(c.Space))
	}
	if s.frames = [4]int{w.T, w.H, w.W, w.C}; len(s.whole) == 0 {
		s.codeShape = w.CodeShape
	}
	if w.CodeShape != s.codeShape {
		return fmt.Errorf("probe: clip %s has codes %v: want %v as of the clips before", w.Name, w.CodeShape, s.codeShape)
	}
	for v := range c.Seen {
		if c.Seen[v].Label < 0 {
			c.Seen[v].Label, s.unlabelled = 0, true
		}
	}
	before := len(s.seen.Names)
	if err := s.seen.Add(c.Seen); err != nil || len(s.seen.Names) == before {
		return err
	}
	for _, e := range c.Whole {
		s.whole, s.codes = append(s.whole, track(e)), append(s.codes, e.Codes...)
	}
	s.space = append(s.space, c.Space)
	frame, seen := w.H*w.W*w.C, c.Seen[0].T
	s.later, s.lastSeen = append(s.later, bytes(w.Video[seen*frame:])), append(s.lastSeen, bytes(w.Video[(seen-1)*frame:][:frame]))
	return nil
}

func bytes(video []float32) []uint8 {
	out := make([]uint8, len(video))
	for i, v := range video {
		out[i] = uint8(min(max(v, 0), 1)*255 + .5)
	}
	return out
}

// Errors are distances between forecast and actual positions: the mean over frames and
// clips. Low and High bound a 95 % interval of the mean over splits.
type Errors struct {
	Error    metrics.Number   `json:"error"`
	Low      metrics.Number   `json:"low"`
	High     metrics.Number   `json:"high"`
	PerSplit []metrics.Number `json:"per_split"`
	PerStep  []metrics.Number `json:"per_step"`            // of each frame ahead
	PerClass []metrics.Number `json:"per_class,omitempty"` // in the order of Classes
}

// Picture compares predicted frames with the actual ones.
type Picture struct {
	PSNR           metrics.Number   `json:"psnr"`            // dB; the mean over splits
	ForegroundPSNR metrics.Number   `json:"foreground_psnr"` // where the foreground is, or was in the last frame seen
	Low            metrics.Number   `json:"low"`             // of foreground_psnr: bounds of a 95 % interval
	High           metrics.Number   `json:"high"`
	PerSplit       []metrics.Number `json:"per_split"` // foreground_psnr
}

// Forecast holds the errors of each way to forecast. Those in the image plane are
// in pixels, those in space in the units of the positions given.
type Forecast struct {
	Observed         int     `json:"observed"` // frames seen
	Horizon          int     `json:"ahead"`    // frames forecast
	Codes            Errors  `json:"codes"`
	Pixels           Errors  `json:"pixels"` // the same heads on shrunk pixels of the frames seen
	Path             Errors  `json:"path"`   // the same heads on measured positions, what a perfect locator would give
	ConstantPosition Errors  `json:"constant_position"`
	ConstantVelocity Errors  `json:"constant_velocity"`
	Space            *Space  `json:"space,omitempty"`
	Frames           *Frames `json:"frames,omitempty"`
}

// Space is the forecast of positions in space. The baselines use the true positions of
// the frames seen; codes show them through an unknown camera, which leaves position,
// depth and scale in space undetermined.
type Space struct {
	Codes            Errors `json:"codes"`
	ConstantPosition Errors `json:"constant_position"`
	ConstantVelocity Errors `json:"constant_velocity"`
}

// Frames is the prediction of the frames not seen.
type Frames struct {
	Codes    Picture `json:"codes"`     // later codes predicted from earlier ones, decoded
	CopyLast Picture `json:"copy_last"` // the last frame seen, repeated
	Decoded  Picture `json:"decoded"`   // the true codes, decoded: an upper bound for every prediction of codes
}

// ForecastResult is the result of RunForecast.
type ForecastResult struct {
	Step       int         `json:"step"` // of the checkpoint
	Data       []string    `json:"data,omitempty"`
	Split      string      `json:"split,omitempty"`
	Classes    []string    `json:"classes,omitempty"`
	Clips      int         `json:"clips"`
	Views      int         `json:"views"`
	Splits     int         `json:"splits"`
	Fitted     int         `json:"fitted"` // clips of a split
	Tested     int         `json:"tested"`
	Seed       uint64      `json:"seed"`
	Duplicates []Duplicate `json:"duplicates"`
	Forecast   Forecast    `json:"forecast"`
	Compared   []Compared  `json:"compared,omitempty"`
	Verdict    []Finding   `json:"verdict"`
}

const (
	minClips         = 10 // to forecast
	minObserved      = 3  // frames: a velocity and its change
	maxVelocitySteps = 4  // steps over which a constant velocity may be measured
)

// The ways to forecast, in the image plane and in space.
const (
	byCodes = iota
	byPixels
	byPath
	constantPosition
	constantVelocity
	spaceByCodes
	spaceConstantPosition
	spaceConstantVelocity
	forecastWays
)

// RunForecast fits and tests forecasts. Clips in which nothing moves, too few of
// them, or too few frames are an error (usage.Error).
func RunForecast(ctx context.Context, s *ForecastSet, o Options) (r ForecastResult, err error) {
	if o.Splits == 0 {
		o.Splits = 5
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if err := s.check(); err != nil {
		return r, err
	}
	classes, labels := s.groups()
	observed := len(s.seen.motion[0])
	r = ForecastResult{Classes: classes, Clips: len(labels), Views: s.seen.Views, Splits: o.Splits, Seed: o.Seed,
		Duplicates: append([]Duplicate{}, s.seen.Duplicates...), Forecast: Forecast{Observed: observed, Horizon: s.frames[0] - observed}}
	groups := 1
	for _, l := range labels {
		groups = max(groups, l+1)
	}
	trials := make([]forecastTrial, o.Splits)
	for rep := range trials {
		sp := splitClips(labels, groups, rep, o.Seed)
		trials[rep] = forecastTrial{s: s, fit: append(sp.fit, sp.stop...), test: sp.test, rep: rep, o: o}
	}
	r.Fitted, r.Tested = len(trials[0].fit), len(trials[0].test)
	var decoding sync.Mutex
	if err := parallel(ctx, len(trials), o, func(ctx context.Context, i int) error { return trials[i].run(ctx, &decoding) }); err != nil {
		return r, err
	}
	errorsOf := func(way int) Errors { return summarize(way, trials, labels, len(classes), r.Fitted) }
	f := &r.Forecast
	f.Codes, f.Pixels, f.Path, f.ConstantPosition, f.ConstantVelocity = errorsOf(byCodes), errorsOf(byPixels), errorsOf(byPath), errorsOf(constantPosition), errorsOf(constantVelocity)
	if s.inSpace() {
		f.Space = &Space{errorsOf(spaceByCodes), errorsOf(spaceConstantPosition), errorsOf(spaceConstantVelocity)}
	}
	if s.Decode != nil {
		picture := func(k int) Picture { return summarizePictures(k, trials, r.Fitted, r.Tested) }
		f.Frames = &Frames{picture(0), picture(1), picture(2)}
	}
	r.Verdict = r.verdict()
	return r, nil
}

func (s *ForecastSet) check() error {
	n := len(s.seen.Names)
	if n < minClips {
		return usage.Errorf("probe: %d clips: at least %d are needed to forecast", n, minClips)
	}
	if t := len(s.seen.motion[0]); t < minObserved {
		return usage.Errorf("probe: %d frames are seen: at least %d are needed to forecast (forecast fewer, or use longer clips)", t, minObserved)
	}
	moving := 0
	for i := range n {
		if _, size := s.whole[i*s.seen.Views].extent(); size > 1e-3 {
			moving++
		}
	}
	if 2*moving < n {
		return usage.Errorf("probe: something moves before a background of one colour in %d of %d clips only: there is no trajectory to forecast", moving, n)
	}
	return nil
}

// groups are the classes and labels to split by: a single group where there are no
// labels, or too few clips of a class.
func (s *ForecastSet) groups() (classes []string, labels []int) {
	if !s.unlabelled {
		if classes, labels, err := s.seen.presentClasses(); err == nil {
			return classes, labels
		}
	}
	return nil, make([]int, len(s.seen.Names))
}

func (s *ForecastSet) inSpace() bool {
	for _, p := range s.space {
		if p == nil {
			return false
		}
	}
	return true
}

// forecastTrial is one split's forecasts.
type forecastTrial struct {
	s         *ForecastSet
	fit, test []int
	rep       int
	o         Options

	errors  [forecastWays][][]float64 // [tested][horizon] distances
	squared [3]squares                // of predicted codes, of copies of the last frame, of the true codes
}

func (t *forecastTrial) stream(purpose string) *philox.Stream {
	return philox.New(t.o.Seed, "forecast "+purpose, uint64(t.rep), 0)
}

func (t *forecastTrial) run(ctx context.Context, decoding *sync.Mutex) error {
	s, views := t.s, t.s.seen.Views
	located := [byPath + 1][]path{byPath: s.seen.motion}
	var err error
	for way, f := range [byPath]Field{s.seen.codes, s.seen.pixels} {
		if located[way], err = s.seen.locatePaths(ctx, f, t.fit, t.o.Steps, t.stream(fmt.Sprint("locator ", way))); err != nil {
			return err
		}
	}
	observed, horizon := len(s.seen.motion[0]), s.frames[0]-len(s.seen.motion[0])
	long := float64(max(s.frames[1], s.frames[2]))
	forecast := make([]path, len(t.test)) // from codes
	for way, paths := range located {
		h := newPathForecaster(observed, horizon, t.stream(fmt.Sprint("prophet ", way)))
		if err := h.fit(ctx, forecastRecipe.AtMost(t.o.Steps), paths, s.whole, t.fit, views, t.stream(fmt.Sprint("prophet fit ", way))); err != nil {
			return err
		}
		for k, c := range t.test {
			p := h.forecast(paths[c*views])
			t.score(way, p.distances(s.whole[c*views][observed:], long))
			if way == byCodes {
				forecast[k] = p
			}
		}
	}
	steps := t.velocitySteps()
	for _, c := range t.test {
		p, actual := s.seen.motion[c*views], s.whole[c*views][observed:]
		t.score(constantPosition, p.extrapolate(0, horizon).distances(actual, long))
		t.score(constantVelocity, p.extrapolate(steps, horizon).distances(actual, long))
	}
	if s.inSpace() {
		if err := t.space(ctx, located[byCodes]); err != nil {
			return err
		}
	}
	if s.Decode != nil {
		return t.frames(ctx, forecast, located[byCodes], decoding)
	}
	return ctx.Err()
}

func (t *forecastTrial) score(way int, d []float64) { t.errors[way] = append(t.errors[way], d) }

func (p path) distances(q path, unit float64) (d []float64) {
	for i := range p {
		d = append(d, unit*math.Hypot(p[i][0]-q[i][0], p[i][1]-q[i][1]))
	}
	return d
}

// velocitySteps is the number of steps over which the mean velocity extrapolates the
// fitted clips best, so that the baseline is a strong one.
func (t *forecastTrial) velocitySteps() (best int) {
	least := math.Inf(1)
	for steps := 1; steps <= maxVelocitySteps; steps++ {
		sum := 0.
		for _, c := range t.fit {
			p, actual := t.s.seen.motion[c*t.s.seen.Views], t.s.whole[c*t.s.seen.Views][len(t.s.seen.motion[0]):]
			for _, d := range p.extrapolate(steps, len(actual)).distances(actual, 1) {
				sum += d
			}
		}
		if sum < least {
			best, least = steps, sum
		}
	}
	return best
}

// summarize averages the errors of one way to forecast over all splits.
func summarize(way int, trials []forecastTrial, labels []int, classes, fitted int) (e Errors) {
	var count float64
	perClass, clips := make([]float64, classes), make([]float64, classes)
	for _, t := range trials {
		split := 0.
		for k, d := range t.errors[way] {
			if e.PerStep == nil {
				e.PerStep = make([]metrics.Number, len(d))
			}
			mean := 0.
			for a, v := range d {
				e.PerStep[a] += metrics.Number(v)
				mean += v / float64(len(d))
			}
			split += mean / float64(len(t.test))
			if classes > 0 {
				perClass[labels[t.test[k]]] += mean
				clips[labels[t.test[k]]]++
			}
			count++
		}
		e.PerSplit = append(e.PerSplit, metrics.Number(split))
	}
	for a := range e.PerStep {
		e.PerStep[a] /= metrics.Number(count)
	}
	for c, sum := range perClass {
		e.PerClass = append(e.PerClass, metrics.Number(sum/clips[c]))
	}
	e.Error, e.Low, e.High = interval(e.PerSplit, len(trials[0].test), fitted)
	e.Low = max(e.Low, 0)
	return e
}

// ErrTooShort is what errors.Is finds if a clip is too short to be split in time.
var ErrTooShort = errors.New("too few frames")

// Horizon is how many of a clip's last frames to forecast: a quarter, unless asked is
// another number than 0.
func Horizon(frames, asked int) (int, error) {
	n := asked
	if n == 0 {
		n = max(frames/4, 1)
	}
	if n < 1 || frames-n < minObserved {
		return 0, fmt.Errorf("%w: a forecast of %d of %d frames; want %d seen at least and 1 forecast", ErrTooShort, n, frames, minObserved)
	}
	return n, nil
}
