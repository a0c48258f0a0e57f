package kernels

import (
	"math"
	"testing"
)

// 2e-7 is three roundings of float32; a slope takes three more. It is a difference
// that crosses zero: its error counts against the sum of the terms.
func TestVectorActivations(t *testing.T) {
	const n = 1<<17 + 13 // the last values do not fill a vector
	x, y, dy := alignedFloats(n), alignedFloats(n), alignedFloats(n)
	for i := range x {
		x[i] = -90 + float32(i)/(1<<10)
		dy[i] = 1 + float32(i%7)
	}
	for _, isa := range sets(t) {
		c := cpuWith(t, isa, 1)
		for _, kind := range []Activation{ELU, SiLU} {
			copy(y, x)
			c.applySlice(kind, y, y)
			for i, v := range x {
				want := kind.Apply(float64(v))
				if d := math.Abs(float64(y[i]) - want); !(d <= 2e-7*math.Abs(want)+1e-35) {
					t.Fatalf("%v: %v(%v) = %v, want %v", isa, kind, v, y[i], want)
				}
			}
			at := x
			if kind.FromOutput() {
				at = y
			}
			dx := append([]float32(nil), dy...)
			c.gradSlice(kind, dx, dx, at)
			for i, v := range at {
				s := float64(v)
				size := 1.
				if kind == SiLU {
					size = sigmoid(s) * (1 + math.Abs(s))
				}
				want := float64(dy[i]) * kind.Slope(s)
				if d := math.Abs(float64(dx[i]) - want); !(d <= 4e-7*float64(dy[i])*size+1e-35) {
					t.Fatalf("%v: the slope of %v at %v times %v is %v, want %v", isa, kind, v, dy[i], dx[i], want)
				}
			}
		}
	}
}

func TestVectorActivationsKeepNaNAndInfinity(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, isa := range sets(t) {
		c := cpuWith(t, isa, 1)
		x := make([]float32, 32)
		for i, v := range []float32{nan, inf, -inf, 0} {
			x[i], x[31-i] = v, v
		}
		y, dx := make([]float32, len(x)), make([]float32, len(x))
		c.applySlice(ELU, y, x)
		for _, i := range []int{0, 31} {
			if y[i] == y[i] {
				t.Errorf("%v: ELU(NaN) = %v", isa, y[i])
			}
		}
		if y[1] != inf || y[2] != -1 || y[3] != 0 {
			t.Errorf("%v: ELU(Inf, -Inf, 0) = %v, want +Inf -1 0", isa, y[1:4])
		}
		c.applySlice(SiLU, y, x)
		c.gradSlice(ELU, dx, x, x)
		if y[0] == y[0] || dx[0] == dx[0] {
			t.Errorf("%v: SiLU(NaN) = %v, NaN·slope(NaN) = %v", isa, y[0], dx[0])
		}
	}
}

func BenchmarkActivation(b *testing.B) {
	c := NewCPU(1)
	defer c.Close()
	x, y := alignedFloats(block), alignedFloats(block)
	for i := range x {
		x[i] = float32(i%64)/8 - 4
	}
	for _, kind := range []Activation{ELU, SiLU} {
		b.Run(kind.String(), func(b *testing.B) {
			b.SetBytes(4 * block)
			for b.Loop() {
				c.applySlice(kind, y, x)
			}
		})
		b.Run(kind.String()+"Grad", func(b *testing.B) {
			b.SetBytes(4 * block)
			for b.Loop() {
				c.gradSlice(kind, y, x, x)
			}
		})
	}
}
