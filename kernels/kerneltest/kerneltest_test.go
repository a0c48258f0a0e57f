package kerneltest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"magvit/kernels"
)

// flawed is the CPU backend with a flaw after each run.
type flawed struct {
	*kernels.CPU
	flaw func(whole, part []kernels.Host)
	bufs []kernels.Host
}

type flawedKernel struct {
	kernels.Kernel
	be *flawed
}

func (f *flawed) Alloc(n int) (kernels.Buffer, error) {
	b, err := f.CPU.Alloc(n)
	f.bufs = append(f.bufs, b.(kernels.Host))
	return b, err
}

func (f *flawed) Prepare(s kernels.Spec) (kernels.Kernel, error) {
	f.bufs = nil
	k, err := f.CPU.Prepare(s)
	return flawedKernel{k, f}, err
}

func (k flawedKernel) Run(args ...kernels.Buffer) {
	k.Kernel.Run(args...)
	var part []kernels.Host
	for _, a := range args {
		part = append(part, a.(kernels.Host))
	}
	k.be.flaw(k.be.bufs, part)
}

func TestCheckFindsFlaws(t *testing.T) {
	c := Case{Spec: kernels.Affine{Len: 40, Mul: 2, Add: 1}, Tol: 1e-13, Why: "the reason"}
	cpu := kernels.NewCPU(1)
	defer cpu.Close()
	for _, f := range []struct {
		name string
		flaw func(whole, part []kernels.Host)
		want string // "" for a good backend
	}{
		{"none", func(_, _ []kernels.Host) {}, ""},
		{"one value a little off", func(_, p []kernels.Host) { p[0][7] += 1e-3 }, "the worst value is 7"},
		{"within the tolerance", func(_, p []kernels.Host) { p[0][7] *= 1 + 1e-7 }, ""},
		{"a value never written", func(_, p []kernels.Host) { p[0][39] = float32(math.NaN()) }, "the worst value is 39: NaN"},
		{"an infinity", func(_, p []kernels.Host) { p[0][3] = float32(math.Inf(-1)) }, "the reason"},
		{"an input changed", func(_, p []kernels.Host) { p[1][5]++ }, "x is an input, but value 5"},
		{"a value after the result", func(w, p []kernels.Host) { w[0][64+40] = 0 }, "(y): word 40 outside its 40"},
		{"a value before the input", func(w, p []kernels.Host) { w[1][63] = 0 }, "(x): word -1 outside its 40"},
	} {
		r, err := Check(&flawed{CPU: cpu, flaw: f.flaw}, c)
		if err == nil {
			err = r.Err
		}
		switch {
		case f.want == "" && (err != nil || !r.OK):
			t.Errorf("%s: %v", f.name, err)
		case f.want != "" && (err == nil || r.OK || !strings.Contains(err.Error(), f.want)):
			t.Errorf("%s: error %v, OK %v, want one with %q", f.name, err, r.OK, f.want)
		}
	}
}

func TestDistance(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		got, want []float32
		nmse      float64
		at        int
	}{
		{[]float32{3, 4}, []float32{3, 4}, 0, 0},
		{[]float32{3, 5}, []float32{3, 4}, 1. / 25, 1},
		{[]float32{0, 0}, []float32{0, 0}, 0, 0},
		{[]float32{0, 1}, []float32{0, 0}, math.Inf(1), 1},
		{[]float32{nan, inf, 1}, []float32{nan, inf, 1}, 0, 0},
		{[]float32{1, nan}, []float32{1, 2}, math.Inf(1), 1},
		{[]float32{1, inf}, []float32{1, -inf}, math.Inf(1), 1},
	} {
		if nmse, _, at := Distance(c.got, c.want); nmse != c.nmse || at != c.at {
			t.Errorf("Distance(%v, %v) = %v at %d, want %v at %d", c.got, c.want, nmse, at, c.nmse, c.at)
		}
	}
}

// A case that cannot be prepared is an error that names it, not a verdict.
func TestCheckNamesWhatCannotRun(t *testing.T) {
	cpu := kernels.NewCPU(1)
	defer cpu.Close()
	if _, err := Check(cpu, Case{Spec: kernels.Add{}}); err == nil || !strings.Contains(err.Error(), "Add{Len:0}") {
		t.Errorf("error %v", err)
	}
}

