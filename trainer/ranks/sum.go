package ranks

import (
	"context"
	"fmt"

	"magvit/kernels"
)

// Summer adds the values of a step's micro-batches over all ranks, in the order of a Tree.
type Summer struct {
	g     *Group
	tree  Tree
	n     int
	nodes []Node // of all ranks, in order
	own   int    // number of this rank's
	mine  [2]int // this rank's shard
	parts []float32
	shard [][]float32

	bf16    bool     // values are rounded to bfloat16 where they are sent
	buffers [][]byte // for what is sent to each rank, then for what comes from each
}

// RoundToBF16 makes values travel as bfloat16, half as many bytes: each sum that a rank sends and
// each result is rounded once. Results are the same on all ranks, but no longer for any number of them.
func (s *Summer) RoundToBF16() { s.bf16 = true }

// NewSummer prepares sums of n values.
func NewSummer(g *Group, t Tree, n int) *Summer {
	s := &Summer{g: g, tree: t, n: n}
	s.mine[0], s.mine[1] = Shard(n, g.Rank(), g.Size())
	for r := range g.Size() {
		nodes := t.Nodes(t.Part(r, g.Size()))
		if r == g.Rank() {
			s.own = len(nodes)
		}
		s.nodes = append(s.nodes, nodes...)
	}
	width := s.mine[1] - s.mine[0]
	s.parts = make([]float32, len(s.nodes)*width)
	for i := range s.nodes {
		s.shard = append(s.shard, s.parts[i*width:(i+1)*width])
	}
	return s
}

// Sum returns the sum in total, of n values. own are this rank's nodes, see Tree.Nodes, n
// values each, one after another; a single node may be in the memory of total.
//
// Each rank adds up its shard of the values and sends the sum to all.
func (s *Summer) Sum(ctx context.Context, own, total []float32) error {
	if len(own) != s.own*s.n || len(total) != s.n {
		panic(fmt.Sprintf("ranks: sum of %d values in %d, want %d in %d", len(own), len(total), s.own*s.n, s.n))
	}
	size, rank := s.g.Size(), s.g.Rank()
	width := s.mine[1] - s.mine[0]
	send, recv := make([][]byte, size), make([][]byte, size)
	at := 0
	for r := range size {
		here := len(s.tree.Nodes(s.tree.Part(r, size))) * width
		recv[r] = s.room(r, s.parts[at:at+here])
		from, to := Shard(s.n, r, size)
		if r != rank {
			send[r] = s.wire(r, s.pack(own, from, to))
		} else {
			copy(s.parts[at:at+here], s.pack(own, from, to))
		}
		at += here
	}
	if err := s.g.Exchange(ctx, send, recv); err != nil {
		return err
	}
	at = 0
	for r := range size {
		here := len(s.tree.Nodes(s.tree.Part(r, size))) * width
		if r != rank {
			s.unpack(s.parts[at:at+here], recv[r])
		}
		at += here
	}
	sum := s.wire(rank, s.tree.Add(s.nodes, s.shard))
	for r := range size {
		from, to := Shard(s.n, r, size)
		send[r], recv[r] = sum, s.room(r, total[from:to])
	}
	if err := s.g.Exchange(ctx, send, recv); err != nil {
		return err
	}
	recv[rank] = sum
	for r := range size {
		from, to := Shard(s.n, r, size)
		if r == rank || s.bf16 {
			s.unpack(total[from:to], recv[r])
		}
	}
	return nil
}

// wire is the bytes of values as they are sent to a rank, until the next sum.
func (s *Summer) wire(to int, values []float32) []byte {
	if !s.bf16 {
		return Bytes(values)
	}
	b := s.buffer(to, len(values))
	kernels.EncodeBF16(b, values)
	return b
}

// room is memory for the bytes of values that a rank sends: that of the values, where these are sent as they are.
func (s *Summer) room(from int, values []float32) []byte {
	if !s.bf16 {
		return Bytes(values)
	}
	return s.buffer(s.g.Size()+from, len(values))
}

// buffer is memory of the Summer for values in bfloat16.
func (s *Summer) buffer(i, n int) []byte {
	if s.buffers == nil {
		s.buffers = make([][]byte, 2*s.g.Size())
	}
	if cap(s.buffers[i]) < 2*n {
		s.buffers[i] = make([]byte, 2*n)
	}
	return s.buffers[i][:2*n]
}

// unpack writes the values of bytes that were received, unless these are in their memory.
func (s *Summer) unpack(values []float32, b []byte) {
	if !s.bf16 {
		copy(values, Floats(b))
		return
	}
	kernels.DecodeBF16(values, b)
}

// pack is the part [from,to) of each of the own nodes.
func (s *Summer) pack(own []float32, from, to int) []float32 {
	if s.own == 1 {
		return own[from:to]
	}
	var b []float32
	for i := range s.own {
		b = append(b, own[i*s.n+from:i*s.n+to]...)
	}
	return b
}
