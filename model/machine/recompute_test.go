package machine

import (
	"slices"
	"testing"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// value is a node of n values.
func value(n int) *G.Node { return Input(G.NewGraph(), "value", n) }

// A chain of activations is needed again in reverse order: where kernels are cheap, the
// values in between are made again, and the peak falls. Every argument is made before it
// is read, and results keep their makers' arguments.
func TestRecomputeLowersThePeak(t *testing.T) {
	const n, length = 1000, 8
	x := value(n)
	bound := map[*G.Node]kernels.Buffer{x: kernels.Host(make([]float32, n))}
	values := []*G.Node{x}
	var prog []instr
	for range length {
		y := value(n)
		prog = append(prog, instr{kernels.Act{Kind: kernels.ELU, Len: n}, []*G.Node{y, values[len(values)-1]}})
		values = append(values, y)
	}
	big := value(4 * n) // held over the middle, as a loss of many values is
	prog = append(prog, instr{kernels.Act{Kind: kernels.ELU, Len: 4 * n}, []*G.Node{big, value(4 * n)}})
	dy := big
	bound[prog[len(prog)-1].args[1]] = kernels.Host(make([]float32, 4*n))
	for i := length; i > 0; i-- {
		dx := value(n)
		prog = append(prog, instr{kernels.ActGrad{Kind: kernels.ELU, Len: n}, []*G.Node{dx, dy, values[i]}})
		dy = dx
	}
	keep := map[*G.Node]bool{dy: true}
	before := newLiveness(prog, keep, bound).peak
	original := slices.Clone(prog)
	got := recompute(&kernels.NullBackend{}, prog, keep, bound, RecomputeMax)
	after := newLiveness(got, keep, bound).peak
	if after >= before {
		t.Errorf("the peak is %d values, before %d", after, before)
	}
	made := map[*G.Node]bool{}
	for i, in := range got {
		for _, a := range in.args[1:] {
			if !made[a] && bound[a] == nil {
				t.Errorf("instruction %d of %d reads a value that is not made yet", i, len(got))
			}
		}
		if made[in.args[0]] {
			t.Errorf("instruction %d makes a value that is already there", i)
		}
		made[in.args[0]] = true
	}
	if same := recompute(&kernels.NullBackend{}, original, keep, bound, RecomputeNone); len(same) != len(original) {
		t.Errorf("none: %d instructions, want %d", len(same), len(original))
	}
}

// fastConvs is a backend whose convolutions of 64 channels take a tenth of their FLOPs.
type fastConvs struct{ kernels.NullBackend }

func (*fastConvs) Work(s kernels.Spec) int64 {
	if c, ok := s.(kernels.Conv); ok && c.C == 64 {
		return s.FLOPs() / 10
	}
	return s.FLOPs()
}

// Of two values of the same size that are idle at the peak, the one whose kernel takes less
// time on the backend is made again, where there is time for one only.
func TestRecomputeWeighsTheBackendsWork(t *testing.T) {
	for _, c := range []struct {
		be    kernels.Backend
		heavy int // values of the kernel at the peak: most of the cost
		want  int // input channels of the convolution that runs twice
	}{
		{&kernels.NullBackend{}, 5_700_000, 32}, // 9 and 19 million operations; 22 may be added
		{&fastConvs{}, 2_700_000, 64},           // 9 and 3; 11 may be added
	} {
		bound := map[*G.Node]kernels.Buffer{}
		conv := func(channels int) instr {
			s := kernels.Conv{N: 1, T: 1, H: 16, W: 16, C: channels, O: 64, KT: 1, KH: 3, KW: 3, ST: 1, SH: 1, SW: 1, DT: 1, PH: 1, PW: 1}
			in := instr{s, []*G.Node{value(s.Args()[0].Len())}}
			for _, a := range s.Args()[1:] {
				n := value(a.Len())
				bound[n] = kernels.Host(nil)
				in.args = append(in.args, n)
			}
			return in
		}
		wide, narrow := conv(64), conv(32)
		a, b := wide.args[0], narrow.args[0]
		peak, given, sum := value(c.heavy), value(c.heavy), value(size(a))
		bound[given] = kernels.Host(nil)
		prog := []instr{
			wide, narrow,
			{kernels.Act{Kind: kernels.ELU, Len: c.heavy}, []*G.Node{peak, given}},
			{kernels.Add{Len: size(a)}, []*G.Node{sum, a, b}},
		}
		channels := 0
		for _, in := range recompute(c.be, prog, map[*G.Node]bool{sum: true}, bound, RecomputeAuto)[2:] {
			if s, ok := in.spec.(kernels.Conv); ok {
				channels += s.C
			}
		}
		if channels != c.want {
			t.Errorf("%T: convolutions of %d channels run twice, want %d", c.be, channels, c.want)
		}
	}
}
