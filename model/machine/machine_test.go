package machine

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	G "gorgonia.org/gorgonia"

	"magvit/kernels"
	"magvit/kernels/philox"
	"magvit/model/op"
)

func apply(t *testing.T, s kernels.Spec, shape []int, in ...*G.Node) *G.Node {
	t.Helper()
	n, err := op.Apply(s, shape, in...)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func cpu(t *testing.T, workers int) *kernels.CPU {
	c := kernels.NewCPU(workers)
	t.Cleanup(func() { c.Close() })
	return c
}

// chain is a small network with everything that compiling treats specially: a
// convolution with activation, a residual sum, a value used three times.
type chain struct {
	g            *G.ExprGraph
	x, w, b      *G.Node
	target, each *G.Node
	y, loss      *G.Node
	grads        G.Nodes
}

func newChain(t *testing.T) *chain {
	g := G.NewGraph()
	c := &chain{g: g, x: Input(g, "x", 2, 3, 4, 5, 6), w: Input(g, "w", 6, 3, 3, 3, 6), b: Input(g, "b", 6),
		target: Input(g, "target", 2, 3, 4, 5, 6), each: Input(g, "each", 2*3*4*5)}
	s := kernels.Conv{N: 2, T: 3, H: 4, W: 5, C: 6, O: 6, KT: 3, KH: 3, KW: 3, ST: 1, SH: 1, SW: 1, DT: 1, PT: 2, PH: 1, PW: 1}
	shape, n := []int{2, 3, 4, 5, 6}, 2*3*4*5*6
	h := apply(t, kernels.Act{Kind: kernels.ELU, Len: n}, shape, apply(t, s, shape, c.x, c.w, c.b))
	r := apply(t, kernels.Add{Len: n}, shape, h, apply(t, kernels.Act{Kind: kernels.ELU, Len: n}, shape, apply(t, s, shape, h, c.w, c.b)))
	c.y = apply(t, kernels.Add{Len: n}, shape, r, h)
	c.loss = apply(t, kernels.ReconLoss{Pixels: n / 6, C: 6, Kind: kernels.MSE, Overshoot: 1}, []int{}, c.y, c.target, c.each)
	var err error
	if c.grads, err = G.Grad(c.loss, c.x, c.w, c.b); err != nil {
		t.Fatal(err)
	}
	return c
}

func draw(purpose string, n int) []float32 {
	r := philox.New(1, purpose, 0, 0)
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.Uniform(-.5, .5))
	}
	return v
}

func (c *chain) fill(t *testing.T, be kernels.Backend, p *Plan) {
	for name, n := range map[string]*G.Node{"x": c.x, "w": c.w, "b": c.b, "target": c.target} {
		if err := be.Write(p.Buffer(n), draw(name, size(n))); err != nil {
			t.Fatal(err)
		}
	}
	ones := make([]float32, size(c.each))
	for i := range ones {
		ones[i] = 1
	}
	if err := be.Write(p.Buffer(c.each), ones); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, be kernels.Backend, b kernels.Buffer) []float32 {
	v := make([]float32, b.Len())
	if err := be.Read(v, b); err != nil {
		t.Fatal(err)
	}
	return v
}

// asDefined runs a plan of gradients with the values of its inputs, and holds its results to the definitions. Inputs
// that the plan has no use for have no buffer.
func asDefined(t *testing.T, be kernels.Backend, plan *Plan, grads G.Nodes, given map[*G.Node][]float32) {
	t.Helper()
	for n, v := range given {
		if plan.Buffer(n) == nil {
			continue
		}
		if err := be.Write(plan.Buffer(n), v); err != nil {
			t.Fatal(err)
		}
	}
	if err := plan.Run(); err != nil {
		t.Fatal(err)
	}
	nodes, err := Reachable(grads)
	if err != nil {
		t.Fatal(err)
	}
	define(t, nodes, given)
	for _, n := range grads {
		if diff, norm := distance(read(t, be, plan.Buffer(n)), given[n]); !(diff <= 1e-11*norm) || norm == 0 {
			t.Errorf("%v: normalised squared error %g", n, diff/norm)
		}
	}
}

