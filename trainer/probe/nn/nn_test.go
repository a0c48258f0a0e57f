package nn

import (
	"context"
	"math"
	"testing"

	"magvit/kernels/philox"
)

// TestGradients holds the networks' gradients to differences.
func TestGradients(t *testing.T) {
	r := philox.New(1, "gradients", 0, 0)
	s := Shape{T: 2, H: 3, W: 4, C: 2}
	size := s.T * s.H * s.W * s.C
	var x [][]float32
	for range 3 {
		v := make([]float32, size)
		for i := range v {
			v[i] = float32(r.Normal())
		}
		x = append(x, v)
	}
	y := []int{0, 2, 1}
	for name, n := range map[string]Network{"attention pool": NewAttentionPool(s, 3, r), "mlp": NewPerceptron(size, 5, 3, 0, r), "linear": NewPerceptron(size, 0, 3, 0, r)} {
		for _, l := range n.Layers() { // away from 0, so that every gradient counts
			for i := range l.Bias.Value {
				l.Bias.Value[i] = float32(r.Normal()) * .3
			}
		}
		logits := n.Forward(x, nil)
		CrossEntropy(logits, y, 3)
		n.Backward(logits)
		loss := func() float64 { return CrossEntropy(n.Forward(x, nil), y, 3) / float64(len(y)) }
		for k, l := range n.Layers() {
			for _, p := range []Param{l.Weight, l.Bias} {
				for i := 0; i < len(p.Value); i += 1 + len(p.Value)/7 {
					was := p.Value[i]
					const h = 2e-3 // differences of a float32 loss, across kinks of relu: a wrong formula is off by far more
					p.Value[i] = was + h
					up := loss()
					p.Value[i] = was - h
					d := (up - loss()) / (2 * h)
					p.Value[i] = was
					if math.Abs(d-float64(p.Grad[i])) > 4e-3+.15*math.Abs(d) {
						t.Errorf("%s, layer %d, weight %d: gradient %v, by differences %v", name, k, i, p.Grad[i], d)
					}
				}
			}
		}
	}
}

// TestFit learns which of three features is positive, and stops early with the best weights.
func TestFit(t *testing.T) {
	r := philox.New(2, "fit", 0, 0)
	var rows [][]float32
	d := Data{Classes: 3, Views: 1}
	for i := range 150 {
		x := []float32{float32(r.Normal()) - 2, float32(r.Normal()) - 2, float32(r.Normal()) - 2}
		x[i%3] += 4
		rows, d.Labels = append(rows, x), append(d.Labels, i%3)
		switch {
		case i < 90:
			d.Fit = append(d.Fit, i)
		case i < 120:
			d.Stop = append(d.Stop, i)
		}
	}
	d.Example = func(i int, _ *philox.Stream) []float32 { return rows[i] }
	accuracy := func(n Network) (correct float64) {
		test := []int{}
		for i := 120; i < 150; i++ {
			test = append(test, i)
		}
		for k, c := range Predict(n, d, test) {
			if c == d.Labels[test[k]] {
				correct += 1. / float64(len(test))
			}
		}
		return correct
	}
	for name, n := range map[string]Network{"mlp": NewPerceptron(3, 8, 3, .2, r), "linear": NewPerceptron(3, 0, 3, 0, r)} {
		if err := Fit(t.Context(), n, Recipe{Steps: 200, Batch: 16, LR: .02, EvalEvery: 10, Patience: 5}, d, r); err != nil {
			t.Fatal(err)
		}
		if a := accuracy(n); a < .9 {
			t.Errorf("%s: accuracy %.2f on three separated classes", name, a)
		}
		stop, cancel := context.WithCancel(t.Context())
		cancel()
		if err := Fit(stop, n, Recipe{Steps: 1, Batch: 16, LR: .02, EvalEvery: 1}, d, r); err == nil {
			t.Errorf("%s: a cancelled fit returns no error", name)
		}
	}
}
