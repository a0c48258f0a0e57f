package model

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"magvit/kernels"
)

// hashed are values in [0,1), a function of their position and a number.
func hashed(n int, seed uint32) []float32 {
	x := make([]float32, n)
	for i := range x {
		u := uint32(i) + seed*0x9e3779b1
		u = (u ^ u>>16) * 0x85ebca6b
		u = (u ^ u>>13) * 0xc2b2ae35
		x[i] = float32((u^u>>16)>>8) / (1 << 24)
	}
	return x
}

// randomConv is a convolution's weight and bias, number i of a network.
func randomConv(tensors map[string]Tensor, name string, i uint32, shape ...int) {
	n, fan := 1, 1
	for k, d := range shape {
		n *= d
		if k > 0 {
			fan *= d
		}
	}
	weight, bias := hashed(n, i), hashed(shape[0], 100+i)
	bound := float32(math.Sqrt(6 / float64(fan)))
	for k, v := range weight {
		weight[k] = (v*2 - 1) * bound
	}
	for k, v := range bias {
		bias[k] = (v - .5) * .2
	}
	tensors[name+".weight"], tensors[name+".bias"] = Tensor{shape, weight}, Tensor{shape[:1], bias}
}

// randomLPIPS is the weights that testdata/lpips.json was made with, in the names of torchvision or of the package lpips.
func randomLPIPS(torchvision bool) map[string]Tensor {
	tensors := map[string]Tensor{}
	layer, in, i := 0, 3, uint32(0)
	for block, v := range vgg16Blocks {
		for range v.convs {
			name := fmt.Sprintf("net.slice%d.%d", block+1, layer)
			if torchvision {
				name = fmt.Sprintf("features.%d", layer)
			}
			randomConv(tensors, name, i, v.channels, in, 3, 3)
			layer, in, i = layer+2, v.channels, i+1
		}
		tensors[fmt.Sprintf("lin%d.model.1.weight", block)] = Tensor{[]int{1, v.channels, 1, 1}, hashed(v.channels, 200+uint32(block))}
		layer++
	}
	return tensors
}

// Distances and their gradient are those of the package lpips on the same weights.
func TestLPIPSIsThatOfThePackage(t *testing.T) {
	text, err := os.ReadFile("testdata/lpips.json")
	check(t, err)
	var golden struct {
		Distance, Gradient []float64
		Norm               float64 `json:"gradient_norm"`
		Stride             int     `json:"gradient_stride"`
	}
	check(t, json.Unmarshal(text, &golden))
	l, err := NewLPIPS(randomLPIPS(false))
	check(t, err)
	const n, h, w = 2, 20, 24
	x, y := hashed(n*h*w*3, 300), hashed(n*h*w*3, 301)

	g, err := l.Graph(n, h, w, 3)
	check(t, err)
	be := cpu(t)
	p, err := g.Compile(be, nil, nil, nil)
	check(t, err)
	check(t, be.Write(p.Buffer("recon"), x))
	check(t, be.Write(p.Buffer("original"), y))
	check(t, p.Run())
	for i, v := range p.Buffer("distance").(kernels.Host) {
		if want := golden.Distance[i]; math.Abs(float64(v)-want) > 2e-5*want {
			t.Errorf("distance %d is %.7f, want %.7f", i, v, want)
		}
	}

	b := newBuilder(&Tokenizer{index: map[string]int{}}, Shape{n, 1, h, w})
	recon := b.input("recon", n, 1, h, w, 3)
	mean := b.meanOf(l.distance(b, recon, b.input("original", n, 1, h, w, 3)))
	g, err = b.finish(Term{Name: "perceptual", Node: mean, Weight: 1})
	check(t, err)
	grads, err := g.differentiate(nil, recon)
	check(t, err)
	b.output("slope", grads[0])
	p, err = g.Compile(be, nil, nil, nil)
	check(t, err)
	check(t, be.Write(p.Buffer("recon"), x))
	check(t, be.Write(p.Buffer("original"), y))
	check(t, p.Run())
	slope, norm, off := p.Buffer("slope").(kernels.Host), 0., 0.
	for i, v := range slope {
		norm += float64(v) * float64(v)
		if i%golden.Stride == 0 {
			off = max(off, math.Abs(float64(v)-golden.Gradient[i/golden.Stride]))
		}
	}
	if norm = math.Sqrt(norm); math.Abs(norm-golden.Norm) > 1e-3*golden.Norm || off > 1e-3*slices.Max(golden.Gradient) {
		t.Errorf("the gradient's norm is %.7f, want %.7f; its values are off by up to %.2g", norm, golden.Norm, off)
	}
}

// The same features have two names; what is missing or of another shape is named.
func TestLPIPSWeights(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: makes 15 million weights")
	}
	tensors := randomLPIPS(true)
	_, err := NewLPIPS(tensors)
	check(t, err)
	for want, change := range map[string]func(){
		"features.0.weight has the shape [64 4 3 3], want [64 3 3 3]":                       func() { tensors["features.0.weight"] = Tensor{[]int{64, 4, 3, 3}, nil} },
		"no tensor lin2.model.1.weight or lins.2.model.1.weight of shape [1 256 1 1]; want": func() { delete(tensors, "lin2.model.1.weight") },
		"no tensor features.28.bias or net.slice5.28.bias of shape [512]; want":             func() { delete(tensors, "features.28.bias") },
	} {
		before := map[string]Tensor{}
		for k, v := range tensors {
			before[k] = v
		}
		change()
		if _, err := NewLPIPS(tensors); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		tensors = before
	}
}

func TestPerceptualKeys(t *testing.T) {
	for want, change := range map[string]func(*Config){
		`model.loss.perceptual.kind: "vgg": want none, lpips, vgg16, resnet50`: func(c *Config) { c.Loss.Perceptual.Kind = "vgg" },
		"model.loss.perceptual.weight: -1":                                     func(c *Config) { c.Loss.Perceptual.Weight = -1 },
		`model.loss.perceptual.weights: ""`:                                    func(c *Config) { c.Loss.Perceptual.Kind = "lpips" },
	} {
		c := small()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	c := small()
	c.Loss.Perceptual.Kind, c.Loss.Perceptual.Weights = "resnet50", "w.pt"
	tok := create(t, c)
	if _, err := tok.Training(Shape{1, 4, 32, 32}); err == nil || !strings.Contains(err.Error(), "the weights were not loaded") {
		t.Errorf("%v", err)
	}
	if _, err := tok.Encoder(Shape{1, 4, 32, 32}); err != nil {
		t.Errorf("encoding needs the weights of the loss: %v", err)
	}
}
