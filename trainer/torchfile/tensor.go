package torchfile

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/bits"
	"sync"
)

// Dtype is the type of a tensor's elements; its text is torch's name of it.
type Dtype string

// The element types that torch.save has a storage class for and this package reads and writes.
const (
	Float64  Dtype = "float64"
	Float32  Dtype = "float32"
	Float16  Dtype = "float16"
	BFloat16 Dtype = "bfloat16"
	Int64    Dtype = "int64"
	Int32    Dtype = "int32"
	Int16    Dtype = "int16"
	Int8     Dtype = "int8"
	Uint8    Dtype = "uint8"
	Bool     Dtype = "bool"
)

// unconverted are types that are named in messages but not converted, with the bytes of an element. torch saves them in
// untyped storages.
var unconverted = map[Dtype]int{
	"float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1, "uint16": 2, "uint32": 4, "uint64": 8, "complex64": 8,
}

// storageClasses pairs each Dtype with the class torch.<name> and the size of an element in bytes.
var storageClasses = []struct {
	dtype Dtype
	class string
	size  int
}{
	{Float64, "DoubleStorage", 8}, {Float32, "FloatStorage", 4}, {Float16, "HalfStorage", 2}, {BFloat16, "BFloat16Storage", 2},
	{Int64, "LongStorage", 8}, {Int32, "IntStorage", 4}, {Int16, "ShortStorage", 2}, {Int8, "CharStorage", 1},
	{Uint8, "ByteStorage", 1}, {Bool, "BoolStorage", 1},
}

// Size returns the bytes of one element, 0 for an unknown type.
func (d Dtype) Size() int {
	for _, s := range storageClasses {
		if s.dtype == d {
			return s.size
		}
	}
	return unconverted[d]
}

// Tensor is an array whose elements are in the file. Strides and Offset count elements of its storage; every element
// is within it. Shape is empty for a scalar. Its methods are not for concurrent use.
type Tensor struct {
	Dtype   Dtype
	Shape   []int
	Strides []int
	Offset  int

	storage *storage
}

// NamedTensor is an entry of a state_dict.
type NamedTensor struct {
	Name string
	*Tensor
}

// storage is a run of elements: an entry of the archive, a part of a file, or bytes in memory.
type storage struct {
	name     string
	dtype    Dtype
	elements int
	at       io.ReaderAt // little endian bytes, elements * dtype.Size() of them
	crc      uint32
	checked  bool // crc is right, or not there to be checked
}

// agrees returns an error if another use of a storage is of another type or size.
func (s *storage) agrees(dtype Dtype, elements int) error {
	if s.dtype != dtype || s.elements != elements {
		return fmt.Errorf("storage %.100q is %d of %s here and %d of %s before", s.name, elements, dtype, s.elements, s.dtype)
	}
	return nil
}

// NewTensor wraps little endian, row-major elements in memory; data is not copied.
// It is an error when the length of data is not that of the shape.
func NewTensor(dtype Dtype, shape []int, data []byte) (*Tensor, error) {
	n, err := count(shape)
	if err != nil {
		return nil, err
	}
	size := dtype.Size()
	if size == 0 {
		return nil, fmt.Errorf("dtype %q is not known", dtype)
	}
	if n != len(data)/size || len(data)%size != 0 {
		return nil, fmt.Errorf("%d bytes for shape %v of %s; want %d", len(data), shape, dtype, n*size)
	}
	s := &storage{dtype: dtype, elements: n, at: memory(data), checked: true}
	return &Tensor{Dtype: dtype, Shape: shape, Strides: rowMajor(shape), storage: s}, nil
}

// FromFloat32 makes a float32 tensor of a copy of values. It is an error when their number is not that of the shape.
func FromFloat32(shape []int, values []float32) (*Tensor, error) {
	data := make([]byte, 4*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(v))
	}
	return NewTensor(Float32, shape, data)
}

// FromInt64 makes an int64 tensor of a copy of values. It is an error when their number is not that of the shape.
func FromInt64(shape []int, values []int64) (*Tensor, error) {
	data := make([]byte, 8*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint64(data[8*i:], uint64(v))
	}
	return NewTensor(Int64, shape, data)
}

// memory is an io.ReaderAt of bytes.
type memory []byte

