//go:build emul && linux

package gpu

import (
	"magvit/kernels"
	"magvit/kernels/emul"
)

// Emulated is a device whose kernels run on the host.
func Emulated(drv *emul.Driver, precision kernels.Precision) *Device {
	return &Device{drv: drv, precision: precision}
}