// define evaluates nodes with the definitions alone, each value in memory of its own.
func define(t *testing.T, nodes G.Nodes, values map[*G.Node][]float32) {
	for _, n := range nodes {
		o, ok := n.Op().(*op.Op)
		switch {
		case ok:
			args := [][]float32{make([]float32, size(n))}
			for _, c := range Children(n) {
				args = append(args, values[c])
			}
			o.Spec().Define(args...)
			values[n] = args[0]
		case n.Op() == nil: // given
		case len(Children(n)) == 0:
			values[n] = []float32{n.Value().Data().(float32)}
		default:
			cs := Children(n)
			values[n] = make([]float32, size(n))
			for i := range values[n] {
				values[n][i] = values[cs[0]][i] + values[cs[1]][i]
			}
		}
	}
}

func TestPlanComputesWhatTheGraphMeans(t *testing.T) {
	c, be := newChain(t), cpu(t, 2)
	outputs := append(G.Nodes{c.loss, c.y}, c.grads...)
	p, err := Compile(be, outputs, nil, RecomputeNone)
	if err != nil {
		t.Fatal(err)
	}
	c.fill(t, be, p)
	nodes, err := Reachable(outputs)
	if err != nil {
		t.Fatal(err)
	}
	want := map[*G.Node][]float32{}
	for _, n := range nodes {
		if n.Op() == nil {
			want[n] = read(t, be, p.Buffer(n))
		}
	}
	define(t, nodes, want)
	for range 2 { // a second run finds the arena full of the first one's values
		if err := p.Run(); err != nil {
			t.Fatal(err)
		}
		for i, n := range outputs {
			got := read(t, be, p.Buffer(n))
			diff, norm := distance(got, want[n])
			// Sums of up to 3,240 float32 products: rounding of about 1e-7 each.
			if !(diff <= 1e-11*norm) || norm == 0 {
				t.Errorf("output %d: normalised squared error %g", i, diff/norm)
			}
		}
	}
}

// distance is the squared distance from what is wanted, and the square of that.
func distance(got, want []float32) (diff, norm float64) {
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		diff, norm = diff+d*d, norm+float64(w)*float64(w)
	}
	return diff, norm
}

// The loss's gradients agree with differences of the loss itself.
func TestGradientsAreDifferences(t *testing.T) {
	c := newChain(t)
	outputs := append(G.Nodes{c.loss}, c.grads...)
	nodes, err := Reachable(outputs)
	if err != nil {
		t.Fatal(err)
	}
	at := func(n *G.Node, i int, h float32) (float64, map[*G.Node][]float32) {
		v := map[*G.Node][]float32{c.x: draw("x", size(c.x)), c.w: draw("w", size(c.w)), c.b: draw("b", size(c.b)),
			c.target: draw("target", size(c.target)), c.each: make([]float32, size(c.each))}
		for k := range v[c.each] {
			v[c.each][k] = 1
		}
		v[n][i] += h
		define(t, nodes, v)
		return float64(v[c.loss][0]), v
	}
	for k, n := range []*G.Node{c.x, c.w, c.b} {
		_, v := at(n, 0, 0)
		for _, i := range []int{0, size(n) / 2, size(n) - 1} {
			const h = 1.0 / 64
			up, _ := at(n, i, h)
			down, _ := at(n, i, -h)
			got, want := float64(v[c.grads[k]][i]), (up-down)/(2*h)
			// The loss is a float32 near 1: a difference carries 1e-7/h, plus h² of curvature.
			if math.Abs(got-want) > 2e-4+1e-2*math.Abs(want) {
				t.Errorf("%v[%d]: gradient %g, difference quotient %g", n, i, got, want)
			}
		}
	}
}

func TestFusion(t *testing.T) {
	c, be := newChain(t), cpu(t, 1)
	count := func(outputs ...*G.Node) map[string]int {
		p, err := Compile(be, outputs, nil, RecomputeNone)
		if err != nil {
			t.Fatal(err)
		}
		n := map[string]int{}
		for k, v := range p.Stats().Kinds {
			n[k] = v.Count
		}
		return n
	}
	// Forward alone: both activations and one of the two sums go into convolutions.
	if diff := cmp.Diff(map[string]int{"Conv": 2, "Add": 1}, count(c.y)); diff != "" {
		t.Error("forward (-want +got):", diff)
	}
	// A value asked for stays, and what would have swallowed it too.
	n := Children(Children(c.y)[0])[1]
	if diff := cmp.Diff(map[string]int{"Conv": 2, "Add": 2}, count(c.y, n)); diff != "" {
		t.Error("forward with the branch kept (-want +got):", diff)
	}
}

