package gpu

import (
	"errors"
	"fmt"
	"testing"

	"magvit/kernels"
)

func (d *notes) Connect(Peers) error { return nil }

// operations returns a device of rank 1 of 2 and what it enqueues: a kernel, and operations on
// a second stream up to a join.
func operations(t *testing.T, d *notes) (*Device, func()) {
	t.Helper()
	dev, add := adding(t, d)
	if err := dev.Connect(Peers{Rank: 1, Size: 2}); err != nil {
		t.Fatal(err)
	}
	at := buffer{0x1000, 8}
	return dev, func() {
		add()
		dev.Overlap(func() {
			dev.Exchange(buffer{0x2000, 8}, at)
			add()
			dev.AllGather(at, at.Slice(4, 8))
		})
		dev.ReduceScatter(at.Slice(4, 8), at, false)
		dev.AllReduce(at, true)
		dev.Join()
	}
}

// Operations are entries of a list in the order of kernels, with their lengths in values.
func TestOperations(t *testing.T) {
	d := &notes{}
	dev, run := operations(t, d)
	replay, err := dev.Record(run)
	if err != nil {
		t.Fatal(err)
	}
	dev.SetGraphs(false)
	if err := replay(); err != nil {
		t.Fatal(err)
	}
	operation := func(op operation, bf16, args, at int) string {
		return fmt.Sprintf("launch operation %d [%d %d 0] [0 0 0] 0 bytes, %d of arguments, first at %#x", op, op, bf16, args, at)
	}
	const add = "launch add [1 1 1] [256 1 1] 0 bytes, 28 of arguments, first at 0x100000"
	want := []string{add, operation(opFork, 0, 0, 0), operation(opExchange, 0, 24, 0x2000), add, operation(opAllGather, 0, 24, 0x1000), operation(opBack, 0, 0, 0),
		operation(opReduceScatter, 0, 24, 0x1010), operation(opAllReduce, 1, 24, 0x1000), operation(opJoin, 0, 0, 0)}
	equal(t, "replay", d.take(), want...)
	run()
	equal(t, "run", d.take(), want...)
	if rank, size := dev.Ranks(); rank != 1 || size != 2 {
		t.Errorf("rank %d of %d, want 1 of 2", rank, size)
	}
}

func TestErrorsNameTheOperation(t *testing.T) {
	d := &notes{fail: fmt.Sprint("operation ", int(opExchange))}
	dev, run := operations(t, d)
	run()
	const want = "gpu: Exchange of 4 words, rank 1 of 2: CUDA_ERROR_INVALID_VALUE"
	if err := dev.Sync(); err == nil || err.Error() != want || !errors.Is(err, errRefused) {
		t.Errorf("error %v, want %s", err, want)
	}
}

// Wrong lengths, and kernels that share the workspace with those that they would overlap, panic.
func TestOperationsRefuse(t *testing.T) {
	dev, _ := operations(t, &notes{})
	b := buffer{0x1000, 8}
	sum, err := dev.Prepare(kernels.SumRows{Rows: 700, C: 65})
	if err != nil {
		t.Fatal(err)
	}
	var args []kernels.Buffer
	for _, a := range (kernels.SumRows{Rows: 700, C: 65}).Args() {
		args = append(args, buffer{0x1000, a.Len()})
	}
	for name, f := range map[string]func(){
		"exchange of an odd length": func() { dev.Exchange(b.Slice(0, 7), b.Slice(0, 7)) },
		"gather to a short buffer":  func() { dev.AllGather(b, b) },
		"scatter of a short buffer": func() { dev.ReduceScatter(b, b, false) },
		"a workspace":               func() { dev.Overlap(func() { sum.Run(args...) }) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
