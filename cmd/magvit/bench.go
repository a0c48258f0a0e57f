package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"magvit/gpu"
	"magvit/kernels"
	"magvit/kernels/kerneltest"
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name:        "bench",
		Usage:       "each kernel against its definition, with GFLOP/s and GB/s",
		Description: example("magvit bench --filter '^Conv{'", "magvit bench --check --device gpu --precision bf16", "magvit bench step --preset demo"),
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "check", Usage: "compare the whole suite with the definitions, on a GPU then measure speed, else not"},
			&cli.StringFlag{Name: "filter", Usage: "only kernels whose name matches this `REGEXP`"},
			jsonFlag(),
		}, deviceFlags()...),
		Subcommands: []*cli.Command{benchStepCommand()},
		Action:      bench,
	}
}

// benchRow is one kernel. Shares are of the multiply-adds and of the copying
// that the same machine did in the same run.
type benchRow struct {
	Kernel    string  `json:"kernel"`
	Compared  bool    `json:"compared"` // with the definition
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
	Precision  string     `json:"precision"`
	PeakGFLOPS float64    `json:"peak_gflops,omitempty"`   // of multiply-adds that touch no memory, all cores
	CopyGBPS   float64    `json:"copy_gb_per_s,omitempty"` // bytes read and written by copying, all cores
	Failed     int        `json:"failed"`
	Missing    []string   `json:"missing"` // cases that this device has no kernel for
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
	be, _, err := newDevice(c)
	if err != nil {
		return err
	}
	defer be.Close()
	_, onGPU := be.(*gpu.Device)
	matching := func(all []kerneltest.Case) []kerneltest.Case {
		return slices.DeleteFunc(all, func(k kerneltest.Case) bool { return !filter.MatchString(k.String()) })
	}
	var checked, timed []kerneltest.Case
	if c.Bool("check") {
		checked = matching(kerneltest.Cases())
	}
	if !c.Bool("check") || onGPU {
		timed = matching(kerneltest.Bench())
	}
	if len(checked)+len(timed) == 0 {
		return usagef("--filter %q matches no kernel (without --filter the names are listed)", c.String("filter"))
	}
	r := benchResult{Device: describe(be), Precision: kernels.PrecisionOf(be).String()}
	if len(timed) > 0 {
		if r.PeakGFLOPS, err = kerneltest.PeakFMA(be, benchTime); err != nil {
			return err
		}
		if r.CopyGBPS, err = kerneltest.CopyBandwidth(be, benchTime); err != nil {
			return err
		}
	}
	broken := r.rows(c.Context, be, checked, timed)
	if err := c.Context.Err(); err != nil {
		return err
	}
	if c.Bool("json") {
		err = printJSON(c, r)
	} else {
		err = r.write(c.App.Writer)
	}
	if err == nil {
		err = broken
	}
	if err == nil && r.Failed > 0 {
		err = fmt.Errorf("%d of %d kernels differ from their definition", r.Failed, len(r.Kernels))
	}
	return err
}

// A timed kernel is compared with its definition only up to this much work: the
// definitions are slow on purpose.
const comparable = 1e9

const benchTime = 100 * time.Millisecond // of measuring, for each kernel

// rows fills in the kernels. It stops at an error of the device, which may not have
// survived it.
func (r *benchResult) rows(ctx context.Context, be kernels.Backend, checked, timed []kerneltest.Case) error {
	for i, k := range append(slices.Clip(checked), timed...) {
		if ctx.Err() != nil {
			return nil
		}
		row, err := r.row(be, k, i >= len(checked))
		if errors.Is(err, gpu.ErrNoKernel) {
			r.Missing = append(r.Missing, k.String())
			continue
		}
		if err != nil {
			row.OK, row.Error = false, err.Error()
		}
		if !row.OK {
			r.Failed++
		}
		r.Kernels = append(r.Kernels, row)
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *benchResult) row(be kernels.Backend, k kerneltest.Case, timed bool) (benchRow, error) {
	row := benchRow{Kernel: k.String(), Tolerance: k.Tol, OK: true}
	if row.Compared = !timed || k.Spec.FLOPs() <= comparable; row.Compared {
		got, err := kerneltest.Check(be, k)
		if err != nil {
			return row, err
		}
		row.OK, row.NMSE, row.MaxAbs = got.OK, finite(got.NMSE), finite(got.MaxAbs)
		if got.Err != nil {
			row.Error = got.Err.Error()
		}
	}
	if !timed {
		return row, nil
	}
	t, err := kerneltest.Time(be, k, benchTime)
	if err != nil {
		return row, err
	}
	row.Seconds, row.GFLOPS, row.GBPS = t.Min, t.GFLOPS, t.GBPS
	row.OfPeak, row.OfCopy = row.GFLOPS/r.PeakGFLOPS, row.GBPS/r.CopyGBPS
	return row, nil
}

// finite is x, or the greatest number JSON can hold.
func finite(x float64) float64 { return min(x, 1e300) }

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
		if k.Compared {
			fmt.Fprintf(t, "%s\t%.2g\t%.2g\t", k.Kernel, k.NMSE, k.Tolerance)
		} else {
			fmt.Fprintf(t, "%s\t–\t%.2g\t", k.Kernel, k.Tolerance)
		}
		switch {
		case timed && k.Seconds == 0:
			fmt.Fprint(t, "\t\t\t\t\t")
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
	compared := 0
	for _, k := range r.Kernels {
		if k.Compared {
			compared++
		}
	}
	if len(r.Missing) > 0 {
		fmt.Fprintf(w, "no kernel on this device: %s\n", strings.Join(r.Missing, ", "))
	}
	_, err := fmt.Fprintf(w, "%d kernels, %d compared with their definitions, %d differ\n", len(r.Kernels), compared, r.Failed)
	return err
}
