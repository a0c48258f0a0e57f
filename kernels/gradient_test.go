package kernels_test

import (
	"math"
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

// gradientTol is a normalised mean squared error: 1e-4 of the gradient.
const gradientTol = 1e-8

// Each gradient's first input is that of the result; the others are found by
// name among the forward arguments.
func TestGradientsMatchDifferences(t *testing.T) {
	lfq := kernels.LFQ{Tokens: 2, Books: 2, Bits: 3}
	awayFromZero := map[string]kerneltest.Draw{"z": kerneltest.Constant(.3, -.7, 1.1, -.2, .5, -1.3, .9)}
	// No x is within 2h of its target or of 0 or 1.
	recon := map[string]kerneltest.Draw{
		"x": kerneltest.Constant(-.5, .25, 1.5, .9, 1.3), "target": kerneltest.Constant(0, .5, 1, 0, .7, 1, .125), "weight": kerneltest.Uniform(0, 2),
	}
	frames := kernels.FramePool{F: 2, P: 5, C: 3}
	type pair struct {
		forward, grad kernels.Spec
		wrt           string
		draw          map[string]kerneltest.Draw
	}
	pairs := []pair{
		{frames, kernels.FramePoolGradX(frames), "x", nil},
		{frames, kernels.FramePoolGradK(frames), "k", nil},
		{kernels.FrameGate{F: 2, P: 5, C: 3}, kernels.FrameGateGradG(frames), "g", nil},
		{kernels.LayerNorm{Rows: 3, C: 7, Eps: .01}, kernels.LayerNormGradX{Rows: 3, C: 7, Eps: .01}, "x", nil},
		{kernels.LayerNorm{Rows: 3, C: 7, Eps: .01}, kernels.LayerNormGradGamma{Rows: 3, C: 7, Eps: .01}, "gamma", nil},
		{kernels.LayerNorm{Rows: 3, C: 7, Eps: .01}, kernels.SumRows{Rows: 3, C: 7}, "beta", nil},
		{kernels.RMSNorm{Rows: 3, C: 7}, kernels.RMSNormGradX{Rows: 3, C: 7}, "x", nil},
		{kernels.RMSNorm{Rows: 3, C: 7}, kernels.RMSNormGradGamma{Rows: 3, C: 7}, "gamma", nil},
		{kernels.CrossEntropy{Rows: 4, C: 3}, kernels.CrossEntropyGrad{Rows: 4, C: 3}, "logits", map[string]kerneltest.Draw{"label": kerneltest.Constant(2, -1, 0, 1)}},
		{kernels.LFQLoss{LFQ: lfq, InvTemp: .4}, kernels.LFQLossGrad{LFQ: lfq, InvTemp: .4}, "z", awayFromZero},
		{kernels.BSQLoss{LFQ: lfq, InvTemp: .8}, kernels.BSQLossGrad{LFQ: lfq, InvTemp: .8}, "u", map[string]kerneltest.Draw{"u": awayFromZero["z"]}},
		{kernels.WeightedSum{Len: 3, W: [4]float32{1, -2, 3}}, kernels.Spread{Len: 3, W: [4]float32{1, -2, 3}}, "x", nil},
	}
	for _, kind := range []kernels.LossKind{kernels.MSE, kernels.L1} {
		s := kernels.ReconLoss{Pixels: 7, C: 5, Kind: kind, Overshoot: .25}
		pairs = append(pairs, pair{s, kernels.ReconLossGrad(s), "x", recon})
	}
	for _, p := range pairs {
		args := kerneltest.Arguments(kerneltest.Case{Spec: p.forward, Draw: p.draw})
		isSlope(t, p.forward, p.grad, p.wrt, args)
	}
}

// isSlope holds a gradient's definition to differences of the forward definition.
// The gradient's arguments are its result, dy, and some of forward's, by name.
func isSlope(t *testing.T, forward, grad kernels.Spec, wrt string, args [][]float32) {
	t.Helper()
	dy := make([]float32, len(args[0]))
	kerneltest.Normal(1)(philox.New(7, "dy", 0, 0), dy)
	byName := map[string]int{}
	for i, a := range forward.Args() {
		byName[a.Name] = i
	}
	in := [][]float32{dy}
	for _, a := range grad.Args()[2:] {
		in = append(in, args[byName[a.Name]])
	}
	closeTo(t, kernels.Name(grad), define(grad, in...), slope(forward, args, byName[wrt], dy))
}

func closeTo(t *testing.T, what string, got []float32, want []float64) {
	t.Helper()
	diff, size := 0., 0.
	for i, w := range want {
		diff += (float64(got[i]) - w) * (float64(got[i]) - w)
		size += w * w
	}
	if !(diff <= gradientTol*size) {
		t.Errorf("%s: NMSE %.3g from central differences, want at most %g\ngot  %v\nwant %v", what, diff/size, gradientTol, got, want)
	}
}

// Both are float64, so a step of 1e-6 leaves an error of 1e-10.
func TestActivationSlopes(t *testing.T) {
	const h = 1e-6
	for k := kernels.None; k <= kernels.SoftClamp; k++ {
		for x := -6.05; x < 6; x += .1 { // not 0, where ELU and LeakyReLU have a kink
			want := (k.Apply(x+h) - k.Apply(x-h)) / (2 * h)
			s := x
			if k.FromOutput() {
				s = k.Apply(x)
			}
			if got := k.Slope(s); math.Abs(got-want) > 1e-9 {
				t.Errorf("%v at %.2f: slope %v, want %v", k, x, got, want)
			}
		}
	}
}

// The straight-through gradient of FSQ is that of the value before rounding.
func TestFSQGradIsThatOfTheBoundedValue(t *testing.T) {
	const h = 1e-6
	for _, l := range []int{3, 4, 5, 8} {
		f := kernels.FSQ{Tokens: 1, Books: 1, Dims: 1, Levels: [8]int{l}}
		bounded := func(z float64) float64 {
			r, o := float64(l-1)*1.001/2, float64(1-l%2)/2
			return (math.Tanh(z+math.Atanh(o/r))*r - o) / float64(l/2)
		}
		for _, z := range []float32{-2, -.5, 0, .25, 1.5} {
			want := (bounded(float64(z)+h) - bounded(float64(z)-h)) / (2 * h)
			near(t, kernels.Name(kernels.FSQGrad{FSQ: f}), define(kernels.FSQGrad{FSQ: f}, []float32{1}, []float32{z}), []float32{float32(want)})
		}
	}
}

// Linear kernels and their gradients: <Ax, u> = <x, A'u>, exactly but for the
// rounding of float32 results.
func TestAdjoints(t *testing.T) {
	shuffle := kernels.Shuffle{N: 2, T: 2, H: 3, W: 5, C: 3, FT: 2, FH: 2, FW: 3}
	down := shuffle
	down.Down = true
	gate := kernels.FrameGate{F: 3, P: 5, C: 7}
	g := random("g", gate.F*gate.C)
	for _, p := range []struct {
		a, b    kernels.Spec
		ax, abx [][]float32 // their inputs after the first
	}{
		{shuffle, down, nil, nil},
		{kernels.PadFront{N: 2, T: 3, Inner: 5, P: 2}, kernels.CropFront{N: 2, T: 3, Inner: 5, P: 2}, nil, nil},
		{kernels.WeightedSum{Len: 3, W: [4]float32{1, -2, 3}}, kernels.Spread{Len: 3, W: [4]float32{1, -2, 3}}, nil, nil},
		{gate, gate, [][]float32{g}, [][]float32{g}},
		{kernels.Affine{Len: 9, Mul: 3}, kernels.Affine{Len: 9, Mul: 3}, nil, nil},
	} {
		x, u := random("x", p.a.Args()[1].Len()), random("u", p.a.Args()[0].Len())
		left := inner(define(p.a, append([][]float32{x}, p.ax...)...), u)
		right := inner(x, define(p.b, append([][]float32{u}, p.abx...)...))
		if math.Abs(left-right) > 1e-5 {
			t.Errorf("%s: <Ax,u> = %v, <x,A'u> = %v", kernels.Name(p.a), left, right)
		}
	}
}

func random(purpose string, n int) []float32 {
	x := make([]float32, n)
	kerneltest.Normal(1)(philox.New(3, purpose, 0, 0), x)
	return x
}

func inner(x, y []float32) float64 {
	sum := 0.
	for i, v := range x {
		sum += float64(v) * float64(y[i])
	}
	return sum
}
