package data

import (
	"archive/zip"
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/flate"

	"magvit/trainer/atomicfile"
	"magvit/trainer/usage"
)

// floatAt is the little-endian float of 2, 4 or 8 bytes at the start of b.
func floatAt(b []byte, size int) float64 {
	switch size {
	case 8:
		return math.Float64frombits(binary.LittleEndian.Uint64(b))
	case 4:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	u := binary.LittleEndian.Uint16(b)
	sign, exp, frac := 1-2*float64(u>>15), int(u>>10&31), float64(u&1023)
	switch {
	case exp == 31 && frac == 0:
		return math.Inf(int(sign))
	case exp == 31:
		return math.NaN()
	case exp == 0:
		return sign * math.Ldexp(frac, -24)
	}
	return sign * math.Ldexp(1024+frac, exp-25)
}

// intAt is the little-endian whole number of 1, 2, 4 or 8 bytes at the start of b.
func intAt(b []byte, size int, signed bool) int64 {
	var u uint64
	for i := size - 1; i >= 0; i-- {
		u = u<<8 | uint64(b[i])
	}
	if signed {
		return int64(u) << (64 - 8*size) >> (64 - 8*size)
	}
	return int64(u)
}

// archive is an open .npz file.
type archive struct {
	name string
	file *os.File
	size int64
	zip  *zip.Reader
}

func openArchive(path string) (*archive, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, usage.Wrap(err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, usage.Wrap(err)
	}
	z, err := zip.NewReader(f, st.Size())
	if err != nil {
		f.Close()
		return nil, badf("%s: not a whole .npz file (%d bytes, cut off or of another kind): %w", path, st.Size(), err)
	}
	z.RegisterDecompressor(zip.Deflate, flate.NewReader)
	return &archive{path, f, st.Size(), z}, nil
}

// names lists the arrays.
func (a *archive) names() []string {
	var n []string
	for _, f := range a.zip.File {
		n = append(n, strings.TrimSuffix(f.Name, ".npy"))
	}
	return n
}

// member finds an array by name. Of several with one name the last counts, as in
// numpy.load.
func (a *archive) member(name string) *zip.File {
	for _, f := range slices.Backward(a.zip.File) {
		if f.Name == name+".npy" || f.Name == name {
			return f
		}
	}
	return nil
}

// open returns the header of an array and a reader at its first number. The sizes
// in the header, the archive and the file are compared with each other.
func (a *archive) open(f *zip.File) (npyHeader, io.ReadCloser, error) {
	name := a.name + ": " + strings.TrimSuffix(f.Name, ".npy")
	switch {
	case f.Flags&1 != 0:
		return npyHeader{}, nil, badf("%s: encrypted; save it without a password", name)
	case f.Method != zip.Store && f.Method != zip.Deflate:
		return npyHeader{}, nil, badf("%s: compressed by %s, which numpy does not write; save it with numpy.savez or numpy.savez_compressed", name, zipMethod(f.Method))
	}
	claim, packed := f.UncompressedSize64, f.CompressedSize64
	// Deflate compresses by a factor of 1032 at most; a larger claim is false.
	if packed > uint64(a.size) || claim > packed*1032+1024 {
		return npyHeader{}, nil, badf("%s: claims %d bytes packed into %d of a file of %d; the archive is damaged", name, claim, packed, a.size)
	}
	r, err := f.Open()
	if err != nil {
		return npyHeader{}, nil, badf("%s: %w", name, err)
	}
	h, err := readNpyHeader(r, name)
	if err == nil && uint64(h.start+h.bytes) != claim {
		err = badf("%s: shape %v of %s needs %d bytes, the archive holds %d", name, h.shape, h.descr, h.bytes, int64(claim)-h.start)
	}
	if err != nil {
		r.Close()
		return npyHeader{}, nil, err
	}
	return h, r, nil
}

// zipMethod is the name of a method of compression.
func zipMethod(m uint16) string {
	switch m {
	case 9:
		return "Deflate64"
	case 12:
		return "bzip2"
	case 14:
		return "LZMA"
	case 93:
		return "Zstandard"
	}
	return fmt.Sprintf("method %d of zip", m)
}

// maxSmall bounds the bytes of an array other than the videos (labels, positions,
// texts, codes), stored and decoded.
const maxSmall = 1 << 30

// read returns a small array, nil if there is none of that name. check, where it is
// not nil, sees the header before memory is allocated.
func (a *archive) read(name string, check func(npyHeader) error) (*npyHeader, any, error) {
	f := a.member(name)
	if f == nil {
		return nil, nil, nil
	}
	h, r, err := a.open(f)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	if check != nil {
		if err := check(h); err != nil {
			return nil, nil, err
		}
	}
	if n := max(h.bytes, h.decodedBytes()); n > maxSmall {
		return nil, nil, badf("%s: %s: shape %v of %s, %d bytes in memory; legal: up to %d", a.name, name, h.shape, h.descr, n, maxSmall)
	}
	raw := make([]byte, h.bytes)
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, nil, badf("%s: %s: cut off or damaged: %w", a.name, name, err)
	}
	if _, err := r.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) { // the checksum
		return nil, nil, badf("%s: %s: damaged: %w", a.name, name, err)
	}
	return &h, h.decode(raw), nil
}

