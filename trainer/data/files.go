package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// files is the Source of video files, pictures and folders of frames, a clip each.
// Only names are held; small decoded clips are cached as bytes up to a limit, films
// are read window by window.
type files struct {
	roots     []string
	clips     []fileClip
	more      map[int]*fileMore // what few clips have
	classes   []string
	classNo   map[string]int32
	parts     bool // some clips name their part
	ffmpeg    *ffmpeg
	index     *Index
	scalers   sync.Pool // of *scaled
	mu        sync.Mutex
	cacheRoom int64
	cache     map[int]*pixels
	films     map[int]bool   // found too large to be read whole
	stamps    map[int]string // what the pixels of a clip depend on
	problems  []string
}

type fileClip struct {
	name  string // below the root; ends in a slash for a folder of frames
	root  int32
	label int32
	part  part
}

// fileMore is what lists and archives say of a clip.
type fileMore struct {
	start, end float64 // seconds of the film; end 0: to its end
	off, size  int64   // bytes of the file that hold the clip; size 0: all
	kind       string  // instead of the name's extension
	members    []member
}

// pixels is a decoded clip: rgb holds [T,H,W,3].
type pixels struct {
	t, h, w int
	rgb     []byte
	times   []float64 // [T] seconds, or nil
}

// maxWhole bounds the bytes of a film that is decoded whole; a larger one is read
// window by window. maxPixels bounds those of any other decoded clip.
const (
	maxWhole  = 16 << 20
	maxPixels = 1 << 28
)

var errTooLarge = errors.New("decodes to more than 256 MiB; cut it into shorter clips, or scale it down")

func (f *files) root(path string) int {
	if i := slices.Index(f.roots, path); i >= 0 {
		return i
	}
	f.roots = append(f.roots, path)
	return len(f.roots) - 1
}

func (f *files) add(root int, name, class string, p part, more *fileMore) {
	label := int32(-1)
	if class != "" {
		n, ok := f.classNo[class]
		if !ok {
			if f.classNo == nil {
				f.classNo = map[string]int32{}
			}
			n = int32(len(f.classes))
			f.classNo[class], f.classes = n, append(f.classes, class)
		}
		label = n
	}
	if more != nil {
		if f.more == nil {
			f.more = map[int]*fileMore{}
		}
		f.more[len(f.clips)] = more
	}
	f.parts = f.parts || p != ""
	f.clips = append(f.clips, fileClip{name, int32(root), label, p})
}

// finish numbers the classes by name and looks for ffmpeg if it is needed.
func (f *files) finish(opt Options) error {
	names := slices.Clone(f.classes)
	slices.SortFunc(names, natural)
	to := make([]int32, len(names))
	for i, n := range names {
		to[f.classNo[n]] = int32(i)
	}
	for i, c := range f.clips {
		if c.label >= 0 {
			f.clips[i].label = to[c.label]
		}
	}
	f.classes, f.classNo = names, nil

	f.cache, f.films, f.cacheRoom = map[int]*pixels{}, map[int]bool{}, opt.Cache
	f.stamps = map[int]string{}
	if opt.Cache == 0 {
		f.cacheRoom = 512 << 20
	}
	f.scalers.New = func() any { return &scaled{} }
	for i := range f.clips {
		if isFilm(f.kind(i)) {
			var err error
			f.ffmpeg, err = findFFmpeg(f.clips[i].name)
			if opt.Stall > 0 && err == nil {
				f.ffmpeg.stall = opt.Stall
			}
			return err
		}
	}
	return nil
}

func (f *files) Len() int           { return len(f.clips) }
func (f *files) Label(i int) int    { return int(f.clips[i].label) }
func (f *files) Part(i int) string  { return string(f.clips[i].part) }
func (f *files) Classes() []string  { return f.classes }
func (f *files) Problems() []string { return f.problems }
func (f *files) Close() error       { return nil }

