package kernels

import (
	"fmt"
	"runtime"
	"testing"
)

func TestScratchTile(t *testing.T) {
	runtime.LockOSThread()
	for _, tl := range []struct {
		name string
		t    tiles
		f    float64
	}{{"f32", isaTiles[AVX512], 1}, {"bf16", bf16Tiles, 2}} {
		for _, n := range []int{64, 96, 256} {
			for _, k := range []int{64, 96, 128, 192, 256, 288, 384, 576, 768} {
				m := 96
				lda := (k+31)/32*32 + 16
				a, b, c := alignedFloats(m*lda), alignedFloats(k*n), alignedFloats(m*n)
				z := alignedFloats(n)
				reps := 2000000000 / (2 * m * n * k)/10
				best := 1e9
				for range 12 {
					s := cpuTime()
					for range reps {
						tl.t.multiply(m, n, k, a, lda, 1, matrix{data: b}, z, 0, c, n)
					}
					best = min(best, (cpuTime()-s)/float64(reps))
				}
				fmt.Printf("%s m=%d n=%d k=%d: %.1f GFLOP/s\n", tl.name, m, n, k, tl.f*2*float64(m*n*k)/best/1e9)
			}
		}
	}
}
