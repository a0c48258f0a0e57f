package kernels

import (
	"fmt"
	"testing"
)

// BenchmarkConv reports GFLOP/s on all cores; the peak is that of multiply-adds
// without memory. Frames before the first one are left out, which the count of
// operations does not know: kernels of several frames may pass the peak.
func BenchmarkConv(b *testing.B) {
	for _, p := range []Precision{F32, BF16} {
		b.Run(p.String(), func(b *testing.B) { benchmarkConv(b, p) })
	}
}

func benchmarkConv(b *testing.B, p Precision) {
	c, err := NewCPUIn(p, 0)
	if err != nil {
		b.Skip(err)
	}
	defer c.Close()
	peak := c.PeakGFLOPS()
	for _, row := range []struct {
		name string
		conv Conv
	}{
		{"16x16x16x64-64/1x3x3", conv(2, 16, 16, 16, 64, 64, 1, 3, 3)},
		{"16x8x8x96-96/1x3x3", conv(2, 16, 8, 8, 96, 96, 1, 3, 3)},
		{"8x8x8x96-96/3x3x3", conv(2, 8, 8, 8, 96, 96, 3, 3, 3)},
		{"8x8x8x96-96/1x1x1", conv(2, 8, 8, 8, 96, 96, 1, 1, 1)},
		{"16x16x16x48-64/1x3x3", conv(2, 16, 16, 16, 48, 64, 1, 3, 3)},
		{"16x16x16x64-96/1x3x3/2", conv(2, 16, 16, 16, 64, 96, 1, 3, 3).with(func(s *Conv) { s.SH, s.SW = 2, 2 })},
		{"8x8x8x128-128/3x3x3", conv(2, 8, 8, 8, 128, 128, 3, 3, 3)},
		{"8x8x8x256-256/3x3x3", conv(1, 8, 8, 8, 256, 256, 3, 3, 3)},
		{"8x32x32x3-64/7x7x7", conv(1, 8, 32, 32, 3, 64, 7, 7, 7)},
	} {
		act := row.conv.with(func(s *Conv) { s.Act = ELU })
		for _, s := range []Spec{act, ConvGradX{act}, ConvGradW{row.conv}} {
			b.Run(fmt.Sprintf("%T/%s", s, row.name)[len("kernels."):], func(b *testing.B) {
				k, err := c.Prepare(s)
				if err != nil {
					b.Fatal(err)
				}
				var args []Buffer
				for _, a := range values(s, 0) {
					args = append(args, Host(a))
				}
				for b.Loop() {
					k.Run(args...)
				}
				rate := float64(s.FLOPs()) * float64(b.N) / b.Elapsed().Seconds() / 1e9
				b.ReportMetric(rate, "GFLOP/s")
				b.ReportMetric(100*rate/peak, "%peak")
			})
		}
	}
}
