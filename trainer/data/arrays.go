package data

import (
	"archive/zip"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"

	"magvit/trainer/usage"
)

// arrays is the Source of one .npz or .npy file.
//
// Why three ways to store the videos: a stored member or an .npy file is read
// from disk clip by clip; a deflated one cannot be, so it is inflated once, into
// memory if it is small and into a temporary file if not.
type arrays struct {
	path, base   string
	n, t, c      int
	h, w         int
	kind         byte
	size         int // bytes of a stored value
	file         *os.File
	start        int64       // of the first clip in disk
	disk         io.ReaderAt // nil: in memory
	temp         string      // file to remove, or ""
	state        fileState   // of file when it was opened; zero for a temporary one
	floats       [][]float32 // [N][T,H,W,C], or
	bytes        [][]uint8   // the same for uint8
	labels       []int
	classes      []string
	trajectory   []float32
	points       []float32
	equations    []string
	descriptions []string
	problems     []string
	raw          sync.Pool
	part         part
	nested       bool     // found in a folder below one that was opened
	names, parts []string // of a packed set
	frames       []int    // of each clip, of a packed set
	sums         []int64  // checksums of its clips as stored
}

// Largest sizes of an array of videos: values of a clip (1 GiB as float32) and clips.
const (
	maxClipValues = 1 << 28
	maxClips      = 1 << 24
)

func openNPY(ctx context.Context, path string) (*arrays, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, usage.Wrap(err)
	}
	s := &arrays{path: path, base: filepath.Base(path), file: f, disk: f}
	if err := s.fromNPY(ctx); err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

func (s *arrays) fromNPY(ctx context.Context) error {
	st, err := s.file.Stat()
	if err != nil {
		return usage.Wrap(err)
	}
	s.state = stateOfFile(st)
	r := bufio.NewReaderSize(s.file, 1<<20)
	h, err := readNpyHeader(r, s.path)
	if err != nil {
		return err
	}
	if err := s.setShape(s.path, h); err != nil {
		return err
	}
	if have := st.Size() - h.start; have < h.bytes {
		return badf("%s: shape %v of %s needs %d bytes, the file holds %d: it is cut off", s.path, h.shape, h.descr, h.bytes, have)
	} else if have > h.bytes {
		s.problems = append(s.problems, fmt.Sprintf("%s: %d bytes after the array are ignored", s.path, have-h.bytes))
	}
	s.start = h.start
	if s.kind == 'u' {
		return nil // any byte is a legal value
	}
	return s.scan(ctx, r, nil)
}

func openNPZ(ctx context.Context, path string, opt Options) (*arrays, error) {
	a, err := openArchive(path)
	if err != nil {
		return nil, err
	}
	s := &arrays{path: path, base: filepath.Base(path), file: a.file}
	if err := s.fromNPZ(ctx, a, opt); err != nil {
		s.Close()
		return nil, err
	}
	if s.disk == nil {
		a.file.Close() // all of it is in memory; a thousand shards need no thousand open files
	}
	return s, nil
}

// inMemory is the number of bytes of the videos in memory.
func (s *arrays) inMemory() int64 {
	return 4*int64(len(s.floats))*int64(s.values()) + int64(len(s.bytes))*int64(s.values())
}

func (s *arrays) fromNPZ(ctx context.Context, a *archive, opt Options) error {
	f := a.member("videos")
	if f == nil && a.member("codes") != nil {
		return areCodes(s.path)
	}
	if f == nil {
		return badf("%s: no array \"videos\"; it holds %s. Wanted: videos [N,T,3,H,W], float32 in [0,1] or uint8", s.path, list(a.names()))
	}
	h, r, err := a.open(f)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := s.setShape(s.path+": videos", h); err != nil {
		return err
	}
	// Small arrays first: their errors cost no decoding of videos.
	if err := s.readOptional(a); err != nil {
		return err
	}
	return s.readVideos(ctx, a, f, h, r, opt)
}

func (s *arrays) setShape(name string, h npyHeader) error {
	if err := checkAxes(name, h.shape); err != nil {
		return err
	}
	if !(h.kind == 'f' && h.size >= 2 || h.kind == 'u' && h.size == 1) {
		return badf("%s: type %s; legal: float16 ('<f2'), float32 ('<f4') or float64 ('<f8') in [0,1], or uint8 ('|u1')", name, h.descr)
	}
	if h.fortran {
		return badf("%s: stored in Fortran order; save numpy.ascontiguousarray(a) instead", name)
	}
	if h.bigEndian {
		return badf("%s: big-endian type %q; save a.astype('<%s') instead", name, h.descr, h.descr[1:])
	}
	s.n, s.t, s.c, s.h, s.w = h.shape[0], h.shape[1], h.shape[2], h.shape[3], h.shape[4]
	s.kind, s.size = h.kind, h.size
	if s.n > maxClips {
		return badf("%s: shape %v, %d clips; legal: up to %d in a file", name, h.shape, s.n, maxClips)
	}
	if v := h.bytes / int64(s.size) / int64(s.n); v > maxClipValues {
		return badf("%s: shape %v, %d values in a clip; legal: up to %d", name, h.shape, v, maxClipValues)
	}
	return nil
}

