package data

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Array is one array of an .npz file, in C order.
type Array struct {
	Name  string
	Shape []int
	Data  any // []float32, []int32, []int64, []uint8 or []string, of the length of Shape
}

// npyHeader is the parsed header of an .npy file or .npz member.
type npyHeader struct {
	descr string
	kind  byte // f, i, u, b, U, S (bytes, read as text)
	size  int  // bytes of a value
	shape []int
	count int64 // of values
	start int64 // bytes before the numbers
	bytes int64 // bytes of the numbers

	bigEndian, fortran bool // as stored; decode converts
}

const (
	npyMagic     = "\x93NUMPY"
	maxNpyHeader = 1 << 16 // bytes; numpy writes 118 for a plain array
	maxNpyRank   = 32      // numpy's own limit
)

var (
	npyDescr = regexp.MustCompile(`'descr'\s*:\s*(?:'([^']*)'|"([^"]*)"|(\[))`)
	npyOrder = regexp.MustCompile(`'fortran_order'\s*:\s*(True|False)`)
	npyShape = regexp.MustCompile(`'shape'\s*:\s*\(([^()]*)\)`)
)

// errType matches an array of a type that is not read: Python objects, numpy's
// variable-width text, structured types.
var errType = errors.New("unsupported array type")

type typeError struct{ error }

func (typeError) Is(target error) bool { return target == errType }
func (e typeError) Unwrap() error      { return e.error }

func typef(format string, args ...any) error { return typeError{badf(format, args...)} }

// readNpyHeader parses a header and leaves r at the first number. It trusts no
// size: the product of the shape fits in 62 bits and only the header is allocated.
// name is used in errors.
//
// Why our own parser: a library that allocates what a header claims can be made
// to ask for any amount of memory by 128 bytes.
func readNpyHeader(r io.Reader, name string) (npyHeader, error) {
	var h npyHeader
	var head [12]byte
	if _, err := io.ReadFull(r, head[:8]); err != nil || string(head[:6]) != npyMagic {
		return h, badf("%s: not a numpy array (it does not start with \\x93NUMPY)", name)
	}
	var length, start int
	switch head[6] {
	case 1:
		if _, err := io.ReadFull(r, head[8:10]); err != nil {
			return h, badf("%s: cut off in its header", name)
		}
		length, start = int(binary.LittleEndian.Uint16(head[8:])), 10
	case 2, 3:
		if _, err := io.ReadFull(r, head[8:12]); err != nil {
			return h, badf("%s: cut off in its header", name)
		}
		length, start = int(min(binary.LittleEndian.Uint32(head[8:]), maxNpyHeader+1)), 12
	default:
		return h, badf("%s: numpy format version %d; legal: 1 to 3", name, head[6])
	}
	if length > maxNpyHeader {
		return h, badf("%s: header of more than %d bytes", name, maxNpyHeader)
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(r, text); err != nil {
		return h, badf("%s: cut off in its header", name)
	}
	h.start = int64(start + length)

	d, o, s := npyDescr.FindSubmatch(text), npyOrder.FindSubmatch(text), npyShape.FindSubmatch(text)
	if d == nil || o == nil || s == nil {
		return h, badf("%s: header lacks descr, fortran_order or shape: %.200q", name, text)
	}
	if len(d[3]) > 0 {
		return h, typef("%s: a structured array; legal: one plain type", name)
	}
	h.descr = string(d[1]) + string(d[2])
	if err := h.parseType(name); err != nil {
		return h, err
	}
	if err := h.parseShape(string(s[1]), name); err != nil {
		return h, err
	}
	h.fortran = string(o[1]) == "True" && len(h.shape) > 1
	return h, nil
}

func (h *npyHeader) parseType(name string) error {
	d := h.descr
	if len(d) < 2 || !strings.ContainsRune("<>|=", rune(d[0])) {
		return typef("%s: type %q; legal: numpy's plain types, as '<f4'", name, d)
	}
	if d[1] == 'O' {
		return typef("%s: holds Python objects; loading those may run code, so they are not read. Save a plain array (all clips of one shape)", name)
	}
	n, err := strconv.Atoi(d[2:])
	if err != nil || !strings.ContainsRune("fiubUS", rune(d[1])) || n < 0 || n > 1<<20 || d[1] != 'U' && d[1] != 'S' && n != 1 && n != 2 && n != 4 && n != 8 {
		return typef("%s: type %q, which is not read: complex numbers, dates and structures are not", name, d)
	}
	h.kind, h.size = d[1], n
	if h.kind == 'U' {
		h.size *= 4 // UTF-32
	}
	h.bigEndian = d[0] == '>' && h.size > 1 && h.kind != 'S'
	return nil
}

func (h *npyHeader) parseShape(text, name string) error {
	h.count = 1
	for f := range strings.SplitSeq(text, ",") {
		f = strings.TrimSuffix(strings.TrimSpace(f), "L")
		if f == "" {
			continue
		}
		n, err := strconv.ParseInt(f, 10, 63)
		if err != nil || n < 0 || len(h.shape) == maxNpyRank {
			return badf("%s: shape (%s) is not legal", name, text)
		}
		// A zero length makes the product 0, so each length is checked too: (0, huge) is absurd.
		if n > 1<<40 || h.count > 0 && n > 0 && h.count > (1<<62)/n/int64(max(h.size, 1)) {
			return badf("%s: shape (%s) is absurd", name, text)
		}
		h.count *= n
		h.shape = append(h.shape, int(n))
	}
	h.bytes = h.count * int64(h.size)
	return nil
}

// appendNpyHeader appends a version 1 header for a type and shape.
func appendNpyHeader(b []byte, descr string, shape []int) []byte {
	var s strings.Builder
	for _, n := range shape {
		fmt.Fprintf(&s, "%d, ", n)
	}
	dims := strings.TrimSuffix(s.String(), " ")
	if len(shape) > 1 {
		dims = strings.TrimSuffix(dims, ",")
	}
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, dims)
	pad := 64 - (len(npyMagic)+4+len(text)+1)%64
	text += strings.Repeat(" ", pad%64) + "\n"
	b = append(b, npyMagic+"\x01\x00"...)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(text)))
	return append(b, text...)
}

