package ranks

import (
	"bytes"
	"context"
	"sync"
)

// InProcess returns the transports of n ranks that are goroutines of this process.
func InProcess(n int) []Transport {
	h := &hub{changed: make(chan struct{}), messages: map[message][]byte{}}
	var all []Transport
	for i := range n {
		all = append(all, &inProcess{hub: h, rank: i, size: n})
	}
	return all
}

// hub holds what was sent and not received yet.
type hub struct {
	mu       sync.Mutex
	changed  chan struct{} // closed at the next change
	messages map[message][]byte
	failure  *Failure // the first one
}

type message struct {
	lane             Lane
	from, to, number int
}

func (h *hub) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	close(h.changed)
	h.changed = make(chan struct{})
}

type inProcess struct {
	hub        *hub
	rank, size int
	started    [lanes]int
}

func (p *inProcess) Rank() int    { return p.rank }
func (p *inProcess) Size() int    { return p.size }
func (p *inProcess) Host() string { return "this machine" }

func (p *inProcess) Fail(f Failure) {
	p.hub.change(func() {
		if p.hub.failure == nil {
			p.hub.failure = &f
		}
	})
}

func (p *inProcess) Start(l Lane, send, recv [][]byte) Transfer {
	t := &inProcessTransfer{p: p, lane: l, recv: recv}
	p.hub.change(func() {
		t.number = p.started[l]
		p.started[l]++
		for i := range p.size {
			if i != p.rank {
				p.hub.messages[message{l, p.rank, i, t.number}] = bytes.Clone(send[i])
				t.missing = append(t.missing, i)
			}
		}
	})
	return t
}

type inProcessTransfer struct {
	p       *inProcess
	lane    Lane
	number  int
	recv    [][]byte
	missing []int
}

func (t *inProcessTransfer) Ready() bool {
	t.receive()
	return len(t.missing) == 0
}

// receive takes what has come; changed is closed at the next change.
func (t *inProcessTransfer) receive() (changed chan struct{}, failure *Failure) {
	h := t.p.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	var missing []int
	for _, from := range t.missing {
		key := message{t.lane, from, t.p.rank, t.number}
		b, ok := h.messages[key]
		if !ok {
			missing = append(missing, from)
			continue
		}
		if len(b) != len(t.recv[from]) {
			panic("ranks: another length was sent than is received")
		}
		copy(t.recv[from], b)
		delete(h.messages, key)
	}
	t.missing = missing
	return h.changed, h.failure
}

func (t *inProcessTransfer) Wait(ctx context.Context) ([]int, error) {
	for {
		changed, failure := t.receive()
		switch {
		case len(t.missing) == 0:
			return nil, nil
		case failure != nil && failure.Rank != t.p.rank:
			return t.missing, failure
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return t.missing, context.Cause(ctx)
		}
	}
}
