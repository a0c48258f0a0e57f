package kernels

import (
	"runtime"
	"time"
)

// PeakGFLOPS measures what the backend's cores can do at most together: 10^9
// floating-point operations a second of independent multiply-adds that touch no
// memory, of bfloat16 if the backend is in BF16. All cores work for about 50 ms; the best rate of each counts, so that a
// moment of other work on the machine does not.
func (c *CPU) PeakGFLOPS() float64 {
	const tasks, seconds = 64, 50e-3
	loop := func(n int) int { return peakLoop(c.isa, n) }
	if c.prec == BF16 {
		loop = peakBF16Loop
	}
	n := 1 << 10
	for start := time.Now(); time.Since(start).Seconds() < seconds/tasks; n *= 2 {
		start = time.Now()
		loop(n)
	}
	best := make([]float64, c.workers)
	c.run(&stage{c.workers * tasks, func(_ [][]float32, _, worker int) {
		start := time.Now()
		flops := n * loop(n)
		best[worker] = max(best[worker], float64(flops)/time.Since(start).Seconds()/1e9)
	}}, nil)
	sum := 0.
	for _, rate := range best {
		sum += rate
	}
	return sum
}

// peakGeneric is the loop in plain Go, with one value a register.
func peakGeneric(n int) int {
	var a, b, c, d, e, f, g, h float32
	x, y := float32(.5), float32(1)
	for range n {
		a, b, c, d = a*x+y, b*x+y, c*x+y, d*x+y
		e, f, g, h = e*x+y, f*x+y, g*x+y, h*x+y
	}
	runtime.KeepAlive(a + b + c + d + e + f + g + h)
	return 2 * 8
}
