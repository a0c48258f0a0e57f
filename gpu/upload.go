//go:build gpu

package gpu

import (
	"unsafe"

	"gorgonia.org/cu"
)

// uploads is the way of large copies to the device: host memory is copied to pinned
// memory, from there by the copy engine to a place of its own on the device, while
// kernels run, and from there, in the order of kernels, to where it belongs. There are
// two of each, so that one can be filled while the other is copied.
type uploads struct {
	copies cu.Stream
	slots  [2]slot
	turn   int
}

type slot struct {
	host         []float32
	device       cu.DevicePtr
	landed, free cu.Event
}

const (
	slotLen = 4 << 20 // values
	small   = 1 << 14 // values that the driver copies by itself without delay: 64 KiB
)

// open and close return errors of cu, or of calls.
func (u *uploads) open(c calls) (err error) {
	if u.copies, err = cu.MakeStream(cu.NonBlocking); err != nil {
		return err
	}
	for i := range u.slots {
		s := &u.slots[i]
		if s.landed, err = cu.MakeEvent(cu.DisableTiming); err != nil {
			return err
		}
		if s.free, err = cu.MakeEvent(cu.DisableTiming); err != nil {
			return err
		}
		if s.device, err = cu.MemAlloc(4 * slotLen); err != nil {
			return err
		}
		if s.host, err = c.pinned(slotLen); err != nil {
			return err
		}
	}
	return nil
}

func (u *uploads) close() (err error) {
	keep := func(e error) {
		if err == nil {
			err = e
		}
	}
	for i := range u.slots {
		s := &u.slots[i]
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
		err := c.do(func() error {
			if len(src) <= small {
				return cu.MemcpyHtoDAsync(cu.DevicePtr(dst), unsafe.Pointer(&src[0]), 4*int64(n), c.compute)
			}
			return c.send(dst, src[:n])
		})
		if err != nil {
			return err
		}
		src, dst = src[n:], dst+4*uint64(n)
	}
	return nil
}

// send copies at most slotLen values.
func (c *cuda) send(dst uint64, src []float32) (err error) {
	u := &c.upload
	s := &u.slots[u.turn]
	u.turn = 1 - u.turn
	if err := s.free.Synchronize(); err != nil {
		return err
	}
	copy(s.host, src)
	size := 4 * int64(len(src))
	if err := cu.MemcpyHtoDAsync(s.device, unsafe.Pointer(&s.host[0]), size, u.copies); err != nil {
		return err
	}
	if err := s.landed.Record(u.copies); err != nil {
		return err
	}
	if err := c.compute.Wait(s.landed, 0); err != nil {
		return err
	}
	if err := cu.MemcpyDtoDAsync(cu.DevicePtr(dst), s.device, size, c.compute); err != nil {
		return err
	}
	return s.free.Record(c.compute)
}
