package data

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
)

// Resolve fills the sizes that cfg leaves at 0 (height, width, frames, channels)
// from the first clip that can be read, and validates the result. NewLoader and
// Each call it; a model needs the sizes earlier.
func Resolve(ctx context.Context, src Source, indices []int, cfg Config) (Config, error) {
	if err := cfg.Validate(); err != nil {
		return cfg, err
	}
	h, w := cfg.side()
	if h == 0 || cfg.Frames == 0 || cfg.Channels == 0 {
		c, whole, err := firstReadable(ctx, src, indices, cfg.Strict, onePixel)
		if err != nil {
			return cfg, err
		}
		if !whole && (h == 0 || cfg.Frames == 0) {
			return cfg, badf("%s is too long or too large to be one clip; set data.frames, and data.size (or data.height and data.width)", c.Name)
		}
		if h == 0 {
			h, w = c.H, c.W
		}
		if cfg.Frames == 0 {
			cfg.Frames = c.T
		}
		if cfg.Channels == 0 {
			cfg.Channels = c.C
		}
	}
	cfg.Size, cfg.Height, cfg.Width = 0, h, w
	return cfg, cfg.Validate()
}

// maxUnreadable is the number of consecutive unreadable clips after which the search
// for a readable one fails.
const maxUnreadable = 64

// onePixel is a fit for who needs no pixels: a frame of 1920x1080 is 25 MB as floats.
var onePixel = fit{mode: fitStretch, H: 1, W: 1}

// firstReadable reads the first clip that can be read, or the first frame of a film
// that is not read whole, fitted as f says.
func firstReadable(ctx context.Context, src Source, indices []int, strict bool, f fit) (decoded, bool, error) {
	one := request{choose: func(int, func(int) float64) ([]int, fit) { return []int{0}, f }}
	var last error
	for _, i := range indices[:min(len(indices), maxUnreadable)] {
		c, whole, err := readPart(ctx, src, i, one, nil, nil)
		if bad := (*ClipError)(nil); !errors.As(err, &bad) || strict {
			return c, whole, err
		}
		last = err
	}
	if last == nil {
		return decoded{}, false, badf("no clips")
	}
	return decoded{}, false, fmt.Errorf("none of %d clips can be read, the last one: %w", min(len(indices), maxUnreadable), last)
}

// First is the first clip that can be read, or the first frame of a film that is read
// by windows.
func First(ctx context.Context, src Source) (Clip, error) {
	indices := make([]int, min(src.Len(), maxUnreadable))
	for i := range indices {
		indices[i] = i
	}
	c, _, err := firstReadable(ctx, src, indices, false, fit{})
	return c.clip(nil), err
}

// HasFilms reports whether the first clip that can be read is a film that is read by
// windows.
func HasFilms(ctx context.Context, src Source, indices []int) (bool, error) {
	_, whole, err := firstReadable(ctx, src, indices, false, onePixel)
	return !whole && err == nil, err
}

// reader reads clips of a Source for a Loader or Each. It caches the background of
// each clip and remembers the unreadable ones.
type reader struct {
	src    Source
	strict bool
	timed  bool // frames are chosen by their times
	cache  *diskCache
	mu     sync.Mutex
	bg     map[int][3]float32
	bad    map[int]*ClipError
	order  []*ClipError // the same in the order of discovery
}

func newReader(src Source, cfg Config) (r *reader, err error) {
	r = &reader{src: src, strict: cfg.Strict, timed: cfg.FPS > 0, bg: map[int][3]float32{}, bad: map[int]*ClipError{}}
	if cfg.Cache != "" {
		r.cache, err = openCache(cfg.Cache, int64(cmp.Or(cfg.CacheMB, defaultCache))*1e6)
	}
	return r, err
}

