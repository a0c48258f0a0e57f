package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"magvit/kernels"
	"magvit/kernels/kerneltest"
	"magvit/kernels/philox"
	"magvit/trainer/ranks"
	"magvit/trainer/ranks/mpi"
)

// sumSizes are the numbers of values that bench --check adds up over ranks: one, odd numbers, and a bucket of
// the default train.bucket.
var sumSizes = []int{1, 3, 1001, 65537, 250000}

// sumGuard is the number of words before and after a sum's memory on a device that must stay as they are.
const sumGuard = 64

// sumCase is a sum over ranks that bench --check compares with the definition, which adds float32 values in the order
// of a ranks.Tree. The values are between 1 and 2, so that each addition rounds by a fraction of the result.
type sumCase struct {
	name string
	size sumSize
	by   string  // what moves or adds the values
	tol  float64 // largest NMSE; 0: the same bits
	run  func(ctx context.Context, own []float32) (got []float32, err error)

	scattered bool // a rank gets the sum of its part of the values alone
}

type sumSize struct {
	Ranks, Len int
	BF16       bool
}

func (s sumCase) String() string { return s.name + fmt.Sprintf("%+v", s.size) }

// rounded is the NMSE of sums that were rounded n times by at most a fraction of the result.
func rounded(n int, fraction float64) float64 { return float64(n*n) * fraction * fraction }

const (
	halfULP     = 1. / (1 << 24) // of float32
	halfULPBF16 = 1. / (1 << 8)
)

// hostSums are sums through the memory of the hosts, as trainings on CPUs make them, and by the MPI library.
func hostSums(g *ranks.Group, size int) (list []sumCase) {
	for _, n := range sumSizes {
		for _, bf16 := range []bool{false, true} {
			c := sumCase{name: "SumInOrder", size: sumSize{size, n, bf16}, by: mpi.Library}
			if bf16 { // a value where it is sent, and a sum where it is sent back
				c.tol = rounded(2, halfULPBF16)
			}
			c.run = func(ctx context.Context, own []float32) ([]float32, error) {
				s := ranks.NewSummer(g, ranks.Tree{Leaves: size}, n)
				if bf16 {
					s.RoundToBF16()
				}
				total := make([]float32, n)
				return total, s.Sum(ctx, own, total)
			}
			list = append(list, c)
		}
		list = append(list, sumCase{name: "AllReduce", size: sumSize{size, n, false}, by: mpi.Library, tol: rounded(size-1, halfULP),
			run: func(ctx context.Context, own []float32) ([]float32, error) {
				lib, ok := launched.transport.(ranks.Reducer)
				if !ok {
					return nil, fmt.Errorf("%s has no sums of its own", mpi.Library)
				}
				_, err := lib.AllReduce(own).Wait(ctx)
				return own, err
			}})
	}
	return list
}

