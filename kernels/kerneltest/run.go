package kerneltest

import (
	"testing"

	"magvit/kernels"
)

// Run holds a backend to every case.
func Run(t *testing.T, be kernels.Backend) {
	for _, c := range Cases() {
		r, err := Check(be, c)
		if err != nil {
			t.Error(err)
		} else if !r.OK {
			t.Errorf("%v: %v", c, r.Err)
		}
	}
}
