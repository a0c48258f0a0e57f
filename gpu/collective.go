package gpu

import (
	"errors"
	"fmt"
	"time"

	"magvit/kernels"
)

// UniqueID identifies a communicator of NCCL. One rank makes it, and all get the same.
type UniqueID [128]byte

// Peers are the GPUs that a device exchanges memory with, one of each rank.
type Peers struct {
	ID         UniqueID
	Rank, Size int
	Timeout    time.Duration // within which the other ranks must join, and answer in Sync
}

// ErrNoNCCL says that libnccl.so.2 cannot be opened.
var ErrNoNCCL = errors.New("gpu: no NCCL is found (python3 -m pip install nvidia-nccl-cu13, or your distribution's libnccl2; LD_LIBRARY_PATH names its folder)")

// ErrPeers says that another rank failed, or gave no answer in time. The device cannot be used after it.
var ErrPeers = errors.New("gpu: another rank does not answer")

var _ kernels.Collective = (*Device)(nil)

// operation is an entry of a list without a function, by the numbers that calls.go has.
type operation uint32

const (
	opFork operation = iota + 1 // entries after it go to the second stream, behind all entries before it
	opBack                      // entries after it go to the stream of kernels again
	opJoin                      // entries after it wait for the second stream
	opAllReduce
	opReduceScatter
	opAllGather
	opExchange
)

// connecter is a driver that can exchange memory with those of other ranks. Lists may then
// have operations.
type connecter interface{ Connect(Peers) error }

// Connect joins the other ranks, which call it too. After it the device is a kernels.Collective.
func (d *Device) Connect(p Peers) error {
	c, ok := d.drv.(connecter)
	if !ok {
		return fmt.Errorf("gpu: %s has no NCCL", d.Name())
	}
	if p.Size < 1 || p.Rank < 0 || p.Rank >= p.Size {
		return fmt.Errorf("gpu: rank %d of %d", p.Rank, p.Size)
	}
	if err := c.Connect(p); err != nil {
		return fmt.Errorf("gpu: rank %d of %d: %w", p.Rank, p.Size, err)
	}
	d.peers = p
	return nil
}

// Ranks is this device's rank and their number, 0 and 1 before Connect.
func (d *Device) Ranks() (rank, size int) { return d.peers.Rank, max(1, d.peers.Size) }

// AllReduce enqueues the replacement of b by its sum over all ranks, in an order of NCCL's
// choice, the same on all ranks. With bf16 a word of b is two values.
func (d *Device) AllReduce(b kernels.Buffer, bf16 bool) {
	at := b.(buffer)
	d.collect(opAllReduce, bf16, "AllReduce", at, at, at.n)
}

// ReduceScatter enqueues the sum over all ranks of part i of src for rank i, whose dst it is.
// dst may be that part.
func (d *Device) ReduceScatter(dst, src kernels.Buffer, bf16 bool) {
	d.parts(src, dst)
	d.collect(opReduceScatter, bf16, "ReduceScatter", dst.(buffer), src.(buffer), dst.Len())
}

// AllGather enqueues the copy of rank i's src to part i of every rank's dst. src may be that part.
func (d *Device) AllGather(dst, src kernels.Buffer) {
	d.parts(dst, src)
	d.collect(opAllGather, false, "AllGather", dst.(buffer), src.(buffer), src.Len())
}

// Exchange enqueues the copy of part j of rank i's src to part i of rank j's dst.
func (d *Device) Exchange(dst, src kernels.Buffer) {
	_, size := d.Ranks()
	if dst.Len() != src.Len() || src.Len()%size != 0 {
		panic(fmt.Sprintf("gpu: exchange of %d values into %d among %d ranks", src.Len(), dst.Len(), size))
	}
	d.collect(opExchange, false, "Exchange", dst.(buffer), src.(buffer), src.Len()/size)
}

// parts panics unless whole has a part for each rank.
func (d *Device) parts(whole, part kernels.Buffer) {
	if _, size := d.Ranks(); whole.Len() != size*part.Len() {
		panic(fmt.Sprintf("gpu: %d parts of %d values in a buffer of %d", size, part.Len(), whole.Len()))
	}
}

func (d *Device) collect(op operation, bf16 bool, name string, dst, src buffer, n int) {
	rank, size := d.Ranks()
	name = fmt.Sprintf("%s of %d words, rank %d of %d", name, n, rank, size)
	if bf16 {
		n *= 2
	}
	d.together(func() { d.list.operate(op, bf16, name, dst.address, src.address, uint64(n)) })
}

// Overlap enqueues what run enqueues to run after all kernels before it, and at the same time
// as those after it, up to Join. Kernels that need a workspace cannot overlap.
func (d *Device) Overlap(run func()) {
	d.together(func() {
		d.list.operate(opFork, false, "the start of the second stream")
		d.second = true
		run()
		d.second = false
		d.list.operate(opBack, false, "the stream of kernels")
	})
}

// Join makes kernels after it wait for all that overlaps.
func (d *Device) Join() {
	d.together(func() { d.list.operate(opJoin, false, "the wait for the second stream") })
}

// together enqueues all that run enqueues as one list.
func (d *Device) together(run func()) {
	if d.record {
		run()
		return
	}
	d.list.reset()
	d.record = true
	run()
	d.record = false
	d.fail(d.list.wrap(d.drv.Launch(d.list.bytes)))
}
