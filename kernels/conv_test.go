package kernels

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"magvit/kernels/philox"
)

// sets are the instruction sets of this machine.
func sets(t testing.TB) []ISA {
	var all []ISA
	for i := Generic; i <= AVX512; i++ {
		if i <= machineISA() {
			all = append(all, i)
		} else {
			t.Logf("%v is not tested: this machine lacks it", i)
		}
	}
	return all
}

func cpuWith(t testing.TB, isa ISA, workers int) *CPU {
	c := NewCPU(workers)
	c.isa = isa
	c.UseConvKernels(ExactKernels) // Winograd's are tested in conv_winograd_test.go
	t.Cleanup(func() { c.Close() })
	return c
}

// values returns random values for the arguments of a Spec, the results too: a
// kernel must overwrite them.
func values(s Spec, index uint64) [][]float32 {
	g := philox.New(1, "conv test", 0, index)
	var all [][]float32
	for _, a := range s.Args() {
		v := alignedFloats(a.Len())
		for i := range v {
			v[i] = float32(g.Normal())
		}
		all = append(all, v)
	}
	return all
}

func clone(args [][]float32) [][]float32 {
	out := make([][]float32, len(args))
	for i, a := range args {
		out[i] = slices.Clone(a)
	}
	return out
}

func execute(t testing.TB, c *CPU, s Spec, args [][]float32) {
	t.Helper()
	k, err := c.Prepare(s)
	if err != nil {
		t.Fatal(err)
	}
	buffers := make([]Buffer, len(args))
	for i, a := range args {
		buffers[i] = Host(a)
	}
	k.Run(buffers...)
}

// nmse is the squared error over the square of what is wanted.
func nmse(got, want []float32) float64 {
	var e, w float64
	for i := range want {
		d := float64(got[i]) - float64(want[i])
		e += d * d
		w += float64(want[i]) * float64(want[i])
	}
	if e == 0 {
		return 0
	}
	return e / w
}

func (s Conv) with(edit func(*Conv)) Conv { edit(&s); return s }

// conv is a stride-1 convolution that keeps the size.
func conv(n, t, h, w, c, o, kt, kh, kw int) Conv {
	return Conv{N: n, T: t, H: h, W: w, C: c, O: o, KT: kt, KH: kh, KW: kw, ST: 1, SH: 1, SW: 1, DT: 1, PT: kt - 1, PH: kh / 2, PW: kw / 2}
}

