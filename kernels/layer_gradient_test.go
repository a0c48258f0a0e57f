package kernels_test

import (
	"math"
	"testing"

	"magvit/kernels"
	"magvit/kernels/kerneltest"
)

// As TestGradientsMatchDifferences: each gradient's first input is that of the
// result, the others are found by name among the forward arguments.
func TestLayerGradientsMatchDifferences(t *testing.T) {
	space := kernels.Attention{N: 1, T: 2, P: 3, Heads: 2, Dim: 2, Memory: 2}
	time := kernels.Attention{N: 2, T: 3, P: 2, Heads: 2, Dim: 2, Memory: 1, Over: kernels.Time, Causal: true}
	linear := kernels.LinearAttention{F: 2, P: 3, Heads: 2, Dim: 3}
	loop := kernels.GateLoop{N: 2, T: 4, P: 2, C: 3}
	geglu := kernels.GEGLU{Rows: 3, C: 5}
	norm := kernels.AdaptiveRMSNorm{N: 2, Rows: 3, C: 5}
	plain := kernels.Modulate{N: 2, O: 3, Taps: 2, C: 3}
	demod := plain
	demod.Demod = true
	for _, p := range []struct {
		forward, grad kernels.Spec
		wrt           string
	}{
		{space, kernels.AttentionGrad{Attention: space}, "qkv"},
		{space, kernels.AttentionGradMem{Attention: space}, "mem"},
		{time, kernels.AttentionGrad{Attention: time}, "qkv"},
		{time, kernels.AttentionGradMem{Attention: time}, "mem"},
		{linear, kernels.LinearAttentionGradQ{LinearAttention: linear}, "q"},
		{linear, kernels.LinearAttentionGradKV{LinearAttention: linear}, "kv"},
		{loop, kernels.GateLoopGrad(loop), "qkva"},
		{geglu, kernels.GEGLUGrad(geglu), "x"},
		{norm, kernels.AdaptiveRMSNormGradX{AdaptiveRMSNorm: norm}, "x"},
		{norm, kernels.AdaptiveRMSNormGradGamma{AdaptiveRMSNorm: norm}, "gamma"},
		{plain, kernels.ModulateGradW{Modulate: plain}, "w"},
		{plain, kernels.ModulateGradS{Modulate: plain}, "s"},
		{demod, kernels.ModulateGradW{Modulate: demod}, "w"},
		{demod, kernels.ModulateGradS{Modulate: demod}, "s"},
		{kernels.Normalize{Rows: 3, C: 5}, kernels.NormalizeGrad{Rows: 3, C: 5}, "x"},
	} {
		args := kerneltest.Arguments(kerneltest.Case{Spec: p.forward})
		isSlope(t, p.forward, p.grad, p.wrt, args)
	}
}

// Linear kernels: <Ax, u> = <x, A'u>.
func TestLayerAdjoints(t *testing.T) {
	shift := kernels.TokenShift{N: 2, T: 3, P: 2, C: 5}
	back := shift
	back.Back = true
	slice := kernels.SliceTime{N: 2, T: 5, Inner: 3, From: 1, To: 4}
	concat := kernels.ConcatTime{N: 2, TA: 1, TB: 3, Inner: 4}
	first := kernels.SliceTime{N: 2, T: 4, Inner: 4, From: 0, To: 1}
	rest := kernels.SliceTime{N: 2, T: 4, Inner: 4, From: 1, To: 4}
	blur := kernels.Blur{N: 2, T: 3, H: 4, W: 5, C: 2, Time: true, Space: true}
	thin := kernels.Blur{N: 1, T: 1, H: 2, W: 1, C: 3, Space: true}
	conv := kernels.Conv{N: 3, T: 3, H: 4, W: 5, C: 3, O: 2, KT: 2, KH: 3, KW: 3, ST: 1, SH: 2, SW: 1, DT: 1, PT: 1, PH: 1, PW: 1}
	x, w := random("x", 3*3*4*5*3), random("w", 3*2*18*3)
	type pair struct {
		a, b kernels.Spec
		of   int         // the input of a that b is the gradient of
		ax   [][]float32 // a's inputs, nil where they are random
		bx   [][]float32 // b's after the first
	}
	pairs := []pair{
		{shift, back, 0, [][]float32{nil}, nil},
		{slice, kernels.SliceTimeGrad{SliceTime: slice}, 0, [][]float32{nil}, nil},
		{concat, first, 0, [][]float32{nil, make([]float32, 24)}, nil},
		{concat, rest, 1, [][]float32{make([]float32, 8), nil}, nil},
		{blur, blur, 0, [][]float32{nil}, nil}, {thin, thin, 0, [][]float32{nil}, nil},
		{kernels.ModConv{Conv: conv}, kernels.ModConvGradX{Conv: conv}, 0, [][]float32{nil, w}, [][]float32{w}},
		{kernels.ModConv{Conv: conv}, kernels.ModConvGradW{Conv: conv}, 1, [][]float32{x, nil}, [][]float32{x}},
	}
	for m := kernels.Zeros; m <= kernels.Circular; m++ {
		s := kernels.Pad{N: 2, T: 3, H: 4, W: 2, C: 3, PT: 2, PH: 2, PW: 1, Mode: m}
		pairs = append(pairs, pair{s, kernels.PadGrad{Pad: s}, 0, [][]float32{nil}, nil})
	}
	for _, p := range pairs {
		in := append([][]float32{}, p.ax...)
		in[p.of] = random("in", p.a.Args()[1+p.of].Len())
		u := random("u", p.a.Args()[0].Len())
		left := inner(define(p.a, in...), u)
		right := inner(in[p.of], define(p.b, append([][]float32{u}, p.bx...)...))
		if math.Abs(left-right) > 1e-4 { // rounding of some hundred float32 results
			t.Errorf("%s: <Ax,u> = %v, <x,A'u> = %v", kernels.Name(p.b), left, right)
		}
	}
}

