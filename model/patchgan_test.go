package model

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"magvit/kernels"
)

// The discriminators with batch norm have the losses, gradients and running statistics of
// torch's layers after a batch of real and one of reconstructed frames, see testdata/README.md.
func TestPatchGANIsTorchs(t *testing.T) {
	text, err := os.ReadFile("testdata/patchgan.json")
	check(t, err)
	var golden struct {
		Cases []struct {
			Kind                                                         string
			Hinge, Lecam, Real_logit, Fake_logit, Lecam_real, Lecam_fake float64
			Parameters, Buffers                                          map[string][]float64
		}
	}
	check(t, json.Unmarshal(text, &golden))
	if len(golden.Cases) != 2 {
		t.Fatalf("%d cases", len(golden.Cases))
	}
	for _, c := range golden.Cases {
		t.Run(c.Kind, func(t *testing.T) {
			tok := opposed(t, c.Kind, func(of *Config) {
				of.ImageSize, of.Discriminator.Size, of.Discriminator.Dim, of.Discriminator.MaxDim = 24, 24, 3, 512
				of.Loss.Adversarial = Adversarial{Kind: "hinge", Adaptive: "none", Penalty: "none", PenaltyEvery: 1, LeCam: .5, LeCamDecay: .9}
			})
			g, err := tok.DiscriminatorStep(Shape{N: 2, T: 3, H: 24, W: 24}, false, false)
			check(t, err)
			be := kernels.NewCPU(1)
			defer be.Close()
			offsets, n := make([]int, len(tok.Params)), 0
			for i, p := range tok.Params {
				offsets[i] = n
				n += (p.Len() + 15) / 16 * 16
			}
			params, err := be.Alloc(n)
			check(t, err)
			grads, err := be.Alloc(n)
			check(t, err)
			prog, err := g.Compile(be, params, grads, offsets)
			check(t, err)
			first, number := make([]float32, n), uint32(0)
			for i, p := range tok.Params {
				if !p.Discriminator || p.Buffer {
					continue
				}
				h := hashed(p.Len(), number)
				number++
				values := make([]float32, p.Len())
				for k, v := range h {
					switch {
					case len(p.Reference) > 1:
						fan := p.Len() / p.Shape[0]
						values[k] = float32((2*float64(v) - 1) * math.Sqrt(6/float64(fan)))
					case strings.HasSuffix(p.Name, ".weight"):
						values[k] = v + .5
					default:
						values[k] = float32((float64(v) - .5) * .4)
					}
				}
				p.FromReference(first[offsets[i]:][:p.Len()], values)
			}
			check(t, be.Write(params, first))
			for k, name := range []string{"real", "fake"} {
				check(t, be.Write(prog.Buffer(name), hashed(prog.Buffer(name).Len(), 900+uint32(k))))
			}
			check(t, prog.Run())
			near := func(what string, got float32, want float64) {
				t.Helper()
				if math.Abs(float64(got)-want) > 2e-5*math.Max(1, math.Abs(want)) {
					t.Errorf("%s is %v, want %v", what, got, want)
				}
			}
			want := map[string]float64{"discriminator": c.Hinge, "lecam": c.Lecam, "real_logit": c.Real_logit, "fake_logit": c.Fake_logit, "lecam_real": c.Lecam_real, "lecam_fake": c.Lecam_fake}
			for _, term := range prog.Terms {
				var v [1]float32
				check(t, be.Read(v[:], term.Buffer))
				if w, ok := want[term.Name]; ok {
					near(term.Name, v[0], w)
					delete(want, term.Name)
				}
			}
			if len(want) > 0 {
				t.Errorf("no terms %v", want)
			}
			d := make([]float32, n)
			check(t, be.Read(d, grads))
			compared := 0
			for i, p := range tok.Params {
				name, of := strings.CutPrefix(p.Name, DiscriminatorPrefix)
				if !of || strings.HasPrefix(name, "lecam.") {
					continue
				}
				compared++
				if p.Buffer {
					for k, w := range c.Buffers[name] { // torch followed two batches
						start := float32(0)
						if strings.HasSuffix(name, "_var") {
							start = 1
						}
						near(name, start+.19*(d[offsets[i]+k]-start), w)
					}
					continue
				}
				for k, w := range c.Parameters[name] {
					near("the gradient of "+name, d[offsets[i]+7*k], w)
				}
			}
			if compared != len(c.Parameters)+len(c.Buffers) || number != uint32(len(c.Parameters)) {
				t.Errorf("%d tensors of the discriminator, %d in the file", compared, len(c.Parameters)+len(c.Buffers))
			}
		})
	}
}
