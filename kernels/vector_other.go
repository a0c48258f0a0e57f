//go:build !amd64

package kernels

var isaVectors = map[ISA]*vectors{Generic: &plainVectors}

func peakLoop(_ ISA, n int) int { return peakGeneric(n) }
