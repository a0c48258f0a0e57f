package probe

import (
	"context"
	"math"

	"magvit/kernels/philox"
)

// network is a head that is fitted by gradient descent.
type network interface {
	layers() []*dense
	// forward gives logits [len(x),classes] of examples; r is the source of
	// dropout, nil when nothing is fitted.
	forward(x [][]float32, r *philox.Stream) []float32
	// backward adds to the layers' gradients; dlogits is of the last forward.
	backward(dlogits []float32)
}

// examples gives an example by its number: as it is, or, with a source of chance,
// as it might have been.
type examples func(i int, r *philox.Stream) []float32

// asItIs gives rows that nothing is changed of.
func asItIs(row func(int) []float32) examples {
	return func(i int, _ *philox.Stream) []float32 { return row(i) }
}

// recipe of a fit. Chosen on data of one seed, reported on another.
type recipe struct {
	steps, batch int
	lr, decay    float64
	check        int // steps between looks at the clips to stop by
	patience     int // looks without a better loss before it ends
}

// rate of a step: warm-up over the first 20, then a cosine to a twentieth.
func (rc recipe) rate(step int) float64 {
	return rc.lr * min(1, float64(step)/20) * (.05 + .95*(1+math.Cos(math.Pi*float64(step)/float64(rc.steps)))/2)
}

// fit trains on the examples of some clips and keeps the weights with the lowest
// loss on others: clip i has the examples view(i, 0..views-1).
func fit(ctx context.Context, n network, rc recipe, in []int, labels []int, views int, example examples, stop []int, classes int, r *philox.Stream) error {
	best, waited := math.Inf(1), 0
	var kept [][]float32
	look := func() {
		loss := 0.
		for _, part := range parts(stop, rc.batch) {
			x, y := gather(part, labels, views, example)
			loss += crossEntropy(n.forward(x, nil), y, classes)
		}
		if waited++; loss < best {
			best, waited, kept = loss, 0, kept[:0]
			for _, l := range n.layers() {
				kept = append(kept, append([]float32(nil), l.w.v...), append([]float32(nil), l.b.v...))
			}
		}
	}
	look()
	var order []int
	x, y := make([][]float32, min(rc.batch, len(in))), make([]int, min(rc.batch, len(in)))
	for step := 1; step <= rc.steps && waited <= rc.patience; step++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		for k := range x {
			if len(order) == 0 {
				order = r.Perm(len(in))
			}
			clip := in[order[0]]
			order = order[1:]
			x[k], y[k] = example(clip*views+r.IntN(views), r), labels[clip]
		}
		logits := n.forward(x, r)
		crossEntropy(logits, y, classes)
		n.backward(logits)
		adam(n.layers(), step, rc.rate(step), rc.decay)
		if step%rc.check == 0 || step == rc.steps {
			look()
		}
	}
	for i, l := range n.layers() {
		copy(l.w.v, kept[2*i])
		copy(l.b.v, kept[2*i+1])
	}
	return nil
}

// gather takes the first view of clips.
func gather(clips, labels []int, views int, example examples) (x [][]float32, y []int) {
	for _, c := range clips {
		x, y = append(x, example(c*views, nil)), append(y, labels[c])
	}
	return x, y
}

func parts(list []int, n int) (out [][]int) {
	for len(list) > n {
		out, list = append(out, list[:n]), list[n:]
	}
	return append(out, list)
}

// predict gives the most likely class of each clip.
func predict(n network, clips []int, views, classes int, example examples) (guess []int) {
	for _, part := range parts(clips, 32) {
		var x [][]float32
		for _, c := range part {
			x = append(x, example(c*views, nil))
		}
		logits := n.forward(x, nil)
		for k := range x {
			guess = append(guess, argmax(logits[k*classes:][:classes]))
		}
	}
	return guess
}

func argmax(v []float32) (best int) {
	for i := range v {
		if v[i] > v[best] {
			best = i
		}
	}
	return best
}