// flooredEntropies are those of LFQLossFloored in float64, with dterms 1, -2.
func flooredEntropies(s kernels.LFQLossFloored, z []float64) float64 {
	codes, sum := 1<<s.Bits, 0.
	size := 1.
	if s.Spherical {
		size = 1 / math.Sqrt(float64(s.Bits))
	}
	entropy := func(p float64) float64 { return -p * math.Log(max(p, 1e-5)) }
	mean := make([]float64, s.Books*codes)
	for n := range s.Tokens * s.Books {
		for j := range codes {
			p := 1.
			for i := range s.Bits {
				u := 4 * float64(s.InvTemp) * size * z[n*s.Bits+i]
				if j>>(s.Bits-1-i)&1 == 0 {
					u = -u
				}
				p /= 1 + math.Exp(-u)
			}
			sum += entropy(p) / float64(s.Tokens)
			mean[n%s.Books*codes+j] += p / float64(s.Tokens)
		}
	}
	for _, p := range mean {
		sum -= 2 * entropy(p)
	}
	return sum / float64(s.Books)
}

// With many probabilities below the floor: a step of 1e-6 in float64 leaves 1e-9,
// or 1e-7 where it crosses the floor's kink; slopes of up to 12 are float32.
func TestLFQFloorReachesTheGradient(t *testing.T) {
	be := kernels.NewCPU(2)
	defer be.Close()
	for _, spherical := range []bool{false, true} {
		s := kernels.LFQLossFloored{LFQ: kernels.LFQ{Tokens: 4, Books: 2, Bits: 8}, InvTemp: 2, Spherical: spherical}
		invTemp := float32(2) // of the same loss without a floor
		if spherical {
			invTemp = float32(2 / math.Sqrt(8))
		}
		z := random("z", s.Tokens*s.Books*s.Bits)
		z64 := make([]float64, len(z))
		for i, v := range z {
			z64[i] = float64(v)
		}
		terms := runOn(t, be, s, z)
		near(t, kernels.Name(s), []float32{terms[0] - 2*terms[1]}, []float32{float32(flooredEntropies(s, z64))})
		plain := define(kernels.LFQLossGrad{LFQ: s.LFQ, InvTemp: invTemp}, []float32{1, -2, 0}, z)
		got := runOn(t, be, kernels.LFQLossFlooredGrad(s), []float32{1, -2, 0}, z)
		floored := 0. // how far the slopes of the loss without a floor are
		for i := range z {
			const h = 1e-6
			z64[i] += h
			up := flooredEntropies(s, z64)
			z64[i] -= 2 * h
			down := flooredEntropies(s, z64)
			z64[i] += h
			want := (up - down) / (2 * h)
			if math.Abs(float64(got[i])-want) > 1e-6 {
				t.Errorf("%s: dz[%d] = %v, differences give %v", kernels.Name(s), i, got[i], want)
			}
			floored = max(floored, math.Abs(float64(plain[i])-want))
		}
		if floored < 1e-5 {
			t.Errorf("%s: the values do not reach the floor: nothing was tested", kernels.Name(s))
		}
	}
}

// Of 2^18 equally likely codes each is below the floor: the entropy is -log 1e-5,
// not log 2^18.
func TestLFQFloorOfALargeCodebook(t *testing.T) {
	be := kernels.NewCPU(2)
	defer be.Close()
	l := kernels.LFQ{Tokens: 2, Books: 1, Bits: 18}
	z := make([]float32, l.Tokens*l.Bits)
	near(t, "terms", runOn(t, be, kernels.LFQLossFloored{LFQ: l, InvTemp: 100}, z), []float32{11.512925, 11.512925, 1})
	near(t, "slopes", runOn(t, be, kernels.LFQLossFlooredGrad{LFQ: l, InvTemp: 100}, []float32{1, 1, 0}, z), make([]float32, len(z)))
}
