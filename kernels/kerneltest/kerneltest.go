// Package kerneltest turns a Spec into a verdict: does this backend compute what
// the definition says, and how fast?
//
// The cases are one list, run by go test on the CPU backend and by
// `magvit bench --check` on a machine without Go. The arguments are drawn by
// chance from fixed coordinates, so every backend sees the same values.
package kerneltest

import (
	"fmt"
	"math"
	"slices"

	"magvit/kernels"
	"magvit/kernels/philox"
)

// Case is a Spec, how far a backend's results may be from the definition's, and
// what values to try it on.
type Case struct {
	Spec kernels.Spec
	Tol  float64 // greatest normalised mean squared error; 0: the same values
	Why  string  // the reason for Tol
	// Draw fills arguments by name. Others are drawn from the normal
	// distribution. A result named here is read too: it starts with these values.
	Draw map[string]Draw
	// Bench marks a row of the benchmark: a size of practice, which is timed.
	Bench bool
	// Smooth marks a case whose gradients are compared with differences.
	Smooth bool
}

// tolerance is Tol with its reason. Attention of activations in bfloat16 may round its
// weights too, by up to 2^-9: at most 1.3e-6 in the mean square, a few times that where
// their sums cancel.
func (c Case) tolerance() (float64, string) {
	s, stored := kernels.Plain(c.Spec)
	switch s.(type) {
	case kernels.Attention, kernels.AttentionGrad, kernels.AttentionGradMem, kernels.AttentionStats, kernels.AttentionBackward:
		if stored {
			return max(c.Tol, 1e-5), "softmax weights and their slopes are rounded to bfloat16"
		}
	}
	return c.Tol, c.Why
}

// Draw fills an argument with values that suit it.
type Draw func(s *philox.Stream, dst []float32)

// Result says how close a backend came. Of several results of a Spec it is the
// worst one.
type Result struct {
	Arg    string  // the result that NMSE is of
	MaxAbs float64 // greatest difference of any value of any result
	NMSE   float64 // sum of squared differences / sum of squares
	OK     bool    // NMSE is within the case's tolerance
	Err    error   // why not, nil if OK
}

// guard is how many words before and after each argument must stay as they are.
const guard = 64

// Check runs the case's Spec on the backend and compares the results with the
// definition's. The error is of a backend that could not run it at all.
func Check(be kernels.Backend, c Case) (Result, error) {
	got, err := Outputs(be, c)
	if err != nil {
		return Result{}, fmt.Errorf("kerneltest: %s on %s: %w", kernels.Name(c.Spec), be.Name(), err)
	}
	return Compare(got, c, kernels.PrecisionFor(be, c.Spec)), nil
}

// Compare compares what Outputs gave with the definition, in bfloat16 with that of
// rounded operands.
func Compare(got [][]float32, c Case, p kernels.Precision) Result {
	drawn := Arguments(c)
	want := clone(drawn)
	if p == kernels.BF16 {
		for _, i := range kernels.RoundedArgs(c.Spec) {
			for j, v := range want[i] {
				want[i][j] = kernels.RoundBF16(v)
			}
		}
	}
	plain, _ := kernels.Plain(c.Spec)
	plain.Define(want...)
	r := Result{OK: true}
	for i, a := range c.Spec.Args() {
		if !a.Out {
			if nmse, _, at := Distance(got[i], drawn[i]); nmse != 0 {
				r.OK, r.Err = false, fmt.Errorf("%s is an input, but value %d was changed", a.Name, at)
				return r
			}
			continue
		}
		out := got[i]
		if a.BF16 {
			out = make([]float32, len(out))
			for j, v := range want[i] {
				out[j] = nearest(v, got[i][j])
			}
		}
		nmse, maxAbs, at := Distance(out, want[i])
		r.MaxAbs = max(r.MaxAbs, maxAbs)
		if r.Arg == "" || nmse > r.NMSE {
			r.Arg, r.NMSE = a.Name, nmse
		}
		if tol, why := c.tolerance(); nmse > tol && r.OK {
			r.OK = false
			r.Err = fmt.Errorf("%s differs by NMSE %.3g, want at most %.3g (%s); the worst value is %d: %v, want %v",
				a.Name, nmse, tol, why, at, got[i][at], want[i][at])
		}
	}
	return r
}

