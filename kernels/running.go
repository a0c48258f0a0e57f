package kernels

import "fmt"

// RunningAverage is an exponential moving average after one more value:
//
//	y = average + Rate·(x - average)
//
// It is a constant for gradients. Arguments: y [Len]; average [Len], x [Len].
type RunningAverage struct {
	Len  int
	Rate float32
}

func (s RunningAverage) Validate() error {
	if !(s.Rate > 0 && s.Rate <= 1) {
		return fmt.Errorf("Rate is %g, want more than 0, at most 1", s.Rate)
	}
	return positive([]string{"Len"}, s.Len)
}

func (s RunningAverage) Args() []Arg {
	return []Arg{out("y", s.Len), in("average", s.Len), in("x", s.Len)}
}
func (s RunningAverage) FLOPs() int64  { return 3 * int64(s.Len) }
func (s RunningAverage) Grads() []Grad { return []Grad{} }

func (s RunningAverage) Define(args ...[]float32) {
	for i, a := range args[1] {
		args[0][i] = s.of(a, args[2][i])
	}
}

func (s RunningAverage) of(average, x float32) float32 {
	return float32(float64(average) + float64(s.Rate)*(float64(x)-float64(average)))
}

// RunningUpdate is RunningAverage in place, at the end of a training step. If guard is not
// finite, nothing changes: the step is not applied.
// Arguments: average [Len], read and written; x [Len], guard scalar.
type RunningUpdate struct {
	Len  int
	Rate float32
}

func (s RunningUpdate) Validate() error { return RunningAverage(s).Validate() }
func (s RunningUpdate) Args() []Arg {
	return []Arg{updated("average", s.Len), in("x", s.Len), in("guard")}
}
func (s RunningUpdate) FLOPs() int64  { return 3 * int64(s.Len) }
func (s RunningUpdate) Grads() []Grad { return nil }

func (s RunningUpdate) Define(args ...[]float32) {
	if !finite(float64(args[2][0])) {
		return
	}
	for i, x := range args[1] {
		args[0][i] = RunningAverage(s).of(args[0][i], x)
	}
}

// The CPU runs the definitions: averages are of a value for each channel at most.
func (s RunningAverage) cpu(*CPU) []stage { return defined(s) }
func (s RunningUpdate) cpu(*CPU) []stage  { return defined(s) }
