//go:build gpu

package gpu

/*
#include <cuda.h>
#include <stdint.h>
#include "nccl.h"

static unsigned version(int* v) { return nccl.ncclGetVersion(v); }
static unsigned unique_id(void* id) { return nccl.ncclGetUniqueId(id); }

// NCCL's calls take the device of the thread's context.
static unsigned join(CUcontext ctx, ncclComm_t* comm, int ranks, const void* id, int rank) {
	if (cuCtxSetCurrent(ctx)) return 1;
	return nccl.ncclCommInitRank(comm, ranks, *(const ncclUniqueId*)id, rank);
}

static unsigned leave(CUcontext ctx, ncclComm_t comm, int at_once) {
	if (cuCtxSetCurrent(ctx)) return 1;
	return at_once ? nccl.ncclCommAbort(comm) : nccl.ncclCommDestroy(comm);
}

static unsigned failure(ncclComm_t comm) {
	unsigned error = 0, r = nccl.ncclCommGetAsyncError(comm, &error);
	return r ? r : error == NCCL_IN_PROGRESS ? 0 : error;
}

static const char* text_of_nccl(unsigned r) { return nccl.ncclGetErrorString(r); }
static const char* last_of_nccl(void) { return nccl.ncclGetLastError(NULL); }
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"gorgonia.org/cu"
)

// ncclMutex is held while NCCL's global state is used outside of launches.
var ncclMutex sync.Mutex

// openNCCL opens libnccl.
func openNCCL() error {
	ncclMutex.Lock()
	defer ncclMutex.Unlock()
	var why *C.char
	if C.nccl_open(&why) != 0 {
		return fmt.Errorf("%w: %s", ErrNoNCCL, C.GoString(why))
	}
	return nil
}

// NCCL is the version of libnccl. Its error is ErrNoNCCL, or what the library says.
func NCCL() (string, error) {
	if err := openNCCL(); err != nil {
		return "", err
	}
	var v C.int
	if r := C.version(&v); r != 0 {
		return "", ncclFailed(int(r))
	}
	if v < 10000 { // before 2.9 a minor version had one digit less
		return fmt.Sprintf("%d.%d.%d", v/1000, v%1000/100, v%100), nil
	}
	return fmt.Sprintf("%d.%d.%d", v/10000, v%10000/100, v%100), nil
}

// NewUniqueID is for Connect, of one rank for all.
func NewUniqueID() (id UniqueID, err error) {
	if err := openNCCL(); err != nil {
		return id, err
	}
	return id, privately(func() error { return ncclFailed(int(C.unique_id(unsafe.Pointer(&id)))) })
}

// privately runs f, which opens files, so that no child process gets them: a child that
// outlives this process would keep its sockets open, and other ranks would not notice its end.
func privately(f func() error) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	err := f()
	open, bad := os.ReadDir("/proc/self/fd")
	if bad != nil {
		return errors.Join(err, bad)
	}
	for _, entry := range open {
		if fd, bad := strconv.Atoi(entry.Name()); bad == nil && fd > 2 {
			_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC) // that of ReadDir is closed
		}
	}
	return err
}

// ncclFailed is the error of a result of NCCL, nil of success.
func ncclFailed(code int) error {
	if code == 0 {
		return nil
	}
	text := fmt.Sprintf("NCCL error %d (%s)", code, C.GoString(C.text_of_nccl(C.uint(code))))
	if last := C.GoString(C.last_of_nccl()); last != "" {
		text += ": " + last
	}
	return errors.New(text + "; NCCL_DEBUG=INFO prints more")
}

// peers is a driver's side of Peers.
type peers struct {
	Peers
	comm           unsafe.Pointer // ncclComm_t
	second         unsafe.Pointer // CUstream of what overlaps
	forked, joined unsafe.Pointer // CUevent
	stream         cu.Stream
	events         [2]cu.Event
	lost           error // after which nothing works
}

func (c *cuda) Connect(p Peers) error {
	if c.peers != nil {
		return errors.New("the device is connected already")
	}
	if err := openNCCL(); err != nil {
		return err
	}
	all := &peers{Peers: p}
	err := c.do(func() (err error) {
		if all.stream, err = cu.MakeStream(cu.NonBlocking); err != nil {
			return err
		}
		for i := range all.events {
			if all.events[i], err = cu.MakeEvent(cu.DisableTiming); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	all.second = unsafe.Pointer(all.stream.C())
	all.forked, all.joined = eventOf(all.events[0]), eventOf(all.events[1])
	joined := make(chan error, 1)
	go func() {
		joined <- privately(func() error {
			var comm C.ncclComm_t
			r := C.join(C.CUcontext(c.ctx), &comm, C.int(p.Size), unsafe.Pointer(&p.ID), C.int(p.Rank))
			all.comm = unsafe.Pointer(comm)
			return ncclFailed(int(r))
		})
	}()
	select {
	case err = <-joined:
	case <-time.After(p.Timeout): // the call cannot be stopped
		return fmt.Errorf("%w: not all %d ranks joined within %v", ErrPeers, p.Size, p.Timeout)
	}
	if err == nil {
		c.peers = all
	}
	return err
}

// eventOf is an event as C knows it: it is all that the struct holds.
func eventOf(e cu.Event) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&e)) }

// syncPeers waits for everything enqueued, for other ranks at most for the time limit.
// It looks now and then, as the driver's own wait has no limit.
func (c *cuda) syncPeers() error {
	p := c.peers
	if p.lost != nil {
		return p.lost
	}
	limit := time.Now().Add(p.Timeout)
	pause := 20 * time.Microsecond
	for {
		if done, err := c.done(); done || err != nil {
			return err
		}
		if r := C.failure(C.ncclComm_t(p.comm)); r != 0 {
			return c.abandon(ncclFailed(int(r)))
		}
		if time.Now().After(limit) {
			return c.abandon(fmt.Errorf("no answer within %v", p.Timeout))
		}
		time.Sleep(pause)
		pause = min(2*pause, 500*time.Microsecond)
	}
}

// abandon ends the communication, so that no kernel waits any more.
func (c *cuda) abandon(why error) error {
	p := c.peers
	p.lost = fmt.Errorf("%w: %w", ErrPeers, why)
	if r := C.leave(C.CUcontext(c.ctx), C.ncclComm_t(p.comm), 1); r != 0 {
		p.lost = fmt.Errorf("%w; %w", p.lost, ncclFailed(int(r)))
	}
	p.comm = nil
	for range 5000 { // what runs ends soon; memory must not be freed before
		if done, err := c.done(); done || err != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return p.lost
}

// disconnect returns errors of cu.
func (c *cuda) disconnect() error {
	p := c.peers
	c.peers = nil
	var err error
	if p.comm != nil {
		err = ncclFailed(int(C.leave(C.CUcontext(c.ctx), C.ncclComm_t(p.comm), 0)))
	}
	for i := range p.events {
		err = errors.Join(err, cu.DestroyEvent(&p.events[i]))
	}
	return errors.Join(err, p.stream.Destroy())
}