// The gradients of three projections of a value and of the value itself are added up in
// the last steps of the projections; the slope in front of them follows the sum. One of
// the projections has no bias, as it is a sample with weights of its own.
func TestGradientsAreSummedUpInConvolutions(t *testing.T) {
	const n = 2 * 3 * 4 * 5 * 6
	g := G.NewGraph()
	shape := []int{2, 3, 4, 5, 6}
	x, b, target, each := Input(g, "x", shape...), Input(g, "b", 6), Input(g, "target", shape...), Input(g, "each", n/6)
	s := kernels.Conv{N: 2, T: 3, H: 4, W: 5, C: 6, O: 6, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}
	y := apply(t, kernels.Act{Kind: kernels.ELU, Len: n}, shape, x)
	sum := y
	given := map[*G.Node][]float32{x: draw("x", n), b: draw("b", 6), target: draw("target", n), each: make([]float32, n/6)}
	for i := range given[each] {
		given[each][i] = 1
	}
	for _, name := range []string{"q", "k", "v"} {
		w := Input(g, name, 6, 1, 1, 1, 6)
		given[w] = draw(name, 36)
		var h *G.Node
		if name == "k" {
			one := s
			one.N, one.T = 1, s.N*s.T
			h = apply(t, kernels.ModConv{Conv: one}, shape, y, w)
		} else {
			h = apply(t, s, shape, y, w, b)
		}
		sum = apply(t, kernels.Add{Len: n}, shape, sum, apply(t, kernels.Act{Kind: kernels.SiLU, Len: n}, shape, h))
	}
	loss := apply(t, kernels.ReconLoss{Pixels: n / 6, C: 6, Kind: kernels.MSE, Overshoot: 1}, []int{}, sum, target, each)
	grads, err := G.Grad(loss, x)
	if err != nil {
		t.Fatal(err)
	}
	be := cpu(t, 2)
	p, err := Compile(be, grads, nil, RecomputeNone)
	if err != nil {
		t.Fatal(err)
	}
	backward := map[string]int{}
	for _, s := range p.steps {
		switch c := s.spec.(type) {
		case kernels.ConvGradX:
			backward[fmt.Sprintf("ConvGradX %v %v", c.Act, c.Residual)]++
		case kernels.Add, kernels.ActGrad, kernels.ModConv:
			backward[kind(s.spec)]++
		}
	}
	// Each of the three projections takes what has been added up so far. Three sums are of
	// the forward pass, as are the three slopes of SiLU.
	if diff := cmp.Diff(map[string]int{"ConvGradX None true": 2, "ConvGradX ELU true": 1, "Add": 3, "ActGrad": 3}, backward); diff != "" {
		t.Error("(-want +got):", diff)
	}
	asDefined(t, be, p, grads, given)
}

// The gradient of what a norm branches off from: the branch's goes into the sum.
func TestNormFusion(t *testing.T) {
	g, be := G.NewGraph(), cpu(t, 1)
	x, gamma, dy := Input(g, "x", 6, 5), Input(g, "gamma", 5), Input(g, "dy", 6, 5)
	n := apply(t, kernels.RMSNormGradX{Rows: 6, C: 5}, []int{6, 5}, dy, x, gamma)
	for _, y := range []*G.Node{
		apply(t, kernels.Add{Len: 30}, []int{6, 5}, n, dy),
		apply(t, kernels.Add{Len: 30}, []int{6, 5}, dy, n),
	} {
		p, err := Compile(be, G.Nodes{y}, nil, RecomputeNone)
		if err != nil {
			t.Fatal(err)
		}
		if k := p.Stats().Kinds; k["RMSNormGradX"].Count != 1 || len(k) != 1 {
			t.Errorf("%v, want one RMSNormGradX", k)
		}
		want := map[*G.Node][]float32{}
		for _, n := range []*G.Node{x, gamma, dy} {
			want[n] = draw(n.Name(), size(n))
			if err := be.Write(p.Buffer(n), want[n]); err != nil {
				t.Fatal(err)
			}
		}
		define(t, G.Nodes{n, y}, want)
		if err := p.Run(); err != nil {
			t.Fatal(err)
		}
		for i, v := range read(t, be, p.Buffer(y)) {
			if d := v - want[y][i]; d > 1e-6 || d < -1e-6 {
				t.Fatalf("value %d is %v, want %v", i, v, want[y][i])
			}
		}
	}
}