// kind is the extension that says how clip i is read; "/" for a folder of frames.
func (f *files) kind(i int) string {
	if m := f.more[i]; m != nil && m.kind != "" {
		return m.kind
	}
	if strings.HasSuffix(f.clips[i].name, "/") {
		return "/"
	}
	return kindOf(f.clips[i].name)
}

// Name is the path below the folder that was opened, so that moving the folder
// does not change the split.
func (f *files) Name(i int) string {
	c := f.clips[i]
	if c.name == "/" {
		return filepath.Base(f.roots[c.root])
	}
	name := strings.TrimSuffix(filepath.ToSlash(c.name), "/")
	if m := f.more[i]; m != nil && (m.start > 0 || m.end > 0) {
		name = fmt.Sprintf("%s@%g-%g", name, m.start, m.end)
	}
	return name
}

// path is the file that holds clip i.
func (f *files) path(i int) string {
	c := f.clips[i]
	if m := f.more[i]; m != nil && m.size > 0 {
		return f.roots[c.root] // an archive
	}
	if c.name != "/" && filepath.IsAbs(c.name) {
		return c.name
	}
	return filepath.Join(f.roots[c.root], c.name)
}

// film is clip i for ffmpeg.
func (f *files) film(i int) film { return film{input: f.input(i), codec: f.decoder(i)} }

// input is clip i as ffmpeg names it.
func (f *files) input(i int) string {
	// "file:" keeps names that start with "-" or hold ":" from being read as something else.
	name := "file:" + f.path(i)
	if m := f.more[i]; m != nil && m.size > 0 {
		return fmt.Sprintf("subfile,,start,%d,end,%d,,:%s", m.off, m.off+m.size, name)
	}
	return name
}

// decoder is the decoder of film i, "" for ffmpeg's choice.
func (f *files) decoder(i int) string {
	var off int64
	if m := f.more[i]; m != nil {
		off = m.off
	}
	return alphaDecoder(f.path(i), f.kind(i), off)
}

func (f *files) Read(ctx context.Context, i int) (Clip, error) { return f.readInto(ctx, i, nil) }

// readInto decodes a clip whole, up to maxPixels.
func (f *files) readInto(ctx context.Context, i int, video []float32) (Clip, error) {
	if kind := f.kind(i); slices.Contains(arrayKinds, kind) {
		return f.readArray(i, kind, video)
	}
	p, err := f.pixels(ctx, i, maxPixels)
	if err != nil {
		return Clip{}, err
	}
	return f.clip(i, p, video), nil
}

