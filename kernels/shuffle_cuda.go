package kernels

import "fmt"

type shuffleSize struct {
	T, H, W, C, FT, FH, FW int
	Down                   int
	Kind                   Activation
}

type shuffleArgs struct {
	Y, X, S Operand
	N       int
	shuffleSize
}

// shuffleGroupsArgs are those of a thread for eight channels of f neighbours; C counts
// groups of eight channels.
type shuffleGroupsArgs struct {
	Y, X, S Operand
	Groups  int
	shuffleSize
}

type shuffle2Args struct {
	shuffleGroupsArgs
	Offsets struct{ At [2]int }
}

type shuffle4Args struct {
	shuffleGroupsArgs
	Offsets struct{ At [4]int }
}

func (s Shuffle) cuda(p *Launches) {
	s.launch(p, p.arg("y"), p.arg("x"), Operand{})
}

func (s ShuffleGrad) cuda(p *Launches) {
	s.Down = !s.Down
	s.Shuffle.launch(p, p.arg("dx"), p.arg("dy"), p.arg("x"))
}

// launch moves values and applies the activation, or multiplies by its slopes at another operand where
// that is not null.
func (s Shuffle) launch(p *Launches, y, x, at Operand) {
	f, n := s.FT*s.FH*s.FW, s.values()
	size := shuffleSize{s.T, s.H, s.W, s.C, s.FT, s.FH, s.FW, flag(s.Down), s.Act}
	if s.PhaseFirst {
		kernel, threads := vectorKernel("shuffle_phases", n, s.C)
		p.elementwise(p.typed(kernel), threads, shuffleArgs{y, x, at, threads, size})
		return
	}
	if s.C%8 != 0 || f != 2 && f != 4 {
		p.elementwise8(p.typed("shuffle"), n, shuffleArgs{y, x, at, n, size})
		return
	}
	size.C /= 8
	g := shuffleGroupsArgs{y, x, at, n / 8 / f, size}
	var offsets [4]int
	i := 0
	for t := range s.FT {
		for h := range s.FH {
			for w := range s.FW {
				offsets[i] = ((t*s.H*s.FH+h)*s.W*s.FW + w) * s.C
				i++
			}
		}
	}
	var args any = shuffle4Args{g, struct{ At [4]int }{offsets}}
	if f == 2 {
		args = shuffle2Args{g, struct{ At [2]int }{[2]int(offsets[:2])}}
	}
	p.elementwise(p.typed(fmt.Sprintf("shuffle_%d", f)), g.Groups, args)
}
