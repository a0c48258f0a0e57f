//go:build gpu

package gpu

import (
	"slices"
	"unsafe"

	"gorgonia.org/cu"
)

// uploads copies host memory to the device through a ring of staging slots. A copy goes
// from pageable to pinned memory, by the copy engine to a staging buffer on the device
// while kernels run, and on the compute stream from there to its destination. Copies of at
// most smallCopy values go from pinned memory to the destination on the compute stream.
//
// What is written between two launches shares a slot, or several if it does not fit. A
// slot filled before the last launch is soon free, as its copies wait for no kernel of that
// launch. One filled after it is not; where the next slot is such a one, another slot is
// inserted instead, up to maxSlots.
type uploads struct {
	copies  cu.Stream
	slots   []*slot
	current int // index of the slot in use
	epoch   int // launches so far
}

type slot struct {
	host         []float32
	device       cu.DevicePtr
	landed, free cu.Event
	used         int // values
	epoch        int // when it was taken
}

const (
	slotLen  = 4 << 20 // values
	maxSlots = 16
	// smallCopy values, 64 KiB, gain nothing from the copy engine.
	smallCopy = 1 << 14
)

// open and close return errors of cu, or of calls.
func (u *uploads) open(c calls) (err error) {
	if u.copies, err = cu.MakeStream(cu.NonBlocking); err != nil {
		return err
	}
	for range 2 {
		if err := u.insert(c); err != nil {
			return err
		}
	}
	return nil
}

// insert makes a slot, the next to be taken.
func (u *uploads) insert(c calls) (err error) {
	s := &slot{epoch: -1}
	if s.landed, err = cu.MakeEvent(cu.DisableTiming); err != nil {
		return err
	}
	if s.free, err = cu.MakeEvent(cu.DisableTiming); err == nil {
		if s.device, err = cu.MemAlloc(4 * slotLen); err == nil {
			if s.host, err = c.pinned(slotLen); err == nil {
				u.slots = slices.Insert(u.slots, min(u.current+1, len(u.slots)), s)
				return nil
			}
			_ = cu.MemFree(s.device) // here and below: the first error counts
		}
		_ = cu.DestroyEvent(&s.free)
	}
	_ = cu.DestroyEvent(&s.landed)
	return err
}

// room is a slot with room for n values, at most slotLen.
func (u *uploads) room(c calls, n int) (*slot, error) {
	s := u.slots[u.current]
	if s.epoch == u.epoch && s.used+n <= slotLen {
		return s, nil
	}
	next := (u.current + 1) % len(u.slots)
	// Before the first launch there is no kernel to wait for. Where memory is short, waiting is right.
	if u.epoch > 0 && u.slots[next].epoch == u.epoch && len(u.slots) < maxSlots && u.insert(c) == nil {
		next = u.current + 1
	}
	u.current = next
	s = u.slots[next]
	if err := s.free.Synchronize(); err != nil {
		return nil, err
	}
	s.used, s.epoch = 0, u.epoch
	return s, nil
}

func (u *uploads) close() (err error) {
	keep := func(e error) {
		if err == nil {
			err = e
		}
	}
	for _, s := range u.slots {
		keep(cu.MemFreeHost(unsafe.Pointer(&s.host[0])))
		keep(cu.MemFree(s.device))
		keep(cu.DestroyEvent(&s.landed))
		keep(cu.DestroyEvent(&s.free))
	}
	keep(u.copies.Destroy())
	return err
}

func (c *cuda) Write(dst uint64, src []float32) error {
	for len(src) > 0 {
		n := min(len(src), slotLen)
		if err := c.do(func() error { return c.send(dst, src[:n]) }); err != nil {
			return err
		}
		src, dst = src[n:], dst+4*uint64(n)
	}
	return nil
}

// send copies at most slotLen values. Why not straight from src: a copy from memory that
// is not pinned may wait for the kernels before it.
func (c *cuda) send(dst uint64, src []float32) error {
	u := &c.upload
	s, err := u.room(c.calls, len(src))
	if err != nil {
		return err
	}
	from, to := s.host[s.used:][:len(src)], s.device+cu.DevicePtr(4*s.used)
	s.used += (len(src) + 31) / 32 * 32 // a sector of 128 bytes for each
	copy(from, src)
	size := 4 * int64(len(src))
	if len(src) <= smallCopy {
		if err := cu.MemcpyHtoDAsync(cu.DevicePtr(dst), unsafe.Pointer(&from[0]), size, c.compute); err != nil {
			return err
		}
		return s.free.Record(c.compute)
	}
	if err := cu.MemcpyHtoDAsync(to, unsafe.Pointer(&from[0]), size, u.copies); err != nil {
		return err
	}
	if err := s.landed.Record(u.copies); err != nil {
		return err
	}
	if err := c.compute.Wait(s.landed, 0); err != nil {
		return err
	}
	if err := cu.MemcpyDtoDAsync(cu.DevicePtr(dst), to, size, c.compute); err != nil {
		return err
	}
	return s.free.Record(c.compute)
}
