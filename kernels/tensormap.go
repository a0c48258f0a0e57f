package kernels

// TensorMapSize is the length in bytes of a tensor map, which is CUDA's CUtensorMap.
const TensorMapSize = 128

// TensorMap describes a tensor and a box of it to the TMA unit of a GPU. Axes are ordered
// from the innermost, which is contiguous, to the outermost. Values of a box that are
// outside the tensor read as 0.
//
// A kernel takes it as `const __grid_constant__ CUtensorMap`.
type TensorMap struct {
	Operand
	BF16    bool     // values are bfloat16, else float32
	Dims    []uint64 // values along each axis
	Strides []uint64 // bytes between neighbours along each axis but the innermost; multiples of 16
	Box     []uint32 // values of a copy along each axis, at most 256
	Steps   []uint32 // element strides of a copy, 1 to 8; nil: all 1
	Swizzle Swizzle
}

// Swizzle is the layout of a box in shared memory that lets reads of columns hit different
// banks. The box's innermost axis must fit into the number of bytes.
type Swizzle int

const (
	NoSwizzle Swizzle = iota
	Swizzle32
	Swizzle64
	Swizzle128
)