func (m memory) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > int64(len(m)) {
		return 0, io.ErrUnexpectedEOF
	}
	if n := copy(p, m[off:]); n < len(p) {
		return n, io.ErrUnexpectedEOF
	}
	return len(p), nil
}

const (
	maxRank = 64      // torch's own limit
	maxSpan = 1 << 46 // elements; above any file, and the product with a size in bytes still fits
)

// count returns the number of elements of a shape and refuses absurd ones.
func count(shape []int) (int, error) {
	if len(shape) > maxRank {
		return 0, fmt.Errorf("%d axes; %d are the most", len(shape), maxRank)
	}
	n, span := uint64(1), uint64(1)
	for _, dim := range shape {
		if dim < 0 {
			return 0, fmt.Errorf("shape %v has a negative axis", shape)
		}
		hi, lo := bits.Mul64(span, uint64(max(dim, 1)))
		if hi != 0 || lo > maxSpan {
			return 0, fmt.Errorf("shape %v is larger than any file", shape)
		}
		span, n = lo, n*uint64(dim)
	}
	return int(n), nil
}

func rowMajor(shape []int) []int {
	strides := make([]int, len(shape))
	step := 1
	for i := len(shape) - 1; i >= 0; i-- {
		strides[i] = step
		step *= max(shape[i], 1)
	}
	return strides
}

// newTensor checks that every element of the view is within its storage. A view that repeats elements (a stride of 0) is
// refused, so that reading a tensor never takes more memory than its storage has.
func newTensor(s *storage, offset int, shape, strides []int) (*Tensor, error) {
	if len(shape) != len(strides) {
		return nil, fmt.Errorf("shape %v and strides %v differ in length", shape, strides)
	}
	n, err := count(shape)
	if err != nil {
		return nil, err
	}
	t := &Tensor{Dtype: s.dtype, Shape: shape, Strides: strides, Offset: offset, storage: s}
	last := uint64(max(offset, 0))
	for i, dim := range shape {
		hi, lo := bits.Mul64(uint64(max(dim-1, 0)), uint64(max(strides[i], 0)))
		if last += lo; hi != 0 || lo > maxSpan || last > maxSpan {
			return nil, fmt.Errorf("shape %v with strides %v is larger than any file", shape, strides)
		}
		if strides[i] < 0 {
			return nil, fmt.Errorf("strides %v have a negative one", strides)
		}
	}
	switch {
	case offset < 0 || offset > s.elements || n > 0 && last >= uint64(s.elements):
		return nil, fmt.Errorf("shape %v, strides %v, offset %d reach outside storage %q of %d elements", shape, strides, offset, s.name, s.elements)
	case n > s.elements:
		return nil, fmt.Errorf("shape %v, strides %v repeat the %d elements of storage %q", shape, strides, s.elements, s.name)
	}
	return t, nil
}

// Len returns the number of elements.
func (t *Tensor) Len() int {
	n := 1
	for _, dim := range t.Shape {
		n *= dim
	}
	return n
}

// Contiguous reports whether the elements are in row-major order without gaps.
func (t *Tensor) Contiguous() bool {
	step := 1
	for i := len(t.Shape) - 1; i >= 0; i-- {
		if t.Shape[i] != 1 && t.Strides[i] != step {
			return false
		}
		step *= t.Shape[i]
	}
	return true
}

// verify compares the storage's bytes with the archive's checksum, once.
func (s *storage) verify() error {
	if s.checked {
		return nil
	}
	sum := crc32.NewIEEE()
	want := int64(s.elements) * int64(s.dtype.Size())
	if n, err := io.Copy(sum, io.NewSectionReader(s.at, 0, want)); err != nil {
		return fmt.Errorf("storage %q: %w", s.name, err)
	} else if n != want {
		return fmt.Errorf("storage %q: %d of %d bytes: %w", s.name, n, want, io.ErrUnexpectedEOF)
	}
	if sum.Sum32() != s.crc {
		return fmt.Errorf("storage %q: checksum %08x, the archive says %08x: the file is damaged", s.name, sum.Sum32(), s.crc)
	}
	s.checked = true
	return nil
}

