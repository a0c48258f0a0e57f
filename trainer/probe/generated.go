package probe

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"

	"magvit/kernels/philox"
	"magvit/trainer/metrics"
	"magvit/trainer/probe/nn"
	"magvit/trainer/quality"
	"magvit/trainer/usage"
)

// Generated is how generated clips compare with real ones. The classifier is the form head,
// on paths that are measured by the foreground of the clips. It is fitted on the original
// pixels of most of the real clips, and tested on the others, as they are and as the
// tokenizer decodes them, and on the generated ones.
type Generated struct {
	Classes   []string       `json:"classes"`
	Fitted    int            `json:"fitted"` // real clips that the classifier is fitted on
	Obeyed    Hits           `json:"class_obeyed"`
	Real      Hits           `json:"held_out_real_clips"` // through the tokenizer
	Original  Hits           `json:"held_out_originals"`  // the same clips as they are
	Chance    metrics.Number `json:"chance"`
	PerClass  []Hits         `json:"class_obeyed_per_class"`
	Confusion [][]int        `json:"confusion"` // [class asked for][class found] generated clips

	// Fréchet distances of the paths' places, sizes and shapes from those of the fitted
	// clips, all through the tokenizer; the second is that of the held-out real ones, what
	// as good clips have.
	Frechet     metrics.Number `json:"frechet"`
	FrechetReal metrics.Number `json:"frechet_of_held_out_real_clips"`

	// Medians of the distance to the nearest path of a fitted clip, or of a mirror image of
	// one: the root mean square over the frames, in sides of a frame. A generator that repeats
	// what it was trained on is much nearer than held-out clips are.
	Nearest     metrics.Number `json:"nearest"`
	NearestReal metrics.Number `json:"nearest_of_held_out_real_clips"`
}

// Hits is a fraction of clips, with its 95 % interval (Wilson 1927).
type Hits struct {
	Correct  int            `json:"correct"`
	Clips    int            `json:"clips"`
	Fraction metrics.Number `json:"fraction"`
	Low      metrics.Number `json:"low"`
	High     metrics.Number `json:"high"`
}

func hits(correct, clips int) Hits {
	h := Hits{Correct: correct, Clips: clips, Fraction: metrics.Number(float64(correct) / float64(clips))}
	h.Low, h.High = metrics.Wilson(correct, clips)
	return h
}

// Paths are the measured paths of labelled clips.
type Paths struct {
	paths  []path
	labels []int
}

// Add measures a clip [T,H,W,C]. Clips of one comparison have one number of frames.
func (p *Paths) Add(e Example) error {
	if len(p.paths) > 0 && len(p.paths[0]) != e.T {
		return usage.Errorf("clip %s has %d frames, another %d; want one length", e.Name, e.T, len(p.paths[0]))
	}
	if e.Label >= 0 {
		p.paths, p.labels = append(p.paths, trackWeighted(e)), append(p.labels, e.Label)
	}
	return nil
}

// Reconstructed are the paths of real clips, as they are and as the tokenizer decodes them.
type Reconstructed struct{ Originals, Decoded Paths }

