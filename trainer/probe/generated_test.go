package probe

import (
	"math"
	"testing"

	"magvit/trainer/data"
)

// measured are the clips of a synthetic set; class tells the label that clip i is given.
func measured(t *testing.T, clips int, seed uint64, class func(i, label int) int) (p Paths, first Example) {
	t.Helper()
	set, err := data.Synth(data.SynthConfig{Clips: clips, Seed: seed, Size: 32, Frames: 12})
	if err != nil {
		t.Fatal(err)
	}
	for i := range clips {
		c, err := set.Read(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		e := Example{Video: c.Video, T: c.T, H: c.H, W: c.W, C: c.C, Label: class(i, c.Label)}
		if err := p.Add(e); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = e
		}
	}
	return p, first
}

// Real clips of another seed are of their classes, as like the fitted ones as held-out clips
// and new; with labels that mean nothing they are at chance, and copies are found.
func TestJudgeGenerated(t *testing.T) {
	own := func(_, label int) int { return label }
	classes := []string{"linear", "circular", "helical", "parabolic"}
	trained, _ := measured(t, 160, 1, own)
	held, _ := measured(t, 80, 2, own)
	same := func(p Paths) Reconstructed { return Reconstructed{p, p} }
	judge := func(generated Paths) Generated {
		g, err := JudgeGenerated(t.Context(), classes, generated, same(trained), same(held), 1)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	real, _ := measured(t, 80, 3, own)
	g := judge(real)
	t.Logf("%+v", g)
	if g.Obeyed.Clips != 80 || g.Obeyed.Fraction < .7 || g.Real.Fraction < .7 || math.Abs(float64(g.Frechet-g.FrechetReal)) > float64(g.FrechetReal) || math.Abs(float64(g.Nearest/g.NearestReal-1)) > .3 {
		t.Errorf("real clips: %+v", g)
	}
	wrong, _ := measured(t, 80, 3, func(i, _ int) int { return i % 4 })
	if g := judge(wrong); g.Obeyed.Low > .25 || g.Obeyed.High < .25 {
		t.Errorf("classes that mean nothing are found in %+v", g.Obeyed)
	}
	if g := judge(trained); g.Nearest != 0 || g.Frechet > 1e-3 {
		t.Errorf("copies: nearest %v, Fréchet distance %v", g.Nearest, g.Frechet)
	}
	if _, err := JudgeGenerated(t.Context(), classes, Paths{}, same(trained), same(held), 1); err == nil {
		t.Error("no clips are judged")
	}
	if g := judge(held); g.Original != g.Real || g.Obeyed != g.Real {
		t.Errorf("the same clips as originals, decoded and generated: %+v, %+v, %+v", g.Original, g.Real, g.Obeyed)
	}
	lost := same(held)
	lost.Decoded.labels = wrong.labels
	if g, err := JudgeGenerated(t.Context(), classes, real, same(trained), lost, 1); err != nil || g.Original.Fraction < .7 || g.Real.Low > .25 {
		t.Errorf("a tokenizer that loses the class: originals %+v, decoded %+v, error %v", g.Original, g.Real, err)
	}
}

// The true clip is predicted without error; the last frame held is constant position.
func TestPredicted(t *testing.T) {
	_, truth := measured(t, 4, 1, func(_, label int) int { return label })
	const seen = 8
	held := truth
	held.Video = append([]float32(nil), truth.Video...)
	size := truth.H * truth.W * truth.C
	for f := seen; f < truth.T; f++ {
		copy(held.Video[f*size:(f+1)*size], truth.Video[(seen-1)*size:seen*size])
	}
	var p, q Predicted
	p.Add(truth, truth, seen)
	p.Means([]string{"linear", "circular", "helical", "parabolic"})
	if p.Error != 0 || !(p.ConstantPosition > 0) || p.Horizon != 4 || p.Clips != 1 {
		t.Errorf("the truth: %+v", p)
	}
	q.Add(truth, held, seen)
	q.Means(nil)
	if len(p.PerClass) != 1 || p.PerClass[0].Clips != 1 || p.PerClass[0].Error != 0 || p.PerClass[0].ConstantPosition != p.ConstantPosition || len(q.PerClass) != 0 {
		t.Errorf("of the one clip's class: %+v", p.PerClass)
	}
	if q.Error != q.ConstantPosition || q.PSNR != q.LastFramePSNR || q.ConstantVelocity != p.ConstantVelocity {
		t.Errorf("the last frame held: %+v", q)
	}
}

// Faint errors of a decoder far from the object hardly move the path that is measured.
func TestDecodedPathIgnoresFaintErrors(t *testing.T) {
	_, e := measured(t, 1, 1, func(_, label int) int { return label })
	is, decoded := track(e), e
	decoded.Video = append([]float32(nil), e.Video...)
	for f := range e.T {
		for i := range 4 { // a quarter of the dot's pixels, at .7 of white
			for k := range e.C {
				decoded.Video[(f*e.H*e.W+i)*e.C+k] = .7
			}
		}
	}
	far := func(p path) (most float64) {
		for i := range p {
			most = max(most, float64(e.W)*math.Hypot(p[i][0]-is[i][0], p[i][1]-is[i][1]))
		}
		return most
	}
	if d := far(trackWeighted(e)); d > 1e-9 {
		t.Errorf("the original's path is measured %v pixels off", d)
	}
	if d, plain := far(trackWeighted(decoded)), far(track(decoded)); d > .5 || plain < 1.5 {
		t.Errorf("faint errors move the path by %v pixels, and by %v where all pixels count alike", d, plain)
	}
}
