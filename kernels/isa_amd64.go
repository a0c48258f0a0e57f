package kernels

import "golang.org/x/sys/cpu"

func machineISA() ISA {
	x := cpu.X86
	switch {
	case x.HasAVX512F && x.HasAVX512DQ && x.HasAVX512BW && x.HasAVX512VL:
		return AVX512
	case x.HasAVX2 && x.HasFMA:
		return AVX2
	}
	return Generic
}

func machineBF16() bool { return cpu.X86.HasAVX512BF16 }
