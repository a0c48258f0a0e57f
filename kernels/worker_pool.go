package kernels

import (
	"runtime"
	"sync/atomic"
	"time"
)

// workerPool is a number of goroutines that share the tasks of a stage with the caller.
//
// Why workers spin for a moment after a stage: to wake a sleeping thread takes up to
// 100 µs on virtual machines, longer than many stages; the next stage mostly follows
// within a microsecond. Nobody waits for a worker that wakes too late.
type workerPool struct {
	todo    atomic.Int64 // tasks not yet begun; 0 or less: none
	left    atomic.Int64 // tasks not finished
	stage   *stage       // both set before todo and kept until left is 0
	args    [][]float32
	workers []worker
	waiting atomic.Bool // the caller sleeps until left is 0
	done    chan struct{}
}

type worker struct {
	asleep atomic.Bool
	wake   chan struct{}
}

// spinTimeout is how long a worker and the caller spin before they sleep.
const spinTimeout = 50 * time.Microsecond

func (p *workerPool) start(workers int) {
	p.workers, p.done = make([]worker, workers), make(chan struct{}, 1)
	for i := range p.workers {
		p.workers[i].wake = make(chan struct{}, 1)
		go p.serve(&p.workers[i], i+1)
	}
}

// stop ends the workers.
func (p *workerPool) stop() {
	for i := range p.workers {
		close(p.workers[i].wake)
	}
	p.workers = nil
}

// run does all tasks of a stage; the caller is worker 0.
func (p *workerPool) run(s *stage, args [][]float32) {
	p.stage, p.args = s, args
	p.left.Store(int64(s.tasks))
	p.todo.Store(int64(s.tasks))
	for i := range p.workers[:min(len(p.workers), s.tasks-1)] {
		if h := &p.workers[i]; h.asleep.CompareAndSwap(true, false) {
			h.wake <- struct{}{}
		}
	}
	p.work(0)
	finished := func() bool { return p.left.Load() == 0 }
	if !spinUntil(finished) {
		p.waiting.Store(true)
		if !finished() || !p.waiting.CompareAndSwap(true, false) {
			<-p.done
		}
	}
}

// work does tasks until none is left to begin. It reads the stage only after it has
// taken one of its tasks: until then the stage may be replaced.
func (p *workerPool) work(worker int) {
	for {
		t := p.todo.Add(-1)
		if t < 0 {
			return
		}
		p.stage.do(p.args, p.stage.tasks-1-int(t), worker)
		if p.left.Add(-1) == 0 && p.waiting.CompareAndSwap(true, false) {
			p.done <- struct{}{}
		}
	}
}

func (p *workerPool) serve(h *worker, number int) {
	begun := func() bool { return p.todo.Load() > 0 }
	for {
		if !spinUntil(begun) {
			h.asleep.Store(true)
			if !begun() || !h.asleep.CompareAndSwap(true, false) {
				if _, ok := <-h.wake; !ok {
					return
				}
			}
		}
		p.work(number)
	}
}

// spinUntil waits until done returns true, at most spinTimeout, and returns whether it
// did. Other goroutines are scheduled meanwhile.
func spinUntil(done func() bool) bool {
	for start := time.Now(); time.Since(start) < spinTimeout; runtime.Gosched() {
		for range 100 {
			if done() {
				return true
			}
		}
	}
	return false
}
