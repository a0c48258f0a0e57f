package gpu

// tensorMapSize is the length of a descriptor in bytes.
const tensorMapSize = 128

// tensorMap tells the copy engine of a GPU how a tensor lies and which box of it a copy
// takes. Axes go from the innermost, which lies dense, to the outermost. What a box
// has outside of the tensor reads as 0.
//
// A kernel takes it as `const __grid_constant__ CUtensorMap`, before its pointers.
type tensorMap struct {
	operand
	values  element
	dims    []uint64 // values along each axis
	strides []uint64 // bytes from one to the next along each axis but the innermost; multiples of 16
	box     []uint32 // values of a copy along each axis, at most 256
	steps   []uint32 // between the values that a copy takes, 1 to 8; nil: all 1
	swizzle swizzle
}

// element is the type of a tensor's values.
type element int

const (
	float32Values element = iota
	bf16Values
)

// swizzle is how a box is laid into shared memory, so that reads of columns hit
// different banks. The box's innermost axis fits into so many bytes.
type swizzle int

const (
	noSwizzle swizzle = iota
	swizzle32
	swizzle64
	swizzle128
)
