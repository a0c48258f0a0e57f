package trainer

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"magvit/kernels"
	"magvit/model"
)

// table says where each parameter lies in an arena.
//
// Decayed parameters come first, so that the optimizer runs as two kernels; every
// parameter starts at a multiple of 16 values, a cache line. What lies between
// them is zero and stays zero.
type table struct {
	params  []model.Param
	offsets []int // by index of params
	decayed int   // values of the part that weight decay applies to
	len     int   // values of an arena
}

func newTable(net model.Network) table {
	params := net.Declared()
	t := table{params: params, offsets: make([]int, len(params))}
	for _, decay := range []bool{true, false} {
		for i, p := range t.params {
			if p.Decay == decay {
				t.offsets[i] = t.len
				t.len += (p.Len() + 15) / 16 * 16
			}
		}
		if decay {
			t.decayed = t.len
		}
	}
	return t
}

// part is parameter i's stretch of an arena.
func (t table) part(arena []float32, i int) []float32 {
	return arena[t.offsets[i]:][:t.params[i].Len()]
}

// initial is an arena of first values. Those of a parameter depend on the seed and on
// its number alone, so all cores draw: 10⁸ of them take one core 10 s.
func (t table) initial(net model.Network, seed uint64) []float32 {
	arena := make([]float32, t.len)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(t.params); i = int(next.Add(1)) - 1 {
				net.Init(seed, i, t.part(arena, i))
			}
		})
	}
	workers.Wait()
	return arena
}

// bad names the first parameter with a value that is not finite, "" if there is none.
func (t table) bad(arena []float32) string {
	for i, p := range t.params {
		for k, v := range t.part(arena, i) {
			if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
				return fmt.Sprintf("%s[%d] = %v", p.Name, k, v)
			}
		}
	}
	return ""
}

// state is what training changes: five parallel arenas on a backend.
type state struct {
	table
	be                       kernels.Backend
	params, grads, m, v, ema kernels.Buffer
}

func newState(be kernels.Backend, net model.Network) (*state, error) {
	s := &state{table: newTable(net), be: be}
	for _, b := range []*kernels.Buffer{&s.params, &s.grads, &s.m, &s.v, &s.ema} {
		var err error
		if *b, err = be.Alloc(s.len); err != nil {
			return nil, fmt.Errorf("trainer: memory for %d parameters and their optimizer: %w", net.NumParams(), err)
		}
	}
	return s, nil
}

// read copies an arena off the backend.
func (s *state) read(b kernels.Buffer) ([]float32, error) {
	arena := make([]float32, b.Len())
	return arena, s.be.Read(arena, b)
}
