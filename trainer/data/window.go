package data

import (
	"context"
	"fmt"
	"math"
	"sort"
	"strconv"
	"time"
)

// windowing chooses the frames of a film that a clip consists of.
type windowing struct {
	frames int     // of a window
	stride int     // distance of its frames in the film
	fps    float64 // frames a second of the window before the stride; 0: as filmed
}

func (c Config) windowing(frames int) windowing {
	return windowing{frames, max(c.Stride, 1), c.FPS}
}

// starts is the number of frames of a film of n at which a whole window can start,
// at least 1. times are seconds, in ascending order; they are used with fps only.
func (w windowing) starts(n int, times func(int) float64) int {
	if w.fps == 0 {
		return max(n-(w.frames-1)*w.stride, 1)
	}
	// The last frame of the window is the one nearest to its time, so half a frame may be missing.
	last := times(n - 1)
	if n > 1 {
		last += (last - times(n-2)) / 2
	}
	length := float64(w.frames-1) * float64(w.stride) / w.fps
	return max(sort.Search(n, func(k int) bool { return times(k)+length > last }), 1)
}

// pick appends the film's frames of the window that starts at frame start. A film
// that is too short gives fewer.
func (w windowing) pick(dst []int, n, start int, times func(int) float64) []int {
	for j := range w.frames {
		k := start + j*w.stride
		if w.fps > 0 {
			at := times(start) + float64(j)*float64(w.stride)/w.fps
			k = sort.Search(n, func(k int) bool { return times(k) >= at })
			if k == n && (n < 2 || at > times(n-1)+(times(n-1)-times(n-2))/2) {
				break
			}
			if k == n || k > 0 && at-times(k-1) < times(k)-at+1e-9 { // the earlier of two that are as near
				k--
			}
		}
		if k >= n {
			break
		}
		dst = append(dst, k)
	}
	return dst
}

// windows parses data.windows: how many windows of a film are clips of an epoch.
// all tiles a film, random is one at a random place, first is its beginning.
func (c Config) windows() (count int, all, first bool, err error) {
	switch c.Windows {
	case "", "random":
		return 1, false, false, nil
	case "first":
		return 1, false, true, nil
	case "all":
		return 0, true, false, nil
	}
	n, err := strconv.Atoi(c.Windows)
	if err != nil || n < 1 || n > maxWindows {
		return 0, false, false, badf("data.windows: %q; legal: random, all, first, or a number of windows in each film, 1 to %d", c.Windows, maxWindows)
	}
	return n, false, false, nil
}

const maxWindows = 1 << 20

// tiles are the starts of windows that cover a film of n frames without gaps. A rest
// shorter than a window belongs to the last one, which ends with the film.
func (w windowing) tiles(n int, times func(int) float64) []int {
	starts := w.starts(n, times)
	var all []int
	for k := 0; k < starts; {
		all = append(all, k)
		if w.fps == 0 {
			k += w.frames * w.stride
			continue
		}
		next := times(k) + float64(w.frames)*float64(w.stride)/w.fps
		k = max(sort.Search(n, func(i int) bool { return times(i) >= next-1e-9 }), k+1)
	}
	if rest := starts - 1; all[len(all)-1] != rest {
		all = append(all, rest)
	}
	return all
}

// fixed are the starts of the windows of a film in an evaluation.
func (c Config) fixed(n int, w windowing, times func(int) float64) []int {
	count, all, _, _ := c.windows()
	switch {
	case all:
		return w.tiles(n, times)
	case count == 1:
		return []int{0}
	}
	starts := w.starts(n, times)
	at := make([]int, count)
	for j := range at {
		at[j] = int(math.Round(float64(j) * float64(starts-1) / float64(count-1)))
	}
	return at
}

// tiling is the n windows of a film in an epoch: they start at the frames of starts or, where that
// is nil, every step frames, the last one at frame last at most.
type tiling struct {
	starts        []int
	n, step, last int
}

// tiling is fixed without a list where the windows have equal distances: a large set has millions of them.
func (c Config) tiling(n int, w windowing, times func(int) float64) tiling {
	if _, all, _, _ := c.windows(); !all || w.fps > 0 {
		starts := c.fixed(n, w, times)
		return tiling{starts: starts, n: len(starts)}
	}
	step, last := w.frames*w.stride, w.starts(n, times)-1
	return tiling{n: (last+step-1)/step + 1, step: step, last: last}
}

// start is the first frame of window k.
func (t tiling) start(k int) int {
	if t.starts != nil {
		return t.starts[k]
	}
	return min(k*t.step, t.last)
}

// request is the part of a clip that a reader wants.
type request struct {
	// choose returns the frames, in ascending order, of a clip of n frames shown at
	// times (seconds), and how they are fitted; no size: as they are stored.
	choose func(n int, times func(int) float64) ([]int, fit)
	timed  bool // a clip that is read whole needs Times
	// cache, if not nil, holds decoded clips; a window is stored in it where repeats says that the
	// same frames, fitted the same, will be asked for again.
	cache   *diskCache
	repeats bool
	// resized, if not nil, is increased by the time spent on scaling frames.
	resized *time.Duration
}

// filmSource is a Source that reads parts of clips which are too long to be read whole.
type filmSource interface {
	// readPart reads clip i. A clip that is short enough is read whole, as readInto
	// does, and whole is true; else it consists of the frames and has the size that
	// want says. cur, if not nil, keeps a decoder open for the frames that follow.
	readPart(ctx context.Context, i int, want request, cur *cursor, mem *memory) (c decoded, whole bool, err error)
	// length returns the number of frames of clip i and their times; ok is false for
	// clips that have neither without being read.
	length(ctx context.Context, i int) (n int, times func(int) float64, ok bool, err error)
}

// readPart reads a part of clip i of any Source.
func readPart(ctx context.Context, src Source, i int, want request, cur *cursor, mem *memory) (decoded, bool, error) {
	if f, ok := src.(filmSource); ok {
		c, whole, err := f.readPart(ctx, i, want, cur, mem)
		if e := ctx.Err(); e != nil {
			return decoded{}, false, e
		}
		if err != nil {
			return decoded{}, false, err
		}
		return c, whole, c.check()
	}
	c, err := readInto(ctx, src, i, mem.forFloats(0))
	if mem != nil && err == nil {
		mem.floats = c.Video
	}
	return decoded{Clip: c}, true, err
}

// length returns the number of frames of clip i of any Source; a clip whose length is
// not known otherwise is read.
func length(ctx context.Context, src Source, i int) (n int, times func(int) float64, err error) {
	if f, ok := src.(filmSource); ok {
		if n, times, ok, err = f.length(ctx, i); ok || err != nil {
			return n, times, err
		}
	}
	c, err := readInto(ctx, src, i, nil)
	return c.T, c.time, err
}

// time is when frame k of a clip is shown. Clips without times have one frame a
// second, which Config.FPS does not allow.
func (c *Clip) time(k int) float64 {
	if c.Times == nil {
		return float64(k)
	}
	return c.Times[k]
}

// check refuses a clip whose parts disagree.
func (d *decoded) check() error {
	if n, have := d.T*d.H*d.W*d.C, len(d.Video)+len(d.bytes); n < 1 || have != n {
		return &ClipError{d.Name, fmt.Errorf("%d values in a clip of %d frames of %dx%dx%d", have, d.T, d.H, d.W, d.C)}
	}
	return nil
}
