package kernels_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"magvit/kernels"
)

func TestPackBF16(t *testing.T) {
	src := []float32{1, -2.5, float32(math.Inf(1)), 0x1.018p0, 1e-30}
	words, back := make([]float32, 3), make([]float32, 5)
	kernels.PackBF16(words, src)
	if got := math.Float32bits(words[0]); got != 0xc0203f80 {
		t.Errorf("1, -2.5 are stored as %#x, want 0xc0203f80: the first one below", got)
	}
	kernels.UnpackBF16(back, words)
	for i, v := range src {
		src[i] = kernels.RoundBF16(v)
	}
	if !slices.Equal(back, src) {
		t.Errorf("got %v, want %v", back, src)
	}
}

func TestStored(t *testing.T) {
	s := kernels.StoreBF16(kernels.FrameGate{F: 1, P: 3, C: 1}, "y", "x")
	if name := kernels.Name(s); !strings.HasSuffix(name, "with bf16 y,x") {
		t.Error(name)
	}
	if n := kernels.Bytes(s); n != 4*(2+2+1) {
		t.Errorf("%d bytes, want 20: two words, two words, a float32", n)
	}
	y := make([]float32, 3)
	s.Define(y, []float32{1, 3, 5}, []float32{0x1.01p0})
	if want := []float32{1, 3.015625, 5.03125}; !slices.Equal(y, want) {
		t.Errorf("%v, want %v: rounded to bfloat16", y, want)
	}
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
	if err := kernels.StoreBF16(kernels.FrameGate{F: 1, P: 3, C: 1}, "y").Validate(); err == nil || !strings.Contains(err.Error(), "all or none of y,x") {
		t.Errorf("one of two uniform arguments: %v", err)
	}
	if err := kernels.StoreBF16(kernels.FrameGate{F: 1, P: 3, C: 1}, "g").Validate(); err == nil || !strings.Contains(err.Error(), "g is stored in bf16") {
		t.Errorf("an argument that is always float32: %v", err)
	}
	if err := kernels.StoreBF16(kernels.ConvGradW{Conv: pointConv}, "x").Validate(); err != nil {
		t.Errorf("one of two arguments that may differ: %v", err)
	}
	if _, err := kernels.NewCPU(1).Prepare(kernels.StoreAllBF16(kernels.Add{Len: 2})); err == nil {
		t.Error("the CPU, which stores float32, takes arguments in bf16")
	}
}

// pointConv is a convolution of one pixel.
var pointConv = kernels.Conv{N: 1, T: 1, H: 1, W: 1, C: 1, O: 1, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}
