// Package quality turns pairs of clips, originals and reconstructions of them by any program, into metrics.
//
// Pairs go in one by one as [T,H,W,C] float32; a Report with a value of each metric and its
// confidence interval comes out. README.md says what each metric is. Memory does not grow
// with the length of clips, and by some numbers with each pair.
//
// Why reconstructions are clamped to [0,1] first: that is what a viewer sees.
package quality

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/metrics"
	"magvit/trainer/usage"
)

// Pair is a clip and its reconstruction, both [T,H,W,C] in [0,1]; C is 1 or 3.
type Pair struct {
	Name            string
	T, H, W, C      int
	Original, Recon []float32
}

// frame is frame t of the original or of the reconstruction, [H,W,C].
func (p Pair) frame(of []float32, t int) []float32 {
	size := p.H * p.W * p.C
	return of[t*size:][:size]
}

func (p Pair) check() error {
	size := p.T * p.H * p.W * p.C
	switch {
	case p.T < 1 || p.H < 1 || p.W < 1 || p.C != 1 && p.C != 3:
		return fmt.Errorf("quality: clip %s: %d×%d×%d×%d: want frames of pixels with 1 or 3 channels", p.Name, p.T, p.H, p.W, p.C)
	case len(p.Original) != size || len(p.Recon) != size:
		return fmt.Errorf("quality: clip %s: %d and %d values: want %d each", p.Name, len(p.Original), len(p.Recon), size)
	}
	for i, v := range p.Original {
		if !(v >= 0 && v <= 1) {
			return fmt.Errorf("quality: clip %s: frame %d of the original holds %g: want values in [0,1]", p.Name, i*p.T/size, v)
		}
	}
	for i, v := range p.Recon {
		if v != v {
			return fmt.Errorf("quality: clip %s: frame %d of the reconstruction holds NaN", p.Name, i*p.T/size)
		}
	}
	return nil
}

// Report is the values of the metrics.
type Report struct {
	Clips     int     `json:"clips"`
	Frames    int     `json:"frames"`
	Resamples int     `json:"resamples"` // of the clips, for the intervals
	Metrics   []Value `json:"metrics"`
}

// Value is that of a metric over all pairs, with the 95 % interval of a bootstrap over clips
// where it has one.
type Value struct {
	Name   string         `json:"name"`
	Value  metrics.Number `json:"value"`
	Low    metrics.Number `json:"low"`
	High   metrics.Number `json:"high"`
	Unit   string         `json:"unit,omitempty"`
	Better string         `json:"better"`         // higher, lower, or "1" for a ratio
	Note   string         `json:"note,omitempty"` // what the value may be compared with
}

// metric accumulates pairs.
type metric interface {
	add(p Pair) error
	value() (Value, error)
}

// Of returns the value of the metric with that name; NaN if there is none.
func (r Report) Of(name string) Value {
	for _, v := range r.Metrics {
		if v.Name == name {
			return v
		}
	}
	return Value{Name: name, Value: unknown, Low: unknown, High: unknown}
}

// Judge accumulates pairs for some metrics. It is used by one goroutine at a time.
type Judge struct {
	list          []metric
	clips, frames int
	recon         []float32
}

// Options is what some metrics need.
type Options struct {
	Backend kernels.Backend
	LPIPS   *model.LPIPS     // nil: lpips is refused
	FID     *model.Inception // nil: fid is refused
	FVD     *model.I3D       // nil: fvd is refused

	FVDFrames int // of a window of fvd; 0: 16
}

// metricsInOrder are the metrics in the order of reports.
var metricsInOrder = []struct {
	name string
	make func(Options) metric
}{
	{"psnr", func(Options) metric { return &perClip{sums: psnr{}} }},
	{"ssim", func(Options) metric { return &perClip{sums: ssim{}} }},
	{"gradient", func(Options) metric { return &perClip{sums: gradient{}} }},
	{"sharpness", func(Options) metric { return &perClip{sums: newSharpness()} }},
	{"lpips", func(o Options) metric { return &perClip{sums: newLPIPS(o.Backend, o.LPIPS)} }},
	{"fid", func(o Options) metric { return newFrechet("fid", fidNote, newInceptionFeatures(o.Backend, o.FID)) }},
	{"fvd", func(o Options) metric {
		frames := cmp.Or(o.FVDFrames, 16)
		return newFrechet("fvd", fvdNote(frames), newVideoFeatures(o.Backend, o.FVD, frames))
	}},
	{"frechet-pixels", func(Options) metric { return newFrechet("frechet-pixels", pixelNote, pixelFeatures{}) }},
}

// Default are the metrics of a comparison that names none.
const Default = "psnr,ssim,gradient,sharpness"

// Names are the names of all metrics.
func Names() (list []string) {
	for _, m := range metricsInOrder {
		list = append(list, m.name)
	}
	return list
}

// Split splits names that are separated by commas. A name that is none of Names, and one
// given twice, is an error.
func Split(names string) (list []string, err error) {
	for _, name := range strings.Split(names, ",") {
		name = strings.TrimSpace(name)
		switch {
		case !slices.Contains(Names(), name):
			return nil, usage.Errorf("metric %q: want some of %s, separated by commas", name, strings.Join(Names(), ", "))
		case slices.Contains(list, name):
			return nil, usage.Errorf("metric %q is named twice", name)
		}
		list = append(list, name)
	}
	return list, nil
}

// New prepares metrics, whose names are separated by commas.
func New(names string, o Options) (*Judge, error) {
	chosen, err := Split(names)
	if err != nil {
		return nil, err
	}
	for name, absent := range map[string]bool{"lpips": o.LPIPS == nil, "fid": o.FID == nil, "fvd": o.FVD == nil} {
		if slices.Contains(chosen, name) && (absent || o.Backend == nil) {
			return nil, usage.Errorf("metric %s: want its weights", name)
		}
	}
	j := &Judge{}
	for _, m := range metricsInOrder {
		if slices.Contains(chosen, m.name) {
			j.list = append(j.list, m.make(o))
		}
	}
	return j, nil
}

// Add counts a pair.
func (j *Judge) Add(p Pair) error {
	if err := p.check(); err != nil {
		return err
	}
	j.recon = append(j.recon[:0], p.Recon...)
	for i, v := range j.recon {
		j.recon[i] = min(max(v, 0), 1)
	}
	p.Recon = j.recon
	for _, m := range j.list {
		if err := m.add(p); err != nil {
			return fmt.Errorf("quality: clip %s: %w", p.Name, err)
		}
	}
	j.clips, j.frames = j.clips+1, j.frames+p.T
	return nil
}

// Report is the values over the pairs added.
func (j *Judge) Report() (Report, error) {
	r := Report{Clips: j.clips, Frames: j.frames, Resamples: resamples}
	if j.clips == 0 {
		return r, usage.Errorf("quality: there are no clips to compare")
	}
	for _, m := range j.list {
		v, err := m.value()
		if err != nil {
			return r, fmt.Errorf("quality: %w", err)
		}
		r.Metrics = append(r.Metrics, v)
	}
	return r, nil
}