// deviceSums are sums between devices: as trainings make them, and in NCCL's own order.
func deviceSums(be kernels.Backend, size int) (list []sumCase) {
	dev, _ := be.(kernels.Collective)
	for _, n := range sumSizes {
		inOrder := func(_ context.Context, own []float32) ([]float32, error) {
			s, err := ranks.NewDeviceSummer(be, dev, ranks.Tree{Leaves: size}, n)
			if err != nil {
				return nil, err
			}
			send, err := be.Alloc(s.Workspace())
			if err != nil {
				return nil, err
			}
			recv, err := be.Alloc(s.Workspace())
			if err != nil {
				return nil, err
			}
			return onDevice(be, own, func(b kernels.Buffer) kernels.Buffer { s.Enqueue(b, send, recv); return b })
		}
		list = append(list, sumCase{name: "SumInOrder", size: sumSize{size, n, false}, by: "NCCL", run: inOrder})
		for _, bf16 := range []bool{false, true} {
			tol, words := rounded(size-1, halfULP), func(values int) int { return values }
			if bf16 {
				tol, words = rounded(size-1, halfULPBF16), func(values int) int { return (values + 1) / 2 }
			}
			through := func(own []float32, sum func(b kernels.Buffer) kernels.Buffer) ([]float32, error) {
				if !bf16 {
					return onDevice(be, own, sum)
				}
				packed := make([]float32, words(len(own)))
				kernels.PackBF16(packed, own)
				packed, err := onDevice(be, packed, sum)
				got := make([]float32, min(len(own), 2*len(packed)))
				kernels.UnpackBF16(got, packed)
				return got, err
			}
			list = append(list,
				sumCase{name: "AllReduce", size: sumSize{size, n, bf16}, by: "NCCL", tol: tol,
					run: func(_ context.Context, own []float32) ([]float32, error) {
						return through(own, func(b kernels.Buffer) kernels.Buffer { dev.AllReduce(b, bf16); return b })
					}},
				sumCase{name: "ReduceScatter", size: sumSize{size, size * (n + n%2), bf16}, by: "NCCL", tol: tol, scattered: true,
					run: func(_ context.Context, own []float32) ([]float32, error) {
						return through(own, func(b kernels.Buffer) kernels.Buffer {
							rank, each := launched.group.Rank(), b.Len()/size
							part := b.Slice(rank*each, (rank+1)*each)
							dev.ReduceScatter(part, b, bf16)
							return part
						})
					}})
		}
	}
	return list
}

// onDevice is what is in the buffer that sum returns, a part of the one that it gets with values. Words around the
// values that were written are an error.
func onDevice(be kernels.Backend, values []float32, sum func(kernels.Buffer) kernels.Buffer) ([]float32, error) {
	guarded := make([]float32, len(values)+2*sumGuard)
	copy(guarded[sumGuard:], values)
	whole, err := be.Alloc(len(guarded))
	if err != nil {
		return nil, err
	}
	if err := be.Write(whole, guarded); err != nil {
		return nil, err
	}
	out := sum(whole.Slice(sumGuard, sumGuard+len(values)))
	got := make([]float32, out.Len())
	if err := be.Read(got, out); err != nil {
		return nil, err
	}
	if err := be.Read(guarded, whole); err != nil {
		return nil, err
	}
	for i, v := range guarded {
		if (i < sumGuard || i >= sumGuard+len(values)) && v != 0 {
			return nil, fmt.Errorf("word %d outside of %d was written", i-sumGuard, len(values))
		}
	}
	return got, nil
}

// drawn are the values that a rank adds to a sum.
func (s sumCase) drawn(rank int) []float32 {
	values := make([]float32, s.size.Len)
	r := philox.New(1, "sum over ranks", uint64(rank), 0)
	for i := range values {
		values[i] = float32(r.Uniform(1, 2))
		if s.size.BF16 {
			values[i] = kernels.RoundBF16(values[i])
		}
	}
	return values
}

// defined is the sum of all ranks' values in order.
func (s sumCase) defined() []float32 {
	tree, all := ranks.Tree{Leaves: s.size.Ranks}, make([][]float32, s.size.Ranks)
	var nodes []ranks.Node
	for i := range all {
		nodes, all[i] = append(nodes, tree.Nodes(i, i+1)...), s.drawn(i)
	}
	return tree.Add(nodes, all)
}

// skippedRow says why rows were left out.
type skippedRow struct {
	Kernel string `json:"kernel"`
	Why    string `json:"why"`
}

// sumCases are the sums of bench --check: through the hosts' memory, and between devices.
type sumCases struct{ host, device []sumCase }

// newSumCases has the sums whose names match the filter, of two ranks in a process on its own.
func newSumCases(be kernels.Backend, g *ranks.Group, filter *regexp.Regexp) (s sumCases) {
	matching := func(all []sumCase) (list []sumCase) {
		for _, s := range all {
			if filter.MatchString(s.String()) {
				list = append(list, s)
			}
		}
		return list
	}
	size := max(2, g.Size())
	return sumCases{matching(hostSums(g, size)), matching(deviceSums(be, size))}
}

