package model

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// narrowVGG is the weights that testdata/vgg16.py made, and the blocks of their network.
func narrowVGG(channels []int, hidden int) (tensors map[string]Tensor, blocks []vggBlock) {
	tensors = map[string]Tensor{}
	layer, in, i := 0, 3, uint32(0)
	for k, b := range vgg16Blocks {
		b.channels = channels[k]
		blocks = append(blocks, b)
		for range b.convs {
			randomConv(tensors, fmt.Sprintf("features.%d", layer), i, b.channels, in, 3, 3)
			layer, in, i = layer+2, b.channels, i+1
		}
		layer++
	}
	randomConv(tensors, "classifier.0", i, hidden, in*vggGrid*vggGrid)
	randomConv(tensors, "classifier.3", i+1, hidden, hidden)
	return tensors, blocks
}

// Features, loss and gradient are those of torchvision's network, its classifier cut as magvit2-pytorch does, with frames
// whose last block is smaller and larger than the 7×7 pixels it is pooled to, normalized or as they are, with dropout.
func TestVGG16IsTorchvisions(t *testing.T) {
	text, err := os.ReadFile("testdata/vgg16.json")
	check(t, err)
	var golden struct {
		Channels []int
		Hidden   int
		Cases    []struct {
			H, W, Channels     int
			Compat             bool
			Features, Gradient []float64
			Loss               float64
			Norm               float64 `json:"gradient_norm"`
			Stride             int     `json:"gradient_stride"`
		}
	}
	check(t, json.Unmarshal(text, &golden))
	if len(golden.Cases) < 5 {
		t.Fatalf("%d cases", len(golden.Cases))
	}
	tensors, blocks := narrowVGG(golden.Channels, golden.Hidden)
	net, err := newVGG16(tensors, blocks, golden.Hidden)
	check(t, err)
	for _, c := range golden.Cases {
		name := fmt.Sprintf("%d×%d×%d compat %v", c.H, c.W, c.Channels, c.Compat)
		const n = 2
		size := n * c.H * c.W * c.Channels
		b := newBuilder(&Tokenizer{index: map[string]int{}}, Shape{n, 1, c.H, c.W})
		recon, video := b.input("recon", n, 1, c.H, c.W, c.Channels), b.input("video", n, 1, c.H, c.W, c.Channels)
		inputs := map[string][]float32{"recon": hashed(size, 300), "video": hashed(size, 301)}
		mask := func(name string, seed uint32) *G.Node {
			if !c.Compat {
				return nil
			}
			values := hashed(n*golden.Hidden, seed)
			for i, v := range values {
				values[i] = 2 * float32(math.Floor(2*float64(v)))
			}
			inputs[name] = values
			return b.input(name, n, golden.Hidden)
		}
		f := &frozen{b, nodesByName{}}
		x := net.forward(f, recon, !c.Compat, mask("mask of recon", 400))
		y := net.forward(f, video, !c.Compat, mask("mask of video", 401))
		b.output("features", x)
		g, err := b.finish(Term{Name: "perceptual", Node: f.squaredError(x, y), Weight: 1})
		check(t, err)
		grads, err := g.differentiate(nil, recon)
		check(t, err)
		b.output("slope", grads[0])
		be := cpu(t)
		p, err := g.Compile(be, nil, nil, nil)
		check(t, err)
		for name, values := range inputs {
			check(t, be.Write(p.Buffer(name), values))
		}
		check(t, p.Run())
		nmse := func(what string, got kernels.Host, stride int, want []float64) {
			diff, size := 0., 0.
			for i, w := range want {
				d := float64(got[i*stride]) - w
				diff, size = diff+d*d, size+w*w
			}
			if !(diff <= 1e-9*size) || size == 0 {
				t.Errorf("%s: %s differ by NMSE %.2g", name, what, diff/size)
			}
		}
		nmse("features", p.Buffer("features").(kernels.Host), 1, c.Features)
		nmse("gradients", p.Buffer("slope").(kernels.Host), c.Stride, c.Gradient)
		nmse("losses", p.Loss().(kernels.Host), 1, []float64{c.Loss})
		norm := 0.
		for _, v := range p.Buffer("slope").(kernels.Host) {
			norm += float64(v) * float64(v)
		}
		if norm = math.Sqrt(norm); math.Abs(norm-c.Norm) > 1e-4*c.Norm {
			t.Errorf("%s: the gradient's norm is %.7g, want %.7g", name, norm, c.Norm)
		}
	}
}

// Each row of the pooled grid is a mean of whole rows, as torch's adaptive pooling has it.
func TestAdaptiveWindow(t *testing.T) {
	for n, want := range map[int]string{
		1: "[0 1) [0 1) [0 1) [0 1) [0 1) [0 1) [0 1)", 3: "[0 1) [0 1) [0 2) [1 2) [1 3) [2 3) [2 3)",
		7: "[0 1) [1 2) [2 3) [3 4) [4 5) [5 6) [6 7)", 9: "[0 2) [1 3) [2 4) [3 6) [5 7) [6 8) [7 9)",
	} {
		var got []string
		for i := range vggGrid {
			from, to := adaptiveWindow(i, n)
			got = append(got, fmt.Sprintf("[%d %d)", from, to))
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%d rows: %s, want %s", n, s, want)
		}
	}
}

