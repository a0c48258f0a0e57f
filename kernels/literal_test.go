package kernels_test

import (
	"math"
	"strings"
	"testing"

	"magvit/kernels"
)

const ln3 = 1.0986123

// literal is a case worked out by hand. in are the arguments after the results, want are
// the results, one after another.
type literal struct {
	spec kernels.Spec
	in   [][]float32
	want []float32
}

// checkLiterals holds definitions and the CPU backend to cases worked out by hand.
func checkLiterals(t *testing.T, literals ...literal) {
	t.Helper()
	be := kernels.NewCPU(2)
	defer be.Close()
	for _, c := range literals {
		if err := c.spec.Validate(); err != nil {
			t.Fatalf("%s: %v", kernels.Name(c.spec), err)
		}
		near(t, kernels.Name(c.spec)+" definition", define(c.spec, c.in...), c.want)
		near(t, kernels.Name(c.spec)+" on the cpu", runOn(t, be, c.spec, c.in...), c.want)
	}
}

// refusal is a Spec of sizes that are not legal. The error names the field and what would
// be legal.
type refusal struct {
	spec kernels.Spec
	want string
}

func checkRefusals(t *testing.T, refusals ...refusal) {
	t.Helper()
	for _, c := range refusals {
		if err := c.spec.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", kernels.Name(c.spec), err, c.want)
		}
	}
}

// define gives the definition's results for these inputs, one after another.
func define(s kernels.Spec, in ...[]float32) []float32 {
	y, args := results(s)
	s.Define(append(args, in...)...)
	return y
}

// results are arguments for the results of a Spec, one after another in y.
func results(s kernels.Spec) (y []float32, args [][]float32) {
	n := 0
	for _, a := range s.Args() {
		if a.Out {
			n += a.Len()
		}
	}
	y = make([]float32, n)
	n = 0
	for _, a := range s.Args() {
		if a.Out {
			args = append(args, y[n:n+a.Len()])
			n += a.Len()
		}
	}
	return y, args
}

func runOn(t *testing.T, be kernels.Backend, s kernels.Spec, in ...[]float32) []float32 {
	t.Helper()
	k, err := be.Prepare(s)
	if err != nil {
		t.Fatal(err)
	}
	y, outs := results(s)
	var args []kernels.Buffer
	for _, x := range append(outs, in...) {
		args = append(args, kernels.Host(x))
	}
	k.Run(args...)
	return y
}

// near compares with numbers written to seven or eight digits.
func near(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= 3e-7*max(1, math.Abs(float64(want[i])))) {
			t.Errorf("%s: value %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}
