package kernels

import (
	"math"
	"testing"
)

// 2e-7 is three roundings of float32, over the whole range.
func TestExp32(t *testing.T) {
	for x := float32(-100); x < 95; x += 1. / 1024 {
		for _, f := range []struct {
			name string
			got  float32
			want float64
		}{
			{"exp32", exp32(x), math.Exp(float64(x))},
			{"expm132", expm132(x), math.Expm1(float64(x))},
			{"sigmoid32", sigmoid32(x), sigmoid(float64(x))},
			{"tanh32", tanh32(x), math.Tanh(float64(x))},
		} {
			want := float32(f.want)
			if d := math.Abs(float64(f.got) - f.want); f.got != want && !(d <= 2e-7*math.Abs(f.want)+1e-38) {
				t.Fatalf("%s(%v) = %v, want %v", f.name, x, f.got, want)
			}
		}
	}
	inf := float32(math.Inf(1))
	if got := exp32(inf); got != inf {
		t.Errorf("exp32(Inf) = %v", got)
	}
	if got := exp32(-inf); got != 0 {
		t.Errorf("exp32(-Inf) = %v", got)
	}
	if got := exp32(float32(math.NaN())); got == got {
		t.Errorf("exp32(NaN) = %v", got)
	}
}
