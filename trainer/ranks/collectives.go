package ranks

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"
)

// Gather returns what each rank gives, by rank, to all of them. Lengths may differ.
func (g *Group) Gather(ctx context.Context, data []byte) ([][]byte, error) {
	return g.StartGather(data).Wait(ctx)
}

// Gathering is a Gather that was started.
type Gathering struct {
	g     *Group
	data  []byte
	heads [][]byte
	first *Pending // nil: a process on its own
}

// StartGather begins a Gather.
func (g *Group) StartGather(data []byte) *Gathering {
	x := &Gathering{g: g, data: data}
	if g.Size() == 1 {
		return x
	}
	first := make([]byte, firstBytes)
	binary.LittleEndian.PutUint64(first, uint64(len(data)))
	copy(first[8:], data)
	x.heads, x.first = g.startGather(first, func(int) int { return firstBytes })
	return x
}

// Wait returns what Gather does. It may take another exchange.
func (x *Gathering) Wait(ctx context.Context) ([][]byte, error) {
	g, data, heads := x.g, x.data, x.heads
	if x.first == nil {
		return [][]byte{data}, nil
	}
	if err := x.first.Wait(ctx); err != nil {
		return nil, err
	}
	length := func(rank int) int { return int(binary.LittleEndian.Uint64(heads[rank])) }
	longest := 0
	for i := range heads {
		longest = max(longest, length(i))
	}
	if longest > firstBytes-8 {
		all, p := g.startGather(data, length)
		return all, p.Wait(ctx)
	}
	for i := range heads {
		heads[i] = heads[i][8 : 8+length(i)]
	}
	return heads, nil
}

// firstBytes are of Gather's first exchange: a length, and data that is short enough for no second one.
const firstBytes = 512

// startGather begins a Gather with known lengths.
func (g *Group) startGather(data []byte, length func(rank int) int) ([][]byte, *Pending) {
	send, recv := make([][]byte, g.Size()), make([][]byte, g.Size())
	for i := range recv {
		if i == g.Rank() {
			continue
		}
		send[i], recv[i] = data, make([]byte, length(i))
	}
	p := g.Start(send, recv)
	recv[g.Rank()] = data
	return recv, p
}

// Broadcast overwrites data by that of rank root. Its length is the same on all ranks.
func (g *Group) Broadcast(ctx context.Context, root int, data []byte) error {
	if g.Size() == 1 {
		return nil
	}
	send, recv := make([][]byte, g.Size()), make([][]byte, g.Size())
	if g.Rank() != root {
		recv[root] = data
		return g.Exchange(ctx, send, recv)
	}
	for i := range send {
		send[i] = data
	}
	return g.Exchange(ctx, send, recv)
}

// Any reports to all ranks whether flag is set on one of them.
func (g *Group) Any(ctx context.Context, flag bool) (bool, error) {
	b := []byte{0}
	if flag {
		b[0] = 1
	}
	all, err := g.Gather(ctx, b)
	for _, other := range all {
		flag = flag || bytes.Equal(other, []byte{1})
	}
	return flag, err
}

// Collect returns what each rank gives to rank 0; others get nil. length is what rank i gives,
// and known to all.
func (g *Group) Collect(ctx context.Context, data []byte, length func(rank int) int) ([][]byte, error) {
	if g.Size() == 1 {
		return [][]byte{data}, nil
	}
	send, recv := make([][]byte, g.Size()), make([][]byte, g.Size())
	if !g.First() {
		send[0] = data
		return nil, g.Exchange(ctx, send, recv)
	}
	for i := 1; i < g.Size(); i++ {
		recv[i] = make([]byte, length(i))
	}
	err := g.Exchange(ctx, send, recv)
	recv[0] = data
	return recv, err
}

// Barrier waits until all ranks have come to it.
func (g *Group) Barrier(ctx context.Context) error {
	_, err := g.Any(ctx, false)
	return err
}

// ErrDiffer is what errors.Is finds in the error of Same.
var ErrDiffer = errors.New("want the same on all ranks")

// Same fails, naming ranks, if what is not the same on all ranks. The values are short texts.
func (g *Group) Same(ctx context.Context, what, value string) error {
	all, err := g.Gather(ctx, []byte(value))
	if err != nil {
		return fmt.Errorf("comparing %s: %w", what, err)
	}
	for i := range all {
		if a, b := string(all[0]), string(all[i]); a != b {
			return fmt.Errorf("%s: %s on %s, but %s on %s; %w", what, a, g.Name(0), b, g.Name(i), ErrDiffer)
		}
	}
	return nil
}

// Bytes is the memory of values.
func Bytes(values []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), 4*len(values))
}

// Floats are the values of Bytes, or of memory that make has allocated for them.
func Floats(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

// IntBytes is the memory of codes or other int32 values.
func IntBytes(values []int32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), 4*len(values))
}

// Ints are the values of IntBytes, see Floats.
func Ints(b []byte) []int32 {
	return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

// Shard is the part [from,to) of n values that a rank adds up: the parts are equal but for
// the last ones.
func Shard(n, rank, size int) (from, to int) {
	each := (n + size - 1) / size
	return min(n, rank*each), min(n, (rank+1)*each)
}
