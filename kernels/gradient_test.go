package kernels_test

import (
	"fmt"
	"slices"
	"testing"

	"magvit/kernels"
	"magvit/kernels/kerneltest"
	"magvit/kernels/philox"
)

// slope differentiates <dy, definition> numerically with respect to argument wrt.
//
// Differences of five points err by h⁴f⁗′/30; results are rounded to float32,
// which costs 1.5·6e-8·f/h. With h = 2^-6 both are near 1e-5 of the result.
func slope(s kernels.Spec, args [][]float32, wrt int, dy []float32) []float64 {
	const h = 1. / 64
	at := func(x *float32, v float32) float64 {
		*x = v
		s.Define(args...)
		sum := 0.
		for i, y := range args[0] {
			sum += float64(dy[i]) * float64(y)
		}
		return sum
	}
	d := make([]float64, len(args[wrt]))
	for i := range d {
		x := &args[wrt][i]
		v := *x
		d[i] = (8*(at(x, v+h)-at(x, v-h)) - (at(x, v+2*h) - at(x, v-2*h))) / (12 * h)
		*x = v
	}
	return d
}

// Gradients are held to differences of the forward definition, for every kernel that has
// any: kerneltest asks for a smooth case of it.
func TestGradientsMatchDifferences(t *testing.T) {
	for _, c := range kerneltest.Smooth() {
		args := kerneltest.Arguments(c)
		c.Spec.Define(args...)
		specs := c.Spec.Args()
		dy := make([]float32, len(args[0]))
		kerneltest.Normal(1)(philox.New(7, "dy", 0, 0), dy)
		values := map[string][]float32{"d" + specs[0].Name: dy}
		index := map[string]int{}
		for i, a := range specs {
			values[a.Name], index[a.Name] = slices.Clone(args[i]), i
		}
		if len(c.Spec.Grads()) == 0 {
			t.Errorf("%v: a smooth case without gradients", c)
		}
		for _, g := range c.Spec.Grads() {
			var in [][]float32
			for i, name := range g.Args {
				if name == kernels.ZeroArg {
					in = append(in, make([]float32, g.Spec.Args()[1+i].Len()))
					continue
				}
				in = append(in, values[name])
			}
			what := fmt.Sprintf("%v: %s", c, kernels.Name(g.Spec))
			closeTo(t, what, define(g.Spec, in...), slope(c.Spec, args, index[g.Of], dy), c.Tol)
		}
	}
}

// closeTo compares a gradient with differences, by the normalised mean squared error.
func closeTo(t *testing.T, what string, got []float32, want []float64, tol float64) {
	t.Helper()
	diff, size := 0., 0.
	for i, w := range want {
		diff += (float64(got[i]) - w) * (float64(got[i]) - w)
		size += w * w
	}
	if !(size > 0 && diff <= tol*size) {
		t.Errorf("%s: NMSE %.3g from central differences, want at most %g\ngot  %v\nwant %v", what, diff/size, tol, got, want)
	}
}

func random(purpose string, n int) []float32 {
	x := make([]float32, n)
	kerneltest.Normal(1)(philox.New(3, purpose, 0, 0), x)
	return x
}
