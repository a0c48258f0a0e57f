// Package ranks moves bytes between the processes of one training, its ranks.
//
// A Transport comes in: MPI's, see package mpi, or goroutines of one process, see
// InProcess. A Group turns it into the few collectives that a trainer needs, with errors
// that name rank and host.
//
// Why exchanges and nothing else below: who has not answered is known by name then, and no
// library's reduction decides on the last bits of a sum, see Tree.
package ranks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Transport moves bytes between Size ranks, numbered from 0.
type Transport interface {
	Rank() int
	Size() int
	// Host is the name of this rank's machine.
	Host() string
	// Start begins an exchange: send[i] goes to rank i, and recv[i], of the length that rank
	// i sends, is filled with what comes from there. Both have Size entries; nil ones are
	// empty, and those of the own rank are not looked at. All ranks start the same exchanges
	// of a lane in the same order; several may be on their way. The bytes belong to the transport until
	// Wait returns. Start may be called from any goroutine.
	Start(l Lane, send, recv [][]byte) Transfer
	// Fail makes what the other ranks wait for fail with a Failure.
	Fail(Failure)
}

// Lane is one of the two orders of exchanges. The second lane is that of exchanges whose place among those of the first
// depends on when bytes arrive.
type Lane int

const lanes = 2

// Reducer is a Transport that can sum by itself, in an order of its own.
type Reducer interface {
	// AllReduce begins to replace values by their sums over all ranks. It counts as an exchange, see Start.
	AllReduce(values []float32) Transfer
}

// Transfer is an exchange on its way.
type Transfer interface {
	// Ready reports whether everything has come and gone.
	Ready() bool
	// Wait waits until everything has come and gone. It returns early with a *Failure when
	// another rank has failed, or with ctx's cause; missing are then the ranks that something
	// was still to come from, or to go to.
	Wait(ctx context.Context) (missing []int, err error)
}

// Failure is the error with which another rank ended.
type Failure struct {
	Rank   int
	Host   string
	Status int // exit status that the rank asks for
	Reason string
}

func (f *Failure) Error() string {
	return fmt.Sprintf("rank %d on %s: %s", f.Rank, f.Host, f.Reason)
}

// ErrTimeout is what errors.Is finds in the error of a collective that not all ranks came to.
var ErrTimeout = errors.New("no answer in time")

// TimeoutError names the ranks that did not come to a collective.
type TimeoutError struct {
	Missing []int
	text    string
}

func (e *TimeoutError) Error() string { return e.text }
func (e *TimeoutError) Unwrap() error { return ErrTimeout }

// Group is one rank's part in the job. A nil Group is that of a process on its own.
//
// All ranks call the same collectives in the same order. A Group is used by one goroutine.
type Group struct {
	t       Transport
	timeout time.Duration
	hosts   []string
}

// NewGroup meets the other ranks. Each collective has to end within timeout.
func NewGroup(ctx context.Context, t Transport, timeout time.Duration) (*Group, error) {
	g := &Group{t: t, timeout: timeout}
	names, err := g.Gather(ctx, []byte(t.Host()))
	if err != nil {
		return nil, fmt.Errorf("meeting the other ranks: %w", err)
	}
	for _, n := range names {
		g.hosts = append(g.hosts, string(n))
	}
	return g, nil
}

// Rank is the number of this process, from 0.
func (g *Group) Rank() int {
	if g == nil {
		return 0
	}
	return g.t.Rank()
}

// Size is the number of ranks.
func (g *Group) Size() int {
	if g == nil {
		return 1
	}
	return g.t.Size()
}

// First reports whether this is rank 0, which writes what all share.
func (g *Group) First() bool { return g.Rank() == 0 }

// SetTimeout changes the time within which each later collective has to end.
func (g *Group) SetTimeout(d time.Duration) { g.timeout = d }

// Hosts are the machines of all ranks.
func (g *Group) Hosts() []string { return slices.Clone(g.hosts) }

// Name is a rank in words, with its host once the ranks have met.
func (g *Group) Name(rank int) string {
	if rank < len(g.hosts) {
		return fmt.Sprintf("rank %d on %s", rank, g.hosts[rank])
	}
	return fmt.Sprintf("rank %d", rank)
}

// Local is the number of this rank among those of its machine, and how many these are.
func (g *Group) Local() (rank, size int) {
	if g == nil {
		return 0, 1
	}
	for i, h := range g.hosts {
		if h == g.hosts[g.Rank()] {
			if size++; i < g.Rank() {
				rank++
			}
		}
	}
	return rank, size
}

// Pending is an exchange that was started.
type Pending struct {
	g  *Group
	t  Transfer
	at time.Time
}

// Start begins an exchange, see Transport. The caller computes until Wait.
func (g *Group) Start(send, recv [][]byte) *Pending { return g.start(0, send, recv) }

func (g *Group) start(l Lane, send, recv [][]byte) *Pending {
	return &Pending{g, g.t.Start(l, send, recv), time.Now()}
}

// Ready reports whether Wait would return at once.
func (p *Pending) Ready() bool { return p.t.Ready() }

// Wait waits for the exchange.
func (p *Pending) Wait(ctx context.Context) error {
	limited, cancel := context.WithTimeoutCause(ctx, p.g.timeout, ErrTimeout)
	defer cancel()
	missing, err := p.t.Wait(limited)
	var other *Failure
	switch {
	case err == nil, errors.As(err, &other):
		return err
	case errors.Is(err, ErrTimeout):
		return &TimeoutError{missing, fmt.Sprintf("%v: %s, waited %v (train.timeout)", ErrTimeout, p.g.names(missing), time.Since(p.at).Round(time.Millisecond))}
	}
	return fmt.Errorf("waiting for %s: %w", p.g.names(missing), err)
}

func (g *Group) names(ranks []int) string {
	var names []string
	for _, r := range ranks {
		names = append(names, g.Name(r))
	}
	return strings.Join(names, ", ")
}

// Exchange is Start and Wait.
func (g *Group) Exchange(ctx context.Context, send, recv [][]byte) error {
	return g.Start(send, recv).Wait(ctx)
}

// Fail tells all ranks that this one ends with an error. status is the exit status that all
// of them should leave with.
func (g *Group) Fail(err error, status int) {
	if g == nil {
		return
	}
	g.t.Fail(Failure{Rank: g.Rank(), Host: g.t.Host(), Status: status, Reason: err.Error()})
}
