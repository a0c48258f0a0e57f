package kernels

import (
	"errors"
	"fmt"
	"os"
)

// ISA is an instruction set that CPU kernels are written for.
type ISA int

const (
	Generic ISA = iota // plain Go
	AVX2               // AVX2 and FMA, 8 values a vector
	AVX512             // AVX-512 F, DQ, BW and VL, 16 values a vector
)

func (i ISA) String() string { return [...]string{"plain Go", "AVX2", "AVX-512"}[i] }

// DetectISA is the best set that this machine has, or a lesser one that the
// environment variable MAGVIT_ISA asks for: generic, avx2 or avx512. Another value is an
// error, and so is a set that the machine lacks: a test that asks for one must not
// silently run another.
func DetectISA() (ISA, error) {
	best := machineISA()
	want, ok := map[string]ISA{"": best, "generic": Generic, "avx2": AVX2, "avx512": AVX512}[os.Getenv("MAGVIT_ISA")]
	if !ok {
		return 0, fmt.Errorf("MAGVIT_ISA=%q: want generic, avx2 or avx512", os.Getenv("MAGVIT_ISA"))
	}
	if want > best {
		return 0, fmt.Errorf("MAGVIT_ISA=%s: this machine has only %s", os.Getenv("MAGVIT_ISA"), best)
	}
	return want, nil
}

// CanBF16 says why a CPU backend cannot compute in BF16 here; nil: it can. It needs
// AVX512_BF16 besides the sets of AVX512, which MAGVIT_ISA must not forbid.
func CanBF16() error {
	isa, err := DetectISA()
	switch {
	case err != nil:
		return err
	case machineISA() < AVX512 || !machineBF16():
		return errors.New("bf16 on the CPU needs the instruction set AVX512_BF16, which this CPU lacks; use f32")
	case isa < AVX512:
		return fmt.Errorf("bf16 on the CPU needs AVX-512, which MAGVIT_ISA=%s forbids; use f32, or unset it", os.Getenv("MAGVIT_ISA"))
	}
	return nil
}
