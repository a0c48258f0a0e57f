package main

import (
	"fmt"
	"io"
	"math"
	"regexp"
	"runtime"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"magvit/kernels"
	"magvit/kernels/kerneltest"
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name:        "bench",
		Usage:       "each kernel against its definition, with GFLOP/s and GB/s",
		Description: example("magvit bench --filter '^Conv{'", "magvit bench --check", "magvit bench step --preset demo"),
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "check", Usage: "only compare with the definitions, without measuring speed"},
			&cli.StringFlag{Name: "filter", Usage: "only kernels whose name matches this `REGEXP`"},
			jsonFlag(),
		},
		Subcommands: []*cli.Command{benchStepCommand()},
		Action:      bench,
	}
}

// benchRow is one kernel. Shares are of the multiply-adds and of the copying
// that the same machine did in the same run.
type benchRow struct {
	Kernel    string  `json:"kernel"`
	OK        bool    `json:"ok"`
	NMSE      float64 `json:"nmse"`      // normalised mean squared error against the definition
	Tolerance float64 `json:"tolerance"` // greatest NMSE allowed
	MaxAbs    float64 `json:"max_abs"`   // greatest difference of a value
	Error     string  `json:"error,omitempty"`
	Seconds   float64 `json:"seconds,omitempty"` // least of some runs
	GFLOPS    float64 `json:"gflops,omitempty"`
	GBPS      float64 `json:"gb_per_s,omitempty"`
	OfPeak    float64 `json:"share_of_peak,omitempty"`
	OfCopy    float64 `json:"share_of_copy,omitempty"`
}

type benchResult struct {
	Device     string     `json:"device"`
	PeakGFLOPS float64    `json:"peak_gflops,omitempty"`   // of multiply-adds that touch no memory, all cores
	CopyGBPS   float64    `json:"copy_gb_per_s,omitempty"` // bytes read and written by copying, all cores
	Failed     int        `json:"failed"`
	Kernels    []benchRow `json:"kernels"`
}

func bench(c *cli.Context) error {
	if _, err := arguments(c, 0, 0, ""); err != nil {
		return err
	}
	filter, err := regexp.Compile(c.String("filter"))
	if err != nil {
		return usagef("--filter: %w", err)
	}
	var cases []kerneltest.Case
	for _, k := range kerneltest.Cases() {
		if filter.MatchString(k.String()) {
			cases = append(cases, k)
		}
	}
	if len(cases) == 0 {
		return usagef("--filter %q matches none of the %d kernels", c.String("filter"), len(kerneltest.Cases()))
	}
	be, err := newCPU()
	if err != nil {
		return err
	}
	defer be.Close()
	r := benchResult{Device: describe(be)}
	if !c.Bool("check") {
		r.PeakGFLOPS, r.CopyGBPS = be.PeakGFLOPS(), copyGBPS()
	}
	for _, k := range cases {
		if err := c.Context.Err(); err != nil {
			return err
		}
		row, err := r.row(be, k, !c.Bool("check"))
		if err != nil {
			return err
		}
		if !row.OK {
			r.Failed++
		}
		r.Kernels = append(r.Kernels, row)
	}
	if c.Bool("json") {
		err = printJSON(c, r)
	} else {
		err = r.write(c.App.Writer)
	}
	if err == nil && r.Failed > 0 {
		err = fmt.Errorf("%d of %d kernels differ from their definition", r.Failed, len(r.Kernels))
	}
	return err
}

func (r *benchResult) row(be kernels.Backend, k kerneltest.Case, timed bool) (benchRow, error) {
	row := benchRow{Kernel: k.String(), Tolerance: k.Tol}
	got, err := kerneltest.Check(be, k)
	if err != nil {
		return row, err
	}
	row.OK, row.NMSE, row.MaxAbs = got.OK, finite(got.NMSE), finite(got.MaxAbs)
	if got.Err != nil {
		row.Error = got.Err.Error()
	}
	if !timed || !ordinary(k) {
		return row, nil
	}
	if row.Seconds, err = timeKernel(be, k); err != nil {
		return row, err
	}
	row.GFLOPS = float64(k.Spec.FLOPs()) / row.Seconds / 1e9
	row.GBPS = float64(kernels.Bytes(k.Spec)) / row.Seconds / 1e9
	row.OfPeak, row.OfCopy = row.GFLOPS/r.PeakGFLOPS, row.GBPS/r.CopyGBPS
	return row, nil
}

