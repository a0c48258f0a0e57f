package data

import (
	"context"
	"errors"
	"fmt"
	"runtime/metrics"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"magvit/kernels/philox"
)

// faulty is a Source of which some clips are unreadable, some reads stall until they
// are cancelled or for a moment, and a cancelled read fails in one of the ways that
// files fail: with the context's error, with a ClipError that wraps it, or with a
// clip of which only a part was read.
type faulty struct {
	*memorySource
	seed  uint64
	reads atomic.Uint64
	fatal atomic.Bool // reads fail with an error that is not of the clip
}

var errDisk = errors.New("input/output error")

func (s *faulty) Read(ctx context.Context, i int) (Clip, error) {
	r := philox.New(s.seed, "faults", s.reads.Add(1), 0)
	if s.fatal.Load() && r.IntN(4) == 0 {
		return Clip{Label: 0}, errDisk
	}
	switch r.IntN(8) {
	case 0:
		<-time.After(time.Duration(r.IntN(300)) * time.Microsecond)
	case 1:
		if r.IntN(2) == 0 {
			select {
			case <-ctx.Done():
			case <-time.After(time.Millisecond):
			}
		}
	}
	c, err := s.memorySource.Read(ctx, i)
	if ctx.Err() == nil {
		return c, err
	}
	switch r.IntN(4) {
	case 0:
		return Clip{}, ctx.Err()
	case 1:
		return Clip{}, &ClipError{s.Name(i), fmt.Errorf("decoder: signal: killed: %w", ctx.Err())}
	case 2:
		return Clip{}, &ClipError{s.Name(i), errors.New("decoder: signal: killed")}
	}
	c.Video = c.Video[:len(c.Video)/2]
	return c, nil
}

// Whatever reads are stalled, cancelled by Seek or Close, or fail: a batch that Next
// returns is the batch of its step.
func FuzzLoaderUnderFaults(f *testing.F) {
	f.Add(uint64(1), uint8(1), false, true)
	f.Add(uint64(2), uint8(4), true, false)
	f.Add(uint64(3), uint8(3), true, true)
	var want []Batch
	clean := dots(10, 5, 16, 16)
	clean.bad = map[int]bool{0: true, 3: true, 8: true}
	f.Fuzz(func(t *testing.T, seed uint64, workers uint8, fatal, labelled bool) {
		if want == nil {
			l := mustLoad(t, clean, augmented(), 2, true)
			for range 12 {
				want = append(want, next(t, l))
			}
		}
		r := philox.New(seed, "actions", 0, 0)
		bad := &faulty{memorySource: clean, seed: seed}
		src := join([]Source{bad}, nil) // as Open returns it: the labels of clips are renumbered
		src.labels[0] = []int{0, 1}
		cfg := augmented()
		cfg.Height, cfg.Width, cfg.Frames, cfg.Channels, cfg.Workers = 16, 16, 5, 3, int(workers%6)
		l, err := NewLoader(src, upTo(10), cfg, 2, 7, true)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		bad.fatal.Store(fatal)
		at := 0
		for range 30 {
			switch r.IntN(4) {
			case 0:
				at = r.IntN(len(want))
				l.Seek(at)
			case 1:
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(200))*time.Microsecond)
				if _, err := l.Next(ctx); err == nil {
					at++
				} else if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, errDisk) {
					t.Fatal(err)
				}
				cancel()
			default:
				b, err := l.Next(t.Context())
				if errors.Is(err, errDisk) && fatal {
					l.Seek(at)
					continue
				}
				if err != nil {
					t.Fatalf("step %d: %v", at, err)
				}
				if d := cmp.Diff(want[at], *b, sameFloats); d != "" {
					t.Fatalf("step %d: %s", at, d)
				}
				at++
			}
			if at == len(want) {
				at = 0
				l.Seek(0)
			}
		}
		for _, e := range l.Skipped() {
			if e.Err.Error() != "torn" {
				t.Errorf("a cancelled read is counted as an unreadable clip: %v", e)
			}
		}
	})
}

// Training ends while clips without labels are read: closing returns, nothing panics.
func TestClosingWhileUnlabelledClipsAreRead(t *testing.T) {
	shape, v := ramp(4, 8, 3, 32, 32)
	src := mustOpen(t, Options{}, tempNPZ(t, Array{"videos", shape, v}))
	for i := range 200 {
		l, err := NewLoader(src, upTo(4), Config{Flip: true, ValShare: .2, Workers: 1 + i%4}, 4, uint64(i), true)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
}

// allocated is the number of bytes that this process has allocated.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
