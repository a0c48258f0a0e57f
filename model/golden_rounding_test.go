package model

import (
	"math"
	"strings"
	"testing"

	"magvit/kernels"
	"magvit/kernels/philox"
)

// rounding is one way to compute the same values in float32.
type rounding struct {
	be   kernels.Backend
	seed uint64 // not 0: each parameter and input is moved to a neighbour or stays, at random
}

// roundings are the CPU backend's own; then, on the same graph, all sums in float64, or
// those of convolutions only; the backend without vector instructions; and parameters
// and inputs that are a last bit off.
func roundings(t *testing.T) (first rounding, others []rounding) {
	best := cpu(t)
	precise := exact{best, everything}
	others = []rounding{{be: precise}, {be: exact{best, convolutions}}, {be: plain(t)}}
	for seed := range uint64(12) {
		r := rounding{be: precise, seed: seed + 1}
		if seed%3 == 2 {
			r.be = best
		}
		others = append(others, r)
	}
	return rounding{be: best}, others
}

func (r rounding) nudge(g *golden) {
	if r.seed == 0 {
		return
	}
	for name, a := range g.all {
		if !strings.HasPrefix(name, "param.") && !strings.HasPrefix(name, "in.") || a.ints != nil {
			continue
		}
		s := philox.New(r.seed, name, 0, 0)
		for i, v := range a.values {
			switch u := s.Float64(); {
			case v == 0: // a boundary of LFQ
			case u < .25:
				a.values[i] = math.Nextafter32(v, float32(math.Inf(1)))
			case u < .5:
				a.values[i] = math.Nextafter32(v, float32(math.Inf(-1)))
			}
		}
	}
}

// exact is a backend on which some kernels are their definitions: plain Go with every
// sum in float64, only what is stored rounded to float32.
type exact struct {
	*kernels.CPU
	some func(kernels.Spec) bool
}

func everything(kernels.Spec) bool { return true }

func convolutions(s kernels.Spec) bool {
	_, ok := s.(kernels.Conv)
	return ok
}

func (e exact) Prepare(s kernels.Spec) (kernels.Kernel, error) {
	if !e.some(s) {
		return e.CPU.Prepare(s)
	}
	return defined{s}, s.Validate()
}

// defined is a kernel that runs its definition.
type defined struct{ kernels.Spec }

func (k defined) Run(args ...kernels.Buffer) {
	values := make([][]float32, len(args))
	for i, a := range args {
		values[i] = a.(kernels.Host)
	}
	k.Define(values...)
}

// plain is the CPU backend without vector instructions.
func plain(t *testing.T) kernels.Backend {
	t.Setenv("MAGVIT_ISA", "generic")
	return cpu(t)
}
