// Package metrics turns videos and their reconstructions into numbers.
//
// A video goes in clip by clip, channels-last [T,H,W,C] float32 in [0,1], with
// its reconstruction and its codes; a Report comes out, and Report.WriteText
// prints it for a terminal. Reconstructions are clamped to [0,1] first, because
// that is what a viewer sees. Frames that only pad a clip are ignored.
//
// Why every number has baselines: a mostly static clip makes plain PSNR
// flattering. An all-white frame scores 16 dB on the synthetic set. What counts
// is the distance to guesses that need no tokenizer, above all on what moves.
package metrics

import (
	"fmt"
	"math"
	"slices"
)

// MaxPSNR is the PSNR in dB of an exact copy: squared errors below 1e-12 count as 1e-12.
const MaxPSNR = 120

// Grow is the number of pixels by which the foreground mask is grown.
const Grow = 2

// extremes is the number of worst and of best clips that a Report names.
const extremes = 5

// Foreground writes the mask [T,H,W] of what moves in a video [T,H,W,C], dilated
// by grow pixels.
type Foreground func(mask []bool, video []float32, t, h, w, c, grow int)

// Config describes the clips of an Accumulator.
type Config struct {
	H, W, C      int
	CodebookSize int        // codes are in [0,CodebookSize)
	Levels       []int      // levels of FSQ, the first one varying fastest in the index; nil for other quantizers
	Classes      []string   // names of the labels; a label beyond them is called "class N", a negative one has no class
	MeanFrame    []float32  // [H,W,C] mean frame of the training clips; nil leaves this baseline out
	Foreground   Foreground // nil leaves the foreground numbers out
}

func (c Config) validate() error {
	if c.H < 1 || c.W < 1 || c.C < 1 {
		return fmt.Errorf("metrics: frame [%d,%d,%d]: height, width and channels must be at least 1", c.H, c.W, c.C)
	}
	if c.CodebookSize < 1 {
		return fmt.Errorf("metrics: codebook size %d: must be at least 1", c.CodebookSize)
	}
	if c.MeanFrame != nil && len(c.MeanFrame) != c.H*c.W*c.C {
		return fmt.Errorf("metrics: mean frame has %d values: must be %d for [%d,%d,%d]", len(c.MeanFrame), c.H*c.W*c.C, c.H, c.W, c.C)
	}
	if len(c.Levels) == 0 {
		return nil
	}
	size := 1
	for _, l := range c.Levels {
		if l < 2 {
			return fmt.Errorf("metrics: FSQ levels %v: each must be at least 2", c.Levels)
		}
		size *= l
	}
	if size != c.CodebookSize {
		return fmt.Errorf("metrics: FSQ levels %v make %d codes: the codebook size is %d", c.Levels, size, c.CodebookSize)
	}
	return nil
}

// guess numbers what is compared with the truth: the reconstruction and the baselines.
type guess int

const (
	recon guess = iota
	white
	meanFrame
	firstFrame
	previousFrame
	guesses
)

// pool holds squared errors pooled over pixels, and SSIM over frames.
type pool struct {
	all, front float64 // sums of squared errors, over all values and over those of the foreground
	ssim       float64 // sum over frames
	n, nFront  int64   // values
	nSSIM      int64
}

func (e *pool) add(o pool) {
	e.all += o.all
	e.front += o.front
	e.ssim += o.ssim
	e.n += o.n
	e.nFront += o.nFront
	e.nSSIM += o.nSSIM
}

func (e pool) mse() Number  { return Number(e.all / float64(e.n)) }
func (e pool) psnr() Number { return PSNR(e.all / float64(e.n)) }
func (e pool) foreground() Number {
	return PSNR(e.front / float64(e.nFront))
}
func (e pool) meanSSIM() Number { return Number(e.ssim / float64(e.nSSIM)) }

// PSNR is the peak signal-to-noise ratio in dB, peak 1, of a mean squared error;
// at most MaxPSNR, and NaN (null in JSON) for NaN, the mean over nothing.
func PSNR(mse float64) Number {
	return Number(0 - 10*math.Log10(math.Max(mse, 1e-12)))
}

// group is what a row of a table is about: a class, a frame number, or all clips.
type group struct {
	clips int
	of    [guesses]pool
}

func (g *group) add(o *[guesses]pool) {
	for i := range g.of {
		g.of[i].add(o[i])
	}
}

// Accumulator collects clips. It is not safe for concurrent use; its results
// depend on the order of the clips in the last bits only.
type Accumulator struct {
	cfg    Config
	total  group
	class  map[int]*group
	frame  []group
	codes  histogram
	clips  []Clip // name and PSNR of every clip
	ssim   *ssimFrames
	guess  [guesses][]float32
	recon  []float32
	mask   []bool
	frames int
}

// New prepares an Accumulator; the error names a size that does not fit.
func New(cfg Config) (*Accumulator, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	n := cfg.H * cfg.W * cfg.C
	a := &Accumulator{cfg: cfg, class: map[int]*group{}, codes: newHistogram(cfg.CodebookSize, cfg.Levels)}
	a.guess[white] = slices.Repeat([]float32{1}, n)
	a.guess[meanFrame] = cfg.MeanFrame
	a.ssim = newSSIMFrames(cfg.H, cfg.W, cfg.C, cfg.MeanFrame)
	return a, nil
}