// Both gradients of a norm, one of which a sum takes along, come from one kernel where the backend
// fuses gradients.
func TestNormGradsFusion(t *testing.T) {
	for name, be := range map[string]kernels.Backend{"RMSNormGradX": cpu(t, 1), "RMSNormGrad": fusing{cpu(t, 1)}} {
		g := G.NewGraph()
		x, gamma, dy := Input(g, "x", 6, 5), Input(g, "gamma", 5), Input(g, "dy", 6, 5)
		dgamma := apply(t, kernels.RMSNormGradGamma{Rows: 6, C: 5}, []int{5}, dy, x)
		dx := apply(t, kernels.RMSNormGradX{Rows: 6, C: 5}, []int{6, 5}, dy, x, gamma)
		sum := apply(t, kernels.Add{Len: 30}, []int{6, 5}, dx, dy)
		p, err := Compile(be, G.Nodes{sum, dgamma}, nil, RecomputeNone)
		if err != nil {
			t.Fatal(err)
		}
		if k := p.Stats().Kinds; k[name].Count != 1 || k["Add"].Count != 0 || (name == "RMSNormGrad") != (len(k) == 1) {
			t.Errorf("%s: %v", name, k)
		}
		want := map[*G.Node][]float32{}
		for _, n := range []*G.Node{x, gamma, dy} {
			want[n] = draw(n.Name(), size(n))
			if err := be.Write(p.Buffer(n), want[n]); err != nil {
				t.Fatal(err)
			}
		}
		define(t, G.Nodes{dgamma, dx, sum}, want)
		if err := p.Run(); err != nil {
			t.Fatal(err)
		}
		for _, n := range []*G.Node{sum, dgamma} {
			if diff, norm := distance(read(t, be, p.Buffer(n)), want[n]); !(diff <= 1e-11*norm) {
				t.Errorf("%s: %v: normalised squared error %g", name, n, diff/norm)
			}
		}
	}
}

// The activation of a group norm is part of it, unless its input has another use.
func TestGroupNormTakesItsActivation(t *testing.T) {
	g, be := G.NewGraph(), cpu(t, 1)
	x, gamma, beta := Input(g, "x", 6, 4), Input(g, "gamma", 4), Input(g, "beta", 4)
	n := apply(t, kernels.GroupNorm{N: 1, Rows: 6, C: 4, Groups: 2, Eps: 1e-6}, []int{6, 4}, x, gamma, beta)
	y := apply(t, kernels.Act{Kind: kernels.SiLU, Len: 24}, []int{6, 4}, n)
	for _, c := range []struct {
		outputs G.Nodes
		kinds   int
	}{{G.Nodes{y}, 1}, {G.Nodes{y, n}, 2}} {
		p, err := Compile(be, c.outputs, nil, RecomputeNone)
		if err != nil {
			t.Fatal(err)
		}
		if k := p.Stats().Kinds; k["GroupNorm"].Count != 1 || len(k) != c.kinds {
			t.Errorf("%v, want %d kinds", k, c.kinds)
		}
		want := map[*G.Node][]float32{}
		for _, in := range []*G.Node{x, gamma, beta} {
			want[in] = draw(in.Name(), size(in))
			if err := be.Write(p.Buffer(in), want[in]); err != nil {
				t.Fatal(err)
			}
		}
		define(t, G.Nodes{n, y}, want)
		if err := p.Run(); err != nil {
			t.Fatal(err)
		}
		for i, v := range read(t, be, p.Buffer(y)) {
			if d := v - want[y][i]; d > 1e-6 || d < -1e-6 {
				t.Fatalf("value %d is %v, want %v", i, v, want[y][i])
			}
		}
	}
}

