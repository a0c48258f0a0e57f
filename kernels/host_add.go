package kernels

import "sync"

// hostVectors are those of DetectISA.
var hostVectors = sync.OnceValue(func() *vectors {
	isa, err := DetectISA()
	if err != nil {
		isa = Generic
	}
	return isaVectors[isa]
})

// AddTo adds values to sums of the same number, as kernel Add does.
func AddTo(sums, values []float32) { hostVectors().add(sums, sums, values[:len(sums)]) }
