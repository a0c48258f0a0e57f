package probe

import (
	"fmt"

	"magvit/trainer/metrics"
)

// Thresholds of the verdict. The report prints them.
const (
	AccuracyGood  = .9  // of the best head on codes: the classes can be recognized
	AboveGuessing = .1  // above the better of chance and majority, for the interval's lower bound: they can in part
	LossFair      = .03 // of accuracy, relative to the best head on pixels: codes lose nothing up to this
	ShortcutNear  = .05 // of accuracy: the result proves little if trivial features are within this of codes
	ControlHigh   = .1  // above guessing, for the lower bound with shuffled labels: clips leak between the sets
	TwinsMany     = .5  // fraction of clips with another clip's codes from which the codes are collapsed
	RatioApart    = 1.1 // between/within distance from which the classes' codes are separated
)

// Finding is one sentence or more of the verdict.
type Finding struct {
	Level string `json:"level"` // "good", "fair", "poor" or "unknown"
	About string `json:"about"`
	Text  string `json:"text"`
}

func (r Result) guessing() metrics.Number { return max(r.Chance, r.Majority) }

// Collapsed reports whether the codes hardly depend on the clip.
func (r Result) Collapsed() bool {
	g := r.Geometry
	return g.Use.Collapsed() || float64(g.Twins) >= TwinsMany*float64(len(r.Geometry.Map.Labels))
}

func (r Result) verdict() (list []Finding) {
	list = append(list, r.classes(), r.collapse(), r.shortcut(), r.control(), r.distances())
	if n := len(r.Duplicates); n > 0 {
		other := 0
		for _, d := range r.Duplicates {
			if d.OtherLabel {
				other++
			}
		}
		f := Finding{"fair", "Duplicates", fmt.Sprintf("%d clips have exactly the pixels of another and were left out, so that none is fitted on and tested.", n)}
		if other > 0 {
			f.Level, f.Text = "poor", f.Text+fmt.Sprintf(" %d of them have another label than their duplicate: the labels contradict each other.", other)
		}
		list = append(list, f)
	}
	return list
}

func percent(n metrics.Number) string { return (100 * n).Text(1) + " %" }

func (r Result) classes() Finding {
	codes, pixels := r.Codes[BestName], r.Pixels[BestName]
	f := Finding{About: "Classes from codes"}
	switch lost := pixels.Accuracy - codes.Accuracy; {
	case codes.Accuracy >= AccuracyGood:
		f.Level, f.Text = "good", "The classes can be recognized from the codes."
	case codes.Low > r.guessing()+AboveGuessing:
		f.Level, f.Text = "fair", "The classes can in part be recognized from the codes."
	case pixels.Low > r.guessing()+AboveGuessing && lost > LossFair:
		f.Level, f.Text = "poor", "The classes cannot be recognized from the codes, but from pixels they can: the tokenizer loses what matters."
	case r.Track.Low > r.guessing()+AboveGuessing:
		f.Level, f.Text = "poor", "The classes can be recognized neither from the codes nor from pixels with the same heads, but from the path of the moving object they can: these heads need more clips to find it, so the codes may hold more than this shows."
	default:
		f.Level, f.Text = "poor", "The classes can be recognized neither from the codes nor from pixels with the same heads: there may be too few clips, or the labels may not be visible."
	}
	f.Text += fmt.Sprintf(" The best head (%s) classifies %s of held-out clips correctly (95 %%: %s to %s); guessing gives %s, pixels with their best head (%s) %s, the path of the moving object %s.",
		codes.Head, percent(codes.Accuracy), (100 * codes.Low).Text(1), (100 * codes.High).Text(1), percent(r.guessing()),
		pixels.Head, percent(pixels.Accuracy), percent(r.Track.Accuracy))
	switch lost := pixels.Accuracy - codes.Accuracy; {
	case lost > LossFair:
		f.Text += fmt.Sprintf(" That is %.1f points less than from pixels.", 100*float64(lost))
	case f.Level != "poor" && lost > 0:
		f.Text += fmt.Sprintf(" That is only %.1f points less than from pixels.", 100*float64(lost))
	case f.Level != "poor":
		f.Text += " That is no less than from pixels."
	}
	return f
}

