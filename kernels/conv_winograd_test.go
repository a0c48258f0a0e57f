package kernels

import (
	"slices"
	"strings"
	"testing"
)

// winogradCases have odd sizes, tiles that reach over the border, single frames, frames
// that read nothing, dilation, and channels in panels of both widths.
func winogradCases() []Conv {
	return []Conv{
		conv(1, 17, 9, 5, 32, 48, 3, 3, 3),
		conv(1, 5, 7, 9, 48, 32, 3, 3, 3),
		conv(3, 1, 5, 5, 32, 32, 3, 3, 3),
		conv(2, 2, 6, 3, 80, 32, 3, 3, 3),
		conv(2, 3, 9, 10, 48, 64, 1, 3, 3),
		conv(1, 1, 1, 1, 32, 32, 1, 3, 3),
		conv(50, 1, 2, 3, 32, 32, 2, 3, 3),
		conv(1, 1, 4, 4, 400, 32, 3, 3, 3),
		conv(1, 2, 4, 5, 32, 160, 1, 3, 3),
		conv(1, 7, 5, 6, 32, 32, 3, 3, 3).with(func(s *Conv) { s.DT, s.PT = 2, 4 }),
		conv(1, 2, 4, 5, 32, 32, 3, 3, 3).with(func(s *Conv) { s.PT, s.T = 4, 1 }),
		conv(1, 4, 6, 7, 32, 32, 2, 3, 3).with(func(s *Conv) { s.PT, s.PH, s.PW = 0, 0, 2 }),
		conv(1, 2, 5, 5, 32, 32, 1, 3, 3).with(func(s *Conv) { s.PT = 1 }),
	}
}

// The squared relative error of F(4×4,3×3) is about 1e-14 times the number of products of
// a sum in one piece, which is at most maxWinogradSum.
const winogradTolerance = 5e-12

// matchesByWinograd holds both sizes of tiles, on all instruction sets, to the definition.
func matchesByWinograd(t *testing.T, s Spec, seed uint64) {
	t.Helper()
	in := values(s, seed)
	want := clone(in)
	s.Define(want...)
	for _, isa := range sets(t) {
		for _, form := range []ConvKernels{winograd2, winograd4} {
			be := cpuWith(t, isa, 2)
			be.conv = form
			if be.winograd(s) == nil {
				t.Fatalf("%s: not by Winograd", Name(s))
			}
			matchesWithin(t, be, s, in, want[0], winogradTolerance)
		}
	}
}

func TestWinogradMatchesDefinition(t *testing.T) {
	for i, c := range winogradCases() {
		for _, s := range append(specs(c), ConvGradX{c.with(func(s *Conv) { s.Act, s.Residual = Tanh, true })}, c.with(func(s *Conv) { s.Act, s.Residual = SiLU, true })) {
			matchesByWinograd(t, s, uint64(i))
		}
	}
}

// Results have the same bits if U is made for a panel, or for a few, at a time.
func TestWinogradSameBitsInGroups(t *testing.T) {
	c := conv(2, 3, 18, 20, 64, 208, 3, 3, 3) // several blocks
	for i, s := range append(specs(c)[:2], ConvGradX{c.with(func(s *Conv) { s.Act, s.Residual = Tanh, true })}, c.with(func(s *Conv) { s.Act, s.Residual = SiLU, true })) {
		in := values(s, uint64(i))
		var want []float32
		for _, most := range []int{0, 1, 36 * 3 * 64 * 100} {
			be := cpuWith(t, machineISA(), 2)
			be.conv, be.largeU = winograd4, most
			got := clone(in)
			execute(t, be, s, got)
			if want == nil {
				want = got[0]
				if len(be.shared) < 36*3*64*208 {
					t.Errorf("%s: %d values of U at once, want all", Name(s), len(be.shared))
				}
			}
			if !slices.Equal(got[0], want) {
				t.Errorf("%s: other bits with %d values of U at once", Name(s), most)
			}
			if most == 1 && len(be.shared) >= 36*3*64*208 {
				t.Errorf("%s: %d values of U at once", Name(s), len(be.shared))
			}
		}
	}
}

