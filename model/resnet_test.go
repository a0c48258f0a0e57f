package model

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"magvit/kernels"
)

// randomResNet50 is the weights that testdata/resnet50.json was made with: each tensor of the state_dict by its number.
func randomResNet50() map[string]Tensor {
	tensors, i := map[string]Tensor{}, uint32(0)
	add := func(name string, value func(float32) float32, shape ...int) {
		n := 1
		for _, d := range shape {
			n *= d
		}
		x := hashed(n, i)
		for k, v := range x {
			x[k] = value(v)
		}
		tensors[name], i = Tensor{shape, x}, i+1
	}
	weight := func(name string, shape ...int) {
		fan := 1
		for _, d := range shape[1:] {
			fan *= d
		}
		bound := float32(math.Sqrt(6 / float64(fan)))
		add(name+".weight", func(v float32) float32 { return (v*2 - 1) * bound }, shape...)
	}
	small := func(v float32) float32 { return (v - .5) * .2 }
	norm := func(name string, n int) {
		gain := float32(1)
		if strings.HasSuffix(name, "bn3") {
			gain = .3
		}
		add(name+".weight", func(v float32) float32 { return (v + .5) * gain }, n)
		add(name+".bias", small, n)
		add(name+".running_mean", small, n)
		add(name+".running_var", func(v float32) float32 { return v + .5 }, n)
		i++ // num_batches_tracked
	}
	weight("conv1", 64, 3, 7, 7)
	norm("bn1", 64)
	in := 64
	for s, n := range resNetBlocks {
		width := 64 << s
		for k := range n {
			name := fmt.Sprintf("layer%d.%d", s+1, k)
			for j, shape := range [][]int{{width, in, 1, 1}, {width, width, 3, 3}, {4 * width, width, 1, 1}} {
				weight(fmt.Sprintf("%s.conv%d", name, j+1), shape...)
				norm(fmt.Sprintf("%s.bn%d", name, j+1), shape[0])
			}
			if k == 0 {
				weight(name+".downsample.0", 4*width, in, 1, 1)
				norm(name+".downsample.1", 4*width)
			}
			in = 4 * width
		}
	}
	weight("fc", 1000, in)
	add("fc.bias", small, 1000)
	return tensors
}

// Logits are those of torchvision's network on the same weights.
func TestResNet50IsTorchvisions(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: makes 26 million weights")
	}
	text, err := os.ReadFile("testdata/resnet50.json")
	check(t, err)
	var golden struct {
		Logits []float64
		Stride int
	}
	check(t, json.Unmarshal(text, &golden))
	tensors := randomResNet50()
	r, err := NewResNet50(tensors)
	check(t, err)
	const n, h, w = 2, 40, 45
	b := newBuilder(&Tokenizer{index: map[string]int{}}, Shape{n, 1, h, w})
	b.output("logits", r.forward(&frozen{b, nodesByName{}}, b.input("video", n, 1, h, w, 3)))
	g, err := b.finish()
	check(t, err)
	be := cpu(t)
	p, err := g.Compile(be, nil, nil, nil)
	check(t, err)
	check(t, be.Write(p.Buffer("video"), hashed(n*h*w*3, 900)))
	check(t, p.Run())
	diff, size := 0., 0.
	for i, want := range golden.Logits {
		d := float64(p.Buffer("logits").(kernels.Host)[i*golden.Stride]) - want
		diff, size = diff+d*d, size+want*want
	}
	if !(diff <= 1e-9*size) || len(golden.Logits) != 154 {
		t.Errorf("the logits differ by NMSE %.2g, of %d values", diff/size, len(golden.Logits))
	}
	delete(tensors, "layer3.0.downsample.1.running_var")
	if _, err := NewResNet50(tensors); err == nil || !strings.Contains(err.Error(), "no tensor layer3.0.downsample.1.running_var of shape [1024]; want torchvision's resnet50") {
		t.Errorf("%v", err)
	}
}
