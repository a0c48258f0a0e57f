//go:build !amd64

package kernels

func vectorApply(ISA, Activation, []float32, []float32) int { return 0 }

func vectorGrad(ISA, Activation, []float32, []float32, []float32) int { return 0 }

func peakLoop(_ ISA, n int) int { return peakGeneric(n) }
