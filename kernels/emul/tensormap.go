//go:build emul && linux

package emul

import (
	"encoding/binary"
	"fmt"
)

// TensorMap describes boxes of a tensor of bfloat16 to tensor copies that lay them out in
// the 128-byte swizzle, as cuTensorMapEncodeTiled does, and refuses what that refuses.
// Axes go from the innermost, which is dense, to the outermost; strides, in bytes, are
// those of all axes but the innermost. Copies take five axes.
//
// A copy takes of its box every steps[i]-th value along axis i; nil: all.
func (d *Driver) TensorMap(address uint64, dims, strides []uint64, box, steps []uint32) (m [128]byte, err error) {
	if steps == nil {
		steps = []uint32{1, 1, 1, 1, 1}
	}
	if len(dims) != 5 || len(strides) != 4 || len(box) != 5 || len(steps) != 5 {
		return m, fmt.Errorf("emul: a tensor map of %d sizes, %d strides, %d sides of a box, %d steps; want 5, 4, 5, 5", len(dims), len(strides), len(box), len(steps))
	}
	if address == 0 || address%16 != 0 {
		return m, fmt.Errorf("emul: a tensor map of address %#x, want a multiple of 16", address)
	}
	for i := range dims {
		if dims[i] < 1 || dims[i] > 1<<32 {
			return m, fmt.Errorf("emul: a tensor map of sizes %v, want 1 to 2^32", dims)
		}
		if box[i] < 1 || box[i] > 256 {
			return m, fmt.Errorf("emul: a tensor map of a box %v, want 1 to 256", box)
		}
		if steps[i] < 1 || steps[i] > 8 || i == 0 && steps[i] > 1 {
			return m, fmt.Errorf("emul: a tensor map of steps %v, want 1 inside, else 1 to 8", steps)
		}
		if i < 4 && (strides[i]%16 != 0 || strides[i] >= 1<<40 || strides[i] == 0) {
			return m, fmt.Errorf("emul: a tensor map of strides %v, want multiples of 16 below 2^40", strides)
		}
	}
	if inner := 2 * box[0]; inner%16 != 0 || inner > 128 {
		return m, fmt.Errorf("emul: a tensor map whose box has %d bytes inside, want a multiple of 16 up to 128", inner)
	}
	b := binary.LittleEndian.AppendUint64(m[:0], address)
	for _, v := range append(dims[:5:5], strides...) {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	for _, v := range box {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	b = binary.LittleEndian.AppendUint32(b, 0x6d736e74) // TENSOR_MAP of hopper.h
	for _, v := range steps {
		b = append(b, byte(v))
	}
	return m, nil
}
