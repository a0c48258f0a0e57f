package model

import (
	"testing"

	"magvit/kernels"
)

// exact is a backend on which some kernels are their definitions: plain Go with every
// sum in float64, only what is stored rounded to float32.
type exact struct {
	*kernels.CPU
	some func(kernels.Spec) bool
}

func everything(kernels.Spec) bool { return true }

func convolutions(s kernels.Spec) bool {
	_, ok := s.(kernels.Conv)
	return ok
}

func (e exact) Prepare(s kernels.Spec) (kernels.Kernel, error) {
	if !e.some(s) {
		return e.CPU.Prepare(s)
	}
	return defined{s}, s.Validate()
}

// defined is a kernel that runs its definition.
type defined struct{ kernels.Spec }

func (k defined) Run(args ...kernels.Buffer) {
	values := make([][]float32, len(args))
	for i, a := range args {
		values[i] = a.(kernels.Host)
	}
	k.Define(values...)
}

// plain is the CPU backend without vector instructions.
func plain(t *testing.T) kernels.Backend {
	t.Setenv("MAGVIT_ISA", "generic")
	return cpu(t)
}
