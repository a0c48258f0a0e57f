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
	judge := func(generated Paths) Generated {
		g, err := JudgeGenerated(t.Context(), classes, generated, trained, held, 1)
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
	if _, err := JudgeGenerated(t.Context(), classes, Paths{}, trained, held, 1); err == nil {
		t.Error("no clips are judged")
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
	p.Means()
	if p.Error != 0 || !(p.ConstantPosition > 0) || p.Horizon != 4 || p.Clips != 1 {
		t.Errorf("the truth: %+v", p)
	}
	q.Add(truth, held, seen)
	q.Means()
	if q.Error != q.ConstantPosition || q.PSNR != q.LastFramePSNR || q.ConstantVelocity != p.ConstantVelocity {
		t.Errorf("the last frame held: %+v", q)
	}
}