// read returns the part of clip i that want chooses, how it is to be fitted, and its
// background. skip is set for a clip to leave out, which is counted; any other error
// is final. The clip is valid until mem is lent again.
func (r *reader) read(ctx context.Context, i int, want request, cur *cursor, mem *memory) (c decoded, f fit, bg []float32, skip *ClipError, err error) {
	r.mu.Lock()
	skip = r.bad[i]
	known, ok := r.bg[i]
	r.mu.Unlock()
	if skip != nil {
		return c, f, nil, skip, nil
	}
	var frames []int
	choose := want.choose
	want.timed, want.cache = r.timed, r.cache
	want.choose = func(n int, times func(int) float64) ([]int, fit) {
		frames, f = choose(n, times)
		return frames, f
	}
	c, whole, err := readPart(ctx, r.src, i, want, cur, mem)
	if err != nil {
		if r.strict || !errors.As(err, &skip) {
			return c, f, nil, nil, err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.bad[i] == nil {
			r.bad[i], r.order = skip, append(r.order, skip)
		}
		return c, f, nil, skip, nil
	}
	if !whole { // the background of a film that is not read whole is that of the window
		c.Span = spanOf(frames)
		c.background(known[:c.C])
		return c, f, known[:c.C], nil, nil
	}
	if !ok {
		c.background(known[:c.C])
		r.mu.Lock()
		r.bg[i] = known
		r.mu.Unlock()
	}
	if r.timed && c.Times == nil && c.T > 1 {
		return c, f, nil, nil, badf("%s: data.fps needs the times of frames, which arrays and folders of images do not have; set data.stride instead", c.Name)
	}
	want.choose(c.T, c.time)
	c = c.cut(frames)
	c.Span = spanOf(frames)
	return c, f, known[:c.C], nil, nil
}

// spanOf is the first of some frames in ascending order, and the last plus 1.
func spanOf(frames []int) [2]int {
	if len(frames) == 0 {
		return [2]int{}
	}
	return [2]int{frames[0], frames[len(frames)-1] + 1}
}

func (r *reader) skipped() []*ClipError {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*ClipError(nil), r.order...)
}

// Each calls f with batches of windows of clips in the order of indices, nothing
// augmented; cfg.Windows says which windows of a clip. Clips that cannot be read are
// left out and returned, unless cfg.Strict. Batches have the shape [batch,T,H,W,C]; the
// last one has as many clips as remain. A batch is valid during f.
func Each(ctx context.Context, src Source, indices []int, cfg Config, batch int, f func(*Batch) error) (skipped []*ClipError, err error) {
	if batch < 1 {
		return nil, badf("batch: %d; legal: 1 or more", batch)
	}
	if cfg, err = Resolve(ctx, src, indices, cfg); err != nil {
		return nil, err
	}
	r, err := newReader(src, cfg)
	if err != nil {
		return nil, err
	}
	s, b := sampler{cfg: cfg}, &Batch{}
	b.resize(cfg.Whole(batch))
	w := cfg.windowing(cfg.Frames)
	row := 0
	var cur cursor
	defer cur.close()
	for _, i := range indices {
		starts := []int{0}
		for k := 0; k < len(starts); k++ {
			choose := s.choose(w, starts[k], nil)
			if k == 0 {
				first := choose
				choose = func(n int, times func(int) float64) ([]int, fit) {
					starts = cfg.fixed(n, w, times)
					return first(n, times)
				}
			}
			c, fit, bg, skip, err := r.read(ctx, i, request{choose: choose, repeats: true}, &cur, &s.mem)
			if err != nil {
				return r.skipped(), err
			}
			if skip != nil {
				break
			}
			s.sample(b, row, c, bg, fit, false, nil)
			b.Index[row], b.Span[row] = i, c.Span
			if len(starts) > 1 {
				b.Names[row] = fmt.Sprintf("%s@%d", c.Name, starts[k])
			}
			if row++; row == batch {
				if err := f(b); err != nil {
					return r.skipped(), err
				}
				row = 0
			}
		}
	}
	if row == 0 {
		return r.skipped(), nil
	}
	b.resize(cfg.Whole(row))
	return r.skipped(), f(b)
}
