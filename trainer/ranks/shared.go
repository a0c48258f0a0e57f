package ranks

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// ShareMemory returns a Group of the same ranks whose bytes go through memory that all of them map; g is not used from
// then on. Where they cannot, all of them get g, and why: they are on several machines, or one has no such memory. All ranks call it.
func (g *Group) ShareMemory(ctx context.Context) (shared *Group, why, err error) {
	if g.Size() == 1 {
		return g, nil, nil
	}
	for i, h := range g.hosts {
		if h != g.hosts[0] {
			return g, fmt.Errorf("%s and %s are on two machines", g.Name(0), g.Name(i)), nil
		}
	}
	bytes, name := layoutOf(g.Size()).bytes, "magvit-"+rand.Text()
	var m *memory
	var own error
	if g.First() {
		m, own = makeMemory(name, bytes)
	}
	place, err := g.Gather(ctx, []byte(m.path()+" "+name))
	if err != nil {
		return nil, nil, errors.Join(err, m.close())
	}
	if path, name, _ := strings.Cut(string(place[0]), " "); !g.First() && path != "" {
		m, own = mapMemory(path, name, bytes)
	}
	texts, err := g.Gather(ctx, []byte(text(own)))
	for i, t := range texts {
		if len(t) > 0 && why == nil {
			why = fmt.Errorf("%s: %s", g.Name(i), t)
		}
	}
	if err != nil || why != nil {
		return g, why, errors.Join(err, m.close())
	}
	return &Group{t: newSharedTransport(m.bytes, g.Rank(), g.Size(), g.t.Host()), timeout: g.timeout, hosts: g.hosts}, nil, m.forget()
}

// mapMemory is openMemory, but in tests.
var mapMemory = openMemory

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// layout is that of the shared memory of size ranks: a page for a failure, a line for the bell of each rank, then for
// each lane and each two ranks the counts and the bytes of what goes from one to the other.
type layout struct{ bells, counts, data, ring, bytes int }

const (
	pageBytes = 4096
	lineBytes = 128      // two words that different ranks write are not in one line of a cache
	ringsMost = 32 << 20 // bytes of all rings together, but that each has at least ringLeast
	ringMost  = 2 << 20  // bytes that may be on their way from one rank to another
	ringLeast = 16 << 10
)

func layoutOf(size int) layout {
	l := layout{bells: pageBytes}
	l.ring = min(ringMost, max(ringLeast, ringsMost/(lanes*size*size)&^(pageBytes-1)))
	l.counts = l.bells + size*lineBytes
	l.data = (l.counts + 2*lanes*size*size*lineBytes + pageBytes - 1) &^ (pageBytes - 1)
	l.bytes = l.data + lanes*size*size*l.ring
	return l
}

// ring holds bytes on their way from one rank to another.
type ring struct {
	sent, taken *atomic.Uint64 // bytes so far
	data        []byte
}

// write moves bytes into the ring, as far as there is room, and returns how many.
func (r ring) write(b []byte) int {
	at, free := r.sent.Load(), uint64(len(r.data))
	free -= at - r.taken.Load()
	b = b[:min(uint64(len(b)), free)]
	from := at % uint64(len(r.data))
	copy(r.data, b[copy(r.data[from:], b):])
	r.sent.Store(at + uint64(len(b)))
	return len(b)
}

// read moves bytes out of the ring, as far as there are any, and returns how many.
func (r ring) read(b []byte) int {
	at := r.taken.Load()
	b = b[:min(uint64(len(b)), r.sent.Load()-at)]
	from := at % uint64(len(r.data))
	k := copy(b, r.data[from:])
	copy(b[k:], r.data)
	r.taken.Store(at + uint64(len(b)))
	return len(b)
}

// sharedTransport is a Transport whose ranks have mapped the same memory.
//
// Each rank moves its own bytes, when it starts an exchange and while it waits for one. A rank that waits sleeps until
// another one that has moved bytes rings its bell.
type sharedTransport struct {
	rank, size int
	host       string
	failure    []byte
	bells      []bell

	mu      sync.Mutex
	in, out [lanes][]queue // by peer
}

// bell is what a rank waits for: rings counts, sleepers are those that wait.
type bell struct{ rings, sleepers *atomic.Uint32 }

// queue is what is to be moved through a ring, in order.
type queue struct {
	ring
	parts []part
}

// part is what is left of the bytes of an exchange with one peer.
type part struct {
	b  []byte
	of *sharedTransfer
}

func newSharedTransport(memory []byte, rank, size int, host string) *sharedTransport {
	l := layoutOf(size)
	t := &sharedTransport{rank: rank, size: size, host: host, failure: memory[:pageBytes]}
	word := func(at int) unsafe.Pointer { return unsafe.Pointer(&memory[at]) }
	between := func(lane, from, to int) queue {
		i := (lane*size+from)*size + to
		at := l.counts + 2*i*lineBytes
		return queue{ring: ring{(*atomic.Uint64)(word(at)), (*atomic.Uint64)(word(at + lineBytes)), memory[l.data+i*l.ring:][:l.ring]}}
	}
	for i := range size {
		at := l.bells + i*lineBytes
		t.bells = append(t.bells, bell{(*atomic.Uint32)(word(at)), (*atomic.Uint32)(word(at + 4))})
		for lane := range lanes {
			t.in[lane], t.out[lane] = append(t.in[lane], between(lane, i, rank)), append(t.out[lane], between(lane, rank, i))
		}
	}
	return t
}