// ordinary says whether a case has finite inputs: with others a kernel may have
// nothing to do, and its speed says nothing.
func ordinary(k kerneltest.Case) bool {
	args := kerneltest.Arguments(k)
	for i, a := range k.Spec.Args() {
		if _, read := k.Draw[a.Name]; a.Out && !read {
			continue
		}
		for _, v := range args[i] {
			if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
				return false
			}
		}
	}
	return true
}

// finite is x, or the greatest number JSON can hold.
func finite(x float64) float64 { return min(x, 1e300) }

// timeKernel is the least time of one run, from some batches of at least 2 ms.
func timeKernel(be kernels.Backend, k kerneltest.Case) (float64, error) {
	kernel, err := be.Prepare(k.Spec)
	if err != nil {
		return 0, err
	}
	var bufs []kernels.Buffer
	for _, values := range kerneltest.Arguments(k) {
		b, err := be.Alloc(len(values))
		if err != nil {
			return 0, err
		}
		if err := be.Write(b, values); err != nil {
			return 0, err
		}
		bufs = append(bufs, b)
	}
	const batches, least = 3, 2 * time.Millisecond
	best := 0.
	for done, n := 0, 1; done < batches; {
		start := time.Now()
		for range n {
			kernel.Run(bufs...)
		}
		if err := be.Sync(); err != nil {
			return 0, err
		}
		took := time.Since(start)
		if took < least {
			n *= 2
			continue
		}
		if per := took.Seconds() / float64(n); done == 0 || per < best {
			best = per
		}
		done++
	}
	return best, nil
}

// copyGBPS measures how fast all cores together copy memory that no cache holds,
// in 10^9 bytes read and written a second: the best of some tries.
func copyGBPS() float64 {
	const bytes = 64 << 20
	src, dst := make([]byte, bytes), make([]byte, bytes)
	for i := range src {
		src[i] = byte(i)
	}
	workers := runtime.GOMAXPROCS(0)
	best := 0.
	for range 6 {
		var all sync.WaitGroup
		start := time.Now()
		for w := range workers {
			from, to := bytes*w/workers, bytes*(w+1)/workers
			all.Go(func() { copy(dst[from:to], src[from:to]) })
		}
		all.Wait()
		best = max(best, 2*bytes/time.Since(start).Seconds()/1e9)
	}
	return best
}

func (r *benchResult) write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	timed := r.PeakGFLOPS > 0
	fmt.Fprintf(t, "%s", r.Device)
	if timed {
		fmt.Fprintf(t, "; multiply-adds %.1f GFLOP/s, copying %.1f GB/s\n", r.PeakGFLOPS, r.CopyGBPS)
		fmt.Fprintln(t, "kernel\tNMSE\tallowed\tµs\tGFLOP/s\tof peak\tGB/s\tof copy\t")
	} else {
		fmt.Fprintln(t, "\nkernel\tNMSE\tallowed\t")
	}
	for _, k := range r.Kernels {
		fmt.Fprintf(t, "%s\t%.2g\t%.2g\t", k.Kernel, k.NMSE, k.Tolerance)
		switch {
		case timed && k.Seconds == 0:
			fmt.Fprint(t, "–\t–\t–\t–\t–\t")
		case timed:
			fmt.Fprintf(t, "%.1f\t%.2f\t%.1f %%\t%.2f\t%.1f %%\t", 1e6*k.Seconds, k.GFLOPS, 100*k.OfPeak, k.GBPS, 100*k.OfCopy)
		}
		if !k.OK {
			fmt.Fprintf(t, "FAILED: %s", k.Error)
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d kernels, %d differ from their definition\n", len(r.Kernels), r.Failed)
	return err
}