// An upsampling is one pass over its values, and so is its gradient, where the slope is
// taken from the input. They mean what the graph does.
func TestUpsamplingIsFused(t *testing.T) {
	for _, kind := range []kernels.Activation{kernels.SiLU, kernels.ELU} { // with slopes from the input, and from the output
		g, be := G.NewGraph(), cpu(t, 1)
		const n = 2 * 3 * 4 * 5 * 8
		wide := []int{2, 3, 8, 10, 2}
		x, target, each := Input(g, "x", 2, 3, 4, 5, 8), Input(g, "target", wide...), Input(g, "each", n/2)
		a := apply(t, kernels.Act{Kind: kind, Len: n}, x.Shape(), apply(t, kernels.Affine{Len: n, Mul: 3}, x.Shape(), x))
		y := apply(t, kernels.Shuffle{N: 2, T: 3, H: 4, W: 5, C: 2, FT: 1, FH: 2, FW: 2}, wide, a)
		loss := apply(t, kernels.ReconLoss{Pixels: n / 2, C: 2, Overshoot: 1}, []int{}, y, target, each)
		grads, err := G.Grad(loss, x)
		if err != nil {
			t.Fatal(err)
		}
		outputs := G.Nodes{y, grads[0]}
		p, err := Compile(be, outputs, nil, RecomputeNone)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		for k, v := range p.Stats().Kinds {
			got[k] = v.Count
		}
		want := map[string]int{"Affine": 2, "Shuffle": 1, "ReconLossGrad": 1, "ShuffleGrad": 1}
		if kind.FromOutput() { // the activation's result is read again
			want = map[string]int{"Affine": 2, "Act": 1, "Shuffle": 2, "ReconLossGrad": 1, "ActGrad": 1}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v (-want +got): %s", kind, diff)
		}
		nodes, err := Reachable(outputs)
		if err != nil {
			t.Fatal(err)
		}
		values := map[*G.Node][]float32{}
		for _, n := range nodes {
			if n.Op() != nil {
				continue
			}
			if err := be.Write(p.Buffer(n), draw(n.Name(), size(n))); err != nil {
				t.Fatal(err)
			}
			values[n] = draw(n.Name(), size(n))
		}
		define(t, nodes, values)
		if err := p.Run(); err != nil {
			t.Fatal(err)
		}
		for _, n := range outputs {
			for i, v := range read(t, be, p.Buffer(n)) {
				if d := math.Abs(float64(v - values[n][i])); !(d <= 1e-6) { // values below 1, a few roundings
					t.Fatalf("%v: %v[%d] is %v, want %v", kind, n, i, v, values[n][i])
				}
			}
		}
	}
}

func TestPlacesOfLivingValuesDoNotOverlap(t *testing.T) {
	c, be := newChain(t), cpu(t, 1)
	p, err := Compile(be, append(G.Nodes{c.loss}, c.grads...), nil, RecomputeNone)
	if err != nil {
		t.Fatal(err)
	}
	if s := p.Stats(); s.ArenaBytes >= s.ValueBytes || s.ArenaBytes == 0 {
		t.Errorf("arena of %d bytes for values of %d", s.ArenaBytes, s.ValueBytes)
	}
	// Run step by step against the definitions, on copies: each input must still
	// hold what its maker wrote.
	c.fill(t, be, p)
	wrote := map[*float32][]float32{}
	for i, s := range p.steps {
		for _, a := range s.args[1:] {
			h := a.(kernels.Host)
			if w, ok := wrote[&h[0]]; ok && !slices.Equal(w, h) {
				t.Fatalf("step %d, %s: an input was overwritten before it was read", i, kernels.Name(s.spec))
			}
		}
		s.kernel.Run(s.args...)
		h := s.args[0].(kernels.Host)
		wrote[&h[0]] = append([]float32(nil), h...)
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	c, be := newChain(t), cpu(t, 2)
	p, err := Compile(be, append(G.Nodes{c.loss}, c.grads...), nil, RecomputeNone)
	if err != nil {
		t.Fatal(err)
	}
	c.fill(t, be, p)
	if n := testing.AllocsPerRun(10, func() { p.Run() }); n != 0 {
		t.Errorf("%v allocations a run", n)
	}
}

// A run that is stopped ends before its next launch, and the plan can run again.
func TestRunUnless(t *testing.T) {
	c, be := newChain(t), cpu(t, 1)
	p, err := Compile(be, append(G.Nodes{c.loss}, c.grads...), nil, RecomputeNone)
	if err != nil {
		t.Fatal(err)
	}
	c.fill(t, be, p)
	if err := p.Run(); err != nil {
		t.Fatal(err)
	}
	loss := p.Buffer(c.loss).(kernels.Host)
	want, enough := loss[0], errors.New("enough")
	for _, launches := range []int{0, 1, p.Launches() - 1, p.Launches()} {
		loss[0] = -1
		asked := 0
		err := p.RunUnless(func() error {
			if asked++; asked > launches {
				return enough
			}
			return nil
		})
		if whole := launches == p.Launches(); whole && (err != nil || loss[0] != want) || !whole && (err != enough || asked != launches+1) {
			t.Errorf("stopped after %d of %d launches: %v after %d questions, loss %v (%v)", launches, p.Launches(), err, asked, loss[0], want)
		}
	}
}

func TestCompileErrors(t *testing.T) {
	c, be := newChain(t), cpu(t, 1)
	short, _ := be.Alloc(3)
	if _, err := Compile(be, G.Nodes{c.y}, map[*G.Node]kernels.Buffer{c.w: short}, RecomputeNone); err == nil || !strings.Contains(err.Error(), "3") {
		t.Errorf("a parameter bound to a short buffer: %v", err)
	}
	foreign := G.Must(G.Tanh(c.y))
	if _, err := Compile(be, G.Nodes{foreign}, nil, RecomputeNone); err == nil || !strings.Contains(err.Error(), "not a kernel") {
		t.Errorf("an operation that is no kernel: %v", err)
	}
}

func TestExplain(t *testing.T) {
	c, be := newChain(t), cpu(t, 1)
	p, err := Compile(be, append(G.Nodes{c.loss}, c.grads...), nil, RecomputeNone)
	if err != nil {
		t.Fatal(err)
	}
	c.fill(t, be, p)
	s, err := p.Profile()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := s.Explain(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"nodes", "arena", "GFLOP", "ConvGradW"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, b.String())
		}
	}
	if s.FLOPs() != p.Stats().FLOPs() || s.Kinds["Conv"].Seconds <= 0 || p.Stats().Kinds["Conv"].Seconds != 0 {
		t.Errorf("profile %+v, statistics %+v", s.Kinds["Conv"], p.Stats().Kinds["Conv"])
	}
}