// Fewer output channels than a panel has are those of a panel that is not full.
func TestWinogradOfFewChannels(t *testing.T) {
	for i, s := range []Conv{conv(2, 3, 9, 10, 32, 3, 3, 3, 3), conv(1, 2, 5, 4, 48, 12, 1, 3, 3), conv(1, 1, 4, 4, 64, 1, 3, 3, 3)} {
		matchesByWinograd(t, s, uint64(i))
	}
}

func TestWinogradSameBitsForAnyWorkers(t *testing.T) {
	for i, c := range []Conv{conv(2, 5, 13, 21, 32, 48, 3, 3, 3), conv(2, 9, 16, 16, 64, 32, 1, 3, 3), conv(4, 4, 4, 4, 96, 96, 3, 3, 3)} {
		for _, s := range specs(c) {
			in := values(s, uint64(i))
			var want []float32
			for _, workers := range []int{1, 2, 3, 7} {
				got := clone(in)
				be := cpuWith(t, machineISA(), workers)
				be.conv = winograd4
				execute(t, be, s, got)
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

// Small pictures take F(2×2,3×3), whose tiles they fill better, or direct sums; few or odd
// channels, strides and exact kernels direct sums; a large kernel on few channels Fourier
// transforms. The work is that of direct sums or less.
func TestFormOf(t *testing.T) {
	const f2, f4, direct = "winograd F(2×2,3×3)", "winograd F(4×4,3×3)", "direct"
	big := conv(2, 8, 16, 16, 64, 64, 3, 3, 3)
	for _, c := range []struct {
		spec Spec
		want string
	}{
		{big, f4}, {ConvGradX{big}, f4}, {ConvGradW{big}, f4},
		{conv(2, 16, 6, 6, 64, 64, 1, 3, 3), f2},
		{conv(1, 1, 2, 2, 64, 64, 3, 3, 3), direct},
		{ConvGradW{conv(1, 4, 4, 4, 512, 512, 3, 3, 3)}, direct}, {ConvGradW{conv(4, 4, 4, 4, 512, 512, 3, 3, 3)}, f4},
		{ConvGradW{conv(1, 4, 4, 4, 128, 128, 3, 3, 3)}, direct}, {ConvGradW{conv(8, 4, 4, 4, 96, 96, 3, 3, 3)}, f4},
		{big.with(func(s *Conv) { s.C = 16 }), direct},
		{big.with(func(s *Conv) { s.O = 65 }), direct},
		{big.with(func(s *Conv) { s.SH = 2 }), direct},
		{conv(2, 8, 16, 16, 64, 64, 1, 1, 1), direct},
		{conv(2, 18, 64, 64, 3, 32, 7, 7, 7), "fourier 14×22"},
		{ConvGradW{conv(2, 18, 64, 64, 3, 32, 7, 7, 7)}, "fourier 14×22"},
		{ConvGradX{conv(2, 18, 64, 64, 3, 32, 7, 7, 7)}, direct},
		{conv(1, 1, 2, 2, 3, 32, 1, 7, 7), direct},
		{Act{Len: 1}, ""},
	} {
		be := cpuWith(t, machineISA(), 1)
		be.UseConvKernels(AutoKernels)
		if got := be.FormOf(c.spec); got != c.want {
			t.Errorf("%s: %q, want %q", Name(c.spec), got, c.want)
		}
		fast := c.want == f2 || c.want == f4 || strings.HasPrefix(c.want, "fourier")
		if got, flops := be.Work(c.spec), c.spec.FLOPs(); fast && (got <= 0 || got >= flops) || !fast && got != flops {
			t.Errorf("%s by %q: work %d, FLOPs %d", Name(c.spec), c.want, got, flops)
		}
		be.UseConvKernels(ExactKernels)
		if got := be.FormOf(c.spec); c.want != "" && got != direct {
			t.Errorf("%s with exact kernels: %q", Name(c.spec), got)
		}
		if got := be.Work(c.spec); got != c.spec.FLOPs() {
			t.Errorf("%s with exact kernels: work %d, FLOPs %d", Name(c.spec), got, c.spec.FLOPs())
		}
	}
	for _, k := range []ConvKernels{AutoKernels, ExactKernels} {
		if got, err := ParseConvKernels(k.String()); got != k || err != nil {
			t.Errorf("%v is parsed as %v, %v", k, got, err)
		}
	}
	if _, err := ParseConvKernels("fast"); err == nil || err.Error() != `kernels "fast": want auto or exact` {
		t.Errorf("a wrong word: %v", err)
	}
}