func TestEveryCaseHasItsReason(t *testing.T) {
	for _, c := range all() {
		if err := c.Spec.Validate(); err != nil {
			t.Errorf("%v: %v", c, err)
		}
		if c.Why == "" {
			t.Errorf("%v: no reason for its tolerance", c)
		}
		fits := len(c.Draw) == 0
		for _, a := range c.Spec.Args() {
			fits = fits || c.Draw[a.Name] != nil
		}
		if !fits {
			t.Errorf("%v: none of its draws is for one of its arguments", c)
		}
	}
}

// Every type of package kernels that has a definition has cases and a row of the
// benchmark. Those of kernels/x.go are in x.go here.
func TestEveryKernelHasACase(t *testing.T) {
	tried, timed, compared := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, c := range Cases() {
		tried[fmt.Sprintf("%T", c.Spec)] = true
	}
	for _, c := range Bench() {
		timed[fmt.Sprintf("%T", c.Spec)] = true
	}
	for _, c := range Smooth() {
		compared[fmt.Sprintf("%T", c.Spec)] = true
	}
	for _, c := range Cases() {
		spec := fmt.Sprintf("%T", c.Spec)
		computed := slices.ContainsFunc(c.Spec.Grads(), func(g kernels.Grad) bool { return g.Spec != nil })
		// The gradient of a quantizer with a slope of 0 is defined, not derived; that of a step's
		// entropy counts the means, which are given, as functions of z (TestLFQStepEqualsOneBatch, TestBSQStepEqualsOneBatch).
		given := []string{"kernels.FSQQuantize", "kernels.LFQStepLoss", "kernels.BSQStepLoss"}
		if computed && !compared[spec] && !slices.Contains(given, spec) {
			compared[spec] = true // one report
			t.Errorf("%s has gradients, but no smooth case to compare them with differences", spec)
		}
	}
	files, err := filepath.Glob("../*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no sources of package kernels: %v", err)
	}
	for _, name := range files {
		for _, spec := range defined(t, name) {
			if spec == "kernels.Stored" { // another Spec's; backends try those that they can store
				continue
			}
			if !tried[spec] {
				t.Errorf("%s has no case", spec)
			}
			if !timed[spec] {
				t.Errorf("%s has no row in the benchmark", spec)
			}
			file := filepath.Base(name)
			if text, err := os.ReadFile(file); err != nil || !regexp.MustCompile(`\b`+regexp.QuoteMeta(spec)+`\b`).Match(text) {
				t.Errorf("%s is in kernels/%s, its cases are not in kerneltest/%s", spec, file, file)
			}
		}
	}
}

// defined are the types with a definition in a file of package kernels.
func defined(t *testing.T, name string) (specs []string) {
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		if m, ok := d.(*ast.FuncDecl); ok && m.Recv != nil && m.Name.Name == "Define" {
			specs = append(specs, fmt.Sprintf("kernels.%s", m.Recv.List[0].Type))
		}
	}
	return specs
}

func TestTime(t *testing.T) {
	cpu := kernels.NewCPU(1)
	defer cpu.Close()
	r, err := Time(cpu, Case{Spec: kernels.Add{Len: 1 << 16}}, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if r.Min <= 0 || r.Median < r.Min {
		t.Errorf("min %v s, median %v s", r.Min, r.Median)
	}
	if want := 3 * 4 * (1 << 16) / r.Min / 1e9; math.Abs(r.GBPS-want) > 1e-9*want {
		t.Errorf("%v GB/s, want %v", r.GBPS, want)
	}
}

// A half result is as far off as what was rounded must have been.
func TestNearest(t *testing.T) {
	const up, last = 0x1.02p0, 0x1.010002p0 // the bfloat16 after 1; the first float32 that rounds to it is 0x1.010002, 0x1.01 rounds to 1
	for _, c := range []struct{ want, got, nearest float32 }{
		{0x1.008p0, 1, 0x1.008p0}, {0x1.01p0, 1, 0x1.01p0}, {last, 1, 0x1.01p0}, {5, 1, 0x1.01p0}, {-5, -1, -0x1.01p0},
		{1, up, 0x1.01p0}, {-1, -up, -0x1.01p0}, {1, 0, 0x1p-134}, {-1, 0, -0x1p-134}, {1, inf32, inf32},
	} {
		if got := nearest(c.want, c.got); got != c.nearest {
			t.Errorf("nearest to %x of what rounds to %x: %x, want %x", c.want, c.got, got, c.nearest)
		}
	}
	if got := nearest(nan32, 1); got != 1 {
		t.Errorf("nearest to NaN: %v", got)
	}
	if got := nearest(1, nan32); got == got {
		t.Errorf("nearest to 1 of what is NaN: %v", got)
	}
}
