package kernels

import (
	"runtime"
	"testing"
)

// Stages of one to twenty tasks, some after a pause in which workers fall asleep:
// each task is done once, and all are done when run returns.
func TestWorkerPoolDoesEachTaskOnce(t *testing.T) {
	for _, workers := range []int{2, 3, 7} {
		c := NewCPU(workers)
		count := make([]int, 20)
		s := stage{do: func(args [][]float32, task, worker int) {
			if worker >= workers {
				t.Errorf("worker %d of %d", worker, workers)
			}
			count[task] += int(args[0][0])
		}}
		for round := range 2000 {
			s.tasks = 1 + round%len(count)
			c.run(&s, [][]float32{{float32(round)}})
			for i, n := range count {
				if want := round; i < s.tasks && n != want || i >= s.tasks && n != 0 {
					t.Fatalf("%d workers, round %d of %d tasks: task %d was done %d/%d times", workers, round, s.tasks, i, n, want)
				}
			}
			clear(count)
			if round%100 == 0 {
				for i := range c.pool.workers {
					for !c.pool.workers[i].asleep.Load() {
						runtime.Gosched()
					}
				}
			}
		}
		c.Close()
		c.run(&s, [][]float32{{1}}) // a closed pool leaves all tasks to the caller
		for i, n := range count[:s.tasks] {
			if n != 1 {
				t.Errorf("closed: task %d was done %d times", i, n)
			}
		}
	}
}
