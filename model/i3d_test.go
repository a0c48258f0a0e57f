package model

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// numberedI3D makes the weights that testdata/i3d.json was made with, in the order of the network's layers.
type numberedI3D struct {
	i3dReader
	number uint32
}

func (r *numberedI3D) add(name string, gain, offset float32, shape ...int) {
	n := 1
	for _, d := range shape {
		n *= d
	}
	x := hashed(n, r.number)
	for i, v := range x {
		x[i] = (v + offset) * gain
	}
	r.tensors[name] = Tensor{shape, x}
	r.number++
}

func (r *numberedI3D) conv(name string, in, out, k, _ int) int {
	r.add(name+".conv3d.weight", float32(2*math.Sqrt(6/float64(in*k*k*k))), -.5, out, in, k, k, k)
	r.add(name+".bn.weight", 1, .5, out)
	r.add(name+".bn.bias", .2, -.5, out)
	r.add(name+".bn.running_mean", .2, -.5, out)
	r.add(name+".bn.running_var", 1, .5, out)
	return out
}

func randomI3D() map[string]Tensor {
	r := &numberedI3D{i3dReader: i3dReader{tensors: map[string]Tensor{}}}
	in := i3d(r, 3)
	r.add("logits.conv3d.weight", float32(2*math.Sqrt(6/float64(in))), -.5, I3DFeatures, in, 1, 1, 1)
	r.add("logits.conv3d.bias", .2, -.5, I3DFeatures)
	return r.tensors
}

// Features are those of torch's layers put together as pytorch-i3d does, on the same weights;
// sizes are odd and even on all axes. See testdata/README.md.
func TestI3DIsTorchs(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: makes 12 million weights")
	}
	text, err := os.ReadFile("testdata/i3d.json")
	check(t, err)
	var cases []struct {
		Frames, Height, Width int
		Logits                []float64
	}
	check(t, json.Unmarshal(text, &cases))
	if len(cases) != 2 {
		t.Fatalf("%d cases", len(cases))
	}
	tensors := randomI3D()
	net, err := NewI3D(tensors)
	check(t, err)
	be := cpu(t)
	for _, c := range cases {
		g, err := net.Graph(1, c.Frames, c.Height, c.Width, 3)
		check(t, err)
		p, err := g.Compile(be, nil, nil, nil)
		check(t, err)
		check(t, be.Write(p.Buffer("clip"), hashed(c.Frames*c.Height*c.Width*3, 900+uint32(c.Frames))))
		check(t, p.Run())
		got := make([]float32, I3DFeatures)
		check(t, be.Read(got, p.Buffer("features")))
		if len(c.Logits) != 58 {
			t.Fatalf("%d logits", len(c.Logits))
		}
		square, norm := 0., 0.
		for i, want := range c.Logits {
			d := float64(got[7*i]) - want
			square, norm = square+d*d, norm+want*want
		}
		if !(square < 1e-9*norm) {
			t.Errorf("%d frames: features %v, want %v: NMSE %.2g", c.Frames, got[:8], c.Logits[:2], square/norm)
		}
	}
	if _, err := net.Graph(1, 8, 64, 64, 3); err == nil {
		t.Error("clips of 8 frames are taken")
	}
	delete(tensors, "Mixed_4d.b2b.bn.running_var")
	if _, err := NewI3D(tensors); err == nil || err.Error() != "I3D: no tensor Mixed_4d.b2b.bn.running_var of shape [64]; want the state_dict of pytorch-i3d's network of RGB" {
		t.Errorf("a missing tensor: %v", err)
	}
}