func (r Result) collapse() Finding {
	g, u := r.Geometry, r.Geometry.Use
	clips := len(g.Map.Labels)
	f := Finding{Level: "good", About: "Codes", Text: "The codes have not collapsed."}
	if r.Collapsed() {
		f.Level, f.Text = "poor", "The codes have collapsed: they are nearly the same for every clip. Keep the norm before the quantizer (model.latent_norm: layer) or lower the learning rate; with LFQ, keep entropy_weight above 0 but small, and commitment_weight low; train again."
	} else if u.DeadBits > 0 || g.Twins > 0 {
		f.Level = "fair"
	}
	f.Text += fmt.Sprintf(" %d of %d codes are used (%s), with a perplexity of %s; %d of %d digits are dead; %d of %d clips have exactly the codes of another.",
		u.Used, u.Size, percent(u.UsedFraction), u.Perplexity.Text(1), u.DeadBits, u.Digits, g.Twins, clips)
	return f
}

func (r Result) shortcut() Finding {
	name, best := "", metrics.Number(-1)
	for _, s := range Shortcuts {
		if a := r.Motion[s].Accuracy; a > best {
			name, best = s, a
		}
	}
	f := Finding{"good", "Shortcuts", "Trivial features of the motion classify the clips less well than the codes."}
	if float64(best) >= float64(r.Codes[BestName].Accuracy)-ShortcutNear {
		f.Level, f.Text = "fair", "Trivial features of the motion classify the clips nearly as well as the codes or better, so the accuracy does not show that the codes hold its form."
		if float64(best) <= float64(r.guessing())+AboveGuessing {
			f.Text = "The classes can be recognized neither from the codes nor from trivial features of the motion."
		}
	}
	f.Text += fmt.Sprintf(" The best of them (%s) classifies %s correctly.", inWords(name), percent(best))
	return f
}

func (r Result) control() Finding {
	s := r.Shuffled[BestName]
	f := Finding{"good", "Control", "With shuffled labels the heads are no better than guessing, as it must be."}
	if float64(s.Low) > float64(r.guessing())+ControlHigh {
		f.Level, f.Text = "poor", "With shuffled labels the heads do better than guessing: the clips tested are not independent of those fitted on, so no number here can be trusted."
	}
	f.Text += fmt.Sprintf(" They classify %s correctly (%s to %s).", percent(s.Accuracy), (100 * s.Low).Text(1), (100 * s.High).Text(1))
	return f
}

func (r Result) distances() Finding {
	g := r.Geometry
	f := Finding{Level: "fair", About: "Distances"}
	switch {
	case !g.Codes.Ratio.Finite():
		f.Level, f.Text = "poor", "All clips have the same codes, so there are no distances between them."
		return f
	case float64(g.Codes.Ratio) >= RatioApart:
		f.Level, f.Text = "good", "Codes of one class are nearer to each other than to those of other classes."
	default:
		f.Text = "Distances between codes do not separate the classes: it takes a classifier to find the difference."
	}
	f.Text += fmt.Sprintf(" The ratio of distances between and within classes is %s (pixels: %s).", g.Codes.Ratio.Text(3), g.Pixels.Ratio.Text(3))
	i := g.Information
	verdict := "more than chance"
	if i.Bits <= i.ShuffledHigh {
		verdict = "no more than chance"
	}
	f.Text += fmt.Sprintf(" A single code without its position carries %s of the label's %s bits, %s (shuffled labels: %s, at most %s).",
		i.Bits.Text(4), i.Most.Text(2), verdict, i.Shuffled.Text(4), i.ShuffledHigh.Text(4))
	return f
}

// inWords is the display name of one of Shortcuts.
func inWords(name string) string {
	switch name {
	case "mean_speed":
		return "mean speed"
	case "sorted_speeds":
		return "sorted speeds"
	case "positions":
		return "histogram of positions"
	case "all":
		return "all of them together"
	}
	return name
}
