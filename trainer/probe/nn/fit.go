package nn

import (
	"context"
	"math"

	"magvit/kernels/philox"
)

// Network is a classifier that Fit trains.
type Network interface {
	Layers() []*Dense
	// Forward gives logits [len(x),classes] of examples. r is the source of dropout; nil is inference.
	Forward(x [][]float32, r *philox.Stream) []float32
	// Backward adds to the layers' gradients; dlogits is of the last forward pass.
	Backward(dlogits []float32)
}

// Examples gives an example by its number: as it is, or augmented where r is not nil.
type Examples func(i int, r *philox.Stream) []float32

// Recipe is the schedule of a fit.
type Recipe struct {
	Steps, Batch int
	LR, Decay    float64
	EvalEvery    int // steps between evaluations on the clips for early stopping
	Patience     int // evaluations without a lower loss before the fit ends
}

// AtMost is the recipe with at most this number of steps, 0 for no bound.
func (rc Recipe) AtMost(steps int) Recipe {
	if steps > 0 {
		rc.Steps = min(rc.Steps, steps)
	}
	return rc
}

// LearningRate of a step: warm-up over the first 20, then a cosine to a twentieth of LR.
func (rc Recipe) LearningRate(step int) float64 {
	return rc.LR * min(1, float64(step)/20) * (.05 + .95*(1+math.Cos(math.Pi*float64(step)/float64(rc.Steps)))/2)
}

// Data are labelled clips. Clip i has Views examples, numbers i*Views and up; the first is the clip as it is.
type Data struct {
	Example   Examples
	Labels    []int // of each clip
	Classes   int
	Views     int
	Fit, Stop []int // clips to train on, and clips for early stopping
}

// Fit trains n on d.Fit and leaves it with the weights of the lowest loss on d.Stop. Training draws a view of each clip
// and augments it; evaluation uses the first view.
func Fit(ctx context.Context, n Network, rc Recipe, d Data, r *philox.Stream) error {
	best, waited := math.Inf(1), 0
	var weights [][]float32
	evaluate := func() {
		loss := 0.
		for _, batch := range batches(d.Stop, rc.Batch) {
			labels := make([]int, len(batch))
			for k, c := range batch {
				labels[k] = d.Labels[c]
			}
			loss += CrossEntropy(n.Forward(d.first(batch), nil), labels, d.Classes)
		}
		if waited++; loss < best {
			best, waited, weights = loss, 0, weights[:0]
			for _, l := range n.Layers() {
				weights = append(weights, append([]float32(nil), l.Weight.Value...), append([]float32(nil), l.Bias.Value...))
			}
		}
	}
	evaluate()
	var order []int
	x, y := make([][]float32, min(rc.Batch, len(d.Fit))), make([]int, min(rc.Batch, len(d.Fit)))
	for step := 1; step <= rc.Steps && waited <= rc.Patience; step++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		for k := range x {
			if len(order) == 0 {
				order = r.Perm(len(d.Fit))
			}
			clip := d.Fit[order[0]]
			order = order[1:]
			x[k], y[k] = d.Example(clip*d.Views+r.IntN(d.Views), r), d.Labels[clip]
		}
		logits := n.Forward(x, r)
		CrossEntropy(logits, y, d.Classes)
		n.Backward(logits)
		AdamW(n.Layers(), step, rc.LearningRate(step), rc.Decay)
		if step%rc.EvalEvery == 0 || step == rc.Steps {
			evaluate()
		}
	}
	for i, l := range n.Layers() {
		copy(l.Weight.Value, weights[2*i])
		copy(l.Bias.Value, weights[2*i+1])
	}
	return nil
}

// first gives the first view of each clip.
func (d Data) first(clips []int) (x [][]float32) {
	for _, c := range clips {
		x = append(x, d.Example(c*d.Views, nil))
	}
	return x
}

func batches(list []int, n int) (out [][]int) {
	for len(list) > n {
		out, list = append(out, list[:n]), list[n:]
	}
	return append(out, list)
}

// Predict gives the most likely class of each clip.
func Predict(n Network, d Data, clips []int) (classes []int) {
	for _, batch := range batches(clips, 32) {
		logits := n.Forward(d.first(batch), nil)
		for k := range batch {
			classes = append(classes, Argmax(logits[k*d.Classes:][:d.Classes]))
		}
	}
	return classes
}
