//go:build emul

package kernels

// LaunchesOnHopper is LaunchesOf in BF16 for a device of sm_90 that has that many SMs and
// runs every convolution on its tensor cores, also those that fill them badly. It is for
// tests on the emulator.
func LaunchesOnHopper(s Spec, sms int) *Launches {
	p, err := launchesOf(s, &Launches{precision: BF16, arch: hopper, smCount: sms, always: true})
	if err != nil {
		panic(err)
	}
	return p
}
