package kernels

import (
	"fmt"
	"math"
)

// Precision is what a backend computes products in: those of convolutions, and where
// activations are stored in bfloat16 those of attention. Every other kernel computes in
// float32.
type Precision int

const (
	// F32 computes in float32.
	F32 Precision = iota
	// BF16 rounds both operands of each product to bfloat16 and adds the products
	// up in float32: what a definition says of the operands that RoundBF16 gives.
	// A CPU computes in float32 what is as fast in it, see CPU.PrecisionFor.
	// A backend may also store activations in bfloat16 (BF16Storer): the GPU does.
	// Weights, their gradients, statistics, quantizers and losses keep their float32.
	// Subnormal operands and sums may count as zero, as the CPU's AVX512_BF16 has it.
	BF16
)

func (p Precision) String() string {
	switch p {
	case F32:
		return "f32"
	case BF16:
		return "bf16"
	}
	return fmt.Sprintf("Precision(%d)", int(p))
}

// ParsePrecision is the inverse of String.
func ParsePrecision(s string) (Precision, error) {
	for _, p := range []Precision{F32, BF16} {
		if s == p.String() {
			return p, nil
		}
	}
	return 0, fmt.Errorf("precision %q: want f32 or bf16", s)
}

// RoundBF16 is the bfloat16 nearest to x, ties to the even one: float32 with the
// last 16 bits zero. NaN stays NaN.
func RoundBF16(x float32) float32 {
	b := math.Float32bits(x)
	if x != x {
		return math.Float32frombits(b | 1<<22)
	}
	return math.Float32frombits((b + 0x7fff + b>>16&1) &^ 0xffff)
}

// RoundedArgs are the positions, in Args, of the factors that a backend in BF16 rounds; none
// for a Spec that computes no products.
func RoundedArgs(s Spec) (positions []int) {
	_, stored := Plain(s)
	for i, a := range s.Args() {
		if a.Round == RoundInBF16 || a.Round == RoundIfStored && stored {
			positions = append(positions, i)
		}
	}
	return positions
}
