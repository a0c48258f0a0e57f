package kernels_test

import (
	"testing"

	"magvit/kernels"
	"magvit/kernels/kerneltest"
)

// BenchmarkKernels runs kerneltest's realistic sizes on all cores.
func BenchmarkKernels(b *testing.B) {
	be := kernels.NewCPU(0)
	defer be.Close()
	for _, c := range kerneltest.Bench() {
		b.Run(c.String(), func(b *testing.B) {
			k, err := be.Prepare(c.Spec)
			if err != nil {
				b.Fatal(err)
			}
			var args []kernels.Buffer
			for _, values := range kerneltest.Arguments(c) {
				args = append(args, kernels.Host(values))
			}
			for b.Loop() {
				k.Run(args...)
			}
			perRun := b.Elapsed().Seconds() / float64(b.N)
			b.ReportMetric(float64(kernels.Bytes(c.Spec))/perRun/1e9, "GB/s")
			b.ReportMetric(float64(c.Spec.FLOPs())/perRun/1e9, "GFLOP/s")
		})
	}
}
