package data

import (
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
	if h, w := cfg.side(); h == 0 || cfg.Frames == 0 || cfg.Channels == 0 {
		c, err := firstReadable(ctx, src, indices, cfg.Strict)
		if err != nil {
			return cfg, err
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
		cfg.Size, cfg.Height, cfg.Width = 0, h, w
	} else {
		cfg.Size, cfg.Height, cfg.Width = 0, h, w
	}
	return cfg, cfg.Validate()
}

// maxUnreadable is the number of consecutive unreadable clips after which the search
// for a readable one fails.
const maxUnreadable = 64

func firstReadable(ctx context.Context, src Source, indices []int, strict bool) (Clip, error) {
	var last error
	for _, i := range indices[:min(len(indices), maxUnreadable)] {
		c, err := src.Read(ctx, i)
		if bad := (*ClipError)(nil); !errors.As(err, &bad) || strict {
			return c, err
		}
		last = err
	}
	if last == nil {
		return Clip{}, badf("no clips")
	}
	return Clip{}, fmt.Errorf("none of %d clips can be read, the last one: %w", min(len(indices), maxUnreadable), last)
}

// reader reads clips of a Source for a Loader or Each. It caches the background of
// each clip and remembers the unreadable ones.
type reader struct {
	src    Source
	strict bool
	mu     sync.Mutex
	bg     map[int][3]float32
	bad    map[int]*ClipError
	order  []*ClipError // the same in the order of discovery
}

func newReader(src Source, strict bool) *reader {
	return &reader{src: src, strict: strict, bg: map[int][3]float32{}, bad: map[int]*ClipError{}}
}

// read returns clip i and its background. skip is set for a clip to leave out,
// which is counted; any other error is final.
func (r *reader) read(ctx context.Context, i int, video []float32) (c Clip, bg []float32, skip *ClipError, err error) {
	r.mu.Lock()
	skip = r.bad[i]
	known, ok := r.bg[i]
	r.mu.Unlock()
	if skip != nil {
		return c, nil, skip, nil
	}
	if c, err = readInto(ctx, r.src, i, video); err != nil {
		if r.strict || !errors.As(err, &skip) {
			return c, nil, nil, err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.bad[i] == nil {
			r.bad[i], r.order = skip, append(r.order, skip)
		}
		return c, nil, skip, nil
	}
	if !ok {
		Background(known[:c.C], c.Video)
		r.mu.Lock()
		r.bg[i] = known
		r.mu.Unlock()
	}
	return c, known[:c.C], nil, nil
}

func (r *reader) skipped() []*ClipError {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*ClipError(nil), r.order...)
}

// Each calls f with batches of whole clips in the order of indices, nothing
// augmented. Clips that cannot be read are left out and returned, unless
// cfg.Strict. All batches have the shape [batch,T,H,W,C], so that one plan serves
// them all: the rows missing in the last one repeat its first clip with Frames 0,
// Weight 0, Index -1 and no name. The batch is valid during f.
func Each(ctx context.Context, src Source, indices []int, cfg Config, batch int, f func(*Batch) error) (skipped []*ClipError, err error) {
	if batch < 1 {
		return nil, badf("batch: %d; legal: 1 or more", batch)
	}
	if cfg, err = Resolve(ctx, src, indices, cfg); err != nil {
		return nil, err
	}
	r, s, b := newReader(src, cfg.Strict), sampler{cfg: cfg}, &Batch{}
	b.resize(cfg.Whole(batch))
	row := 0
	for _, i := range indices {
		c, bg, skip, err := r.read(ctx, i, s.video)
		if err != nil {
			return r.skipped(), err
		}
		if skip != nil {
			continue
		}
		s.video = c.Video
		s.sample(b, row, c, bg, false, nil)
		b.Index[row] = i
		if row++; row == batch {
			if err := f(b); err != nil {
				return r.skipped(), err
			}
			row = 0
		}
	}
	if row == 0 {
		return r.skipped(), nil
	}
	video, weight := len(b.Video)/batch, len(b.Weight)/batch
	for n := row; n < batch; n++ {
		copy(b.Video[n*video:(n+1)*video], b.Video[:video])
		clear(b.Weight[n*weight : (n+1)*weight])
		b.Frames[n], b.Labels[n], b.Index[n], b.Names[n] = 0, -1, -1, ""
	}
	return r.skipped(), f(b)
}
