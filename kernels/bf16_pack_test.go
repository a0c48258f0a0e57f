package kernels

import (
	"math"
	"testing"

	"magvit/kernels/philox"
)

// Packed values are those of RoundBF16, subnormal ones zeros, for lengths with and
// without a rest of a vector; nothing beyond them is written.
func TestPackingRoundsAsRoundBF16(t *testing.T) {
	if err := CanBF16(); err != nil {
		t.Skip(err)
	}
	g := philox.New(1, "packing", 0, 0)
	for n := 1; n <= 100; n++ {
		a, b := make([]float32, n), make([]float32, n)
		for i := range a {
			a[i], b[i] = math.Float32frombits(g.Uint32()), float32(g.Normal())
			if i%5 == 0 {
				a[i] = math.Float32frombits(g.Uint32()&^0x7fff | 0x8000) // a tie
			}
		}
		one, two := make([]uint16, n+1), make([]float32, n+1)
		one[n], two[n] = 0xdead, 7
		packRow(one[:n], a)
		packRows(two[:n], a, b)
		for i := range a {
			want, other := roundBits(a[i]), roundBits(b[i])
			if one[i] != want {
				t.Errorf("%d values: bfloat16 of %v (%#x) is %#x, want %#x", n, a[i], math.Float32bits(a[i]), one[i], want)
			}
			if got := halves(two[i : i+1]); got[0] != want || got[1] != other {
				t.Errorf("%d values: word %d is %#x, want %#x and %#x", n, i, got, want, other)
			}
		}
		if one[n] != 0xdead || two[n] != 7 {
			t.Errorf("%d values: the one after them was written", n)
		}
	}
}

// roundBits is RoundBF16 as 16 bits, zero for subnormal values.
func roundBits(x float32) uint16 {
	b := uint16(math.Float32bits(RoundBF16(x)) >> 16)
	if math.Float32bits(x)&0x7f800000 == 0 {
		b &= 0x8000
	}
	return b
}

// VDPBF16PS takes subnormal operands as zero and gives no subnormal sums: what is
// lost is below the least normal float32 times the other operand, so below 1.2e-38
// for each product of operands up to 1.
func TestBF16LosesOnlySubnormals(t *testing.T) {
	if err := CanBF16(); err != nil {
		t.Skip(err)
	}
	s := conv(1, 1, 3, 5, 32, 32, 1, 3, 3)
	for _, spec := range []Spec{s, ConvGradX{s}, ConvGradW{s}} {
		args := values(spec, 0)
		for i, a := range args {
			for j := range a {
				switch {
				case i == 1:
					a[j] *= 1e-38 / 4 // normal and subnormal values
				case i == 2:
					a[j] = max(-1, min(a[j], 1))
				default:
					a[j] = 0
				}
				a[j] = RoundBF16(a[j])
			}
		}
		want := clone(args)
		spec.Define(want...)
		c, err := NewCPUIn(BF16, 1)
		if err != nil {
			t.Fatal(err)
		}
		execute(t, c, spec, args)
		c.Close()
		products, changed := float64(spec.FLOPs())/2/float64(len(args[0])), false
		for j, v := range args[0] {
			if d := math.Abs(float64(v) - float64(want[0][j])); !(d <= products*1.2e-38) {
				t.Fatalf("%s: value %d is %v, want %v", Name(spec), j, v, want[0][j])
			}
			changed = changed || v != want[0][j]
		}
		if !changed {
			t.Errorf("%s: nothing was lost; then say so in the docs", Name(spec))
		}
	}
}
