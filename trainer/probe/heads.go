package probe

import (
	"context"

	"magvit/kernels/philox"
	"magvit/trainer/probe/nn"
)

// HeadNames lists the classifiers.
//
//   - linear: softmax regression on the features with their positions
//   - mlp: one hidden layer on the same
//   - conv: a convolution and soft arg-maxes over space, then a layer over time, all
//     fitted on labels
//   - path: one hidden layer on the path of the moving object, as a locator finds it
//   - form: the same on the path's form, independent of position, size, direction,
//     mirroring and speed
//   - pooled: softmax regression on each channel's mean and deviation, no positions
//   - centroid: the class with the nearest mean
//   - nearest: the class of the nearest clip
//
// linear, mlp, centroid and nearest get up to 256 principal components.
var HeadNames = []string{"linear", "mlp", "conv", "path", "form", "pooled", "centroid", "nearest"}

// BestName is the key of the best head's score.
const BestName = "best"

// The recipes were chosen on data of one seed and are reported on another.
var (
	linearRecipe = nn.Recipe{Steps: 600, Batch: 64, LR: .01, Decay: .1, EvalEvery: 20, Patience: 6}
	mlpRecipe    = nn.Recipe{Steps: 1000, Batch: 32, LR: .003, Decay: .1, EvalEvery: 25, Patience: 8}
	convRecipe   = nn.Recipe{Steps: 600, Batch: 16, LR: .004, Decay: .01, EvalEvery: 50, Patience: 8}
	pathRecipe   = nn.Recipe{Steps: 1500, Batch: 64, LR: .003, Decay: .1, EvalEvery: 25, Patience: 12}
)

const mlpHidden = 64

// unaugmented gives rows as they are, in training too.
func unaugmented(row func(int) []float32) nn.Examples {
	return func(i int, _ *philox.Stream) []float32 { return row(i) }
}

// trial is what heads are fitted on and tested with in one split.
type trial struct {
	name           string // of the features, for the random stream
	f              Field
	labels         []int
	classes, views int
	s              split
	rep            int
	seed           uint64
	steps          int    // upper bound of a fit's steps; 0: the recipe's
	space          bool   // whether the features have positions: the conv and pooled heads need them
	paths          []path // of the examples; nil: without the path and form heads
}

// outcome is the predicted classes of the clips for early stopping and of those tested.
type outcome struct{ stop, test []int }

// headFit fits a network on examples and records its outcome under a head's name.
type headFit func(name string, n nn.Network, rc nn.Recipe, example nn.Examples) error

// run fits the heads that apply. The result is the same for every number of workers.
func (t trial) run(ctx context.Context) (map[string]outcome, error) {
	stream := func(purpose string) *philox.Stream {
		return philox.New(t.seed, "probe "+t.name+" "+purpose, uint64(t.rep), 0)
	}
	v, err := project(t.f, t.s.fit, t.views, stream("components"))
	if err != nil {
		return nil, err
	}
	out := map[string]outcome{}
	fit := func(name string, n nn.Network, rc nn.Recipe, example nn.Examples) error {
		d := nn.Data{Example: example, Labels: t.labels, Classes: t.classes, Views: t.views, Fit: t.s.fit, Stop: t.s.stop}
		err := nn.Fit(ctx, n, rc.AtMost(t.steps), d, stream(name+" fit"))
		out[name] = outcome{nn.Predict(n, d, t.s.stop), nn.Predict(n, d, t.s.test)}
		return err
	}
	if err := fit("linear", nn.NewPerceptron(v.dim, 0, t.classes, 0, stream("linear")), linearRecipe, unaugmented(v.row)); err != nil {
		return nil, err
	}
	if err := fit("mlp", nn.NewPerceptron(v.dim, mlpHidden, t.classes, .3, stream("mlp")), mlpRecipe, unaugmented(v.row)); err != nil {
		return nil, err
	}
	near := func(clips []int) []int { return nearest(v, t.s.fit, t.labels, t.views, clips) }
	mean := func(clips []int) []int { return centroids(v, t.s.fit, t.labels, t.views, t.classes, clips) }
	out["nearest"] = outcome{near(t.s.stop), near(t.s.test)}
	out["centroid"] = outcome{mean(t.s.stop), mean(t.s.test)}
	if t.paths != nil {
		if err := t.fitPathHeads(fit, stream); err != nil {
			return nil, err
		}
	}
	if !t.space {
		return out, ctx.Err()
	}
	p := pooled(t.f)
	if v, err = project(p, t.s.fit, t.views, stream("pooled components")); err != nil {
		return nil, err
	}
	if err := fit("pooled", nn.NewPerceptron(v.dim, 0, t.classes, 0, stream("pooled")), linearRecipe, unaugmented(v.row)); err != nil {
		return nil, err
	}
	c := channelwise(t.f, t.s.fit, t.views)
	return out, fit("conv", nn.NewAttentionPool(nn.Shape{T: c.T, H: c.H, W: c.W, C: c.C}, t.classes, stream("conv")), convRecipe, unaugmented(c.row))
}

// fitPathHeads fits the heads on paths.
func (t trial) fitPathHeads(fit headFit, stream func(string) *philox.Stream) error {
	for _, h := range []struct {
		name     string
		features func(path) []float32
		augment  func(path, *philox.Stream) path
	}{{"path", path.pose, path.jittered}, {"form", path.form, path.augmented}} {
		example := func(i int, r *philox.Stream) []float32 {
			p := t.paths[i]
			if r != nil {
				p = h.augment(p, r)
			}
			return h.features(p)
		}
		in := len(h.features(t.paths[0]))
		if err := fit(h.name, nn.NewPerceptron(in, mlpHidden, t.classes, 0, stream(h.name)), pathRecipe, example); err != nil {
			return err
		}
	}
	return nil
}
