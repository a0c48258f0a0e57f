package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"magvit/kernels"
	"magvit/kernels/kerneltest"
)

const (
	benchTime = 100 * time.Millisecond // of measuring, for each kernel

	// A timed kernel is compared with its definition only up to this much work, as the
	// definitions are slow on purpose: those of products do about 10^9 operations a
	// second, others, whose operations are exponentials and logarithms, a tenth of it.
	// Cases and Wide have smaller ones of each.
	comparableProduct, comparable = 1e9, 1e8
)

// benchCase is a case and the backend that runs it: that of the bencher, or a view of it.
type benchCase struct {
	kerneltest.Case
	on kernels.Backend
}

// bencher runs cases on a device, one after the other. A GPU continues while results are
// compared with definitions, which takes longer. Rows are printed when they are complete.
type bencher struct {
	be     kernels.Backend
	out    io.Writer
	result benchResult
	limit  time.Duration // time limit of a case, 0: none
	hangs  bool          // the device does not answer
	gone   bool          // every call of the device fails

	mu        sync.Mutex // of rows, and out
	rows      []*benchRow
	err       error // of out
	comparing sync.WaitGroup
	free      chan struct{} // a slot for each concurrent comparison
}

func newBencher(be kernels.Backend, out io.Writer) *bencher {
	b := &bencher{be: be, out: out, free: make(chan struct{}, max(1, runtime.NumCPU()-1))}
	b.result = benchResult{Device: describe(be), Precision: kernels.PrecisionOf(be).String(), Missing: []string{}}
	return b
}

// run does the cases that are only compared, simple kernels first, then those that are
// timed. It continues after a failure unless the device is lost.
func (b *bencher) run(ctx context.Context, checked, timed []benchCase) error {
	b.printf("%s, %s\n%s", b.result.Device, b.result.Precision, benchHead)
	for _, k := range ordered(checked) {
		if err := b.row(ctx, k, false); err != nil {
			return err
		}
	}
	b.comparing.Wait()
	if len(timed) == 0 {
		return nil
	}
	err := b.watched("the measurement of peaks", func() (err error) {
		if b.result.PeakGFLOPS, err = kerneltest.PeakFMA(b.be, benchTime); err == nil {
			b.result.CopyGBPS, err = kerneltest.CopyBandwidth(b.be, benchTime)
		}
		return err
	})
	if err != nil {
		return err
	}
	b.printf("multiply-adds %.1f GFLOP/s, copying %.1f GB/s\n", b.result.PeakGFLOPS, b.result.CopyGBPS)
	for _, k := range ordered(timed) {
		if err := b.row(ctx, k, true); err != nil {
			return err
		}
	}
	return nil
}

// launches are the names of the kernels that a GPU runs for the case, or the algorithm of a
// convolution on a CPU.
func (k benchCase) launches() string {
	var names []string
	switch on := k.on.(type) {
	case interface {
		Launches(kernels.Spec) (*kernels.Launches, error)
	}:
		all, err := on.Launches(k.Spec)
		if err != nil {
			return "" // Prepare returns it
		}
		for _, l := range all.List {
			names = append(names, l.Kernel)
		}
	case *kernels.CPU:
		return on.FormOf(k.Spec)
	}
	return strings.Join(names, " ")
}

// ordered sorts cases by complexity: matrix products last, of these float32 ones first,
// then those on tensor cores, then those fed by TMA copies.
func ordered(cases []benchCase) []benchCase {
	rank := func(k benchCase) int {
		names := k.launches()
		switch {
		case kernels.RoundedArgs(k.Spec) == nil:
			return 0
		case strings.Contains(names, "_sm90a"):
			return 3
		case strings.Contains(names, "_mma"):
			return 2
		}
		return 1
	}
	var ranks [4][]benchCase
	for _, k := range cases {
		r := rank(k)
		ranks[r] = append(ranks[r], k)
	}
	return slices.Concat(ranks[:]...)
}

