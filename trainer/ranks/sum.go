package ranks

import (
	"context"
	"fmt"
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
}

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
// values each, one after another.
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
		recv[r] = Bytes(s.parts[at : at+here])
		from, to := Shard(s.n, r, size)
		if r != rank {
			send[r] = Bytes(s.pack(own, from, to))
		} else {
			copy(s.parts[at:at+here], s.pack(own, from, to))
		}
		at += here
	}
	if err := s.g.Exchange(ctx, send, recv); err != nil {
		return err
	}
	copy(total[s.mine[0]:s.mine[1]], s.tree.Add(s.nodes, s.shard))
	for r := range size {
		from, to := Shard(s.n, r, size)
		send[r], recv[r] = Bytes(total[s.mine[0]:s.mine[1]]), Bytes(total[from:to])
	}
	return s.g.Exchange(ctx, send, recv)
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