func (f *files) clip(i int, p *pixels, video []float32) Clip {
	c := Clip{Name: f.Name(i), Label: f.Label(i), T: p.t, H: p.h, W: p.w, C: 3, Video: grown(video, len(p.rgb)), Times: p.times}
	bytesToFloat(c.Video, p.rgb)
	return c
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
	var err error
	if kind := f.kind(i); isFilm(kind) {
		p, err = f.readWhole(ctx, i, limit)
	} else {
		p, err = f.readPicture(ctx, i, kind)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, &ClipError{f.Name(i), err}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := int64(len(p.rgb)); f.cache[i] == nil && n <= f.cacheRoom {
		f.cache[i], f.cacheRoom = p, f.cacheRoom-n
	}
	return p, nil
}

func (f *files) readPart(ctx context.Context, i int, want request, cur *cursor, video []float32) (Clip, bool, error) {
	if kind := f.kind(i); slices.Contains(arrayKinds, kind) {
		c, err := f.readArray(i, kind, video)
		return c, true, err
	}
	if !isFilm(f.kind(i)) || !f.large(i) {
		c, err := f.wholeClip(ctx, i, want.cache, video)
		if err == nil {
			if want.timed && c.Times == nil && isFilm(f.kind(i)) {
				c.Times, err = f.times(ctx, i, c.T)
			}
			return c, true, err
		}
		if !errors.Is(err, errTooLarge) || !isFilm(f.kind(i)) {
			return Clip{}, false, err
		}
		f.mu.Lock()
		f.films[i] = true
		f.mu.Unlock()
	}
	first, n, t, err := f.span(ctx, i)
	if err != nil {
		return Clip{}, false, err
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
	c, err := cache.through(f.key(i, cache, frames, fit), video, false, func() (Clip, error) {
		return f.readFrames(ctx, i, t, frames, fit, want.resized, cur, video)
	})
	c.Name, c.Label = f.Name(i), f.Label(i)
	if err != nil && ctx.Err() == nil {
		err = &ClipError{f.Name(i), err}
	}
	return c, false, err
}

// wholeClip decodes clip i whole, up to maxWhole bytes of a film.
func (f *files) wholeClip(ctx context.Context, i int, cache *diskCache, video []float32) (Clip, error) {
	f.mu.Lock()
	held := f.cache[i] != nil
	f.mu.Unlock()
	if held {
		cache = nil
	}
	c, err := cache.through(f.key(i, cache, nil, fit{}), video, true, func() (Clip, error) {
		p, err := f.pixels(ctx, i, maxWhole)
		if err != nil {
			return Clip{}, err
		}
		return f.clip(i, p, video), nil
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
		return t, nil
	}
	t, err := f.ffmpeg.scan(ctx, f.input(i))
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, &ClipError{f.Name(i), err}
	}
	label := ""
	if l := f.Label(i); l >= 0 {
		label = f.classes[l]
	}
	f.index.put(path, m, t, label)
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
		if len(p.rgb)+len(frame.rgb) > limit || p.t == maxFilmFrames {
			return nil, errTooLarge
		}
		p.rgb = append(p.rgb, frame.rgb...)
		p.t++
	}
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

// readFrames decodes some frames, in ascending order, of film i and fits each, so
// that one frame of the film is in memory at a time.
func (f *files) readFrames(ctx context.Context, i int, t *timeline, frames []int, ft fit, resized *time.Duration, cur *cursor, video []float32) (Clip, error) {
	if len(frames) == 0 {
		return Clip{}, errors.New("no frames are wanted")
	}
	if cur == nil {
		if short, at, done, ok := f.shortened(i, t, frames); ok {
			c, err := f.decodeFrames(ctx, i, short, at, frames, ft, resized, nil, video)
			done()
			if err == nil && c.T == len(frames) || ctx.Err() != nil {
				return c, err
			}
		}
	}
	c, err := f.decodeFrames(ctx, i, f.film(i), t.seek(frames[0], lead(f.kind(i))), frames, ft, resized, cur, video)
	if err == nil && c.T == 0 { // the film could not be sought in
		if c, err = f.decodeFrames(ctx, i, f.film(i), t.seek(frames[0], t.at(t.N-1)+1), frames, ft, resized, nil, video); err == nil && c.T == 0 {
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
		var mp4 *mp4Film
		if mp4, err = readMP4(io.NewSectionReader(file, off, size), size); err == nil && len(mp4.shown) == t.N {
			if short.bytes, at, err = mp4.shorten(frames[0], frames[len(frames)-1]); err == nil {
				short.input, short.kind = "pipe:0", "mov"
				return short, at, func() { file.Close() }, true
			}
		}
	}
	file.Close()
	return short, at, nil, false
}

// decodeFrames decodes frames of film i, read from `from`, whose first frame at `at` is frames[0].
func (f *files) decodeFrames(ctx context.Context, i int, from film, at seek, frames []int, ft fit, resized *time.Duration, cur *cursor, video []float32) (c Clip, err error) {
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
			c.Video = grown(video, len(frames)*size)
		}
		began := time.Now()
		for c.T < len(frames) && frames[c.T] == next {
			fitFrame(s, c.Video[c.T*size:(c.T+1)*size], frame.rgb, frame.h, frame.w, 3, ft, 1./255)
			c.T++
		}
		if resized != nil {
			*resized += time.Since(began)
		}
		next += step
	}
	if keep = cur != nil; keep {
		cur.next = next
	}
	return c.trim(size), nil
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
	return decodePicture(raw, kind)
}

// maxFile bounds the bytes of a compressed picture, animation or array in an archive.
const maxFile = 1 << 30

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
