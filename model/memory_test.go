package model

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"magvit/kernels"
	"magvit/model/machine"
)

// bounded is a CPU with a limited number of bytes.
type bounded struct {
	*kernels.CPU
	used, total int64
}

var errFull = errors.New("full")

func (b *bounded) Allocated() int64 { return b.used }

func (b *bounded) Alloc(n int) (kernels.Buffer, error) {
	if b.used+4*int64(n) > b.total {
		return nil, fmt.Errorf("bounded: %w", &kernels.MemoryError{Want: 4 * int64(n), Used: b.used, Free: b.total - b.used, Total: b.total, Err: errFull})
	}
	b.used += 4 * int64(n)
	return b.CPU.Alloc(n)
}

// The batch that is said to fit compiles in what was free; one more does not.
func TestMemoryErrorNamesTheBatchThatFits(t *testing.T) {
	c := Defaults()
	c.ImageSize, c.InitDim = 16, 8
	c.Layers = []Layer{{Name: Residual}, {Name: CompressSpace, Dim: 16}, {Name: Residual}}
	c.Quantizer.Kind, c.Quantizer.CodebookSize = "lfq", 256
	tok, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	offsets, end := []int{}, 0
	for _, p := range tok.Params {
		offsets = append(offsets, end)
		end += p.Len()
	}
	// compile is the error of a batch with this many bytes in addition to the parameters.
	compile := func(n int, how machine.Recompute, total int64) (be *bounded, s Shape, inUse int64, err error) {
		be = &bounded{CPU: cpu(t), total: total + 8*int64(end)}
		params, err := be.Alloc(2 * end)
		if err != nil {
			t.Fatal(err)
		}
		inUse, s = be.used, Shape{N: n, T: 3, H: 16, W: 16}
		g, err := tok.Training(s)
		if err != nil {
			t.Fatal(err)
		}
		g.Recompute = how
		_, err = g.Compile(be, params.Slice(0, end), params.Slice(end, 2*end), offsets)
		return be, s, inUse, err
	}
	var five *bounded
	var s Shape
	var need int64
	for _, how := range []machine.Recompute{machine.RecomputeMax, machine.RecomputeAuto, machine.RecomputeNone} {
		be, shape, inUse, err := compile(5, how, 1<<40)
		if err != nil {
			t.Fatal(err)
		}
		least := need
		five, s, need = be, shape, be.used-inUse
		if got, err := TrainingBytes(tok, five, s, how); err != nil || got != need || got <= least {
			t.Errorf("recompute %d: a batch of 5 takes %d bytes, TrainingBytes says %d, %v; with less memory %d", how, need, got, err, least)
		}
	}
	for _, c := range []struct {
		n     int
		total int64
		want  string
	}{
		{20, need, "a batch of 5 fits"}, {20, need - 1, "a batch of 4 fits"}, {6, need, "a batch of 5 fits"}, {2, 1000, "not even one clip fits"},
	} {
		be, s, inUse, err := compile(c.n, machine.RecomputeNone, c.total)
		if err == nil {
			t.Fatalf("a batch of %d compiles in %d bytes", c.n, c.total)
		}
		err = ExplainMemory(tok, be, s, machine.RecomputeNone, inUse, err)
		if !errors.Is(err, errFull) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), fmt.Sprintf("a batch of %d clips of 3 frames, 16×16", c.n)) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
	if err := ExplainMemory(tok, five, s, machine.RecomputeNone, 0, errFull); err != errFull {
		t.Errorf("another error becomes %v", err)
	}
}
