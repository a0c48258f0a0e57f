//go:build !gpu

package gpu

import (
	"errors"
	"strings"
	"testing"

	"magvit/kernels"
)

func TestBuildWithoutGPUSaysSo(t *testing.T) {
	if d, err := Open(kernels.F32); d != nil || !errors.Is(err, ErrNoGPU) || !strings.Contains(err.Error(), "no GPU code") {
		t.Errorf("Open gives %v, %v", d, err)
	}
}