// Weights that are missing or of another shape are named. Of the public network each has one shape.
func TestVGG16Weights(t *testing.T) {
	tensors := map[string]Tensor{}
	layer, in := 0, 3
	for _, b := range vgg16Blocks {
		for range b.convs {
			name := fmt.Sprintf("features.%d", layer)
			tensors[name+".weight"], tensors[name+".bias"] = Tensor{[]int{b.channels, in, 3, 3}, nil}, Tensor{[]int{b.channels}, nil}
			layer, in = layer+2, b.channels
		}
		layer++
	}
	for name, shape := range map[string][]int{"0.weight": {4096, 25088}, "0.bias": {4096}, "3.weight": {4096, 4096}, "3.bias": {4096}, "6.weight": {1000, 4096}} {
		tensors["classifier."+name] = Tensor{shape, nil}
	}
	v, err := NewVGG16(tensors) // without values: shapes are what counts
	check(t, err)
	wanted := slices.DeleteFunc(slices.Sorted(maps.Keys(tensors)), v.Wanted)
	if !slices.Equal(wanted, []string{"classifier.6.weight"}) {
		t.Errorf("not wanted: %v", wanted)
	}
	for want, change := range map[string]func(map[string]Tensor){
		"VGG16: classifier.0.weight has the shape [4096 4608], want [4096 25088]; want torchvision's vgg16": func(m map[string]Tensor) { m["classifier.0.weight"] = Tensor{[]int{4096, 4608}, nil} },
		"no tensor classifier.3.weight of shape [4096 4096 1 1]":                                            func(m map[string]Tensor) { delete(m, "classifier.3.weight") },
		"no tensor features.28.bias of shape [512]":                                                         func(m map[string]Tensor) { delete(m, "features.28.bias") },
	} {
		changed := maps.Clone(tensors)
		change(changed)
		if _, err := NewVGG16(changed); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// With compat lucidrains dropout acts: equal clips have a loss, which depends on the step. Without it they have none.
func TestVGG16Dropout(t *testing.T) {
	tensors, blocks := narrowVGG([]int{4, 6, 8, 10, 12}, 20)
	net, err := newVGG16(tensors, blocks, 20)
	check(t, err)
	losses := map[string][]float32{}
	for _, compat := range []string{"", Lucidrains} {
		c := ReferenceDefaults()
		c.Compat = compat
		c.Loss.Perceptual = Perceptual{Kind: "vgg16", Weights: "w.pth", Weight: 1, Frames: 2}
		check(t, c.Loss.Perceptual.validate(c)[0])
		b := newBuilder(&Tokenizer{Config: c, Perceptual: net, index: map[string]int{}}, Shape{1, 2, 32, 32})
		terms := b.perceptualTerms(b.input("recon", 1, 2, 32, 32, 3), b.input("video", 1, 2, 32, 32, 3))
		g, err := b.finish(terms...)
		check(t, err)
		be := cpu(t)
		p, err := g.Compile(be, nil, nil, nil)
		check(t, err)
		for _, name := range []string{"recon", "video"} {
			check(t, be.Write(p.Buffer(name), hashed(2*32*32*3, 300)))
		}
		for _, step := range []int{1, 2, 1} {
			check(t, p.SetStep(StepPosition{Seed: 7, Step: step}))
			check(t, p.Run())
			losses[compat] = append(losses[compat], p.Loss().(kernels.Host)[0])
		}
	}
	if l := losses[""]; l[0] != 0 || l[1] != 0 {
		t.Errorf("equal clips have the losses %v without dropout", l)
	}
	if l := losses[Lucidrains]; !(l[0] > 0 && l[1] > 0 && l[0] != l[1] && l[0] == l[2]) {
		t.Errorf("equal clips have the losses %v with dropout in steps 1, 2 and 1", l)
	}
	mask, other := make([]float32, 4000), make([]float32, 4000)
	drawDropout(StepPosition{Seed: 1, Step: 5}, "recon", mask)
	drawDropout(StepPosition{Seed: 1, Step: 5}, "video", other)
	twos := 0
	for i, v := range mask {
		if v == 2 {
			twos++
		} else if v != 0 {
			t.Fatalf("factor %d is %v", i, v)
		}
	}
	if math.Abs(float64(twos)-2000) > 200 || slices.Equal(mask, other) {
		t.Errorf("%d of 4000 are kept; the other mask is the same: %v", twos, slices.Equal(mask, other))
	}
}

// compat lucidrains has magvit2-pytorch's perceptual loss and no other; its weight is the file's argument.
func TestPerceptualLossOfTheReference(t *testing.T) {
	c, err := FromReference(map[string]any{"image_size": 32., "layers": []any{"residual"}, "codebook_size": 1024., "perceptual_loss_weight": .25})
	check(t, err)
	if p := c.Loss.Perceptual; p.Weight != .25 || p.Frames != 1 || p.Kind != "none" {
		t.Errorf("%+v", p)
	}
	if w := ReferenceDefaults().Loss.Perceptual.Weight; w != .1 {
		t.Errorf("weight %v", w)
	}
	c.Loss.Perceptual.Weights = "w.pth"
	for kind, want := range map[string]string{"none": "", "vgg16": "", "lpips": "want none or vgg16, the reference's, with compat lucidrains", "resnet50": "want none or vgg16"} {
		c.Loss.Perceptual.Kind = kind
		if err := c.Validate(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", kind, err, want)
		}
	}
}
