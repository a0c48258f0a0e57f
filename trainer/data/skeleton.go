package data

import (
	"context"
	"time"
)

// Info is what `magvit inspect` shows.
type Info struct {
	Clips      int            `json:"clips"`
	Read       int            `json:"read"`   // clips decoded for the lines below
	Shapes     map[string]int `json:"shapes"` // "T×H×W×C" to clips
	Min        float32        `json:"min"`
	Max        float32        `json:"max"`
	Mean       float64        `json:"mean"`
	Classes    []string       `json:"classes"`
	PerClass   []int          `json:"per_class"`
	Unlabelled int            `json:"unlabelled"`
	Problems   []string       `json:"problems"`
}

// Inspect reads up to limit clips (0: all), evenly spread, and sums up what it sees.
func Inspect(ctx context.Context, src Source, limit int) (Info, error) { panic("building") }

// Resolve fills the sizes that cfg leaves open (height, width, frames, channels) from the
// first of the clips that can be read, and validates the result.
func Resolve(ctx context.Context, src Source, indices []int, cfg Config) (Config, error) {
	panic("building")
}

// Loader gives training batches.
type Loader struct{}

// NewLoader; train false turns augmentation and crops off.
func NewLoader(src Source, indices []int, cfg Config, batch int, seed uint64, train bool) (*Loader, error) {
	panic("building")
}

// Next is the batch of the next step, valid until the following Next, Seek or Close.
func (l *Loader) Next(ctx context.Context) (*Batch, error) { panic("building") }

// Seek makes step the next one.
func (l *Loader) Seek(step int) { panic("building") }

// Shape is the shape of a step's batch.
func (l *Loader) Shape(step int) Shape { panic("building") }

// Epoch is how many times the clips have been gone through before this step, fractions included.
func (l *Loader) Epoch(step int) float64 { panic("building") }

// Waited is the time spent in Next waiting for batches.
func (l *Loader) Waited() time.Duration { panic("building") }

// Skipped lists the clips that could not be read so far, by name.
func (l *Loader) Skipped() []*ClipError { panic("building") }

// Close stops the workers.
func (l *Loader) Close() { panic("building") }

// Each calls f with batches of whole clips in the order of indices.
func Each(ctx context.Context, src Source, indices []int, cfg Config, batch int, f func(*Batch) error) (skipped []*ClipError, err error) {
	panic("building")
}

// SynthConfig says which set to make.
type SynthConfig struct {
	Clips  int
	Seed   uint64
	Size   int
	Frames int
	Style  string // "varied" or "seed"
}

// Set is a synthetic set; it is a Source and can be written as .npz.
type Set struct{}

// Synth makes a set.
func Synth(cfg SynthConfig) (*Set, error) { panic("building") }

// WriteNPZ writes the set.
func (s *Set) WriteNPZ(path string) error { panic("building") }
