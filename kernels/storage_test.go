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
		t.Errorf("1, -2.5 lie as %#x, want 0xc0203f80: the first one below", got)
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
	s := kernels.Stored{Spec: kernels.FrameGate{F: 1, P: 3, C: 1}, Half: 0b011}
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
	s.Half = 0b1001
	if s.Validate() == nil {
		t.Error("a fourth argument of three may be half")
	}
	if _, err := kernels.NewCPU(1).Prepare(kernels.Stored{Spec: kernels.Add{Len: 2}, Half: 7}); err == nil {
		t.Error("the CPU, which stores float32, takes half arguments")
	}
}
