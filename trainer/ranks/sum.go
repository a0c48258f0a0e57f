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
	nodes []Node   // of all ranks, in order
	first []int    // index of each rank's first node; then the number of all
	own   int      // number of this rank's
	mine  [2]int   // this rank's shard
	pairs [][2]int // additions, see Tree.Pairs
	parts []float32
	shard [][]float32 // of each node

	scattering, gathering *Pending // the two exchanges of a sum
	send, recv            [][]byte
	total                 []float32
	home                  int // this rank's node where it is in the memory of total; -1: in parts

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
		s.first, s.nodes = append(s.first, len(s.nodes)), append(s.nodes, nodes...)
	}
	s.first = append(s.first, len(s.nodes))
	s.pairs = t.Pairs(s.nodes)
	s.parts = make([]float32, len(s.nodes)*(s.mine[1]-s.mine[0]))
	s.shard = make([][]float32, len(s.nodes))
	s.send, s.recv = make([][]byte, g.Size()), make([][]byte, g.Size())
	return s
}

// Sum returns the sum in total, see Start.
func (s *Summer) Sum(ctx context.Context, own, total []float32) error {
	s.Start(own, total)
	return s.Wait(ctx)
}

// Start begins a sum, which is in total, of n values, after Wait. own are this rank's nodes, see Tree.Nodes, n
// values each, one after another; a single node may be in the memory of total. All ranks start the same sums in the same order.
//
// Each rank adds up its shard of the values and sends the sum to all.
func (s *Summer) Start(own, total []float32) {
	if len(own) != s.own*s.n || len(total) != s.n {
		panic(fmt.Sprintf("ranks: sum of %d values in %d, want %d in %d", len(own), len(total), s.own*s.n, s.n))
	}
	size, rank := s.g.Size(), s.g.Rank()
	s.total, s.home = total, -1
	for r := range size {
		from, to := Shard(s.n, r, size)
		s.recv[r] = s.room(r, s.partsOf(r))
		switch {
		case r != rank:
			s.send[r] = s.wire(r, s.pack(own, from, to))
		case s.n > 0 && len(own) == s.n && &own[0] == &total[0]:
			s.home = s.first[r]
		default:
			copy(s.partsOf(r), s.pack(own, from, to))
		}
	}
	s.scattering = s.g.start(0, s.send, s.recv)
}

// Advance adds up this rank's shard and sends it if all of it has come, and reports whether it has. Sums are advanced in
// the order in which they were started.
func (s *Summer) Advance() (sent bool, err error) {
	if s.scattering != nil && s.scattering.Ready() {
		err = s.add(context.Background()) // which does not wait
	}
	return s.scattering == nil, err
}

// add adds up this rank's shard, and sends it.
func (s *Summer) add(ctx context.Context) error {
	if err := s.scattering.Wait(ctx); err != nil {
		return err
	}
	s.scattering = nil
	size, rank := s.g.Size(), s.g.Rank()
	for r := range size {
		if r != rank {
			s.unpack(s.partsOf(r), s.recv[r])
		}
	}
	sum := s.wire(rank, s.addShard())
	for r := range size {
		from, to := Shard(s.n, r, size)
		s.send[r], s.recv[r] = sum, s.room(r, s.total[from:to])
	}
	s.recv[rank] = sum
	s.gathering = s.g.start(1, s.send, s.recv)
	return nil
}

// Wait waits for the sum, after those that were started before it.
func (s *Summer) Wait(ctx context.Context) error {
	if s.scattering != nil {
		if err := s.add(ctx); err != nil {
			return err
		}
	}
	if err := s.gathering.Wait(ctx); err != nil {
		return err
	}
	for r := range s.g.Size() {
		from, to := Shard(s.n, r, s.g.Size())
		if s.bf16 || r == s.g.Rank() && s.home < 0 {
			s.unpack(s.total[from:to], s.recv[r])
		}
	}
	return nil
}

// addShard adds up this rank's shard as Tree.Add does, within the memory of the result where this rank's node is there.
func (s *Summer) addShard() []float32 {
	values, width := s.shard, s.mine[1]-s.mine[0]
	for i := range values {
		values[i] = s.parts[i*width : (i+1)*width]
	}
	home := s.home
	if home >= 0 {
		values[home] = s.total[s.mine[0]:s.mine[1]]
	}
	for _, p := range s.pairs {
		if p[1] == home { // either order has the same sum
			values[p[0]], values[home] = values[home], values[p[0]]
			home = p[0]
		}
		kernels.AddTo(values[p[0]], values[p[1]])
	}
	return values[0]
}

// partsOf is the memory of rank r's nodes of this rank's shard.
func (s *Summer) partsOf(r int) []float32 {
	width := s.mine[1] - s.mine[0]
	return s.parts[s.first[r]*width : s.first[r+1]*width]
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
