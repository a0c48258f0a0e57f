//go:build !amd64

package kernels

func machineISA() ISA   { return Generic }
func machineBF16() bool { return false }
