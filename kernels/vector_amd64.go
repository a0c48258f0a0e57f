package kernels

// vectorApply does dst = kind(src) for the leading values that fill whole vectors,
// if there is a routine for it, and returns how many they are.
func vectorApply(isa ISA, kind Activation, dst, src []float32) int {
	var do func(dst, x *float32, n int)
	switch {
	case isa == AVX512 && kind == ELU:
		do = eluAVX512
	case isa == AVX512 && kind == SiLU:
		do = siluAVX512
	case isa == AVX2 && kind == ELU:
		do = eluAVX2
	case isa == AVX2 && kind == SiLU:
		do = siluAVX2
	}
	n := len(dst) / 16 * 16
	if do == nil || n == 0 {
		return 0
	}
	do(&dst[0], &src[:n][0], n)
	return n
}

// vectorGrad does the same for dx = dy·kind'(s), s as in ActGrad.
func vectorGrad(isa ISA, kind Activation, dx, dy, s []float32) int {
	var do func(dx, dy, s *float32, n int)
	switch {
	case isa == AVX512 && kind == ELU:
		do = eluGradAVX512
	case isa == AVX512 && kind == SiLU:
		do = siluGradAVX512
	case isa == AVX2 && kind == ELU:
		do = eluGradAVX2
	case isa == AVX2 && kind == SiLU:
		do = siluGradAVX2
	}
	n := len(dx) / 16 * 16
	if do == nil || n == 0 {
		return 0
	}
	do(&dx[0], &dy[:n][0], &s[:n][0], n)
	return n
}

// peakLoop makes n rounds of independent multiply-adds in registers and returns the
// number of floating-point operations of a round.
func peakLoop(isa ISA, n int) int {
	switch isa {
	case AVX512:
		peakAVX512(n)
		return 2 * 12 * 16
	case AVX2:
		peakAVX2(n)
		return 2 * 12 * 8
	}
	return peakGeneric(n)
}
