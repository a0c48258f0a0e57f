package kerneltest

import (
	"fmt"
	"slices"
	"time"

	"magvit/kernels"
)

// Timing is how long a case takes on a backend.
type Timing struct {
	Min, Median float64 // seconds a run
	GFLOPS      float64 // 10^9 floating-point operations a second, at Min
	GBPS        float64 // 10^9 bytes a second at Min, if each argument moves once
}

// Time runs the case again and again for about budget and at least five times.
// Short kernels are timed in batches of a millisecond, so that the clock and the
// wait for the device do not count.
func Time(be kernels.Backend, c Case, budget time.Duration) (Timing, error) {
	fail := func(err error) (Timing, error) {
		return Timing{}, fmt.Errorf("kerneltest: timing %v on %s: %w", c, be.Name(), err)
	}
	k, err := be.Prepare(c.Spec)
	if err != nil {
		return fail(err)
	}
	var args []kernels.Buffer
	specs := c.Spec.Args()
	for i, values := range Arguments(c) {
		b, err := be.Alloc(specs[i].Words())
		if err != nil {
			return fail(err)
		}
		if specs[i].BF16 {
			packed := make([]float32, specs[i].Words())
			kernels.PackBF16(packed, values)
			values = packed
		}
		if err := be.Write(b, values); err != nil {
			return fail(err)
		}
		args = append(args, b)
	}
	batch := func(n int) (time.Duration, error) {
		start := time.Now()
		for range n {
			k.Run(args...)
		}
		err := be.Sync()
		return time.Since(start), err
	}
	n := 1
	for {
		took, err := batch(n)
		if err != nil {
			return fail(err)
		}
		if took >= time.Millisecond {
			break
		}
		n *= 2
	}
	var runs []float64
	for start := time.Now(); len(runs) < 5 || time.Since(start) < budget; {
		took, err := batch(n)
		if err != nil {
			return fail(err)
		}
		runs = append(runs, took.Seconds()/float64(n))
	}
	slices.Sort(runs)
	t := Timing{Min: runs[0], Median: runs[len(runs)/2]}
	t.GFLOPS = float64(c.Spec.FLOPs()) / t.Min / 1e9
	t.GBPS = float64(kernels.Bytes(c.Spec)) / t.Min / 1e9
	return t, nil
}

// CopyBandwidth is how fast the backend copies 64 MiB, more than caches hold, in
// 10^9 bytes read and written a second: what kernels that only move or add
// values can reach at most.
func CopyBandwidth(be kernels.Backend, budget time.Duration) (float64, error) {
	const n = 1 << 24
	t, err := Time(be, Case{Spec: kernels.CropFront{N: 1, T: 1, Inner: n}, Draw: map[string]Draw{"x": Constant(1)}}, budget)
	return t.GBPS, err
}

// PeakFMA is what multiply-adds alone can reach, in 10^9 operations a second: the
// backend's own measure (method PeakGFLOPS) if it has one, else the rate of a
// large matrix product.
func PeakFMA(be kernels.Backend, budget time.Duration) (float64, error) {
	if p, ok := be.(kernels.PeakMeasurer); ok {
		return p.PeakGFLOPS(), nil
	}
	s := kernels.Conv{N: 1, T: 1, H: 1, W: 4096, C: 4096, O: 4096, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}
	t, err := Time(be, Case{Spec: s, Draw: map[string]Draw{"x": Constant(.5, -1), "w": Constant(.25, 1, -1)}}, budget)
	return t.GFLOPS, err
}