func (s *arrays) values() int    { return s.t * s.c * s.h * s.w }
func (s *arrays) clipBytes() int { return s.values() * s.size }

// readVideos chooses where the videos are stored and checks their values.
func (s *arrays) readVideos(ctx context.Context, a *archive, f *zip.File, h npyHeader, r io.Reader, opt Options) error {
	if f.Method == zip.Store {
		off, err := f.DataOffset()
		if err != nil {
			return badf("%s: videos: %w", s.path, err)
		}
		st, err := s.file.Stat()
		if err != nil {
			return usage.Wrap(err)
		}
		s.disk, s.start, s.state = s.file, off+h.start, stateOfFile(st)
		if s.start+h.bytes > a.size {
			return badf("%s: videos: %d bytes at %d of a file of %d; the archive is damaged", s.path, h.bytes, s.start, a.size)
		}
		if s.kind == 'u' {
			return nil
		}
		return s.scan(ctx, r, nil)
	}
	stored := int64(1) // bytes of a value in memory
	if s.kind == 'f' {
		stored = 4
	}
	if h.count*stored <= opt.Memory {
		return s.scan(ctx, r, nil)
	}
	spill, err := os.CreateTemp(opt.TempDir, "magvit-*.videos")
	if err != nil {
		return fmt.Errorf("%s: no room to inflate its %d bytes of videos: %w", s.path, h.bytes, err)
	}
	defer s.file.Close() // the archive, when it has been read
	s.file, s.temp, s.disk = spill, spill.Name(), spill
	if os.Remove(s.temp) == nil { // an unlinked file disappears with the process
		s.temp = ""
	}
	w := bufio.NewWriterSize(spill, 1<<20)
	if err := s.scan(ctx, r, w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("%s: inflating its videos into a temporary file: %w", s.path, err)
	}
	return nil
}

// scan reads the stored clips once: it checks the values, and stores the clips in
// memory if they are not on disk, or copies them to spill.
func (s *arrays) scan(ctx context.Context, r io.Reader, spill io.Writer) error {
	raw, video := make([]byte, s.clipBytes()), make([]float32, s.values())
	for i := range s.n {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := io.ReadFull(r, raw); err != nil {
			return badf("%s: videos: cut off or damaged at clip %d of %d: %w", s.path, i, s.n, err)
		}
		if s.kind == 'f' {
			s.decode(video, raw)
			if err := s.check(i, video); err != nil {
				return err
			}
		}
		switch {
		case spill != nil:
			if _, err := spill.Write(raw); err != nil {
				return fmt.Errorf("%s: inflating its videos into a temporary file: %w", s.path, err)
			}
		case s.disk == nil && s.kind == 'u':
			b := make([]uint8, s.values())
			channelsLast(b, raw, s.t, s.c, s.h*s.w)
			s.bytes = append(s.bytes, b)
		case s.disk == nil:
			s.floats = append(s.floats, append([]float32(nil), video...))
		}
	}
	// Reading to the end makes the archive compare the checksum.
	if _, err := io.ReadFull(r, raw[:1]); err != nil && !errors.Is(err, io.EOF) {
		return badf("%s: videos: damaged: %w", s.path, err)
	}
	return nil
}

// decode converts stored floats [T,C,H,W] to [T,H,W,C].
func (s *arrays) decode(dst []float32, raw []byte) {
	plane := s.h * s.w
	k := 0
	for t := range s.t {
		for c := range s.c {
			out := dst[t*plane*s.c+c:]
			for p := range plane {
				out[p*s.c] = float32(floatAt(raw[k:], s.size))
				k += s.size
			}
		}
	}
}

func channelsLast(dst, src []uint8, t, c, plane int) {
	for i := range t {
		for j := range c {
			for p := range plane {
				dst[(i*plane+p)*c+j] = src[(i*c+j)*plane+p]
			}
		}
	}
}

// rangeTolerance is the largest accepted excess over [0,1]: resampling in float32
// overshoots by less.
const rangeTolerance = 1e-3

// check refuses a clip with values outside [0,1] and clamps those within the
// tolerance.
func (s *arrays) check(i int, video []float32) error {
	low, high, worst := float32(0), float32(1), -1
	for k, v := range video {
		if v >= 0 && v <= 1 {
			continue
		}
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return badf("%s: videos: clip %d, frame %d holds %v; legal: numbers in [0,1]", s.path, i, k/(s.h*s.w*s.c), v)
		}
		if v < low || v > high {
			low, high, worst = min(low, v), max(high, v), k
		}
		video[k] = min(max(v, 0), 1)
	}
	if low >= -rangeTolerance && high <= 1+rangeTolerance {
		return nil
	}
	hint := ""
	switch {
	case low >= -rangeTolerance && high > 2 && high <= 256:
		hint = "; it looks like 0 to 255: divide by 255 or store uint8"
	case low >= -1-rangeTolerance && high <= 1+rangeTolerance:
		hint = "; it looks like -1 to 1: save (videos + 1) / 2"
	}
	return badf("%s: videos: clip %d holds %v to %v (frame %d); legal: 0 to 1%s", s.path, i, low, high, worst/(s.h*s.w*s.c), hint)
}

