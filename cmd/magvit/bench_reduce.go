package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"magvit/gpu"
	"magvit/kernels"
	"magvit/trainer/ranks"
	"magvit/trainer/ranks/mpi"
)

func benchReduceCommand() *cli.Command {
	return &cli.Command{
		Name:        "reduce",
		Usage:       "sums of gradients over ranks: latency, bandwidth, and whether they are right",
		Description: "Started by mpirun, of its ranks; with a GPU each, also of NCCL.\n" + example("magvit bench reduce --ranks 4"),
		Flags: append([]cli.Flag{
			&cli.IntFlag{Name: "ranks", Value: 2, Usage: "without a launcher: `N` goroutines of this process"},
			&cli.Float64Flag{Name: "max", Value: 64, Usage: "largest sum in `MB`"},
			jsonFlag(),
		}, deviceFlags()...),
		Action: benchReduce,
	}
}

// reduceRow is sums of one size.
type reduceRow struct {
	How     string  `json:"how"` // in order, as trainings add; in bf16, as with train.reduce=bf16; or by the MPI library or nccl, in their own orders
	Bytes   int     `json:"bytes"`
	Seconds float64 `json:"median_s"`
	Least   float64 `json:"min_s"`
	GBPS    float64 `json:"gb_per_s"` // sent by each rank, at the median
}

// reduceResult is what bench reduce --json prints. The link is fitted to sums in order: each is two
// exchanges, in which a rank sends all but its own part.
type reduceResult struct {
	Ranks   int         `json:"ranks"`
	By      string      `json:"by"` // MPI library, or goroutines
	Rows    []reduceRow `json:"rows"`
	Latency float64     `json:"latency_s"`   // of an exchange
	Rate    float64     `json:"bytes_per_s"` // sent by each rank
}

func benchReduce(c *cli.Context) error {
	if _, err := arguments(c, 0, 0, ""); err != nil {
		return err
	}
	if n := c.Int("ranks"); n < 2 || n > 64 {
		return usagef("--ranks %d: want 2 to 64", n)
	}
	if m := c.Float64("max"); !(m >= .01 && m <= 4096) {
		return usagef("--max %v: want 0.01 to 4096 MB", m)
	}
	g, err := openRanks(c)
	if err != nil {
		return err
	}
	r := reduceResult{Ranks: g.Size(), By: mpi.Library + ", " + launched.exchange()}
	if g.Size() == 1 {
		r.Ranks, r.By = c.Int("ranks"), "goroutines of one process"
		r.Rows, err = amongGoroutines(c.Context, r.Ranks, c.Float64("max"))
	} else {
		r.Rows, err = reduceRows(c.Context, g, c.Float64("max"))
	}
	if err != nil {
		return err
	}
	r.fit()
	if g.Size() > 1 && c.String("device") != "cpu" {
		rows, err := reduceOnDevice(c, g)
		if err != nil {
			return err
		}
		r.Rows = append(r.Rows, rows...)
	}
	if !launched.first() {
		return nil
	}
	if c.Bool("json") {
		return printJSON(c, r)
	}
	return r.write(c.App.Writer)
}

// amongGoroutines are the rows of n ranks in this process.
func amongGoroutines(ctx context.Context, n int, most float64) ([]reduceRow, error) {
	rows, errs := make([][]reduceRow, n), make([]error, n)
	var all sync.WaitGroup
	for i, t := range ranks.InProcess(n) {
		all.Go(func() {
			g, err := ranks.NewGroup(ctx, t, time.Minute)
			if err == nil {
				rows[i], err = reduceRows(ctx, g, most)
			}
			if errs[i] = err; err != nil {
				t.Fail(ranks.Failure{Rank: i, Reason: err.Error()})
			}
		})
	}
	all.Wait()
	return rows[0], errors.Join(errs...)
}

// reduceSizes are the bytes of the sums that are measured: 4 KB, and four times as many up to most MB.
func reduceSizes(most float64) (list []int) {
	for n := 4096; n <= int(most*1e6) || len(list) == 0; n *= 4 {
		list = append(list, n)
	}
	return list
}

