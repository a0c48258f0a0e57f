package kernels

import (
	"runtime"
	"sync/atomic"
	"time"
)

// team is a number of goroutines that help the caller with the tasks of a stage.
//
// Why helpers stay awake for a moment after a stage: to wake a sleeping thread takes
// up to 100 µs on virtual machines, longer than many stages; the next stage mostly
// follows within a microsecond. Nobody waits for a helper that wakes too late.
type team struct {
	todo    atomic.Int64 // tasks that nobody has begun; 0 or less: none
	left    atomic.Int64 // tasks not finished
	stage   *stage       // both set before todo and kept until left is 0
	args    [][]float32
	helpers []helper
	waiting atomic.Bool // the caller sleeps until left is 0
	done    chan struct{}
}

type helper struct {
	asleep atomic.Bool
	wake   chan struct{}
}

// patience is how long a helper and the caller look for a change before they sleep.
const patience = 50 * time.Microsecond

func (m *team) start(helpers int) {
	m.helpers, m.done = make([]helper, helpers), make(chan struct{}, 1)
	for i := range m.helpers {
		m.helpers[i].wake = make(chan struct{}, 1)
		go m.help(&m.helpers[i], i+1)
	}
}

// stop ends the helpers.
func (m *team) stop() {
	for i := range m.helpers {
		close(m.helpers[i].wake)
	}
	m.helpers = nil
}

// run does all tasks of a stage; the caller is worker 0.
func (m *team) run(s *stage, args [][]float32) {
	m.stage, m.args = s, args
	m.left.Store(int64(s.tasks))
	m.todo.Store(int64(s.tasks))
	for i := range m.helpers[:min(len(m.helpers), s.tasks-1)] {
		if h := &m.helpers[i]; h.asleep.CompareAndSwap(true, false) {
			h.wake <- struct{}{}
		}
	}
	m.work(0)
	finished := func() bool { return m.left.Load() == 0 }
	if !look(finished) {
		m.waiting.Store(true)
		if !finished() || !m.waiting.CompareAndSwap(true, false) {
			<-m.done
		}
	}
}

// work does tasks until none is left to begin. It reads the stage only when it got
// a task of it, because only then the stage stays.
func (m *team) work(worker int) {
	for {
		t := m.todo.Add(-1)
		if t < 0 {
			return
		}
		m.stage.do(m.args, m.stage.tasks-1-int(t), worker)
		if m.left.Add(-1) == 0 && m.waiting.CompareAndSwap(true, false) {
			m.done <- struct{}{}
		}
	}
}

func (m *team) help(h *helper, worker int) {
	begun := func() bool { return m.todo.Load() > 0 }
	for {
		if !look(begun) {
			h.asleep.Store(true)
			if !begun() || !h.asleep.CompareAndSwap(true, false) {
				if _, ok := <-h.wake; !ok {
					return
				}
			}
		}
		m.work(worker)
	}
}

// look waits until done, for as long as patience; it tells whether it is.
// Other goroutines get their turn meanwhile.
func look(done func() bool) bool {
	for start := time.Now(); time.Since(start) < patience; runtime.Gosched() {
		for range 100 {
			if done() {
				return true
			}
		}
	}
	return false
}
