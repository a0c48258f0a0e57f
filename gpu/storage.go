package gpu

import "magvit/kernels"

// storage tells which arguments of a Spec may lie in bfloat16: those of Tied take the
// kernel with the name NAME_half. Small things stay float32, and what parameters,
// quantizers and losses are made of.
func storage(s kernels.Spec) kernels.Storage {
	switch s.(type) {
	case kernels.Add:
		return tied(0, 1, 2)
	}
	return kernels.Storage{}
}

func tied(args ...int) kernels.Storage { return kernels.Storage{Tied: mask(args)} }

// mask has a bit for each argument.
func mask(args []int) (m uint32) {
	for _, i := range args {
		m |= 1 << i
	}
	return m
}
