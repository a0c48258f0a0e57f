//go:build emul && linux

package gpu

import (
	"encoding/binary"
	"errors"

	"magvit/kernels"
	"magvit/kernels/emul"
)

// Emulated is a device whose kernels run on the host.
func Emulated(drv *emul.Driver, precision kernels.Precision) *Device {
	return &Device{drv: emulated{drv}, precision: precision}
}

// emulated takes lists apart: the emulator knows single launches.
type emulated struct{ *emul.Driver }

func (e emulated) Info() Info { return Info{Name: e.Name(), Architecture: e.Architecture()} }

func (e emulated) Launch(list []byte) (int, error) {
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(list[at:]) }
	for n := 0; len(list) > 0; n++ {
		grid, block := [3]uint32{u32(8), u32(12), u32(16)}, [3]uint32{u32(20), u32(24), u32(28)}
		end := listHead + int(u32(36))
		if err := e.Driver.Launch(binary.LittleEndian.Uint64(list), grid, block, int(u32(32)), list[listHead:end]); err != nil {
			return n, err
		}
		list = list[(end+7)/8*8:]
	}
	return 0, nil
}

// TensorMap makes a descriptor for the emulated copies, of bfloat16 in the widest swizzle.
func (e emulated) TensorMap(address uint64, m kernels.TensorMap) (b [kernels.TensorMapSize]byte, err error) {
	if !m.BF16 || m.Swizzle != kernels.Swizzle128 {
		return b, errors.New("not emulated: only boxes of bfloat16 in the swizzle of 128 bytes are")
	}
	return e.Driver.TensorMap(address, m.Dims, m.Strides, m.Box, m.Steps)
}
