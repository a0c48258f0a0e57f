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
	// A backend may store activations in bfloat16 too (Storage): the GPU does.
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

// PrecisionOf is what a backend computes in. One that does not tell computes in float32.
func PrecisionOf(be Backend) Precision {
	if b, ok := be.(interface{ Precision() Precision }); ok {
		return b.Precision()
	}
	return F32
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

// Products are the positions, in Args, of the operands that a backend in BF16 rounds;
// none for a Spec that is no product. Attention whose activations are stored in
// bfloat16 rounds the memory; it may also round the weights that it multiplies values
// with, and their slopes. In float32 storage it rounds nothing.
func Products(s Spec) []int {
	s, half := Plain(s)
	switch s.(type) {
	case Conv, ConvGradX, ConvGradW, ModConv, ModConvGradX, ModConvGradW:
		return []int{1, 2}
	case Attention:
		if half != 0 {
			return []int{2}
		}
	case AttentionGrad, AttentionGradMem:
		if half != 0 {
			return []int{3}
		}
	}
	return nil
}
