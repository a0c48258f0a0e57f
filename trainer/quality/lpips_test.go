package quality

import (
	"fmt"
	"math"
	"testing"

	"magvit/kernels"
	"magvit/kernels/philox"
	"magvit/model"
)

// randomLPIPS is LPIPS with random weights; those of the package lpips are tested in model.
func randomLPIPS(t *testing.T) *model.LPIPS {
	t.Helper()
	tensors := map[string]model.Tensor{}
	add := func(name string, low, high float64, shape ...int) {
		n := 1
		for _, d := range shape {
			n *= d
		}
		r, values := philox.New(4, name, 0, 0), make([]float32, n)
		for i := range values {
			values[i] = float32(r.Uniform(low, high))
		}
		tensors[name] = model.Tensor{Shape: shape, Values: values}
	}
	layer, in := 0, 3
	for block, v := range [][2]int{{2, 64}, {2, 128}, {3, 256}, {3, 512}, {3, 512}} {
		for range v[0] {
			bound := math.Sqrt(6 / float64(9*in))
			add(fmt.Sprintf("features.%d.weight", layer), -bound, bound, v[1], in, 3, 3)
			add(fmt.Sprintf("features.%d.bias", layer), -.1, .1, v[1])
			layer, in = layer+2, v[1]
		}
		add(fmt.Sprintf("lin%d.model.1.weight", block), 0, 1, 1, v[1], 1, 1)
		layer++
	}
	l, err := model.NewLPIPS(tensors)
	check(t, err)
	return l
}

// A copy is at distance 0, and the value is a mean over frames, however many make a batch.
func TestLPIPS(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: makes 15 million weights")
	}
	be := kernels.NewCPU(2)
	defer be.Close()
	o := Options{Backend: be, LPIPS: randomLPIPS(t)}
	value := func(pairs ...Pair) float64 {
		j, err := New("lpips", o)
		check(t, err)
		for _, p := range pairs {
			check(t, j.Add(p))
		}
		r, err := j.Report()
		check(t, err)
		return float64(r.Of("lpips").Value)
	}
	x, y := noise("lpips x", 5*16*16*3), noise("lpips y", 5*16*16*3)
	whole := Pair{Name: "a", T: 5, H: 16, W: 16, C: 3, Original: x, Recon: y}
	same := whole
	same.Recon = x
	near(t, "distance of a copy", value(same), 0)
	sum := 0.
	for f := range 5 {
		sum += value(Pair{Name: "a", T: 1, H: 16, W: 16, C: 3, Original: whole.frame(x, f), Recon: whole.frame(y, f)})
	}
	if sum < .05 {
		t.Errorf("distances of noise add up to %v", sum)
	}
	near(t, "distance", value(whole), sum/5)
	near(t, "distance of two clips", value(whole, same), sum/10)
	other := Pair{Name: "b", T: 1, H: 16, W: 18, C: 3, Original: x[:16*18*3], Recon: x[:16*18*3]}
	near(t, "distance of clips of two sizes", value(whole, other, whole), sum/5*10/11)
	j, err := New("lpips", o)
	check(t, err)
	if err := j.Add(Pair{Name: "small", T: 1, H: 8, W: 8, C: 3, Original: x[:192], Recon: x[:192]}); err == nil {
		t.Error("frames of 8×8 pixels have a distance")
	}
}
