//go:build emul && linux

package gpu

import "magvit/kernels/emul"

// Emulated is a device whose kernels run on the host.
func Emulated(drv *emul.Driver) *Device { return &Device{drv: drv} }
