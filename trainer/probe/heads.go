package probe

import (
	"context"

	"magvit/kernels/philox"
)

// HeadNames lists the classifiers.
//
//   - linear: softmax regression on the features with their positions
//   - mlp: one hidden layer on the same
//   - conv: a convolution and soft arg-maxes over space, then a layer over time, all
//     fitted on labels
//   - path: one hidden layer on the path of what moves, as a locator finds it
//   - form: the same on the path's form, whatever its place, size, direction, side
//     and speed
//   - pooled: softmax regression on each channel's mean and deviation, no positions
//   - centroid: the class with the nearest mean
//   - nearest: the class of the nearest clip
//
// linear, mlp, centroid and nearest see up to 256 principal components.
var HeadNames = []string{"linear", "mlp", "conv", "path", "form", "pooled", "centroid", "nearest"}

// BestName is the name under which the best head's score stands.
const BestName = "best"

var (
	linearRecipe = recipe{steps: 600, batch: 64, lr: .01, decay: .1, check: 20, patience: 6}
	mlpRecipe    = recipe{steps: 1000, batch: 32, lr: .003, decay: .1, check: 25, patience: 8}
	convRecipe   = recipe{steps: 600, batch: 16, lr: .004, decay: .01, check: 50, patience: 8}
	pathRecipe   = recipe{steps: 1500, batch: 64, lr: .003, decay: .1, check: 25, patience: 12}
)

const mlpHidden = 64

// trial is what heads are fitted on and tested with in one split.
type trial struct {
	name           string // of the features, for the random stream
	f              Field
	labels         []int
	classes, views int
	s              split
	rep            int
	seed           uint64
	steps          int    // most of a fit; 0: as the recipe says
	space          bool   // whether the conv and the pooled head make sense
	paths          []path // of the examples; nil: without the path and the form head
}

// outcome is what a head guessed.
type outcome struct{ stop, test []int }

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
	descend := func(name string, n network, rc recipe, example examples) error {
		if t.steps > 0 {
			rc.steps = min(rc.steps, t.steps)
		}
		err := fit(ctx, n, rc, t.s.fit, t.labels, t.views, example, t.s.stop, t.classes, stream(name+" fit"))
		out[name] = outcome{predict(n, t.s.stop, t.views, t.classes, example), predict(n, t.s.test, t.views, t.classes, example)}
		return err
	}
	if err := descend("linear", newPerceptron(v.dim, 0, t.classes, 0, stream("linear")), linearRecipe, asItIs(v.row)); err != nil {
		return nil, err
	}
	if err := descend("mlp", newPerceptron(v.dim, mlpHidden, t.classes, .3, stream("mlp")), mlpRecipe, asItIs(v.row)); err != nil {
		return nil, err
	}
	near := func(clips []int) []int { return nearest(v, t.s.fit, t.labels, t.views, clips) }
	mean := func(clips []int) []int { return centroids(v, t.s.fit, t.labels, t.views, t.classes, clips) }
	out["nearest"] = outcome{near(t.s.stop), near(t.s.test)}
	out["centroid"] = outcome{mean(t.s.stop), mean(t.s.test)}
	if t.paths != nil {
		if err := t.follow(descend, stream); err != nil {
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
	if err := descend("pooled", newPerceptron(v.dim, 0, t.classes, 0, stream("pooled")), linearRecipe, asItIs(v.row)); err != nil {
		return nil, err
	}
	c := channelwise(t.f, t.s.fit, t.views)
	return out, descend("conv", newEyes(c, t.classes, stream("conv")), convRecipe, asItIs(c.row))
}

// follow fits the heads on paths.
func (t trial) follow(descend func(string, network, recipe, examples) error, stream func(string) *philox.Stream) error {
	for _, h := range []struct {
		name    string
		feature func(path) []float32
		vary    func(path, *philox.Stream) path
	}{{"path", path.pose, path.shaken}, {"form", path.form, path.varied}} {
		example := func(i int, r *philox.Stream) []float32 {
			p := t.paths[i]
			if r != nil {
				p = h.vary(p, r)
			}
			return h.feature(p)
		}
		in := len(h.feature(t.paths[0]))
		if err := descend(h.name, newPerceptron(in, mlpHidden, t.classes, 0, stream(h.name)), pathRecipe, example); err != nil {
			return err
		}
	}
	return nil
}
