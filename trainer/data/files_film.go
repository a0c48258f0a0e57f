package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// large reports whether clip i is known to be too large to be read whole.
func (f *files) large(i int) bool {
	f.mu.Lock()
	known := f.films[i]
	f.mu.Unlock()
	if known {
		return true
	}
	m := f.more[i]
	t := f.index.find(f.path(i), m)
	return t != nil && (m == nil || m.end == 0) && t.N*t.Width*t.Height*3 > maxWhole
}

// timeline returns when the frames of film i are shown: from the index, or scanned.
func (f *files) timeline(ctx context.Context, i int) (*timeline, error) {
	m := f.more[i]
	path := f.path(i)
	if t := f.index.find(path, m); t != nil {
		f.noteUnlike(i, t.Unlike)
		return t, nil
	}
	if err := f.unchanged(i); err != nil {
		return nil, &ClipError{f.Name(i), err}
	}
	t, err := f.ffmpeg.scan(ctx, f.input(i))
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, ofClip(f.Name(i), err)
	}
	label := ""
	if l := f.Label(i); l >= 0 {
		label = f.classes[l]
	}
	f.index.put(path, m, t, label)
	f.noteUnlike(i, t.Unlike)
	return t, nil
}

// span is the part of film i that its clip consists of: n frames from first on.
func (f *files) span(ctx context.Context, i int) (first, n int, t *timeline, err error) {
	if t, err = f.timeline(ctx, i); err != nil {
		return 0, 0, nil, err
	}
	n = t.N
	if m := f.more[i]; m != nil {
		first = t.search(m.start)
		if m.end > 0 {
			n = t.search(m.end)
		}
		if n -= first; n < 1 {
			return 0, 0, nil, &ClipError{f.Name(i), fmt.Errorf("no frames from %g to %g s; it runs from %g to %g", m.start, m.end, t.at(0), t.at(t.N-1))}
		}
	}
	return first, n, t, nil
}

func (f *files) length(ctx context.Context, i int) (n int, times func(int) float64, ok bool, err error) {
	if kind := f.kind(i); slices.Contains(arrayKinds, kind) {
		c, err := f.readArray(i, kind, nil)
		return c.T, (&Clip{}).time, err == nil, err
	}
	if !isFilm(f.kind(i)) {
		p, err := f.pixels(ctx, i, maxPixels)
		if err != nil {
			return 0, nil, false, err
		}
		return p.t, (&Clip{Times: p.times}).time, true, nil
	}
	first, n, t, err := f.span(ctx, i)
	if err != nil {
		return 0, nil, false, err
	}
	return n, func(k int) float64 { return t.at(first + k) }, true, nil
}

// times are those of the n frames of a film that was decoded whole.
func (f *files) times(ctx context.Context, i, n int) ([]float64, error) {
	first, _, t, err := f.span(ctx, i)
	if err != nil {
		return nil, err
	}
	s := make([]float64, n)
	for k := range s {
		s[k] = t.at(min(first+k, t.N-1))
	}
	return s, nil
}

// cursor keeps the decoder of the last film open, for windows that follow each other.
type cursor struct {
	clip, next, step int
	d                *decoder
	cancel           context.CancelFunc
}

func (c *cursor) close() {
	if c != nil && c.d != nil {
		c.d.close()
		c.cancel()
		c.d = nil
	}
}

// readFrames decodes some frames, in ascending order, of film i and fits each line by
// line, so that no frame of the film is in memory.
func (f *files) readFrames(ctx context.Context, i int, t *timeline, frames []int, ft fit, resized *time.Duration, cur *cursor, mem *memory) (Clip, error) {
	if len(frames) == 0 {
		return Clip{}, errors.New("no frames are wanted")
	}
	if cur == nil {
		if short, at, done, ok := f.shortened(i, t, frames); ok {
			c, err := f.decodeFrames(ctx, i, short, at, frames, ft, resized, nil, mem)
			done()
			if err == nil && c.T == len(frames) || ctx.Err() != nil {
				return c, err
			}
		}
	}
	c, err := f.decodeFrames(ctx, i, f.film(i), t.seek(frames[0], lead(f.kind(i))), frames, ft, resized, cur, mem)
	if err == nil && c.T == 0 { // the film could not be sought in
		if c, err = f.decodeFrames(ctx, i, f.film(i), t.seek(frames[0], t.at(t.N-1)+1), frames, ft, resized, nil, mem); err == nil && c.T == 0 {
			err = fmt.Errorf("frame %d of %d is not there", frames[0], t.N)
		}
	}
	return c, err
}

