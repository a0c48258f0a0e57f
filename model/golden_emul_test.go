//go:build emul && linux

package model

import (
	"strings"
	"testing"

	"magvit/gpu"
	"magvit/kernels"
	"magvit/kernels/emul"
)

// TestGoldenEmulated compares golden files with what graph, machine and the CUDA
// kernels compute, the host running them; with -short every layer, quantizer and
// rule of the optimizer, a whole network and its training.
func TestGoldenEmulated(t *testing.T) {
	be := gpu.Emulated(emul.Open(emul.Forward), kernels.F32)
	t.Cleanup(func() { be.Close() })
	_, others := roundings(t)
	compareGolden(t, rounding{be: be}, others, func(name string) bool {
		network := strings.HasPrefix(name, "tokenizer.") || strings.HasPrefix(name, "training.") || strings.HasPrefix(name, "checkpoint.")
		return !testing.Short() || !network || name == "tokenizer.gateloop" || name == "training.attention"
	})
}