// Arguments draws the arguments of a case. Results that are not read hold NaN,
// so that a kernel which leaves one unwritten or adds to it is found out.
func Arguments(c Case) [][]float32 {
	specs := c.Spec.Args()
	args := make([][]float32, len(specs))
	for i, a := range specs {
		args[i] = make([]float32, a.Len())
		draw := c.Draw[a.Name]
		switch {
		case draw != nil:
		case a.Out:
			draw = Constant(float32(math.NaN()))
		default:
			draw = Normal(1)
		}
		plain, _ := kernels.Plain(c.Spec)
		draw(philox.New(1, kernels.Name(plain)+a.Name, 0, 0), args[i])
		if a.BF16 {
			round(args[i])
		}
	}
	return args
}

// Outputs runs a case on the backend and returns all its arguments afterwards.
// It runs the kernel twice on the same values, since the second run finds state
// that the first one leaves. Values around an argument that were written are an error.
func Outputs(be kernels.Backend, c Case) ([][]float32, error) {
	return OutputsOf(be, c, Arguments(c), 2)
}

// OutputsOf is Outputs of a number of runs on given arguments of the case, which stay as they are.
func OutputsOf(be kernels.Backend, c Case, drawn [][]float32, runs int) ([][]float32, error) {
	k, err := be.Prepare(c.Spec)
	if err != nil {
		return nil, err
	}
	args, specs := clone(drawn), c.Spec.Args()
	whole := make([]kernels.Buffer, len(args))
	bufs := make([]kernels.Buffer, len(args))
	for i := range args {
		words := specs[i].Words()
		if whole[i], err = be.Alloc(words + 2*guard); err != nil {
			return nil, err
		}
		bufs[i] = whole[i].Slice(guard, guard+words)
	}
	for range runs {
		for i, values := range args {
			guarded := make([]float32, whole[i].Len())
			Constant(sentinel)(nil, guarded)
			if inside := guarded[guard : len(guarded)-guard]; specs[i].BF16 {
				kernels.PackBF16(inside, values)
			} else {
				copy(inside, values)
			}
			if err := be.Write(whole[i], guarded); err != nil {
				return nil, err
			}
		}
		k.Run(bufs...)
		if err := be.Sync(); err != nil {
			return nil, err
		}
	}
	for i, values := range args {
		guarded := make([]float32, whole[i].Len())
		if err := be.Read(guarded, whole[i]); err != nil {
			return nil, err
		}
		if inside := guarded[guard : len(guarded)-guard]; specs[i].BF16 {
			kernels.UnpackBF16(values, inside)
		} else {
			copy(values, inside)
		}
		for j, v := range guarded {
			if (j < guard || j >= len(guarded)-guard) && v != sentinel {
				return nil, fmt.Errorf("argument %d (%s): word %d outside its %d was written", i, specs[i].Name, j-guard, specs[i].Words())
			}
		}
	}
	return args, nil
}

func clone(args [][]float32) [][]float32 {
	c := make([][]float32, len(args))
	for i, a := range args {
		c[i] = slices.Clone(a)
	}
	return c
}

// sentinel fills the values around an argument.
const sentinel = 1.25e20

// Distance compares values; NaN equals NaN and an infinity itself, anything else
// not finite is infinitely far.
func Distance(got, want []float32) (nmse, maxAbs float64, at int) {
	diff, size := 0., 0.
	for i, w := range want {
		g := got[i]
		if g == w || g != g && w != w {
			size += square(float64(w))
			continue
		}
		d := math.Abs(float64(g) - float64(w))
		if math.IsNaN(d) {
			d = math.Inf(1)
		}
		if d > maxAbs {
			maxAbs, at = d, i
		}
		diff += d * d
		size += square(float64(w))
	}
	switch {
	case diff == 0:
		return 0, 0, at
	case size == 0 || math.IsInf(diff, 1):
		return math.Inf(1), maxAbs, at
	}
	return diff / size, maxAbs, at
}

// square is x², 0 where x is not finite.
func square(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	return x * x
}

// round rounds values to bfloat16.
func round(values []float32) {
	for i, v := range values {
		values[i] = kernels.RoundBF16(v)
	}
}

// nearest is the float32 nearest to want of those that round to got: a half result is as
// far off as what was rounded must have been.
func nearest(want, got float32) float32 {
	switch wide := float64(got); {
	case kernels.RoundBF16(want) == got, want != want && got != got:
		return want
	case got != got || math.IsInf(wide, 0) || want != want || math.IsInf(float64(want), 0):
		return got
	case got == 0:
		return float32(math.Copysign(float64(math.Float32frombits(1<<15)), float64(want)))
	default: // half of the way to the next bfloat16 on the side of want
		away := int32(1 << 15)
		if (want > got) != (got > 0) {
			away = -away
		}
		return math.Float32frombits(math.Float32bits(got) + uint32(away))
	}
}
