package probe

import (
	"fmt"

	"magvit/trainer/metrics"
)

// Thresholds of the verdict. They are printed in the report.
const (
	AccuracyGood  = .9  // of the best head on codes, from which classes are called well told
	AboveGuessing = .1  // above the better of chance and majority, for the interval's lower bound: from there on they are told in part
	LossFair      = .03 // of accuracy against the best head on pixels, up to which codes are said to lose nothing
	ShortcutNear  = .05 // of accuracy: if trivial motion features come so near to codes, codes prove little
	ControlHigh   = .1  // above guessing, for the lower bound with shuffled labels: from there on the clips leak
	CollapsedAt   = 4.  // a perplexity of the codes below is called collapsed
	TwinsMany     = .5  // share of clips with another clip's codes, from which the codes are called collapsed
	RatioApart    = 1.1 // between/within distance from which the codes themselves are said to lie apart by class
)

// Finding is one sentence or more of the verdict.
type Finding struct {
	Level string `json:"level"` // "good", "fair", "poor" or "unknown"
	About string `json:"about"`
	Text  string `json:"text"`
}

func (r Result) guessing() metrics.Number { return max(r.Chance, r.Majority) }

// Collapsed says whether the codes can hardly tell anything from anything.
func (r Result) Collapsed() bool {
	g := r.Geometry
	return float64(g.Use.Perplexity) < CollapsedAt || float64(g.Twins) >= TwinsMany*float64(len(r.Geometry.Map.Labels))
}

func (r Result) verdict() (list []Finding) {
	list = append(list, r.classes(), r.collapse(), r.shortcut(), r.control(), r.apart())
	if n := len(r.Duplicates); n > 0 {
		other := 0
		for _, d := range r.Duplicates {
			if d.OtherLabel {
				other++
			}
		}
		f := Finding{"fair", "Duplicates", fmt.Sprintf("%d clips have exactly the pixels of another and were left out, so that none is on both sides of a split.", n)}
		if other > 0 {
			f.Level, f.Text = "poor", f.Text+fmt.Sprintf(" %d of them have another label than their twin: the labels contradict themselves.", other)
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
		f.Level, f.Text = "good", "The codes tell the classes."
	case codes.Low > r.guessing()+AboveGuessing:
		f.Level, f.Text = "fair", "The codes tell the classes in part."
	case pixels.Low > r.guessing()+AboveGuessing && lost > LossFair:
		f.Level, f.Text = "poor", "The codes do not tell the classes, though pixels do: the tokenizer loses what matters."
	case r.Track.Low > r.guessing()+AboveGuessing:
		f.Level, f.Text = "poor", "The codes do not tell the classes, and neither do pixels with the same heads, though the path of what moves does: these heads need more clips to find it, so the codes may hold more than is shown."
	default:
		f.Level, f.Text = "poor", "The codes do not tell the classes, and neither do pixels with the same heads: there may be too few clips, or the labels may not be visible."
	}
	f.Text += fmt.Sprintf(" The best head (%s) is right on %s of held-out clips (95 %%: %s to %s); guessing gives %s, pixels with their best head (%s) %s, the path of what moves %s.",
		codes.Head, percent(codes.Accuracy), (100 * codes.Low).Text(1), (100 * codes.High).Text(1), percent(r.guessing()),
		pixels.Head, percent(pixels.Accuracy), percent(r.Track.Accuracy))
	switch lost := pixels.Accuracy - codes.Accuracy; {
	case lost > LossFair:
		f.Text += fmt.Sprintf(" Against pixels %.1f points are lost.", 100*float64(lost))
	case f.Level != "poor" && lost > 0:
		f.Text += fmt.Sprintf(" Against pixels little is lost, %.1f points.", 100*float64(lost))
	case f.Level != "poor":
		f.Text += " Nothing is lost against pixels."
	}
	return f
}

func (r Result) collapse() Finding {
	g, u := r.Geometry, r.Geometry.Use
	clips := len(g.Map.Labels)
	f := Finding{Level: "good", About: "Codes", Text: "The codes have not collapsed."}
	if r.Collapsed() {
		f.Level, f.Text = "poor", "The codes have collapsed: they are nearly the same whatever is shown. Keep the norm before the quantizer (model.latent_norm: layer) or lower the learning rate; with LFQ, keep entropy_weight above 0 but small, and commitment_weight low; train again."
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
	f := Finding{"good", "Shortcuts", "Trivial looks at the motion do not tell the classes as the codes do."}
	if float64(best) >= float64(r.Codes[BestName].Accuracy)-ShortcutNear {
		f.Level, f.Text = "fair", "Trivial looks at the motion tell the classes nearly as well as the codes or better, so the accuracy does not show that codes carry its form."
		if float64(best) <= float64(r.guessing())+AboveGuessing {
			f.Text = "Neither codes nor trivial looks at the motion tell the classes."
		}
	}
	f.Text += fmt.Sprintf(" The best of them (%s) is right on %s.", inWords(name), percent(best))
	return f
}

func (r Result) control() Finding {
	s := r.Shuffled[BestName]
	f := Finding{"good", "Control", "With shuffled labels the heads only guess, as they must."}
	if float64(s.Low) > float64(r.guessing())+ControlHigh {
		f.Level, f.Text = "poor", "With shuffled labels the heads do better than guessing: something leaks from the clips fitted on to those tested, so no number here can be trusted."
	}
	f.Text += fmt.Sprintf(" They are right on %s (%s to %s).", percent(s.Accuracy), (100 * s.Low).Text(1), (100 * s.High).Text(1))
	return f
}

func (r Result) apart() Finding {
	g := r.Geometry
	f := Finding{Level: "fair", About: "Distances"}
	switch {
	case !g.Codes.Ratio.Finite():
		f.Level, f.Text = "poor", "All clips have the same codes, so there are no distances between them."
		return f
	case float64(g.Codes.Ratio) >= RatioApart:
		f.Level, f.Text = "good", "Codes of the same class lie together."
	default:
		f.Text = "Codes as they are do not lie apart by class: a classifier has to find what tells them."
	}
	f.Text += fmt.Sprintf(" The ratio of distances between and within classes is %s (pixels: %s).", g.Codes.Ratio.Text(3), g.Pixels.Ratio.Text(3))
	i := g.Information
	says := "more than chance"
	if i.Bits <= i.ShuffledHigh {
		says = "no more than chance"
	}
	f.Text += fmt.Sprintf(" A single code, its place unknown, tells %s bits of the label's %s, %s (shuffled labels: %s, at most %s).",
		i.Bits.Text(4), i.Most.Text(2), says, i.Shuffled.Text(4), i.ShuffledHigh.Text(4))
	return f
}

// inWords is a name of Shortcuts for people.
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
