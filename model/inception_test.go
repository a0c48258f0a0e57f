package model

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"magvit/kernels"
)

// shapesReader lists the shapes of the convolutions' weights.
type shapesReader struct {
	inceptionReader
	shapes map[string][]int
}

func (r *shapesReader) conv(name string, in, out, kh, kw, _ int, _ bool) int {
	r.shapes[name] = []int{out, in, kh, kw}
	return out
}

// randomInception is the weights that testdata/inception.json was made with: tensors are numbered as in torchvision's
// state_dict, in which a block's branches of 5×5 come before those of 3×3.
func randomInception() map[string]Tensor {
	r := &shapesReader{shapes: map[string][]int{}}
	inception(r, 3)
	key := func(name string) string { return strings.ReplaceAll(name, "branch5x5", "branch2x2") }
	names := slices.SortedFunc(maps.Keys(r.shapes), func(a, b string) int { return strings.Compare(key(a), key(b)) })
	tensors, i := map[string]Tensor{}, uint32(0)
	add := func(name string, gain, offset float32, shape ...int) {
		n := 1
		for _, d := range shape {
			n *= d
		}
		x := hashed(n, i)
		for k, v := range x {
			x[k] = (v + offset) * gain
		}
		tensors[name], i = Tensor{shape, x}, i+1
	}
	for _, name := range names {
		s := r.shapes[name]
		add(name+".conv.weight", float32(2*math.Sqrt(6/float64(s[1]*s[2]*s[3]))), -.5, s...)
		add(name+".bn.weight", 1, .5, s[0])
		add(name+".bn.bias", .2, -.5, s[0])
		add(name+".bn.running_mean", .2, -.5, s[0])
		add(name+".bn.running_var", 1, .5, s[0])
	}
	return tensors
}

// Features are those of torchvision's network with the pooling of pytorch-fid, on the same weights.
func TestInceptionIsTorchvisions(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: makes 22 million weights")
	}
	text, err := os.ReadFile("testdata/inception.json")
	check(t, err)
	var golden struct {
		Features []float64
		Stride   int
	}
	check(t, json.Unmarshal(text, &golden))
	tensors := randomInception()
	if len(tensors) != 470 {
		t.Fatalf("%d tensors, want 470", len(tensors))
	}
	net, err := NewInception(tensors)
	check(t, err)
	const h, w = 107, 91
	g, err := net.Graph(1, h, w, 3)
	check(t, err)
	be := cpu(t)
	p, err := g.Compile(be, nil, nil, nil)
	check(t, err)
	check(t, be.Write(p.Buffer("image"), hashed(h*w*3, 900)))
	check(t, p.Run())
	diff, size := 0., 0.
	for i, want := range golden.Features {
		d := float64(p.Buffer("features").(kernels.Host)[i*golden.Stride]) - want
		diff, size = diff+d*d, size+want*want
	}
	if !(diff <= 1e-9*size) || len(golden.Features) != 158 {
		t.Errorf("the features differ by NMSE %.2g, of %d values", diff/size, len(golden.Features))
	}
	delete(tensors, "Mixed_6c.branch7x7_2.bn.running_var")
	if _, err := NewInception(tensors); err == nil || !strings.Contains(err.Error(), "no tensor Mixed_6c.branch7x7_2.bn.running_var of shape [160]; want") {
		t.Errorf("%v", err)
	}
}