// JudgeGenerated compares generated clips, labelled with the classes asked for, with real
// ones: those that the generator was trained on and others.
func JudgeGenerated(ctx context.Context, classes []string, generated Paths, trained, held Reconstructed, seed uint64) (g Generated, err error) {
	n := len(classes)
	for _, set := range []struct {
		name  string
		p     Paths
		least int
	}{{"generated", generated, 2}, {"training", trained.Originals, 2 * n}, {"decoded training", trained.Decoded, 2 * n}, {"held-out", held.Originals, 2}, {"decoded held-out", held.Decoded, 2}} {
		if len(set.p.paths) < set.least || n < 2 {
			return g, usage.Errorf("%d %s clips with labels, of %d classes: want %d or more clips, of two or more classes", len(set.p.paths), set.name, n, set.least)
		}
		if i := slices.IndexFunc(set.p.labels, func(l int) bool { return l >= n }); i >= 0 {
			return g, usage.Errorf("a %s clip of class %d; the real clips have %d", set.name, set.p.labels[i], n)
		}
		if a, b := len(set.p.paths[0]), len(trained.Originals.paths[0]); a != b {
			return g, usage.Errorf("%s clips of %d frames, training clips of %d; want one length", set.name, a, b)
		}
	}
	var all Paths
	for _, p := range []Paths{trained.Originals, held.Originals, held.Decoded, generated} {
		all.paths, all.labels = append(all.paths, p.paths...), append(all.labels, p.labels...)
	}
	stream := func(purpose string) *philox.Stream { return philox.New(seed, "generated "+purpose, 0, 0) }
	d := nn.Data{Labels: all.labels, Classes: n, Views: 1, Example: func(i int, r *philox.Stream) []float32 {
		p := all.paths[i]
		if r != nil {
			p = p.augmented(r)
		}
		return p.form()
	}}
	order := stream("stop").Perm(len(trained.Originals.paths))
	stop := max(len(order)/7, n)
	d.Stop, d.Fit = order[:stop], order[stop:]
	net := nn.NewPerceptron(2*formPoints, mlpHidden, n, 0, stream("weights"))
	if err := nn.Fit(ctx, net, pathRecipe, d, stream("fit")); err != nil {
		return g, err
	}
	g = Generated{Classes: classes, Fitted: len(trained.Originals.paths), Chance: metrics.Number(1 / float64(n))}
	from := len(trained.Originals.paths)
	score := func(p Paths) (h Hits, confusion [][]int) {
		for range n {
			confusion = append(confusion, make([]int, n))
		}
		clips, correct := make([]int, len(p.paths)), 0
		for i := range clips {
			clips[i] = from + i
		}
		for i, found := range nn.Predict(net, d, clips) {
			confusion[p.labels[i]][found]++
			if found == p.labels[i] {
				correct++
			}
		}
		from += len(clips)
		return hits(correct, len(clips)), confusion
	}
	g.Original, _ = score(held.Originals)
	g.Real, _ = score(held.Decoded)
	g.Obeyed, g.Confusion = score(generated)
	for c, row := range g.Confusion {
		total := 0
		for _, k := range row {
			total += k
		}
		g.PerClass = append(g.PerClass, hits(row[c], total))
	}
	for _, s := range []struct {
		of               []path
		frechet, nearest *metrics.Number
	}{{generated.paths, &g.Frechet, &g.Nearest}, {held.Decoded.paths, &g.FrechetReal, &g.NearestReal}} {
		f, err := quality.FrechetDistance(poses(s.of), poses(trained.Decoded.paths))
		if err != nil {
			return g, fmt.Errorf("Fréchet distance: %w", err)
		}
		*s.frechet, *s.nearest = metrics.Number(f), metrics.Number(medianNearest(s.of, trained.Decoded.paths))
	}
	return g, nil
}

func poses(paths []path) (list [][]float32) {
	for _, p := range paths {
		list = append(list, p.pose())
	}
	return list
}

// medianNearest is the median distance of paths from the nearest of others and of their
// eight mirror images.
func medianNearest(paths, others []path) float64 {
	var all []float64
	for _, p := range paths {
		least := math.Inf(1)
		for _, q := range others {
			for view := range 8 {
				sum := 0.
				for t := range p {
					x, y := q[t][0], q[t][1]
					if view&1 != 0 {
						x = 1 - x
					}
					if view&2 != 0 {
						y = 1 - y
					}
					if view&4 != 0 {
						x, y = y, x
					}
					sum += (p[t][0]-x)*(p[t][0]-x) + (p[t][1]-y)*(p[t][1]-y)
				}
				least = min(least, math.Sqrt(sum/float64(len(p))))
			}
		}
		all = append(all, least)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// WriteGenerated prints a Generated for a terminal.
func WriteGenerated(w io.Writer, g Generated) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fraction := func(h Hits) string {
		return fmt.Sprintf("%d of %d, %s %% (95 %%: %s to %s)", h.Correct, h.Clips, (100 * h.Fraction).Text(1), (100 * h.Low).Text(1), (100 * h.High).Text(1))
	}
	fmt.Fprintln(t, "\tgenerated clips\theld-out real clips, decoded\tas they are")
	fmt.Fprintf(t, "class found is the one asked for, chance %s %%\t%s\t%s\t%s\n", (100 * g.Chance).Text(1), fraction(g.Obeyed), fraction(g.Real), fraction(g.Original))
	fmt.Fprintf(t, "Fréchet distance of paths from training clips'\t%s\t%s\t\n", g.Frechet.Text(3), g.FrechetReal.Text(3))
	fmt.Fprintf(t, "median distance to the nearest training path\t%s\t%s\t\n\n", g.Nearest.Text(3), g.NearestReal.Text(3))
	fmt.Fprint(t, "asked for\t")
	for _, name := range g.Classes {
		fmt.Fprintf(t, "as %s\t", name)
	}
	fmt.Fprintln(t)
	for c, row := range g.Confusion {
		fmt.Fprintf(t, "%s\t", g.Classes[c])
		for _, n := range row {
			fmt.Fprintf(t, "%d\t", n)
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}
