package kernels

import (
	"runtime"
	"slices"
	"testing"
)

// The packed weights of all convolutions of a backend are in one place: each packs its own again
// when it runs.
func TestPackedWeightsShareMemory(t *testing.T) {
	const channels = 256
	c := cpuWith(t, machineISA(), 1)
	allocated := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.TotalAlloc
	}
	var first []float32
	for i, h := range []int{4, 1, 2, 3, 4} {
		s := conv(1, 1, h, 1, channels, channels, 1, 1, 1)
		args := values(s, uint64(h))
		before := allocated()
		k, err := c.Prepare(s)
		if err != nil {
			t.Fatal(err)
		}
		if got, packed := allocated()-before, uint64(4*channels*channels); i > 0 && got > packed/2 {
			t.Errorf("convolution %d: another %d bytes, its packed weights are %d", i, got, packed)
		}
		buffers := make([]Buffer, len(args))
		for j, a := range args {
			buffers[j] = Host(a)
		}
		k.Run(buffers...)
		switch {
		case i == 0:
			first = slices.Clone(args[0])
		case h == 4 && !slices.Equal(args[0], first):
			t.Error("the first convolution's result is another one after the others")
		}
	}
}