func (t *sharedTransport) Rank() int    { return t.rank }
func (t *sharedTransport) Size() int    { return t.size }
func (t *sharedTransport) Host() string { return t.host }

// Fail leaves the failure of the first rank that calls it, where all look before they sleep.
func (t *sharedTransport) Fail(f Failure) {
	claimed, ready, text := t.failureWords()
	f.Reason = f.Reason[:min(len(f.Reason), len(text)/8)] // JSON may need six bytes for one
	b, err := json.Marshal(f)
	if err != nil || !claimed.CompareAndSwap(0, 1) {
		return
	}
	binary.LittleEndian.PutUint32(text, uint32(len(b)))
	copy(text[4:], b)
	ready.Store(1)
	for i := range t.bells {
		t.ringBell(i)
	}
}

func (t *sharedTransport) failureWords() (claimed, ready *atomic.Uint32, text []byte) {
	return (*atomic.Uint32)(unsafe.Pointer(&t.failure[0])), (*atomic.Uint32)(unsafe.Pointer(&t.failure[4])), t.failure[8:]
}

// failed is the failure of another rank, nil: none.
func (t *sharedTransport) failed() *Failure {
	_, ready, text := t.failureWords()
	if ready.Load() == 0 {
		return nil
	}
	f := &Failure{}
	if err := json.Unmarshal(text[4:4+binary.LittleEndian.Uint32(text)], f); err != nil {
		f.Reason = err.Error()
	}
	if f.Rank == t.rank {
		return nil
	}
	return f
}

func (t *sharedTransport) ringBell(rank int) {
	b := t.bells[rank]
	b.rings.Add(1)
	if b.sleepers.Load() > 0 {
		wake(b.rings)
	}
}

// Start begins an exchange, see Transport.
func (t *sharedTransport) Start(l Lane, send, recv [][]byte) Transfer {
	x := &sharedTransfer{t: t, left: make([]int, t.size)}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.size {
		if i == t.rank {
			continue
		}
		for _, q := range []struct {
			to *queue
			b  []byte
		}{{&t.out[l][i], send[i]}, {&t.in[l][i], recv[i]}} {
			if len(q.b) > 0 {
				q.to.parts = append(q.to.parts, part{q.b, x})
				x.left[i]++
			}
		}
	}
	t.move()
	return x
}

// move moves what can be moved, and rings the bells of the ranks that it was moved from or to.
func (t *sharedTransport) move() {
	for i := range t.size {
		moved := false
		for l := range lanes {
			sent, taken := t.out[l][i].move(ring.write, i), t.in[l][i].move(ring.read, i)
			moved = moved || sent || taken
		}
		if moved {
			t.ringBell(i)
		}
	}
}

func (q *queue) move(f func(ring, []byte) int, peer int) (moved bool) {
	for len(q.parts) > 0 {
		p := &q.parts[0]
		n := f(q.ring, p.b)
		moved = moved || n > 0
		if p.b = p.b[n:]; len(p.b) > 0 {
			return moved
		}
		p.of.left[peer]--
		if q.parts = q.parts[1:]; len(q.parts) == 0 {
			q.parts = nil
		}
	}
	return moved
}

// sharedTransfer is a Transfer. left are the parts to and from each peer that are on their way.
type sharedTransfer struct {
	t    *sharedTransport
	left []int
}

// spinFor is how long a rank waits before it sleeps.
const spinFor = 20 * time.Microsecond

// sleepFor is how long it sleeps at most, before it looks again. Tests have no such net.
var sleepFor = time.Second

// Ready moves what can be moved, see Transfer.
func (x *sharedTransfer) Ready() bool {
	x.t.mu.Lock()
	defer x.t.mu.Unlock()
	if slices.Max(x.left) > 0 {
		x.t.move()
	}
	return slices.Max(x.left) == 0
}

// Wait waits for the exchange, see Transfer.
func (x *sharedTransfer) Wait(ctx context.Context) ([]int, error) {
	t := x.t
	own := t.bells[t.rank]
	var began time.Time
	for {
		rings := own.rings.Load()
		if x.Ready() {
			return nil, nil
		}
		if f := t.failed(); f != nil {
			return x.missing(), f
		}
		if ctx.Err() != nil {
			return x.missing(), context.Cause(ctx)
		}
		if began.IsZero() {
			began = time.Now()
			defer context.AfterFunc(ctx, func() { t.ringBell(t.rank) })()
		}
		if time.Since(began) < spinFor {
			continue
		}
		own.sleepers.Add(1) // before sleep looks at rings: who adds to it afterwards sees a sleeper
		sleep(own.rings, rings, sleepFor)
		own.sleepers.Add(^uint32(0))
	}
}

// missing lists the ranks that something is still to come from, or to go to.
func (x *sharedTransfer) missing() (list []int) {
	x.t.mu.Lock()
	defer x.t.mu.Unlock()
	for i, n := range x.left {
		if n > 0 {
			list = append(list, i)
		}
	}
	return list
}
