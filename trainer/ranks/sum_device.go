package ranks

import "magvit/kernels"

// DeviceSummer adds values over the devices of all ranks, each of which has one node of a Tree. Its sums have
// the bits of a Summer's.
type DeviceSummer struct {
	device kernels.Collective
	nodes  []Node // of all ranks, in order
	pairs  [][2]int
	n      int
	shard  int            // values that each device adds up
	copy   kernels.Kernel // of n values
	add    kernels.Kernel // of a shard
}

// NewDeviceSummer prepares sums of n values on a device, which is be too.
func NewDeviceSummer(be kernels.Backend, device kernels.Collective, t Tree, n int) (*DeviceSummer, error) {
	_, size := device.Ranks()
	s := &DeviceSummer{device: device, n: n, shard: (n + size - 1) / size}
	for i := range size {
		s.nodes = append(s.nodes, t.Nodes(t.Part(i, size))...)
	}
	s.pairs = t.Pairs(s.nodes)
	var err error
	if s.copy, err = be.Prepare(kernels.Affine{Len: n, Mul: 1}); err == nil {
		s.add, err = be.Prepare(kernels.Add{Len: s.shard})
	}
	return s, err
}

// Workspace is the number of values in each of Enqueue's buffers, n rounded up to a shard for each rank.
func (s *DeviceSummer) Workspace() int { return s.shard * len(s.nodes) }

// Enqueue replaces n values by their sum over all ranks: each device adds up a shard in the order of
// the tree, and all gather the sums. send and recv have Workspace values, or more.
func (s *DeviceSummer) Enqueue(values, send, recv kernels.Buffer) {
	send, recv = send.Slice(0, s.Workspace()), recv.Slice(0, s.Workspace())
	part := func(i int) kernels.Buffer { return recv.Slice(i*s.shard, (i+1)*s.shard) }
	s.copy.Run(send.Slice(0, s.n), values)
	s.device.Exchange(recv, send)
	for _, p := range s.pairs {
		s.add.Run(part(p[0]), part(p[0]), part(p[1]))
	}
	s.device.AllGather(send, part(0))
	s.copy.Run(values, send.Slice(0, s.n))
}
