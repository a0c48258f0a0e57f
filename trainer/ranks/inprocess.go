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

type message struct{ from, to, number int }

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
	started    int
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

func (p *inProcess) Start(send, recv [][]byte) Transfer {
	t := &inProcessTransfer{p: p, recv: recv}
	p.hub.change(func() {
		t.number = p.started
		p.started++
		for i := range p.size {
			if i != p.rank {
				p.hub.messages[message{p.rank, i, t.number}] = bytes.Clone(send[i])
				t.missing = append(t.missing, i)
			}
		}
	})
	return t
}

type inProcessTransfer struct {
	p       *inProcess
	number  int
	recv    [][]byte
	missing []int
}

func (t *inProcessTransfer) Wait(ctx context.Context) ([]int, error) {
	h := t.p.hub
	for {
		h.mu.Lock()
		var missing []int
		for _, from := range t.missing {
			key := message{from, t.p.rank, t.number}
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
		changed, failure := h.changed, h.failure
		h.mu.Unlock()
		switch {
		case len(missing) == 0:
			return nil, nil
		case failure != nil && failure.Rank != t.p.rank:
			return missing, failure
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return missing, context.Cause(ctx)
		}
	}
}
