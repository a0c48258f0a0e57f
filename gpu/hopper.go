package gpu

import (
	"fmt"

	"magvit/kernels"
)

// Hopper is a Device that plans as if it had a few SMs and runs every convolution by TMA
// copies and wgmma. CTAs then loop over several tiles and split sums at sizes that take no
// time, which kerneltest.Hopper checks.
type Hopper struct {
	*Device
	sms int
}

// OnHopper is d planning for that many SMs. It is false for a device that lacks wgmma or
// computes in float32.
func (d *Device) OnHopper(sms int) (Hopper, bool) {
	return Hopper{d, sms}, d.precision == kernels.BF16 && d.Info().Architecture == "sm_90"
}

// Launches is how the device computes a Spec.
func (d Hopper) Launches(s kernels.Spec) (*kernels.Launches, error) {
	return kernels.LaunchesOnHopper(s, d.sms)
}

// Prepare decides launches and packs their arguments. Its error names s.
func (d Hopper) Prepare(s kernels.Spec) (kernels.Kernel, error) {
	l, err := d.Launches(s)
	if err == nil {
		var k *kernel
		if k, err = d.link(s, l); err == nil {
			return k, nil
		}
	}
	return nil, fmt.Errorf("gpu: %s: %w", kernels.Name(s), err)
}
