package kernels

import (
	"math"
	"slices"
	"testing"
)

// Errors are relative, to the function where that says how far: 2e-7 is three roundings
// of float32; a slope takes three more. It may be a difference that crosses zero: then
// its error counts against the sum of the terms.
func TestVectorActivations(t *testing.T) {
	const n = 1<<17 + 13 // the last values do not fill a vector
	x, y, dy := alignedFloats(n), alignedFloats(n), alignedFloats(n)
	for i := range x {
		x[i] = -90 + float32(i)/(1<<10)
		dy[i] = 1 + float32(i%7)
	}
	for _, isa := range sets(t) {
		c := cpuWith(t, isa, 1)
		for _, k := range []struct {
			kind   Activation
			within float64
			size   func(s float64) float64 // of the slope's terms
		}{
			{ELU, 2e-7, nil},
			{SiLU, 2e-7, func(x float64) float64 { return sigmoid(x) * (1 + math.Abs(x)) }},
			{LeakyReLU, 1e-7, nil},
			{ReLU, 0, nil},
			{LeakyReLU5, 1e-7, nil},
			{Sigmoid, 2e-7, func(y float64) float64 { return y }},
			{Tanh, 3e-7, func(float64) float64 { return 1 }},
			{GELU, 5e-7, func(x float64) float64 { return normalCDF(x) + math.Abs(x)*math.Exp(-x*x/2) }},
		} {
			copy(y, x)
			c.applySlice(k.kind, y, y)
			for i, v := range x {
				want := k.kind.Apply(float64(v))
				within := k.within
				if k.kind == GELU && v < 0 {
					within *= 1 + float64(v*v)/8 // the exponent's rounding
				}
				if d := math.Abs(float64(y[i]) - want); !(d <= within*math.Abs(want)+1e-35) {
					t.Fatalf("%v: %v(%v) = %v, want %v", isa, k.kind, v, y[i], want)
				}
			}
			at := x
			if k.kind.FromOutput() {
				at = y
			}
			dx := append([]float32(nil), dy...)
			c.gradSlice(k.kind, dx, dx, at)
			for i, v := range at {
				s := float64(v)
				size := 1.
				if k.size != nil {
					size = k.size(s)
				}
				want := float64(dy[i]) * k.kind.Slope(s)
				within := 4e-7
				if k.kind == GELU {
					within = 6e-7 * (1 + s*s/8)
				}
				if d := math.Abs(float64(dx[i]) - want); !(d <= within*float64(dy[i])*size+1e-35) {
					t.Fatalf("%v: the slope of %v at %v times %v is %v, want %v", isa, k.kind, v, dy[i], dx[i], want)
				}
			}
		}
	}
}

// A result does not depend on the position of its value, so that splits into tasks and rows
// do not show.
func TestVectorsDoNotDependOnPlace(t *testing.T) {
	x, at, whole := make([]float32, 50), make([]float32, 50), make([]float32, 50)
	for i := range x {
		x[i], at[i] = float32(i)/7-4, float32(i%9)/9
	}
	for _, isa := range sets(t) {
		v := isaVectors[isa]
		for kind := range activations {
			v.act[kind](whole, x)
			for from := range 20 {
				for n := range 34 - from/2 {
					part := make([]float32, n)
					v.act[kind](part, x[from:from+n])
					if !slices.Equal(part, whole[from:from+n]) {
						t.Fatalf("%v: %v of values %d to %d is %v, want %v", isa, kind, from, from+n, part, whole[from:from+n])
					}
				}
			}
			v.grad[kind](whole, x, at)
			part := make([]float32, 29)
			v.grad[kind](part, x[3:32], at[3:32])
			if !slices.Equal(part, whole[3:32]) {
				t.Errorf("%v: the slope of %v depends on the place", isa, kind)
			}
		}
	}
}

// Sums and the greatest value of every length up to two vectors and a rest.
func TestVectorSums(t *testing.T) {
	for _, isa := range sets(t) {
		v := isaVectors[isa]
		for n := 1; n < 40; n++ {
			x, y := make([]float32, n+1), make([]float32, n)
			sum, squares, dot := 0., 0., 0.
			for i := range y {
				x[i], y[i] = -float32(1+i*7%n), float32(i+1)
				sum += float64(x[i])
				squares += float64(x[i]-2) * float64(x[i]-2)
				dot += float64(x[i]) * float64(y[i])
			}
			x[n] = 1e9 // beyond the end
			x = x[:n]
			if got := v.sum(x); got != sum {
				t.Errorf("%v: the sum of %d values is %v, want %v", isa, n, got, sum)
			}
			if got := v.squares(x, 2); got != squares {
				t.Errorf("%v: squares of %d values are %v, want %v", isa, n, got, squares)
			}
			if got := v.dot(x, y); got != dot {
				t.Errorf("%v: the product of %d values is %v, want %v", isa, n, got, dot)
			}
			if got := v.greatest(x); got != slices.Max(x) {
				t.Errorf("%v: the greatest of %d values is %v, want %v", isa, n, got, slices.Max(x))
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

// Fetched memory is that of both spans in turn, in whole cache lines for each of some tiles; what
// is left over at the end counts as one.
func TestPrefetchNext(t *testing.T) {
	a, b, instead := make([]float32, 104), make([]float32, 16), new(float32)
	f := &prefetch{a, b}
	for i, want := range []struct {
		line     *float32
		fetch, n int
	}{{&a[0], 64, 2}, {&a[64], 64, 2}, {&b[0], 64, 1}, {instead, 0, 2}, {instead, 0, 2}} {
		if line, fetch, n := f.next(2, 2, instead); line != want.line || fetch != want.fetch || n != want.n {
			t.Errorf("call %d fetches from %p on, %d bytes apart, for %d tiles, want %p, %d, %d", i, line, fetch, n, want.line, want.fetch, want.n)
		}
	}
	if line, fetch, n := (*prefetch)(nil).next(3, 1, instead); line != instead || fetch != 0 || n != 3 {
		t.Error("nothing to fetch, and something was")
	}
}