// An activation or a norm is written over its input, unless that is needed later.
func TestNormsAreWrittenOverTheirInputs(t *testing.T) {
	for _, spec := range []kernels.Spec{kernels.Act{Kind: kernels.SiLU, Len: 24}, kernels.LayerNorm{Rows: 6, C: 4, Eps: 1e-6}, kernels.GroupNorm{N: 1, Rows: 6, C: 4, Groups: 2, Eps: 1e-6}} {
		g, be := G.NewGraph(), cpu(t, 1)
		x, gamma, beta := Input(g, "x", 6, 4), Input(g, "gamma", 4), Input(g, "beta", 4)
		a := apply(t, kernels.Affine{Len: 24, Mul: 3}, x.Shape(), x)
		in := []*G.Node{a, gamma, beta}[:len(spec.Args())-1]
		y := apply(t, kernels.SumRows{Rows: 6, C: 4}, []int{4}, apply(t, spec, x.Shape(), in...))
		for _, c := range []struct {
			outputs G.Nodes
			bytes   int64 // values start on lines of 64 bytes
		}{{G.Nodes{y}, 128 + 64}, {G.Nodes{y, a}, 128 + 128 + 64}} {
			p, err := Compile(be, c.outputs, nil, RecomputeNone)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Stats().ArenaBytes; got != c.bytes {
				t.Errorf("%s: %d bytes, want %d", kernels.Name(spec), got, c.bytes)
			}
			want := map[*G.Node][]float32{}
			for _, n := range []*G.Node{x, gamma, beta} {
				if want[n] = draw(n.Name(), size(n)); p.Buffer(n) == nil {
					continue
				}
				if err := be.Write(p.Buffer(n), want[n]); err != nil {
					t.Fatal(err)
				}
			}
			nodes, err := Reachable(c.outputs)
			if err != nil {
				t.Fatal(err)
			}
			define(t, nodes, want)
			if err := p.Run(); err != nil {
				t.Fatal(err)
			}
			for _, n := range c.outputs {
				for i, v := range read(t, be, p.Buffer(n)) {
					if d := math.Abs(float64(v - want[n][i])); !(d <= 1e-5) { // sums of six values, a few roundings
						t.Fatalf("%s: %v[%d] is %v, want %v", kernels.Name(spec), n, i, v, want[n][i])
					}
				}
			}
		}
	}
}
