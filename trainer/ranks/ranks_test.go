package ranks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"magvit/kernels"
)

// together runs f on n ranks that are goroutines, twice: they send messages, and they share memory. It returns the errors of both.
func together(t *testing.T, n int, timeout time.Duration, f func(g *Group) error) []error {
	t.Helper()
	var both []error
	for _, memory := range []bool{false, true} {
		if memory && runtime.GOOS != "linux" {
			continue
		}
		errs := make([]error, n)
		var all sync.WaitGroup
		for i, tr := range InProcess(n) {
			all.Go(func() {
				g, err := NewGroup(t.Context(), tr, timeout)
				if err == nil && memory {
					var why error
					g, why, err = g.ShareMemory(t.Context())
					err = errors.Join(why, err)
				}
				if err == nil {
					err = f(g)
				}
				errs[i] = err
			})
		}
		all.Wait()
		both = append(both, errs...)
	}
	return both
}

func TestCollectives(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5} {
		for r, err := range together(t, n, time.Minute, func(g *Group) error {
			ctx := t.Context()
			for _, each := range []int{1, 504, 505} { // of one exchange up to 504 bytes
				got, err := g.Gather(ctx, bytes.Repeat([]byte{byte(g.Rank())}, each*g.Rank()))
				if err != nil {
					return err
				}
				for i, b := range got {
					if !bytes.Equal(b, bytes.Repeat([]byte{byte(i)}, each*i)) {
						return fmt.Errorf("gathered %d bytes of rank %d, want %d of its own", len(b), i, each*i)
					}
				}
			}
			last := g.Size() - 1
			text := []byte{byte(g.Rank())}
			if err := g.Broadcast(ctx, last, text); err != nil || int(text[0]) != last {
				return fmt.Errorf("broadcast %v, %w", text, err)
			}
			for _, flag := range []bool{false, true} {
				if any, err := g.Any(ctx, flag && g.Rank() == last); any != flag || err != nil {
					return fmt.Errorf("any %v of a flag that is %v on one rank, %w", any, flag, err)
				}
			}
			if rank, size := g.Local(); rank != g.Rank() || size != n {
				return fmt.Errorf("local rank %d of %d", rank, size)
			}
			return g.Barrier(ctx)
		}) {
			if err != nil {
				t.Errorf("rank %d of %d: %v", r, n, err)
			}
		}
	}
}

// TestSumHasOneOrder adds micro-batches on 1 to 6 ranks. The sums have the bits of pairs of
// pairs, and these are not the bits of a sum from left to right.
func TestSumHasOneOrder(t *testing.T) {
	const n = 37
	for _, leaves := range []int{1, 2, 3, 4, 5, 7, 8} {
		r := rand.New(rand.NewPCG(1, uint64(leaves)))
		batches := make([][]float32, leaves)
		for i := range batches {
			for range n {
				batches[i] = append(batches[i], float32(r.NormFloat64()))
			}
		}
		want := slices.Clone(pairs(batches))
		naive := make([]float32, n)
		for _, b := range batches {
			kernels.AddTo(naive, b)
		}
		if leaves >= 5 && slices.Equal(naive, want) {
			t.Errorf("%d micro-batches: the order does not matter to these values", leaves)
		}
		for size := 1; size <= 6; size++ {
			for rank, err := range together(t, size, time.Minute, func(g *Group) error {
				tree := Tree{leaves}
				from, to := tree.Part(g.Rank(), size)
				own := accumulate(tree, from, to, batches)
				total := make([]float32, n)
				if err := NewSummer(g, tree, n).Sum(t.Context(), own, total); err != nil {
					return err
				}
				if !slices.Equal(total, want) {
					return errors.New("another sum")
				}
				if len(own) == n {
					total = own
				}
				if err := NewSummer(g, tree, n).Sum(t.Context(), own, total); err != nil {
					return err
				}
				if !slices.Equal(total, want) {
					return errors.New("another sum in place")
				}
				return nil
			}) {
				if err != nil {
					t.Errorf("%d micro-batches, rank %d of %d: %v", leaves, rank, size, err)
				}
			}
		}
	}
}

