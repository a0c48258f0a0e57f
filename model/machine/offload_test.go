package machine

import (
	"errors"
	"slices"
	"strings"
	"testing"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// offloadedChain is the plan of a chain's result whose parameters are in an arena, and are
// offloaded if file is not nil.
func offloadedChain(t *testing.T, be kernels.Backend, c *chain, file func(at int, to kernels.Buffer) error) *Plan {
	t.Helper()
	arena := append(draw("w", size(c.w)), draw("b", size(c.b))...)
	params, err := be.Alloc(len(arena))
	if err == nil {
		err = be.Write(params, arena)
	}
	if file != nil {
		params = NewOffloaded(len(arena), file)
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(be, G.Nodes{c.y}, map[*G.Node]kernels.Buffer{c.w: params.Slice(0, size(c.w)), c.b: params.Slice(size(c.w), len(arena))}, RecomputeNone)
	if err != nil {
		t.Fatal(err)
	}
	if err := be.Write(p.Buffer(c.x), draw("x", size(c.x))); err != nil {
		t.Fatal(err)
	}
	return p
}

// A plan with offloaded parameters has the same bits in every Run, and reads each parameter
// once a Run although two convolutions use it.
func TestOffloadedParameters(t *testing.T) {
	c, be := newChain(t), cpu(t, 2)
	arena := append(draw("w", size(c.w)), draw("b", size(c.b))...)
	var reads []int
	p := offloadedChain(t, be, c, func(at int, to kernels.Buffer) error {
		reads = append(reads, at)
		return be.Write(to, arena[at:at+to.Len()])
	})
	inMemory := offloadedChain(t, be, c, nil)
	for _, plan := range []*Plan{inMemory, p, p} {
		if err := plan.Run(); err != nil {
			t.Fatal(err)
		}
	}
	if want := []int{0, size(c.w), 0, size(c.w)}; !slices.Equal(reads, want) {
		t.Errorf("two runs read the parameters at %v, want %v", reads, want)
	}
	if want := read(t, be, inMemory.Buffer(c.y)); !slices.Equal(read(t, be, p.Buffer(c.y)), want) {
		t.Error("the result has other bits")
	}
	if _, err := p.Profile(); err != nil || len(reads) != 6 {
		t.Errorf("a profile read %d parameters, error %v", len(reads)-4, err)
	}
	if inMemory.Stats().Loads != 0 || p.Stats().Loads != 2 {
		t.Errorf("%d and %d parameters that a Run reads, want 0 and 2", inMemory.Stats().Loads, p.Stats().Loads)
	}
}

// In a chain of convolutions an offloaded parameter is in memory while its convolution runs:
// the arena has room for two values and one parameter.
func TestOffloadedParametersShareMemory(t *testing.T) {
	const layers, channels = 6, 32
	be, g := cpu(t, 1), G.NewGraph()
	s := kernels.Conv{N: 1, T: 1, H: 2, W: 2, C: channels, O: channels, KT: 1, KH: 3, KW: 3, ST: 1, SH: 1, SW: 1, DT: 1, PH: 1, PW: 1}
	shape, x := []int{1, 1, 2, 2, channels}, Input(g, "x", 1, 1, 2, 2, channels)
	bias, bound, y := Input(g, "bias", channels), map[*G.Node]kernels.Buffer{}, x
	params := NewOffloaded(layers*channels*9*channels, func(int, kernels.Buffer) error { return nil })
	for i := range layers {
		w := Input(g, "w", channels, 1, 3, 3, channels)
		bound[w] = params.Slice(i*size(w), (i+1)*size(w))
		y = apply(t, s, shape, y, w, bias)
	}
	p, err := Compile(be, G.Nodes{y}, bound, RecomputeNone)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.Stats().ArenaBytes, int64(4*(size(y)*2+channels*9*channels)); got != want {
		t.Errorf("arena of %d bytes, want %d", got, want)
	}
}

func TestOffloadedParameterThatCannotBeRead(t *testing.T) {
	broken := errors.New("the disk is gone")
	p := offloadedChain(t, cpu(t, 1), newChain(t), func(at int, to kernels.Buffer) error { return broken })
	if err := p.Run(); !errors.Is(err, broken) || !strings.Contains(err.Error(), "machine: parameter w") {
		t.Errorf("error %v", err)
	}
}
