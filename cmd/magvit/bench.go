package main

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
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
			&cli.BoolFlag{Name: "check", Usage: "compare the whole suite with the definitions, and under mpirun sums over ranks; speed is then measured on a GPU only"},
			&cli.StringFlag{Name: "filter", Usage: "only kernels whose name, or the names of their launches, match this `REGEXP`"},
			&cli.DurationFlag{Name: "timeout", Value: time.Minute, Usage: "time limit of a kernel on a GPU, over all its runs; longer counts as hanging"},
			kernelsFlag(),
			jsonFlag(),
		}, deviceFlags()...),
		Subcommands: []*cli.Command{benchStepCommand(), benchReduceCommand(), benchCodecCommand("encode", "clips to codes"), benchCodecCommand("decode", "codes to clips"), benchDataCommand()},
		Action:      bench,
	}
}

// benchRow is one kernel, or a sum over ranks. Fractions are of the multiply-adds and of the copying speed
// that were measured on the same device in the same run.
type benchRow struct {
	Kernel    string  `json:"kernel"`
	Launches  string  `json:"launches,omitempty"` // on a GPU, the names of the kernels launched; on a CPU, a convolution's algorithm; of a sum over ranks, the library
	Compared  bool    `json:"compared"`           // with the definition
	OK        bool    `json:"ok"`
	NMSE      float64 `json:"nmse"`      // normalised mean squared error against the definition
	Tolerance float64 `json:"tolerance"` // largest NMSE allowed
	MaxAbs    float64 `json:"max_abs"`   // largest difference of a value
	Error     string  `json:"error,omitempty"`
	Seconds   float64 `json:"seconds,omitempty"` // minimum over several runs
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

	Skipped []skippedRow `json:"skipped,omitempty"`
}

func bench(c *cli.Context) error {
	if _, err := arguments(c, 0, 0, ""); err != nil {
		return err
	}
	filter, err := regexp.Compile(c.String("filter"))
	if err != nil {
		return usagef("--filter: %w", err)
	}
	group, err := openRanks(c)
	if err != nil {
		return err
	}
	be, _, err := newDevice(c)
	if err != nil {
		return err
	}
	if err := useKernels(c, be); err != nil {
		return err
	}
	dev, onGPU := be.(*gpu.Device)
	matching := func(on kernels.Backend, all []kerneltest.Case) (cs []benchCase) {
		for _, k := range all {
			if k := (benchCase{k, on}); filter.MatchString(k.String()) || filter.MatchString(k.launches()) {
				cs = append(cs, k)
			}
		}
		return cs
	}
	var checked, timed []benchCase
	if c.Bool("check") {
		if onGPU {
			if hopper, ok := dev.OnHopper(kerneltest.HopperSMs); ok {
				checked = matching(hopper, kerneltest.Hopper())
			}
		}
		all := append(kerneltest.Cases(), kerneltest.Wide()...)
		checked = append(checked, matching(be, append(all, kerneltest.Stored(be, all)...))...)
	}
	if !c.Bool("check") || onGPU {
		timed = matching(be, kerneltest.Halved(be, kerneltest.Bench()))
	}
	var sums sumCases
	if c.Bool("check") {
		sums = newSumCases(be, group, filter)
	}
	if len(checked)+len(timed)+len(sums.host)+len(sums.device) == 0 {
		return usagef("--filter %q matches no kernel (without --filter the names are listed)", c.String("filter"))
	}
	out := c.App.Writer
	switch {
	case !group.First():
		out = io.Discard
	case c.Bool("json"):
		out = c.App.ErrWriter
	}
	b := newBencher(be, out)
	if onGPU {
		b.limit = c.Duration("timeout")
	}
	if err = b.run(c.Context, checked, timed); err == nil {
		err = b.sums(c.Context, group, sums)
	}
	if err == nil {
		err = b.gatherFailed(c.Context, group)
	}
	if !b.hangs && !b.gone { // closing would hang, or fail, too
		err = errors.Join(err, be.Close())
	}
	if err2 := b.end(); err == nil {
		err = err2
	}
	if err == nil && !group.First() {
		return launched.waitForFirst(c.Context) // which reports all failures
	}
	if c.Bool("json") && group.First() {
		err = errors.Join(printJSON(c, b.result), err)
	}
	if err == nil && b.result.Failed > 0 {
		err = fmt.Errorf("%d of %d kernels differ from their definition", b.result.Failed, len(b.result.Kernels))
	}
	if err == nil {
		err = launched.waitForFirst(c.Context)
	}
	return err
}

// finite is x, at most a number that JSON can hold.
func finite(x float64) float64 { return min(x, 1e300) }

const benchHead = "     NMSE   allowed          µs     GFLOP/s  of peak       GB/s  of copy  kernel\n"

// write prints a row of the table.
func (k benchRow) write(w io.Writer) error {
	line := fmt.Sprintf("%9s %9.2g", "–", k.Tolerance)
	if k.Compared {
		line = fmt.Sprintf("%9.2g %9.2g", k.NMSE, k.Tolerance)
	}
	if k.Seconds > 0 {
		line += fmt.Sprintf(" %11.1f %11.2f %6.1f %% %10.2f %6.1f %%", 1e6*k.Seconds, k.GFLOPS, 100*k.OfPeak, k.GBPS, 100*k.OfCopy)
	} else {
		line += strings.Repeat(" ", 53)
	}
	line += "  " + k.Kernel
	if k.Launches != "" {
		line += " [" + k.Launches + "]"
	}
	if !k.OK {
		line += " FAILED: " + k.Error
	}
	_, err := fmt.Fprintln(w, line)
	return err
}
