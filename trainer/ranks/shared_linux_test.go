package ranks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func init() { sleepFor = time.Hour }

// TestExchangesOfAnyLength starts several exchanges of both lanes at once, of more bytes than rings hold, of few and of none,
// and waits for them in another order.
func TestExchangesOfAnyLength(t *testing.T) {
	const n = 3
	lengths := []int{0, 1, ringMost - 1, ringMost, ringMost + 1, 3*ringMost + 7, 100}
	content := func(exchange, from, to int) []byte {
		b := make([]byte, lengths[(exchange+2*from+to)%len(lengths)])
		r := rand.NewChaCha8([32]byte{byte(exchange), byte(from), byte(to)})
		r.Read(b)
		return b
	}
	for r, err := range together(t, n, time.Minute, func(g *Group) error {
		var pending []*Pending
		var received [][][]byte
		for k := range 2 * len(lengths) {
			send, recv := make([][]byte, n), make([][]byte, n)
			for i := range n {
				send[i], recv[i] = content(k, g.Rank(), i), make([]byte, len(content(k, i, g.Rank())))
			}
			pending, received = append(pending, g.start(Lane(k%2), send, recv)), append(received, recv)
		}
		for k := range pending {
			k := len(pending) - 1 - k
			if err := pending[k].Wait(t.Context()); err != nil {
				return err
			}
			if !pending[k].Ready() {
				return fmt.Errorf("exchange %d has been waited for and is not ready", k)
			}
			for i, b := range received[k] {
				if i != g.Rank() && !bytes.Equal(b, content(k, i, g.Rank())) {
					return fmt.Errorf("exchange %d: other bytes than rank %d sent", k, i)
				}
			}
		}
		return nil
	}) {
		if err != nil {
			t.Errorf("rank %d: %v", r%n, err)
		}
	}
}

// TestLanesDoNotWait starts exchanges of two lanes in different orders on two ranks.
func TestLanesDoNotWait(t *testing.T) {
	for r, err := range together(t, 2, 10*time.Second, func(g *Group) error {
		received := [2]byte{}
		var pending [2]*Pending
		for k := range 2 {
			l := k ^ g.Rank()
			pending[l] = g.start(Lane(l), [][]byte{{byte(l + 1)}, {byte(l + 1)}}, [][]byte{received[l : l+1], received[l : l+1]})
		}
		for l := range pending {
			if err := pending[l].Wait(t.Context()); err != nil {
				return err
			}
		}
		if received != [2]byte{1, 2} {
			return fmt.Errorf("received %v", received)
		}
		return nil
	}) {
		if err != nil {
			t.Errorf("rank %d: %v", r%2, err)
		}
	}
}

// named is a transport on another machine.
type named struct {
	Transport
	host string
}

func (n named) Host() string { return n.host }

// TestMemoryIsSharedByAllOrNone gives one rank another machine, or a name of memory that is not there: no rank shares memory, all know why
// and go on with messages.
func TestMemoryIsSharedByAllOrNone(t *testing.T) {
	defer func(f func(string, string, int) (*memory, error)) { mapMemory = f }(mapMemory)
	for want, fault := range map[string]func(rank int, tr Transport) Transport{
		"rank 0 on a and rank 1 on b are on two machines": func(rank int, tr Transport) Transport { return named{tr, []string{"a", "b", "a"}[rank]} },
		"is not the memory of the first rank": func(rank int, tr Transport) Transport {
			mapMemory = func(path, name string, bytes int) (*memory, error) { return openMemory(path, "another", bytes) }
			return tr
		},
	} {
		errs := make(chan error)
		all := InProcess(3)
		for i := range all {
			all[i] = fault(i, all[i])
		}
		for _, tr := range all {
			go func() {
				g, err := NewGroup(t.Context(), tr, time.Minute)
				if err != nil {
					errs <- err
					return
				}
				shared, why, err := g.ShareMemory(t.Context())
				if err == nil && (shared != g || why == nil || !strings.Contains(why.Error(), want)) {
					err = fmt.Errorf("%v, want %s", why, want)
				}
				errs <- errors.Join(err, g.Barrier(t.Context()))
			}()
		}
		for range all {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	}
}

// TestMemoryOfTwoProcesses sums with another process, which is killed then: the wait for it ends in time, and names it.
func TestMemoryOfTwoProcesses(t *testing.T) {
	const n, name = 1 << 20, "magvit-test"
	group := func(m *memory, rank int) (*Group, *Summer, []float32) {
		g := &Group{t: newSharedTransport(m.bytes, rank, 2, "here"), timeout: 10 * time.Second, hosts: []string{"here", "here"}}
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(i%1000 + rank)
		}
		return g, NewSummer(g, Tree{2}, n), values
	}
	bytes := layoutOf(2).bytes
	if path := os.Getenv("MAGVIT_TEST_MEMORY"); path != "" { // the other process
		m, err := openMemory(path, name, bytes)
		if err != nil {
			t.Fatal(err)
		}
		_, s, values := group(m, 1)
		if err := s.Sum(context.Background(), values, values); err != nil {
			t.Fatal(err)
		}
		select {}
	}
	m, err := makeMemory(name, bytes)
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	other := exec.Command(os.Args[0], "-test.run", "^TestMemoryOfTwoProcesses$")
	other.Env = append(os.Environ(), "MAGVIT_TEST_MEMORY="+m.path())
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Wait()
	defer other.Process.Kill()
	g, s, values := group(m, 0)
	if err := s.Sum(t.Context(), values, values); err != nil {
		t.Fatal(err)
	}
	for i, v := range values {
		if v != float32(2*(i%1000)+1) {
			t.Fatalf("sum %d is %v, want %v", i, v, 2*(i%1000)+1)
		}
	}
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	g.SetTimeout(100 * time.Millisecond)
	var timeout *TimeoutError
	if err := s.Sum(t.Context(), values, values); !errors.As(err, &timeout) || !strings.Contains(err.Error(), "rank 1 on here") {
		t.Errorf("%v, want a timeout that names rank 1", err)
	}
}
