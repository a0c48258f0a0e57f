package model

import (
	"math"
	"testing"

	"magvit/kernels"
)

// TestPatchCosinesOfOneGreyPatch has the numbers of a patch of 2x2 grey values by hand: the orthonormal functions are
// (1,1)/√2 and (1,-1)/√2, and sizes are 0.66·(1+4r)^-1.5 at r = 0, 1, 1, √2.
func TestPatchCosinesOfOneGreyPatch(t *testing.T) {
	forward, _ := patchCosines(1, 2)
	x := []float64{.9, .5, .3, .1} // (y,x) = (0,0), (0,1), (1,0), (1,1)
	for k, want := range []float64{.9 / .66, .3 / (.66 * math.Pow(5, -1.5)), .5 / (.66 * math.Pow(5, -1.5)), .1 / (.66 * math.Pow(1+4*math.Sqrt2, -1.5))} {
		got := 0.
		for i, v := range x {
			got += float64(forward[4*k+i]) * v
		}
		if math.Abs(got-want) > 1e-5*math.Abs(want) {
			t.Errorf("coefficient %d is %v, want %v", k, got, want)
		}
	}
}

func TestPatchCosinesInvert(t *testing.T) {
	for _, c := range []int{1, 3, 4} {
		for _, p := range []int{2, 4, 8} {
			forward, inverse := patchCosines(c, p)
			n := c * p * p
			for i := range n {
				for k := range n {
					sum, want := 0., 0.
					for j := range n {
						sum += float64(inverse[i*n+j]) * float64(forward[j*n+k])
					}
					if i == k {
						want = 1
					}
					if math.Abs(sum-want) > 1e-5 {
						t.Fatalf("%d channels, patch %d: [%d,%d] of inverse·forward is %v, want %v", c, p, i, k, sum, want)
					}
				}
			}
		}
	}
	forward, inverse := frameCosines(4)
	for i := range 4 {
		for k := range 4 {
			sum := 0.
			for j := range 4 {
				sum += float64(inverse[4*i+j]) * float64(forward[4*j+k])
			}
			if want := float64(1 - min(max(i-k, k-i), 1)); math.Abs(sum-want) > 1e-6 {
				t.Fatalf("frames: [%d,%d] of inverse·forward is %v, want %v", i, k, sum, want)
			}
		}
	}
}

// TestLapFilter has a filter of two values by hand: J, C2 and C4 of one point are 1, so V is dcGain. Larger filters are
// inverse to each other, leave what is equal on both sides, and turn the slope of a line into a step.
func TestLapFilter(t *testing.T) {
	forward, inverse := lapFilter(1)
	for i, want := range []float64{1.3, -.3, -.3, 1.3, .8125, .1875, .1875, .8125} {
		if got := append(forward, inverse...)[i]; math.Abs(float64(got)-want) > 1e-6 {
			t.Errorf("value %d of two values' filters is %v, want %v", i, got, want)
		}
	}
	for _, reach := range []int{2, 4, 8} {
		n := 2 * reach
		forward, inverse := lapFilter(reach)
		slope := make([]float64, n)
		for i := range n {
			symmetric := 0.
			for k := range n {
				sum, want := 0., 0.
				for j := range n {
					sum += float64(inverse[i*n+j]) * float64(forward[j*n+k])
				}
				if i == k {
					want = 1
				}
				if math.Abs(sum-want) > 1e-6 {
					t.Fatalf("reach %d: [%d,%d] of inverse·forward is %v, want %v", reach, i, k, sum, want)
				}
				symmetric += float64(forward[i*n+k]) * math.Abs(float64(2*k+1-n))
				slope[i] += float64(forward[i*n+k]) * float64(2*k+1-n)
			}
			if want := math.Abs(float64(2*i + 1 - n)); math.Abs(symmetric-want) > 1e-5 {
				t.Errorf("reach %d: equal values at both sides become %v at %d, were %v", reach, symmetric, i, want)
			}
		}
		step, inside := slope[reach]-slope[reach-1], 0.
		for i := 1; i < reach; i++ {
			inside = max(inside, math.Abs(slope[reach+i]-slope[reach+i-1]))
		}
		if inside > step/8 {
			t.Errorf("reach %d: a line becomes %.2f: want a step at the border", reach, slope)
		}
	}
}

