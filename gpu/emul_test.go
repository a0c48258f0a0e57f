//go:build emul && linux

package gpu_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"magvit/gpu"
	"magvit/kernels"
	"magvit/kernels/emul"
	"magvit/kernels/kerneltest"
)

func kind(s kernels.Spec) string { return fmt.Sprintf("%T", s)[len("kernels."):] }

// Every kernel passes the suite of all backends, and gives the same bits whatever the
// order of threads.
func TestKernelsMatchDefinitions(t *testing.T) { matchDefinitions(t, kernels.F32, kerneltest.Cases()) }

func matchDefinitions(t *testing.T, p kernels.Precision, cases []kerneltest.Case) {
	be := gpu.Emulated(emul.Open(emul.Forward), p)
	defer be.Close()
	others := []*gpu.Device{gpu.Emulated(emul.Open(emul.Reverse), p), gpu.Emulated(emul.Open(emul.Shuffled), p)}
	for _, other := range others {
		defer other.Close()
	}
	for _, c := range cases {
		r, err := kerneltest.Check(be, c)
		if err != nil {
			t.Fatal(err)
		}
		if !r.OK {
			t.Errorf("%v: %v", c, r.Err)
		}
		want, err := kerneltest.Outputs(be, c)
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range others {
			got, err := kerneltest.Outputs(other, c)
			if err != nil {
				t.Fatal(err)
			}
			for a := range got {
				if !slices.EqualFunc(got[a], want[a], sameBits) {
					t.Errorf("%v on %s: argument %d differs from that of threads in forward order", c, other.Name(), a)
				}
			}
		}
	}
}

func sameBits(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) }