// Bytes reads the elements in row-major order, little endian. Errors are those of reading, and a wrong checksum.
func (t *Tensor) Bytes() ([]byte, error) {
	n, size := t.Len(), t.Dtype.Size()
	if n == 0 {
		return []byte{}, nil
	}
	if err := t.storage.verify(); err != nil {
		return nil, err
	}
	span := 1
	for i, dim := range t.Shape {
		span += (dim - 1) * t.Strides[i]
	}
	raw := make([]byte, span*size)
	if n, err := t.storage.at.ReadAt(raw, int64(t.Offset)*int64(size)); n < len(raw) {
		return nil, fmt.Errorf("storage %q: %w", t.storage.name, err)
	}
	if t.Contiguous() {
		return raw, nil
	}
	out := make([]byte, 0, n*size)
	index := make([]int, len(t.Shape))
	for at := 0; ; {
		out = append(out, raw[at*size:(at+1)*size]...)
		axis := len(index) - 1
		for ; axis >= 0; axis-- {
			at += t.Strides[axis]
			if index[axis]++; index[axis] < t.Shape[axis] {
				break
			}
			at -= index[axis] * t.Strides[axis]
			index[axis] = 0
		}
		if axis < 0 {
			return out, nil
		}
	}
}

// Float32s reads the elements in row-major order, any floating point type converted to float32.
func (t *Tensor) Float32s() ([]float32, error) {
	data, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	out := make([]float32, t.Len())
	for i := range out {
		switch t.Dtype {
		case Float32:
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		case Float64:
			out[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:])))
		case BFloat16:
			out[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(data[2*i:])) << 16)
		case Float16:
			out[i] = half(binary.LittleEndian.Uint16(data[2*i:]))
		default:
			return nil, fmt.Errorf("a tensor of %s; want float32, float64, float16 or bfloat16", t.Dtype)
		}
	}
	return out, nil
}

// part is the memory for a part of a tensor. The parts of a large file would be much garbage.
type part struct {
	raw    [4 << 16]byte
	values [1 << 16]float32
}

var parts = sync.Pool{New: func() any { return new(part) }}

// EachFloat32 reads the elements of a float32 tensor in row-major order, a part at a time: do gets the position of the
// part's first element, and values that are valid until it returns.
func (t *Tensor) EachFloat32(do func(from int, values []float32) error) error {
	if t.Dtype != Float32 {
		return fmt.Errorf("a tensor of %s; want float32", t.Dtype)
	}
	if !t.Contiguous() {
		values, err := t.Float32s()
		if err != nil {
			return err
		}
		return do(0, values)
	}
	if err := t.storage.verify(); err != nil {
		return err
	}
	n := t.Len()
	p := parts.Get().(*part)
	defer parts.Put(p)
	for from := 0; from < n; from += len(p.values) {
		some := p.values[:min(len(p.values), n-from)]
		if got, err := t.storage.at.ReadAt(p.raw[:4*len(some)], 4*int64(t.Offset+from)); got < 4*len(some) {
			return fmt.Errorf("storage %q: %w", t.storage.name, err)
		}
		for i := range some {
			some[i] = math.Float32frombits(binary.LittleEndian.Uint32(p.raw[4*i:]))
		}
		if err := do(from, some); err != nil {
			return err
		}
	}
	return nil
}

// half converts an IEEE 754 binary16 number.
func half(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, uint32(h>>10&31), uint32(h&1023)
	switch exp {
	case 0:
		return math.Float32frombits(sign | math.Float32bits(float32(frac)*0x1p-24))
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// Int64s reads the elements in row-major order, any integer type or bool (0, 1) converted to int64.
func (t *Tensor) Int64s() ([]int64, error) {
	data, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	out := make([]int64, t.Len())
	for i := range out {
		switch t.Dtype {
		case Int64:
			out[i] = int64(binary.LittleEndian.Uint64(data[8*i:]))
		case Int32:
			out[i] = int64(int32(binary.LittleEndian.Uint32(data[4*i:])))
		case Int16:
			out[i] = int64(int16(binary.LittleEndian.Uint16(data[2*i:])))
		case Int8:
			out[i] = int64(int8(data[i]))
		case Uint8:
			out[i] = int64(data[i])
		case Bool:
			if data[i] != 0 {
				out[i] = 1
			}
		default:
			return nil, fmt.Errorf("a tensor of %s is not of integers", t.Dtype)
		}
	}
	return out, nil
}