// shortened is film i for ffmpeg, cut to what some frames need; ok is false where that is not
// possible. done closes its file.
func (f *files) shortened(i int, t *timeline, frames []int) (short film, at seek, done func(), ok bool) {
	if !slices.Contains(mp4Kinds, f.kind(i)) || t.Codec != "h264" {
		return short, at, nil, false
	}
	file, err := os.Open(f.path(i))
	if err != nil {
		return short, at, nil, false
	}
	st, err := file.Stat()
	if err == nil {
		off, size := int64(0), st.Size()
		if m := f.more[i]; m != nil && m.size > 0 {
			off, size = m.off, m.size
		}
		mp4 := f.borrowMP4()
		defer f.returnMP4(mp4)
		if err = mp4.read(io.NewSectionReader(file, off, size), size); err == nil && len(mp4.shown) == t.N {
			if short.bytes, at, err = mp4.shorten(frames[0], frames[len(frames)-1]); err == nil {
				short.input, short.kind = "pipe:0", "mov"
				return short, at, func() { file.Close() }, true
			}
		}
	}
	file.Close()
	return short, at, nil, false
}

// borrowMP4 is an mp4Film with memory for the tables of a film, which is used again when it is returned: as a rule, one
// serves all workers, as each needs it for a small part of the time that a window takes.
func (f *files) borrowMP4() *mp4Film {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.mp4s); n > 0 {
		mp4 := f.mp4s[n-1]
		f.mp4s = f.mp4s[:n-1]
		return mp4
	}
	return &mp4Film{}
}

func (f *files) returnMP4(mp4 *mp4Film) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mp4s = append(f.mp4s, mp4)
}

// decodeFrames decodes frames of film i, read from `from`, whose first frame at `at` is frames[0].
func (f *files) decodeFrames(ctx context.Context, i int, from film, at seek, frames []int, ft fit, resized *time.Duration, cur *cursor, mem *memory) (c Clip, err error) {
	c = Clip{Name: f.Name(i), Label: f.Label(i), C: 3}
	step := 1
	if n := len(frames); n > 1 {
		if d := frames[1] - frames[0]; d > 1 && frames[n-1]-frames[0] == (n-1)*d && slices.IsSortedFunc(frames, func(a, b int) int { return b + d - a }) {
			step = d
		}
	}
	var d *decoder
	next := frames[0]
	if cur != nil && cur.d != nil && cur.clip == i && cur.step == step && next >= cur.next && next-cur.next < 64*step && (next-cur.next)%step == 0 {
		d, next = cur.d, cur.next
		stop := context.AfterFunc(ctx, d.cancel)
		defer stop()
	} else {
		cur.close()
		count := 0
		own := ctx
		cancel := context.CancelFunc(func() {})
		if cur == nil {
			count = (frames[len(frames)-1]-frames[0])/step + 1
		} else {
			own, cancel = context.WithCancel(context.WithoutCancel(ctx))
			stop := context.AfterFunc(ctx, cancel)
			defer stop()
		}
		if d, err = f.ffmpeg.open(own, from, at, step, count); err != nil {
			cancel()
			return c, err
		}
		if cur != nil {
			*cur = cursor{clip: i, d: d, step: step, cancel: cancel}
		}
	}
	keep := false
	defer func() {
		if cur == nil || !keep {
			d.close()
			cur.close()
		}
	}()
	s := f.scalers.Get().(*scaled)
	defer f.scalers.Put(s)
	size := 0
	for c.T < len(frames) {
		frame, err := d.next()
		if isEOF(err) {
			return c.trim(size), nil
		}
		if err != nil {
			return c, err
		}
		if c.T == 0 && c.H == 0 {
			if ft.H == 0 {
				ft.H, ft.W = frame.h, frame.w
			}
			c.H, c.W = ft.H, ft.W
			size = c.H * c.W * 3
			if len(frames)*size > maxClipValues {
				return c, fmt.Errorf("%d frames of %dx%d; legal: up to %d values in a clip", len(frames), c.H, c.W, maxClipValues)
			}
			c.Video = mem.forFloats(len(frames) * size)
		}
		if frames[c.T] == next {
			spent, err := d.fitted(s, frame, ft, c.Video[c.T*size:(c.T+1)*size])
			if err != nil {
				return c, err
			}
			if resized != nil {
				*resized += spent
			}
			c.T++
		}
		for ; c.T < len(frames) && frames[c.T] == next; c.T++ { // a frame is shown again
			copy(c.Video[c.T*size:(c.T+1)*size], c.Video[(c.T-1)*size:])
		}
		next += step
	}
	if keep = cur != nil; keep {
		cur.next = next
	}
	return c.trim(size), nil
}

// fitted reads the frame that next returned and writes it to dst, fitted as f says. spent is the time that scaling took.
func (d *decoder) fitted(s *scaled, p picture, f fit, dst []float32) (spent time.Duration, err error) {
	s.begin(p.h, p.w, 3, f)
	err = d.read(p, func(y int, rgb []byte) {
		began := time.Now()
		for line := 3 * p.w; len(rgb) > 0; rgb, y = rgb[line:], y+1 {
			narrow(s, y, rgb[:line], 1./255)
		}
		spent += time.Since(began)
	})
	if err != nil {
		return spent, err
	}
	began := time.Now()
	s.finish(dst)
	return spent + time.Since(began), nil
}