// row runs a case. It returns only errors after which nothing can be run.
func (b *bencher) row(ctx context.Context, k benchCase, timed bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	row := &benchRow{Kernel: k.String(), Tolerance: k.Tol, OK: true, Launches: k.launches()}
	compared := !timed || k.Spec.FLOPs() <= comparable || kernels.RoundedArgs(k.Spec) != nil && k.Spec.FLOPs() <= comparableProduct
	var got [][]float32
	err := b.watched(row.Kernel, func() (err error) {
		if compared {
			if got, err = kerneltest.Outputs(k.on, k.Case); err != nil {
				return err
			}
		}
		if !timed {
			return nil
		}
		t, err := kerneltest.Time(k.on, k.Case, benchTime)
		row.Seconds, row.GFLOPS, row.GBPS = t.Min, t.GFLOPS, t.GBPS
		row.OfPeak, row.OfCopy = row.GFLOPS/b.result.PeakGFLOPS, row.GBPS/b.result.CopyGBPS
		return err
	})
	if errors.Is(err, kernels.ErrNoKernel) {
		b.result.Missing = append(b.result.Missing, row.Kernel)
		return nil
	}
	b.rows = append(b.rows, row)
	if err != nil {
		row.OK, row.Error = false, err.Error()
		b.write(row)
		return b.lost(row.Kernel)
	}
	compare := func() {
		if got != nil {
			r := kerneltest.Compare(got, k.Case, kernels.PrecisionFor(b.be, k.Spec))
			row.Compared, row.OK, row.NMSE, row.MaxAbs = true, r.OK, finite(r.NMSE), finite(r.MaxAbs)
			if r.Err != nil {
				row.Error = r.Err.Error()
			}
		}
		b.write(row)
	}
	if b.limit == 0 { // the device is the CPU
		compare()
		return nil
	}
	b.free <- struct{}{}
	b.comparing.Add(1)
	go func() {
		defer func() { <-b.free; b.comparing.Done() }()
		compare()
	}()
	return nil
}

// watched runs f with the time limit; a kernel that hangs cannot be stopped.
func (b *bencher) watched(name string, f func() error) error {
	if b.limit == 0 {
		return f()
	}
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(b.limit):
		b.hangs = true
		return fmt.Errorf("%s did not finish within %v (--timeout): the kernel hangs", name, b.limit)
	}
}

// lost returns an error if the device is unusable after a failure: an access outside of memory
// ends the context, and every later call fails.
func (b *bencher) lost(name string) error {
	if b.hangs {
		return fmt.Errorf("the device hangs since %s; later cases were not run", name)
	}
	err := b.watched(name, func() error {
		x, err := b.be.Alloc(1)
		if err == nil {
			err = b.be.Write(x, []float32{0})
		}
		if err == nil {
			err = b.be.Sync()
		}
		return err
	})
	if err != nil {
		b.gone = true
		return fmt.Errorf("the device is lost since %s; later cases were not run: %w", name, err)
	}
	return nil
}

func (b *bencher) printf(format string, values ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := fmt.Fprintf(b.out, format, values...); b.err == nil {
		b.err = err
	}
}

func (b *bencher) write(row *benchRow) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := row.write(b.out); b.err == nil {
		b.err = err
	}
}

// end waits for comparisons and prints the summary.
func (b *bencher) end() error {
	b.comparing.Wait()
	r, compared := &b.result, 0
	r.Kernels = []benchRow{}
	for _, row := range b.rows {
		r.Kernels = append(r.Kernels, *row)
		if row.Compared {
			compared++
		}
		if !row.OK {
			r.Failed++
		}
	}
	if len(r.Missing) > 0 {
		b.printf("no kernel on this device: %s\n", strings.Join(r.Missing, ", "))
	}
	b.printf("%d kernels, %d compared with their definitions, %d differ\n", len(r.Kernels), compared, r.Failed)
	return b.err
}