// Add counts one clip: target and reconstruction [T,H,W,C] with T >= frames, of
// which the first `frames` are real, and its codes, any shape, in [0,CodebookSize).
// A label below 0 means none. Nothing is counted when it returns an error.
func (a *Accumulator) Add(name string, label, frames int, target, reconstruction []float32, codes []int32) error {
	size := a.cfg.H * a.cfg.W * a.cfg.C
	switch {
	case frames < 1:
		return fmt.Errorf("metrics: clip %s: %d frames: must be at least 1", name, frames)
	case len(target) < frames*size || len(target)%size != 0:
		return fmt.Errorf("metrics: clip %s: target has %d values: must be whole frames of %d, at least %d of them", name, len(target), size, frames)
	case len(reconstruction) != len(target):
		return fmt.Errorf("metrics: clip %s: reconstruction has %d values: must be %d like the target", name, len(reconstruction), len(target))
	}
	target, reconstruction = target[:frames*size], reconstruction[:frames*size]
	for i, v := range target {
		if !(v >= 0 && v <= 1) {
			return fmt.Errorf("metrics: clip %s: frame %d of the target holds %g: must be in [0,1]", name, i/size, v)
		}
	}
	for i, v := range reconstruction {
		if v != v {
			return fmt.Errorf("metrics: clip %s: frame %d of the reconstruction holds NaN", name, i/size)
		}
	}
	if err := a.codes.check(codes); err != nil {
		return fmt.Errorf("metrics: clip %s: %w", name, err)
	}
	a.codes.add(codes)

	a.recon = slices.Grow(a.recon[:0], len(reconstruction))[:len(reconstruction)]
	for i, v := range reconstruction {
		a.recon[i] = min(max(v, 0), 1)
	}
	pixels := a.cfg.H * a.cfg.W
	a.mask = slices.Grow(a.mask[:0], frames*pixels)[:frames*pixels]
	clear(a.mask)
	if a.cfg.Foreground != nil {
		a.cfg.Foreground(a.mask, target, frames, a.cfg.H, a.cfg.W, a.cfg.C, Grow)
	}

	var clip group
	for f := range frames {
		if f == len(a.frame) {
			a.frame = append(a.frame, group{})
		}
		sums := a.addFrame(f, target, size)
		clip.add(&sums)
		a.frame[f].add(&sums)
		a.frame[f].clips++
	}
	a.total.add(&clip.of)
	a.total.clips++
	a.frames += frames
	if label >= 0 {
		if a.class[label] == nil {
			a.class[label] = &group{}
		}
		a.class[label].add(&clip.of)
		a.class[label].clips++
	}
	a.clips = append(a.clips, Clip{Name: name, PSNR: clip.of[recon].psnr(), ForegroundPSNR: clip.of[recon].foreground()})
	return nil
}

// addFrame compares frame f of the clip with every guess.
func (a *Accumulator) addFrame(f int, target []float32, size int) (sums [guesses]pool) {
	frame := target[f*size:][:size]
	a.guess[recon] = a.recon[f*size:][:size]
	a.guess[firstFrame] = target[:size]
	a.guess[previousFrame] = target[max(f-1, 0)*size:][:size]
	similar := a.ssim.next(f, frame, &a.guess)
	mask := a.mask[f*a.cfg.H*a.cfg.W:]
	for g, guessed := range a.guess {
		if guessed == nil {
			continue
		}
		e := squaredErrors(frame, guessed, mask, a.cfg.C)
		e.ssim, e.nSSIM = similar[g], 1
		sums[g] = e
	}
	return sums
}

// squaredErrors of one frame [H,W,C], over all pixels and over those of the mask [H,W].
func squaredErrors(x, y []float32, mask []bool, c int) (e pool) {
	for p := range len(x) / c {
		s := 0.
		for i := p * c; i < p*c+c; i++ {
			d := float64(x[i]) - float64(y[i])
			s += d * d
		}
		e.all += s
		if mask[p] {
			e.front += s
			e.nFront += int64(c)
		}
	}
	e.n = int64(len(x))
	return e
}

// MeanFrame averages the frames of the training clips for Config.MeanFrame.
type MeanFrame struct {
	sum []float64
	n   int
}

// Add takes the first `frames` frames of a clip [T,H,W,C]; size is H*W*C, the same for each clip.
func (m *MeanFrame) Add(frames, size int, video []float32) {
	if m.sum == nil {
		m.sum = make([]float64, size)
	}
	for f := range frames {
		for i, v := range video[f*size:][:size] {
			m.sum[i] += float64(v)
		}
	}
	m.n += frames
}

// Image is the mean [H,W,C], nil if no frame was added.
func (m *MeanFrame) Image() []float32 {
	if m.n == 0 {
		return nil
	}
	image := make([]float32, len(m.sum))
	for i, s := range m.sum {
		image[i] = float32(s / float64(m.n))
	}
	return image
}