// TestSumInBF16 rounds what is sent: all ranks have the same values, near those of float32.
func TestSumInBF16(t *testing.T) {
	const n, size = 37, 3
	r := rand.New(rand.NewPCG(2, 0))
	batches := make([][]float32, size)
	for i := range batches {
		for range n {
			batches[i] = append(batches[i], 1+r.Float32())
		}
	}
	exact, totals := slices.Clone(pairs(batches)), make([][]float32, size)
	for rank, err := range together(t, size, time.Minute, func(g *Group) error {
		s := NewSummer(g, Tree{size}, n)
		s.RoundToBF16()
		totals[g.Rank()] = make([]float32, n)
		if err := s.Sum(t.Context(), batches[g.Rank()], totals[g.Rank()]); err != nil {
			return err
		}
		inPlace := slices.Clone(batches[g.Rank()])
		if err := s.Sum(t.Context(), inPlace, inPlace); err != nil || !slices.Equal(inPlace, totals[g.Rank()]) {
			return fmt.Errorf("in place other sums: %v, %w", inPlace, err)
		}
		return nil
	}) {
		if err != nil {
			t.Fatalf("rank %d: %v", rank, err)
		}
	}
	rounded := 0
	for i, want := range exact {
		got := totals[0][i]
		if d := float64(got-want) / float64(want); math.Abs(d) > 1./128 || got != kernels.RoundBF16(got) {
			t.Errorf("sum %d is %v, want %v to 7 bits, in bfloat16", i, got, want)
		} else if d != 0 {
			rounded++
		}
	}
	if rounded == 0 || !slices.Equal(totals[1], totals[0]) || !slices.Equal(totals[2], totals[0]) {
		t.Errorf("sums of three ranks %v, of which %d are rounded; want the same ones", totals, rounded)
	}
}

// pairs is the definition of the order.
func pairs(list [][]float32) []float32 {
	for len(list) > 1 {
		var next [][]float32
		for i := 0; i < len(list); i += 2 {
			sum := slices.Clone(list[i])
			if i+1 < len(list) {
				kernels.AddTo(sum, list[i+1])
			}
			next = append(next, sum)
		}
		list = next
	}
	return list[0]
}

// accumulate is a rank's sums, one after another.
func accumulate(tree Tree, from, to int, batches [][]float32) (own []float32) {
	var mine [][]float32
	for _, b := range batches[from:to] {
		mine = append(mine, slices.Clone(b))
	}
	for _, s := range tree.Sums(from, mine) {
		own = append(own, s...)
	}
	return own
}

func TestTreeDepth(t *testing.T) {
	for leaves, want := range map[int]int{1: 1, 2: 1, 3: 1, 4: 2, 8: 3, 9: 3, 64: 6} {
		if got := (Tree{leaves}).Depth(0, leaves); got != want {
			t.Errorf("%d micro-batches need %d sums at once, want %d", leaves, got, want)
		}
	}
}

func TestMissingRankIsNamed(t *testing.T) {
	errs := together(t, 3, 50*time.Millisecond, func(g *Group) error {
		if g.Rank() == 1 {
			return nil
		}
		return g.Barrier(t.Context())
	})
	for r := range errs {
		if r%3 == 1 {
			continue
		}
		if !errors.Is(errs[r], ErrTimeout) || !strings.Contains(errs[r].Error(), "rank 1 on this machine") || strings.Contains(errs[r].Error(), "rank 2") {
			t.Errorf("rank %d: %v, want a timeout that names rank 1", r, errs[r])
		}
	}
}

func TestFailureEndsAllRanks(t *testing.T) {
	errs := together(t, 3, time.Minute, func(g *Group) error {
		if g.Rank() == 2 {
			g.Fail(errors.New("disk full"), 2)
			return nil
		}
		return g.Barrier(t.Context())
	})
	for r := range errs {
		if r%3 == 2 {
			continue
		}
		var f *Failure
		if !errors.As(errs[r], &f) || f.Status != 2 || f.Error() != "rank 2 on this machine: disk full" {
			t.Errorf("rank %d: %v, want rank 2's failure", r, errs[r])
		}
	}
}

func TestCancelEndsTheWait(t *testing.T) {
	errs := together(t, 2, time.Minute, func(g *Group) error {
		if g.Rank() == 1 {
			return nil
		}
		stop, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		return g.Barrier(stop)
	})
	for r := 0; r < len(errs); r += 2 {
		if !errors.Is(errs[r], context.Canceled) || !strings.Contains(errs[r].Error(), "rank 1") {
			t.Errorf("%v, want a cancelled wait that names rank 1", errs[r])
		}
	}
}

func TestDifferencesAreNamed(t *testing.T) {
	errs := together(t, 3, time.Minute, func(g *Group) error {
		value := "AVX2"
		if g.Rank() == 2 {
			value = "SSE"
		}
		return g.Same(t.Context(), "instruction set", value)
	})
	const want = "instruction set: AVX2 on rank 0 on this machine, but SSE on rank 2 on this machine; want the same on all ranks"
	for r, err := range errs {
		if err == nil || err.Error() != want {
			t.Errorf("rank %d: %v, want %s", r, err, want)
		}
	}
}
