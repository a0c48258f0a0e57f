package kernels_test

import (
	"fmt"
	"runtime"
	"testing"

	"magvit/kernels"
	"magvit/kernels/philox"
)

// BenchmarkLFQ is the entropy loss and its gradient on 5,120 tokens, with the
// bytes that both kernels allocate when they are prepared: all that they ever use
// besides their arguments. A table of tokens and codes would have 5,120·4·2^d bytes.
func BenchmarkLFQ(b *testing.B) {
	const tokens = 5120
	for _, bits := range []int{10, 14, 18} {
		l := kernels.LFQ{Tokens: tokens, Books: 1, Bits: bits}
		for _, c := range []struct {
			name       string
			loss, grad kernels.Spec
		}{
			{"exact", kernels.LFQLoss{LFQ: l, InvTemp: 100}, kernels.LFQLossGrad{LFQ: l, InvTemp: 100}},
			{"floored", kernels.LFQLossFloored{LFQ: l, InvTemp: 100}, kernels.LFQLossFlooredGrad{LFQ: l, InvTemp: 100}},
		} {
			b.Run(fmt.Sprintf("%s/d=%d", c.name, bits), func(b *testing.B) {
				be := kernels.NewCPU(0)
				defer be.Close()
				z, dz := make(kernels.Host, tokens*bits), make(kernels.Host, tokens*bits)
				terms, dterms := make(kernels.Host, 3), kernels.Host{.1, -.25, 1}
				s := philox.New(1, "bench lfq", 0, 0)
				for i := range z {
					z[i] = float32(s.Normal()) * .03
				}
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				loss, err := be.Prepare(c.loss)
				if err != nil {
					b.Fatal(err)
				}
				grad, err := be.Prepare(c.grad)
				if err != nil {
					b.Fatal(err)
				}
				runtime.ReadMemStats(&after)
				for b.Loop() {
					loss.Run(terms, z)
					grad.Run(dz, dterms, z)
				}
				b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/1e6, "MB")
			})
		}
	}
}