func convCases() []Conv {
	cases := []Conv{
		conv(2, 3, 5, 7, 16, 32, 1, 1, 1),
		conv(2, 1, 3, 3, 31, 33, 1, 1, 1),
		conv(1, 4, 5, 3, 33, 31, 3, 3, 3),
		conv(1, 1, 5, 3, 48, 48, 3, 3, 3),
		conv(1, 2, 2, 2, 127, 129, 1, 3, 3),
		conv(1, 2, 3, 1, 128, 128, 3, 1, 3),
		conv(1, 2, 1, 3, 129, 127, 1, 3, 1),
		conv(2, 5, 3, 3, 96, 96, 3, 1, 1),
		conv(1, 3, 3, 3, 32, 1, 3, 3, 3),
		conv(2, 3, 5, 5, 1, 32, 3, 3, 3),
		conv(1, 9, 9, 9, 3, 20, 7, 7, 7),
		conv(1, 4, 3, 3, 96, 8, 3, 3, 3),
		conv(1, 2, 2, 3, 1030, 17, 1, 1, 1),
		conv(8, 4, 5, 13, 48, 24, 1, 1, 1),
		conv(2, 9, 8, 8, 3, 5, 1, 2, 2).with(func(s *Conv) { s.PH, s.PW = 0, 0 }),
		conv(1, 3, 4, 5, 8, 9, 1, 1, 1).with(func(s *Conv) { s.PT, s.PH, s.PW = 2, 1, 2 }),
		conv(1, 7, 3, 2, 33, 16, 3, 3, 3).with(func(s *Conv) { s.DT, s.PT = 2, 4 }),
		conv(1, 6, 3, 2, 16, 16, 3, 1, 1).with(func(s *Conv) { s.DT, s.PT, s.ST = 3, 7, 2 }),
	}
	cases = append(cases, // few output channels, also of a convolution that is not causal or reads nothing
		conv(2, 5, 6, 8, 32, 3, 3, 3, 3),
		conv(1, 4, 7, 10, 64, 12, 3, 3, 5).with(func(s *Conv) { s.PT, s.PH, s.DT = 1, 0, 2 }),
		conv(1, 2, 4, 6, 16, 2, 3, 3, 3).with(func(s *Conv) { s.PT, s.T = 4, 1 }),
	)
	cases = append(cases, // more than a task's line, lines, chunk or frames that are copied together
		conv(1, 2, 3, 136, 4, 16, 1, 3, 3),
		conv(1, 2, 16, 12, 16, 16, 1, 3, 3),
		conv(1, 4, 5, 8, 400, 16, 3, 3, 3),
		conv(1, 3, 4, 12, 80, 16, 3, 1, 1),
		conv(2, 3, 2, 2, 48, 32, 3, 3, 3), // several frames in a block of ConvGradW
		conv(1, 2, 1, 40, 1024, 8, 1, 1, 3),
		conv(1, 2, 8, 12, 16, 16, 3, 3, 3).with(func(s *Conv) { s.PT, s.T = 4, 1 }), // frames that read nothing
		conv(1, 2, 8, 12, 3, 16, 3, 3, 3).with(func(s *Conv) { s.PT, s.T = 4, 1 }),
	)
	cases = append(cases, // more pixels than blocks and parts of ConvGradW have, its columns channels of dy and of x
		conv(1, 1, 1, 2*partPixels+3, 3, 16, 1, 1, 1),
		conv(1, 1, 1, 2*partPixels+3, 32, 19, 1, 1, 1),
	)
	for _, size := range []int{4, 5, 7} {
		cases = append(cases,
			conv(1, 2, size, size+1, 32, 48, 1, 3, 3).with(func(s *Conv) { s.SH, s.SW = 2, 2 }),
			conv(1, size, 3, 3, 31, 33, 3, 1, 1).with(func(s *Conv) { s.ST, s.PT = 2, 1 }),
			conv(2, size, size, 3, 16, 9, 3, 4, 3).with(func(s *Conv) { s.ST, s.SH, s.SW = 2, 3, 2 }),
			conv(1, 1, size, size, 16, 16, 1, 1, 1).with(func(s *Conv) { s.SH, s.SW = 2, 2 }),
		)
	}
	return cases
}

// specs are a convolution in all its forms.
func specs(s Conv) []Spec {
	act := s.with(func(s *Conv) { s.Act = ELU })
	return []Spec{
		s, act.with(func(s *Conv) { s.Residual = true }), s.with(func(s *Conv) { s.Act = SiLU }),
		ConvGradX{s}, ConvGradX{act}, ConvGradX{act.with(func(s *Conv) { s.Residual = true })}, ConvGradW{s},
	}
}

// A float32 sum of k products has a squared relative error of about 3e-16·k. Sums
// of at most maxChunk terms stay below this.
const convTolerance = 1e-12

func TestConvMatchesDefinition(t *testing.T) {
	for i, c := range convCases() {
		for _, s := range specs(c) {
			in := values(s, uint64(i))
			want := clone(in)
			s.Define(want...)
			for _, isa := range sets(t) {
				matches(t, cpuWith(t, isa, 2), s, in, want[0])
			}
		}
	}
}