// TestPatchesInvert moves a clip to patches and back.
func TestPatchesInvert(t *testing.T) {
	for _, transform := range []string{"none", cosines, lapped} {
		c := small()
		c.Patch, c.PatchTime, c.PatchTransform, c.Background = 4, 2, transform, 0
		tok, be := create(t, c), cpu(t)
		b := newBuilder(tok, Shape{2, 4, 8, 12})
		x := b.input("video", 2, 4, 8, 12, c.Channels)
		patches := b.output("patches", b.toPatches(x))
		b.output("recon", b.fromPatches(patches))
		check(t, b.err)
		if _, pt, h, w, ch := b.dims(patches); pt != 2 || h != 2 || w != 3 || ch != 32*c.Channels {
			t.Errorf("patches %v; want 2 frames of 2x3 with %d channels", patches.Shape(), 32*c.Channels)
		}
		p, err := b.graph.Compile(be, kernels.Host{0}, nil, nil)
		check(t, err)
		video := uniform("video", p.Buffer("video").Len())
		check(t, be.Write(p.Buffer("video"), video))
		check(t, p.Run())
		for i, v := range p.Buffer("recon").(kernels.Host) {
			if math.Abs(float64(v-video[i])) > 1e-5 {
				t.Fatalf("%s: value %d is %v, was %v", transform, i, v, video[i])
			}
		}
	}
}

// TestPatchTransformOnlyRotates encodes with weights that undo the transform: the network must then give what the one
// without a transform gives, from the first convolution to the pixels.
func TestPatchTransformOnlyRotates(t *testing.T) {
	plain := small()
	plain.Patch, plain.Background = 2, .3
	plain.InputKernel, plain.OutputKernel = Kernel{1, 1, 1}, Kernel{1, 3, 3}
	turned := plain
	turned.PatchTransform = cosines
	a, b := create(t, plain), create(t, turned)
	n := plain.Channels * 4
	forward, inverse := patchCosines(plain.Channels, 2)
	pa, offsets := parameters(a, 3)
	pb := append(pa[:0:0], pa...)
	for i, p := range a.Params {
		w := pa[offsets[i] : offsets[i]+p.Len()]
		to := pb[offsets[i] : offsets[i]+p.Len()]
		switch p.Name {
		case "conv_in.conv.weight": // [O,1,1,1,n]: w·inverse
			for o := range p.Shape[0] {
				for k := range n {
					sum := float32(0)
					for j := range n {
						sum += w[o*n+j] * inverse[j*n+k]
					}
					to[o*n+k] = sum
				}
			}
		case "conv_out.conv.bias": // the background, which is added after the inverse
			clear(to)
		case "conv_out.conv.weight": // [n,1,3,3,C]: forward·w
			row := p.Len() / n
			for k := range n {
				for j := range row {
					sum := float32(0)
					for m := range n {
						sum += forward[k*n+m] * w[m*row+j]
					}
					to[k*row+j] = sum
				}
			}
		}
	}
	s := Shape{1, a.Padded(2), 16, 16}
	video := uniform("video", s.N*s.T*s.H*s.W*plain.Channels)
	recon := func(tok *Tokenizer, params []float32) []float32 {
		be := cpu(t)
		g, err := tok.Training(s)
		check(t, err)
		p, err := g.Compile(be, kernels.Host(params), make(kernels.Host, len(params)), offsets)
		check(t, err)
		check(t, be.Write(p.Buffer("video"), video))
		check(t, be.Write(p.Buffer("weight"), uniform("weight", p.Buffer("weight").Len())))
		check(t, p.Run())
		out := make([]float32, p.Buffer("recon").Len())
		check(t, be.Read(out, p.Buffer("recon")))
		return out
	}
	want, got := recon(a, pa), recon(b, pb)
	for i := range want {
		if math.Abs(float64(got[i]-want[i])) > 1e-4 {
			t.Fatalf("value %d is %v, without the transform %v", i, got[i], want[i])
		}
	}
}