func (s *arrays) Len() int           { return s.n }
func (s *arrays) Classes() []string  { return s.classes }
func (s *arrays) Problems() []string { return s.problems }

// Name is the file's name and the clip's number, or the name that a packed set keeps.
func (s *arrays) Name(i int) string {
	if s.names != nil {
		return s.names[i]
	}
	return fmt.Sprintf("%s/%06d", s.base, i)
}

func (s *arrays) Part(i int) string {
	if s.parts != nil && s.part == "" {
		return s.parts[i]
	}
	return string(s.part)
}

func (s *arrays) Label(i int) int {
	if s.labels == nil {
		return -1
	}
	return s.labels[i]
}

func (s *arrays) readPart(ctx context.Context, i int, _ request, _ *cursor, mem *memory) (decoded, bool, error) {
	c, err := s.decoded(ctx, i, mem)
	return c, true, err
}

func (s *arrays) length(_ context.Context, i int) (int, func(int) float64, bool, error) {
	if s.frames != nil {
		return s.frames[i], (&Clip{}).time, true, nil
	}
	return s.t, (&Clip{}).time, true, nil
}

func (s *arrays) Read(ctx context.Context, i int) (Clip, error) { return s.readInto(ctx, i, nil) }

// readInto is Read into the caller's memory.
func (s *arrays) readInto(ctx context.Context, i int, video []float32) (Clip, error) {
	c, err := s.decoded(ctx, i, &memory{floats: video})
	if err != nil {
		return Clip{}, err
	}
	return c.clip(video), nil
}

// decoded reads a clip, without the frames that repeat its last one.
func (s *arrays) decoded(ctx context.Context, i int, mem *memory) (decoded, error) {
	c, err := s.readPadded(ctx, i, mem)
	if err == nil && s.frames != nil {
		c.T = s.frames[i]
		values := c.T * c.H * c.W * c.C
		if c.bytes != nil {
			c.bytes = c.bytes[:values]
		} else {
			c.Video = c.Video[:values]
		}
	}
	return c, err
}

// readPadded reads a clip with the frames that repeat its last one.
func (s *arrays) readPadded(ctx context.Context, i int, mem *memory) (decoded, error) {
	c := decoded{Clip: Clip{Name: s.Name(i), Label: s.Label(i), T: s.t, H: s.h, W: s.w, C: s.c}}
	if s.trajectory != nil {
		c.Trajectory = s.trajectory[i*s.t*3 : (i+1)*s.t*3]
	}
	if s.points != nil {
		c.Points = s.points[i*s.t*2 : (i+1)*s.t*2]
	}
	if s.equations != nil {
		c.Equation = s.equations[i]
	}
	if s.descriptions != nil {
		c.Description = s.descriptions[i]
	}
	if err := ctx.Err(); err != nil {
		return decoded{}, err
	}
	switch {
	case s.floats != nil:
		c.Video = s.floats[i]
	case s.bytes != nil:
		c.bytes = s.bytes[i]
	default:
		raw, _ := s.raw.Get().(*[]byte)
		if raw == nil {
			b := make([]byte, s.clipBytes())
			raw = &b
		}
		defer s.raw.Put(raw)
		if err := s.unchanged(); err != nil {
			return decoded{}, &ClipError{c.Name, err}
		}
		if _, err := s.disk.ReadAt(*raw, s.start+int64(i)*int64(len(*raw))); err != nil {
			return decoded{}, fmt.Errorf("%s: reading clip %d: %w", s.path, i, err)
		}
		if s.sums != nil && checksum(*raw) != s.sums[i] {
			return decoded{}, &ClipError{c.Name, fmt.Errorf("clip %d of %s is damaged: its bytes are not those that were packed", i, s.path)}
		}
		s.decodeTo(&c, *raw, mem)
		if s.kind == 'f' {
			if err := s.check(i, c.Video); err != nil {
				return decoded{}, err
			}
		}
	}
	return c, nil
}

// decodeTo gives c the pixels of a stored clip, in memory of the reader.
func (s *arrays) decodeTo(c *decoded, raw []byte, mem *memory) {
	if s.kind == 'u' {
		c.bytes = mem.forBytes(s.values())
		channelsLast(c.bytes, raw, s.t, s.c, s.h*s.w)
		return
	}
	c.Video = mem.forFloats(s.values())
	s.decode(c.Video, raw)
}

// unchanged is an error where the file is not what it was when it was opened.
func (s *arrays) unchanged() error {
	if s.state == (fileState{}) {
		return nil
	}
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	return s.state.same(stateOfFile(info))
}

// bytesToFloat scales bytes to [0,1].
func bytesToFloat(dst []float32, src []uint8) {
	for i, b := range src {
		dst[i] = float32(b) / 255
	}
}

// Close removes the temporary file.
func (s *arrays) Close() error {
	err := s.file.Close()
	if s.temp != "" {
		err = errors.Join(err, os.Remove(s.temp))
		s.temp = ""
	}
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