func TestConvMatchesDefinitionInBF16(t *testing.T) {
	if err := CanBF16(); err != nil {
		t.Skip(err)
	}
	be, err := NewCPUIn(BF16, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer be.Close()
	be.UseConvKernels(ExactKernels) // all of them by rounded operands
	for i, c := range convCases() {
		full := c.with(func(s *Conv) { s.Act, s.Residual = ELU, true })
		for _, s := range []Spec{full, ConvGradX{c}, ConvGradX{full}, ConvGradW{c}} {
			in := values(s, uint64(i))
			want := clone(in)
			for _, a := range RoundedArgs(s) {
				for j, v := range want[a] {
					want[a][j] = RoundBF16(v)
				}
			}
			s.Define(want...)
			matches(t, be, s, in, want[0])
		}
	}
}

// matches runs a Spec and compares its result; its other arguments must stay, and
// what others left in the worker's scratch must not count.
func matches(t *testing.T, c *CPU, s Spec, in [][]float32, want []float32) {
	t.Helper()
	matchesWithin(t, c, s, in, want, convTolerance)
}

func matchesWithin(t *testing.T, c *CPU, s Spec, in [][]float32, want []float32, tolerance float64) {
	t.Helper()
	got := clone(in)
	if _, err := c.Prepare(s); err != nil { // reserves the scratch
		t.Fatal(err)
	}
	for _, w := range append([][]float32{c.shared}, c.scratch...) {
		for i := range w {
			w[i] = float32(math.NaN())
		}
	}
	execute(t, c, s, got)
	if e := nmse(got[0], want); !(e <= tolerance) {
		t.Errorf("%s: %s: error %.2g, want at most %.2g", c.Name(), Name(s), e, tolerance)
	}
	for j := range in[1:] {
		if !slices.Equal(got[j+1], in[j+1]) {
			t.Errorf("%s: %s: changed its argument %s", c.Name(), Name(s), s.Args()[j+1].Name)
		}
	}
}

func TestConvSameBitsForAnyWorkers(t *testing.T) {
	for i, c := range []Conv{
		conv(2, 4, 5, 7, 33, 48, 3, 3, 3),
		conv(1, 3, 21, 33, 16, 32, 1, 1, 1), // few columns: ConvGradW splits its pixels
		conv(2, 5, 7, 7, 32, 31, 3, 3, 3).with(func(s *Conv) { s.ST, s.SH, s.SW = 2, 2, 2 }),
		conv(1, 12, 20, 20, 3, 32, 3, 3, 3), // lines in place of rows, and parts of pixels that are added up
		conv(1, 12, 20, 20, 16, 32, 3, 3, 3),
	} {
		for _, s := range specs(c) {
			in := values(s, uint64(i))
			var want []float32
			for _, workers := range []int{1, 2, 3, 7} {
				got := clone(in)
				execute(t, cpuWith(t, machineISA(), workers), s, got)
				if want == nil {
					want = got[0]
				}
				if !slices.Equal(got[0], want) {
					t.Errorf("%s: %d workers give other bits than one", Name(s), workers)
				}
			}
		}
	}
}

func inner(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// <conv(x,w),dy> = <x,gradX(dy,w)> = <w,gradW(dy,x)>: the three are one trilinear form.
func TestConvGradientsAreAdjoint(t *testing.T) {
	c := cpuWith(t, machineISA(), 2)
	for i, s := range convCases() {
		in := values(s, uint64(i))
		y, x, w, b := in[0], in[1], in[2], in[3]
		dy := slices.Clone(y)
		clear(b)
		execute(t, c, s, in)
		dx, dw := make([]float32, len(x)), make([]float32, len(w))
		execute(t, c, ConvGradX{s}, [][]float32{dx, dy, w})
		execute(t, c, ConvGradW{s}, [][]float32{dw, dy, x})
		want, size := inner(y, dy), math.Sqrt(inner(y, y)*inner(dy, dy))
		for _, g := range []struct {
			name string
			got  float64
		}{{"dx", inner(x, dx)}, {"dw", inner(w, dw)}} {
			// Each factor has a relative error below 1e-6, mostly averaged out.
			if d := math.Abs(g.got - want); d > 1e-6*size {
				t.Errorf("%s: the form by %s is %g, by y %g", Name(s), g.name, g.got, want)
			}
		}
	}
}

func TestConvByHand(t *testing.T) {
	// Two frames of one row 1 2 | 3 4; the kernel weighs the frame before by 10 and
	// 20, this frame by 1 and 2, and reads one column to the right. b = .5.
	s := Conv{N: 1, T: 2, H: 1, W: 2, C: 1, O: 1, KT: 2, KH: 1, KW: 2, ST: 1, SH: 1, SW: 1, DT: 1, PT: 1}
	x, w, b := []float32{1, 2, 3, 4}, []float32{10, 20, 1, 2}, []float32{.5}
	dy := []float32{1, 10}
	for _, isa := range sets(t) {
		c := cpuWith(t, isa, 1)
		for _, run := range []func(s Spec, args ...[]float32){
			func(s Spec, args ...[]float32) { s.Define(args...) },
			func(s Spec, args ...[]float32) { execute(t, c, s, args) },
		} {
			y, dx, sum, dw := make([]float32, 2), make([]float32, 4), make([]float32, 4), make([]float32, 4)
			run(s, y, x, w, b)
			run(ConvGradX{s}, dx, dy, w)
			run(ConvGradX{s.with(func(s *Conv) { s.Act, s.Residual = ELU, true })}, sum, dy, w, []float32{1, -.5, 0, 2}, []float32{-1, 2, 3, 4})
			run(ConvGradW{s}, dw, dy, x)
			for _, r := range []struct {
				name      string
				got, want []float32
			}{
				{"y", y, []float32{1 + 4 + .5, 10 + 40 + 3 + 8 + .5}},
				{"dx", dx, []float32{1 + 100, 2 + 200, 10, 20}},
				{"dx of a sum, times the slope of an activation", sum, []float32{100, 204 * .5, 13, 24}},
				{"dw", dw, []float32{10, 20, 1 + 30, 2 + 40}},
			} {
				if !slices.Equal(r.got, r.want) {
					t.Errorf("%v: %s is %v, want %v", isa, r.name, r.got, r.want)
				}
			}
		}
	}
}

func TestConvRunAllocatesNothing(t *testing.T) {
	c := cpuWith(t, machineISA(), 2)
	for _, s := range specs(conv(2, 3, 6, 6, 31, 48, 1, 3, 3).with(func(s *Conv) { s.SH, s.SW = 2, 2 })) {
		k, err := c.Prepare(s)
		if err != nil {
			t.Fatal(err)
		}
		var args []Buffer
		for _, a := range values(s, 0) {
			args = append(args, Host(a))
		}
		if n := testing.AllocsPerRun(10, func() { k.Run(args...) }); n != 0 {
			t.Errorf("%s: %v allocations a run", Name(s), n)
		}
	}
}

func TestConvValidate(t *testing.T) {
	good := conv(1, 4, 8, 8, 3, 5, 3, 3, 3)
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		spec Spec
		want string
	}{
		{good.with(func(s *Conv) { s.SH = 0 }), "SH is 0, want 1 to 2^31-1"},
		{good.with(func(s *Conv) { s.PT = -1 }), "PT is -1, want 0 to 2^31-1"},
		{good.with(func(s *Conv) { s.PT, s.DT = 0, 3 }), "T+PT is 4, smaller than the kernel's extent 7: the result would be empty"},
		{good.with(func(s *Conv) { s.H, s.W, s.C = 1<<15, 1<<15, 2 }), "the input [1 4 32768 32768 2] would have 2^31 values or more"},
		{good.with(func(s *Conv) { s.Act = 99 }), "unknown activation 99, want 0 (None) to 9 (LeakyReLU5)"},
		{ConvGradX{good.with(func(s *Conv) { s.Act = SiLU })}, "the slope of SiLU does not follow from its output; use an activation gradient of its own"},
		{ConvGradW{good.with(func(s *Conv) { s.Act = ELU })}, "Act and Residual must be unset: the gradient of the weights does not depend on them"},
	} {
		if err := c.spec.Validate(); fmt.Sprint(err) != c.want {
			t.Errorf("%s: %v, want %s", Name(c.spec), err, c.want)
		}
	}
}