// sums compares sums over ranks with their definition. All ranks call it after their kernels. It returns only
// errors after which nothing can be run.
func (b *bencher) sums(ctx context.Context, g *ranks.Group, cases sumCases) error {
	skip := func(list []sumCase, kind, why string) {
		if len(list) > 0 {
			b.result.Skipped = append(b.result.Skipped, skippedRow{kind, why})
			b.printf("skipped: %s: %s\n", kind, why)
		}
	}
	const overMPI, overNCCL = "sums over ranks by MPI", "sums over ranks by NCCL"
	if g.Size() == 1 {
		why := "one process; mpirun -n 2 magvit bench --check compares them"
		if mpi.Library == "" {
			why = "a program without MPI; make mpi, or make mpi-gpu, builds one"
		}
		skip(cases.host, overMPI, why)
		skip(cases.device, overNCCL, why)
		return nil
	}
	g.SetTimeout(waitForWork) // kernels take ranks longer or shorter
	if err := g.Barrier(ctx); err != nil {
		return err
	}
	g.SetTimeout(meetWithin)
	for _, s := range cases.host {
		if err := b.sum(ctx, g, s); err != nil {
			return err
		}
	}
	if len(cases.device) == 0 {
		return nil
	}
	limit := b.limit
	if limit == 0 {
		limit = meetWithin
	}
	why, err := connectGPUs(ctx, b.be, g, limit)
	if err != nil {
		return err
	}
	dev, ok := b.be.(kernels.Collective)
	if why == nil && ok {
		if _, n := dev.Ranks(); n == g.Size() {
			for _, s := range cases.device {
				if err := b.sum(ctx, g, s); err != nil {
					return err
				}
			}
			return nil
		}
	}
	if why == nil {
		why = errors.New("not every rank has a GPU")
	}
	skip(cases.device, overNCCL, why.Error())
	return nil
}

// sum is the row of a sum.
func (b *bencher) sum(ctx context.Context, g *ranks.Group, s sumCase) error {
	row := &benchRow{Kernel: s.String(), Launches: s.by, Tolerance: s.tol, Compared: true}
	b.rows = append(b.rows, row)
	var got []float32
	err := b.watched(row.Kernel, func() (err error) {
		got, err = s.run(ctx, s.drawn(g.Rank()))
		return err
	})
	if err != nil {
		return fmt.Errorf("%s by %s: %w", row.Kernel, s.by, err)
	}
	want := s.defined()
	if s.scattered {
		from, to := ranks.Shard(len(want), g.Rank(), g.Size())
		want = want[from:to]
	}
	nmse, most, at := kerneltest.Distance(got, want)
	row.NMSE, row.MaxAbs, row.OK = finite(nmse), finite(most), nmse <= s.tol
	if !row.OK {
		row.Error = fmt.Sprintf("differs by NMSE %.3g, want at most %.3g; the worst value is %d of %d: %v, want %v", nmse, s.tol, at, len(want), got[at], want[at])
	}
	b.write(row)
	return nil
}

// gatherFailed gives rank 0 the rows of other ranks that failed.
func (b *bencher) gatherFailed(ctx context.Context, g *ranks.Group) error {
	if g.Size() == 1 {
		return nil
	}
	b.comparing.Wait()
	var failed []benchRow
	for _, row := range b.rows {
		if !row.OK {
			failed = append(failed, *row)
		}
	}
	text, err := json.Marshal(failed)
	if err != nil {
		return err
	}
	g.SetTimeout(waitForWork)
	all, err := g.Gather(ctx, text)
	if err != nil || !g.First() {
		return err
	}
	for i := 1; i < g.Size(); i++ {
		var rows []*benchRow
		if err := json.Unmarshal(all[i], &rows); err != nil {
			return err
		}
		for _, row := range rows {
			row.Kernel += " on " + g.Name(i)
			b.rows = append(b.rows, row)
			b.write(row)
		}
	}
	return nil
}
