//go:build !amd64

package kernels

func machineISA() ISA { return Generic }
