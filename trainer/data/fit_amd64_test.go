package data

import (
	"fmt"
	"math"
	"testing"

	"magvit/kernels/philox"
)

// The vector code that scales frames has the bits of its definition, for lines of any length and any number of taps.
func TestScalingByVectorsHasTheSameBits(t *testing.T) {
	if !fitAVX {
		t.Skip("a processor without AVX")
	}
	r := philox.New(3, "scaling", 0, 0)
	for range 300 {
		w, to := 1+r.IntN(70), 1+r.IntN(70)
		from := r.IntN(to)
		cols := taps(w, to, from, 1+r.IntN(to-from))
		in := make([]byte, 3*w+1)
		for k := range in {
			in[k] = byte(r.IntN(256))
		}
		line := 3 * len(cols)
		want, got := make([]float32, line), make([]float32, line+1)
		narrowLine(want, in[:3*w], cols, 3, 1./255)
		narrowRGB(&got[0], &in[0], cols, 1./255)
		sameBits(t, "narrowRGB", want, got[:line])

		weight := make([]float32, 1+r.IntN(14))
		lines := make([]float32, len(weight)*line)
		for k := range weight {
			weight[k] = float32(r.Float64()) / float32(len(weight)) * 3
		}
		for k := range lines {
			lines[k] = float32(r.Float64())
		}
		lines[r.IntN(len(lines))] = float32(math.NaN())
		addLines(want, lines, weight)
		sumLines(got[:line], &lines[0], weight)
		sameBits(t, "sumLines", want, got[:line])
	}
}

func sameBits(t *testing.T, name string, want, got []float32) {
	t.Helper()
	for k := range want {
		if math.Float32bits(want[k]) != math.Float32bits(got[k]) {
			t.Fatalf("%s: value %d of %d is %v, want %v", name, k, len(want), got[k], want[k])
		}
	}
}

// BenchmarkFit scales a frame of 1280x720 and cuts 128x128 pixels out of its middle.
func BenchmarkFit(b *testing.B) {
	frame, dst := make([]byte, 720*1280*3), make([]float32, 128*128*3)
	defer func(was bool) { fitAVX = was }(fitAVX)
	for _, fitAVX = range []bool{false, fitAVX} {
		b.Run(fmt.Sprintf("avx=%v", fitAVX), func(b *testing.B) {
			s := &scaled{}
			for b.Loop() {
				fitFrame(s, dst, frame, 720, 1280, 3, fit{mode: fitCenter, H: 128, W: 128}, 1./255)
			}
		})
	}
}