// reduceRows measures sums in order.
func reduceRows(ctx context.Context, g *ranks.Group, most float64) (rows []reduceRow, err error) {
	tree := ranks.Tree{Leaves: g.Size()}
	for _, size := range reduceSizes(most) {
		n := size / 4
		s := ranks.NewSummer(g, tree, n)
		own, total := make([]float32, n), make([]float32, n)
		for i := range own {
			own[i] = reduceValue(g.Rank(), i)
		}
		how := []way{{"in order", 0, func() error { return s.Sum(ctx, own, total) }}}
		rounded := ranks.NewSummer(g, tree, n)
		rounded.RoundToBF16()
		how = append(how, way{"in bf16", 1. / 256, func() error { return rounded.Sum(ctx, own, total) }})
		if lib, ok := launched.transport.(ranks.Reducer); ok {
			how = append(how, way{"by the library", 0, func() error {
				copy(total, own)
				_, err := lib.AllReduce(total).Wait(ctx)
				return err
			}})
		}
		for _, h := range how {
			row, err := timeReduce(h.name, size, g.Size(), h.sum)
			if err != nil {
				return nil, err
			}
			if err := checkReduce(total, g.Size(), h.off); err != nil {
				return nil, fmt.Errorf("%s: sum %s of %d bytes: %w", g.Name(g.Rank()), h.name, size, err)
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// way is one that sums are made by.
type way struct {
	name string
	off  float64 // what results may be off by, as a fraction
	sum  func() error
}

// timeReduce calls sum as often for all ranks.
func timeReduce(how string, size, ranks int, sum func() error) (reduceRow, error) {
	var times []float64
	for i := range max(5, min(50, 20_000_000/size)) + 1 {
		began := time.Now()
		if err := sum(); err != nil {
			return reduceRow{}, err
		}
		if i > 0 { // the first one finds memory and caches cold
			times = append(times, time.Since(began).Seconds())
		}
	}
	slices.Sort(times)
	median := times[len(times)/2]
	return reduceRow{how, size, median, times[0], sent(size, ranks) / median / 1e9}, nil
}

// sent is the bytes that each rank sends for a sum.
func sent(size, ranks int) float64 { return 2 * float64(size) * float64(ranks-1) / float64(ranks) }

// reduceValue is a rank's value i: a small whole number, whose sums are exact in any order.
func reduceValue(rank, i int) float32 { return float32((i*7+rank*5)%251 - 100) }

// checkReduce compares sums with the right ones, which may be off by a fraction of their size.
func checkReduce(total []float32, ranks int, off float64) error {
	for i, got := range total {
		want := float32(0)
		for r := range ranks {
			want += reduceValue(r, i)
		}
		if math.Abs(float64(got-want)) > off*math.Abs(float64(want)) {
			return fmt.Errorf("value %d is %v, want %v", i, got, want)
		}
	}
	return nil
}

// reduceOnDevice measures NCCL's sums between the GPUs of all ranks; no rows without GPUs.
func reduceOnDevice(c *cli.Context, g *ranks.Group) (rows []reduceRow, err error) {
	be, _, err := newDevice(c)
	if err != nil {
		return nil, err
	}
	defer be.Close()
	if why, err := connectGPUs(c.Context, be, g, time.Minute); err != nil || why != nil {
		return nil, err
	}
	dev, ok := be.(*gpu.Device)
	if !ok {
		return nil, nil
	}
	for _, size := range reduceSizes(c.Float64("max")) {
		n := size / 4
		b, err := dev.Alloc(n)
		if err != nil {
			return nil, err
		}
		own, total := make([]float32, n), make([]float32, n)
		for i := range own {
			own[i] = reduceValue(g.Rank(), i)
		}
		if err := dev.Write(b, own); err != nil {
			return nil, err
		}
		dev.AllReduce(b, false)
		if err := dev.Read(total, b); err != nil {
			return nil, err
		}
		if err := checkReduce(total, g.Size(), 0); err != nil {
			return nil, fmt.Errorf("%s: NCCL's sum of %d bytes: %w", g.Name(g.Rank()), size, err)
		}
		if err := dev.Write(b, make([]float32, n)); err != nil { // repeated sums of others would grow
			return nil, err
		}
		row, err := timeReduce("nccl", size, g.Size(), func() error { dev.AllReduce(b, false); return dev.Sync() })
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// connectGPUs joins the GPUs of all ranks by NCCL, if all have one. why is the reason that NCCL cannot be used:
// sums go through the memory of the hosts then.
func connectGPUs(ctx context.Context, be kernels.Backend, g *ranks.Group, timeout time.Duration) (why, err error) {
	if g.Size() == 1 {
		return nil, nil
	}
	dev, ok := be.(*gpu.Device)
	if without, err := g.Any(ctx, !ok); err != nil || without {
		return nil, err
	}
	var id gpu.UniqueID
	if g.First() {
		id, why = gpu.NewUniqueID()
	} else {
		_, why = gpu.NCCL()
	}
	if without, err := g.Any(ctx, why != nil); err != nil || without {
		if why == nil {
			why = fmt.Errorf("%w on another rank", gpu.ErrNoNCCL)
		}
		return why, err
	}
	if err := g.Broadcast(ctx, 0, id[:]); err != nil {
		return nil, err
	}
	return nil, dev.Connect(gpu.Peers{ID: id, Rank: g.Rank(), Size: g.Size(), Timeout: timeout})
}

// fit finds the link by the sums in order: latency by the smallest one, rate by the size that has the highest.
func (r *reduceResult) fit() {
	first := r.Rows[0]
	r.Latency, r.Rate = first.Seconds/2, sent(first.Bytes, r.Ranks)/first.Seconds
	for _, row := range r.Rows[1:] {
		if more := row.Seconds - first.Seconds; more > 0 && row.How == first.How {
			r.Rate = max(r.Rate, (sent(row.Bytes, r.Ranks)-sent(first.Bytes, r.Ranks))/more)
		}
	}
}

func (r reduceResult) write(w io.Writer) error {
	fmt.Fprintf(w, "%d ranks, %s; every sum was right\n", r.Ranks, r.By)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "bytes\tms\tleast ms\tGB/s\t  sum")
	for _, row := range r.Rows {
		fmt.Fprintf(t, "%d\t%.3f\t%.3f\t%.2f\t  %s\n", row.Bytes, 1e3*row.Seconds, 1e3*row.Least, row.GBPS, row.How)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "an exchange takes %.1f µs, and %.2f GB/s from each rank: magvit bench step --ranks N --link %.1f,%.2f predicts steps, with --plan of GPUs\n",
		1e6*r.Latency, r.Rate/1e9, 1e6*r.Latency, r.Rate/1e9)
	return err
}