// ReadArrays reads whole arrays of an .npz file into memory: floats as []float32,
// whole numbers as []int64, text as []string. Without names it reads all arrays of
// such types and leaves out the others (Python objects, structured types).
// For a missing name the error lists the arrays that exist.
func ReadArrays(path string, names ...string) (map[string]Array, error) {
	a, err := openArchive(path)
	if err != nil {
		return nil, err
	}
	defer a.file.Close()
	all := len(names) == 0
	if all {
		names = a.names()
	}
	out := map[string]Array{}
	for _, n := range names {
		h, v, err := a.read(n, nil)
		if all && errors.Is(err, errType) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if h == nil {
			return nil, badf("%s: no array %q; it holds %s", path, n, list(a.names()))
		}
		out[n] = Array{n, h.shape, v}
	}
	return out, nil
}

// list is the first few names in a sentence, and the number of the others.
func list(names []string) string {
	const few, long = 8, 60
	if len(names) == 0 {
		return "nothing"
	}
	var text []string
	for _, n := range names[:min(len(names), few)] {
		if q := strconv.Quote(n); q[1:len(q)-1] != n || len(n) > long {
			n = fmt.Sprintf("%.*q", long, n)
		}
		text = append(text, n)
	}
	if more := len(names) - few; more > 0 {
		text = append(text, fmt.Sprintf("%d more", more))
	}
	return strings.Join(text, ", ")
}

// WriteArrays writes an .npz file that numpy.load reads, atomically.
func WriteArrays(path string, arrays ...Array) error {
	return writeNPZ(path, func(w *npzWriter) error { return w.add(arrays...) })
}

type npzWriter struct{ zip *zip.Writer }

// array starts an array; its numbers are written to the result.
func (w *npzWriter) array(name, descr string, shape []int) (io.Writer, error) {
	m, err := w.zip.CreateHeader(&zip.FileHeader{Name: name + ".npy", Method: zip.Deflate})
	if err != nil {
		return nil, err
	}
	_, err = m.Write(appendNpyHeader(nil, descr, shape))
	return m, err
}

// add writes whole arrays.
func (w *npzWriter) add(arrays ...Array) error {
	for _, a := range arrays {
		descr, raw := npyBytes(a.Data)
		m, err := w.array(a.Name, descr, a.Shape)
		if err != nil {
			return err
		}
		if _, err := m.Write(raw); err != nil {
			return err
		}
	}
	return nil
}

// writeNPZ writes an .npz file atomically; fill adds the arrays.
func writeNPZ(path string, fill func(*npzWriter) error) error {
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return usage.Errorf("writing %s: %w", path, err)
	}
	err := atomicfile.Write(path, func(f io.Writer) error {
		b := bufio.NewWriterSize(f, 1<<20)
		z := zip.NewWriter(b)
		z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, 5) })
		if err := fill(&npzWriter{z}); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
		return b.Flush()
	})
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// checkAxes checks that a shape is [N,T,C,H,W] with C 3 or 1; the error names the
// order of axes that the shape resembles.
func checkAxes(name string, shape []int) error {
	const want = "wanted: [N,T,3,H,W] (clips, frames, colours, height, width)"
	colours := func(n int) bool { return n == 3 || n == 1 }
	if len(shape) == 5 && shape[0] == 0 {
		return badf("%s: shape %v holds no clips", name, shape)
	}
	if len(shape) == 5 && slices.Contains(shape, 0) {
		return badf("%s: shape %v holds clips without a value: an axis has the length 0", name, shape)
	}
	switch {
	case len(shape) == 5 && colours(shape[2]):
		return nil
	case len(shape) == 5 && colours(shape[4]):
		return badf("%s: shape %v looks like channels last, [N,T,H,W,3]; %s: save videos.transpose(0, 1, 4, 2, 3)", name, shape, want)
	case len(shape) == 5 && colours(shape[1]):
		return badf("%s: shape %v looks like [N,3,T,H,W]; %s: save videos.transpose(0, 2, 1, 3, 4)", name, shape, want)
	case len(shape) == 5 && shape[2] == 4:
		return badf("%s: shape %v looks like 4 colours, one of them alpha; %s: save videos[:, :, :3]", name, shape, want)
	case len(shape) == 5:
		return badf("%s: shape %v has no axis of 3 colours or 1; %s", name, shape, want)
	case len(shape) == 4 && colours(shape[1]):
		return badf("%s: shape %v has 4 axes, as one clip [T,3,H,W] has; %s: save videos[None]", name, shape, want)
	case len(shape) == 4:
		return badf("%s: shape %v has 4 axes, as grey clips have; %s: if the clips are first, [N,T,H,W], save numpy.expand_dims(videos, 2); if the frames are first, [T,N,H,W], as in Moving MNIST, save videos.transpose(1, 0, 2, 3)[:, :, None]", name, shape, want)
	}
	return badf("%s: shape %v has %d axes; %s", name, shape, len(shape), want)
}
