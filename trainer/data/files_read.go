package data

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
)

func (f *files) Read(ctx context.Context, i int) (Clip, error) { return f.readInto(ctx, i, nil) }

// readInto decodes a clip whole, up to maxPixels.
func (f *files) readInto(ctx context.Context, i int, video []float32) (Clip, error) {
	var c decoded
	var err error
	if kind := f.kind(i); slices.Contains(arrayKinds, kind) {
		c, err = f.readArray(i, kind, &memory{floats: video})
	} else {
		var p *pixels
		if p, err = f.pixels(ctx, i, maxPixels); err == nil {
			c = f.decoded(i, p)
		}
	}
	if err != nil {
		return Clip{}, err
	}
	return c.clip(video), nil
}

func (f *files) decoded(i int, p *pixels) decoded {
	return decoded{Clip{Name: f.Name(i), Label: f.Label(i), T: p.t, H: p.h, W: p.w, C: 3, Times: p.times}, p.rgb}
}

// pixels decodes clip i whole, or finds it in the cache. The first clips that fit
// stay in the cache: in a shuffled epoch any other choice hits no more often.
func (f *files) pixels(ctx context.Context, i int, limit int) (*pixels, error) {
	f.mu.Lock()
	p := f.cache[i]
	f.mu.Unlock()
	if p != nil {
		return p, nil
	}
	err := f.unchanged(i)
	if kind := f.kind(i); err == nil && isFilm(kind) {
		p, err = f.readWhole(ctx, i, limit)
	} else if err == nil {
		p, err = f.readPicture(ctx, i, kind)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, ofClip(f.Name(i), err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := int64(len(p.rgb)); f.cache[i] == nil && n <= f.cacheRoom {
		f.cache[i], f.cacheRoom = p, f.cacheRoom-n
	}
	return p, nil
}

func (f *files) readPart(ctx context.Context, i int, want request, cur *cursor, mem *memory) (decoded, bool, error) {
	if kind := f.kind(i); slices.Contains(arrayKinds, kind) {
		c, err := f.readArray(i, kind, mem)
		return c, true, err
	}
	if !isFilm(f.kind(i)) || !f.large(i) {
		c, err := f.wholeClip(ctx, i, want.cache, mem)
		if err == nil {
			if want.timed && c.Times == nil && isFilm(f.kind(i)) {
				c.Times, err = f.times(ctx, i, c.T)
			}
			return c, true, err
		}
		if !errors.Is(err, errTooLarge) || !isFilm(f.kind(i)) {
			return decoded{}, false, err
		}
		f.mu.Lock()
		f.films[i] = true
		f.mu.Unlock()
	}
	if err := f.unchanged(i); err != nil {
		return decoded{}, false, &ClipError{f.Name(i), err}
	}
	first, n, t, err := f.span(ctx, i)
	if err != nil {
		return decoded{}, false, err
	}
	frames, fit := want.choose(n, func(k int) float64 { return t.at(first + k) })
	frames = slices.Clone(frames)
	for j := range frames {
		frames[j] += first
	}
	cache := want.cache
	if !want.repeats {
		cache = nil
	}
	c, err := cache.through(f.key(i, cache, frames, fit), mem, false, func() (decoded, error) {
		c, err := f.readFrames(ctx, i, t, frames, fit, want.resized, cur, mem)
		return decoded{Clip: c}, err
	})
	c.Name, c.Label = f.Name(i), f.Label(i)
	if err != nil && ctx.Err() == nil {
		err = ofClip(f.Name(i), err)
	}
	return c, false, err
}

// wholeClip decodes clip i whole, up to maxWhole bytes of a film.
func (f *files) wholeClip(ctx context.Context, i int, cache *diskCache, mem *memory) (decoded, error) {
	f.mu.Lock()
	held := f.cache[i] != nil
	f.mu.Unlock()
	if held {
		cache = nil
	}
	c, err := cache.through(f.key(i, cache, nil, fit{}), mem, true, func() (decoded, error) {
		p, err := f.pixels(ctx, i, maxWhole)
		if err != nil {
			return decoded{}, err
		}
		return f.decoded(i, p), nil
	})
	c.Name, c.Label = f.Name(i), f.Label(i)
	return c, err
}

// key names what the pixels of a clip or of a window of it depend on, "" where that is not known
// or there is no cache. frames nil is the whole clip.
func (f *files) key(i int, cache *diskCache, frames []int, ft fit) string {
	if cache == nil {
		return ""
	}
	f.mu.Lock()
	stamp, ok := f.stamps[i]
	f.mu.Unlock()
	if !ok {
		stamp = f.stamp(i)
		f.mu.Lock()
		f.stamps[i] = stamp
		f.mu.Unlock()
	}
	if stamp == "" {
		return ""
	}
	return fmt.Sprintf("%s, frames %v, fit %q %dx%d at %v %v", stamp, frames, ft.mode, ft.H, ft.W, ft.fy, ft.fx)
}

// stamp is the part of a key that does not change from read to read.
func (f *files) stamp(i int) string {
	m, kind := f.more[i], f.kind(i)
	text := kind
	if isFilm(kind) {
		text += ", " + f.ffmpeg.text()
	} else if !slices.Contains(arrayKinds, kind) {
		text += ", turned by its EXIF orientation"
	}
	if m != nil {
		text += fmt.Sprintf(", part %d+%d, from %v to %v s, members %v", m.off, m.size, m.start, m.end, m.members)
	}
	if kind == "/" {
		entries, err := os.ReadDir(f.path(i))
		for _, e := range entries {
			info, bad := e.Info()
			if err = errors.Join(err, bad); bad == nil {
				text += fmt.Sprintf(", %q %d %d", e.Name(), info.Size(), info.ModTime().UnixNano())
			}
		}
		if err != nil {
			return ""
		}
		return text
	}
	file, err := os.Open(f.path(i))
	if err != nil {
		return ""
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return ""
	}
	off, size := int64(0), st.Size()
	if m != nil && m.size > 0 {
		off, size = m.off, m.size
	}
	hash, err := contentHash(file, off, size)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s, %d bytes at %d, content %s", text, st.Size(), st.ModTime().UnixNano(), hash)
}

// readWhole decodes a film of at most limit bytes.
func (f *files) readWhole(ctx context.Context, i, limit int) (*pixels, error) {
	p := &pixels{}
	var at seek
	count := 0
	if m := f.more[i]; m != nil && (m.start > 0 || m.end > 0) {
		first, n, t, err := f.span(ctx, i)
		if err != nil {
			return nil, err
		}
		at, count = t.seek(first, lead(f.kind(i))), n
	}
	d, err := f.ffmpeg.open(ctx, f.film(i), at, 1, count)
	if err != nil {
		return nil, err
	}
	defer d.close()
	for {
		frame, err := d.next()
		if isEOF(err) && p.t > 0 {
			return p, nil
		}
		if isEOF(err) {
			return nil, fmt.Errorf("no frames: %s", d.log.text())
		}
		if err != nil {
			return nil, err
		}
		if p.t == 0 {
			p.h, p.w = frame.h, frame.w
		}
		if frame.h != p.h || frame.w != p.w {
			return nil, fmt.Errorf("frame %d is %dx%d, the first one %dx%d", p.t, frame.w, frame.h, p.w, p.h)
		}
		if len(p.rgb)+frame.h*frame.w*3 > limit || p.t == maxFilmFrames {
			return nil, errTooLarge
		}
		if err := d.read(frame, func(_ int, rgb []byte) { p.rgb = append(p.rgb, rgb...) }); err != nil {
			return nil, err
		}
		p.t++
	}
}

// trim cuts the memory for frames that a film did not have.
func (c Clip) trim(size int) Clip {
	c.Video = c.Video[:c.T*size]
	return c
}

// readPicture decodes a clip of pictures: an image, an animation or a folder.
func (f *files) readPicture(ctx context.Context, i int, kind string) (*pixels, error) {
	if kind == "/" {
		return readFrames(ctx, f.path(i))
	}
	m := f.more[i]
	if m != nil && m.members != nil {
		return readMembers(ctx, f.path(i), m.members)
	}
	raw, err := readAll(f.path(i), m)
	if err != nil {
		return nil, err
	}
	return decodePicture(raw)
}

// readAll reads the bytes of a file, or of a part of it.
func readAll(path string, m *fileMore) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var off, size int64
	if m != nil {
		off, size = m.off, m.size
	}
	if size == 0 {
		st, err := file.Stat()
		if err != nil {
			return nil, err
		}
		size = st.Size()
	}
	if size > maxFile {
		return nil, fmt.Errorf("%d bytes; legal: up to %d", size, maxFile)
	}
	raw := make([]byte, size)
	if _, err := file.ReadAt(raw, off); err != nil {
		return nil, err
	}
	return raw, nil
}