// npyBytes encodes an array as numpy stores it: type and little-endian numbers.
func npyBytes(data any) (descr string, b []byte) {
	switch v := data.(type) {
	case []float32, []int32, []int64, []uint8:
		descr = map[string]string{"[]float32": "<f4", "[]int32": "<i4", "[]int64": "<i8", "[]uint8": "|u1"}[fmt.Sprintf("%T", v)]
		var buf bytes.Buffer
		binary.Write(&buf, binary.LittleEndian, v) // a bytes.Buffer does not fail
		return descr, buf.Bytes()
	case []string:
		width := 1
		for _, s := range v {
			width = max(width, len([]rune(s)))
		}
		for _, s := range v {
			row := make([]byte, 4*width)
			for i, c := range []rune(s) {
				binary.LittleEndian.PutUint32(row[4*i:], uint32(c))
			}
			b = append(b, row...)
		}
		return fmt.Sprintf("<U%d", width), b
	}
	panic(fmt.Sprintf("data: an array of %T cannot be stored", data))
}

// decodedBytes is the memory that decode needs: float32, int64 or strings.
func (h npyHeader) decodedBytes() int64 {
	n := h.count
	switch h.kind {
	case 'f':
		return 4 * n
	case 'U', 'S':
		return 16*n + h.bytes
	}
	return 8 * n
}

// decode converts the bytes of an array to []float32, []int64 or []string in C order. It changes raw.
func (h npyHeader) decode(raw []byte) any {
	if h.bigEndian {
		unit := h.size
		if h.kind == 'U' {
			unit = 4
		}
		for value := range slices.Chunk(raw, unit) {
			slices.Reverse(value)
		}
	}
	switch v := h.values(raw).(type) {
	case []float32:
		return inCOrder(h, v)
	case []int64:
		return inCOrder(h, v)
	case []string:
		return inCOrder(h, v)
	}
	panic("data: values of an unknown type")
}

// inCOrder moves values from the order of the header to that of C.
func inCOrder[E any](h npyHeader, v []E) []E {
	if !h.fortran {
		return v
	}
	to := make([]E, len(v))
	at := make([]int, len(h.shape)) // of the value, the last axis counts fastest
	for i := range to {
		from, stride := 0, 1
		for axis, k := range at {
			from += k * stride
			stride *= h.shape[axis]
		}
		to[i] = v[from]
		for axis := len(at) - 1; axis >= 0; axis-- {
			if at[axis]++; at[axis] < h.shape[axis] {
				break
			}
			at[axis] = 0
		}
	}
	return to
}

// values converts little-endian values in the order in which they are stored.
func (h npyHeader) values(raw []byte) any {
	n := int(h.count)
	switch h.kind {
	case 'f':
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(floatAt(raw[i*h.size:], h.size))
		}
		return v
	case 'S':
		v := make([]string, n)
		for i := range v {
			text, _, _ := bytes.Cut(raw[i*h.size:(i+1)*h.size], []byte{0})
			v[i] = strings.ToValidUTF8(string(text), "\ufffd")
		}
		return v
	case 'U':
		v := make([]string, n)
		for i := range v {
			var s strings.Builder
			for j := 0; j < h.size; j += 4 {
				c := rune(binary.LittleEndian.Uint32(raw[i*h.size+j:]))
				if c == 0 {
					break
				}
				s.WriteRune(c)
			}
			v[i] = s.String()
		}
		return v
	}
	v := make([]int64, n)
	for i := range v {
		v[i] = intAt(raw[i*h.size:], h.size, h.kind == 'i')
	}
	return v
}
