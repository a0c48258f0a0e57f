package kerneltest

import (
	"math"

	"magvit/kernels/philox"
)

// Normal draws from the normal distribution with mean 0.
func Normal(std float64) Draw {
	return func(s *philox.Stream, dst []float32) {
		for i := range dst {
			dst[i] = float32(std * s.Normal())
		}
	}
}

// Uniform draws from [low,high).
func Uniform(low, high float64) Draw {
	return func(s *philox.Stream, dst []float32) {
		for i := range dst {
			dst[i] = float32(s.Uniform(low, high))
		}
	}
}

// Whole draws whole numbers from [0,n): code indices.
func Whole(n int) Draw {
	return func(s *philox.Stream, dst []float32) {
		for i := range dst {
			dst[i] = float32(s.IntN(n))
		}
	}
}

// Constant repeats the values.
func Constant(values ...float32) Draw {
	return func(_ *philox.Stream, dst []float32) {
		for i := range dst {
			dst[i] = values[i%len(values)]
		}
	}
}

// Mixed draws from [low,high) but makes every third value, from the second, one of
// the given ones: those where a kernel's branches meet.
func Mixed(low, high float64, values ...float32) Draw {
	return func(s *philox.Stream, dst []float32) {
		Uniform(low, high)(s, dst)
		for i := 1; i < len(dst); i += 3 {
			dst[i] = values[s.IntN(len(values))]
		}
	}
}

// rounded draws whole numbers: those of d, rounded down.
func rounded(d Draw) Draw {
	return func(s *philox.Stream, dst []float32) {
		d(s, dst)
		for i, v := range dst {
			dst[i] = float32(math.Floor(float64(v)))
		}
	}
}

// spaced draws a permutation of values 1/2 apart: no step of a difference changes their order.
func spaced(s *philox.Stream, dst []float32) {
	for i := range dst {
		j := s.IntN(i + 1)
		dst[i], dst[j] = dst[j], float32(i-len(dst)/2)/2
	}
}
