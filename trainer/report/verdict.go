package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"magvit/trainer/metrics"
)

// Thresholds of the verdict. The report prints them.
const (
	GainGood      = 12. // dB above the best trivial baseline from which a reconstruction is good
	GainFair      = 3.  // dB from which it is fair
	GainPerBit    = 6.  // dB by which both rise for each bit a pixel, as the error of any good code falls
	UsedGood      = .10 // fraction of the reachable codes from which their use is good
	FellBehind    = 1.  // dB below its own best evaluation from which the last one is worse
	StillRising   = .5  // dB gained over the last quarter of the steps from which longer training is advised
	WaitingTooBig = .20 // fraction of the time spent waiting for data that is worth a remark
)

// Finding is one sentence or two of the verdict.
type Finding struct {
	Level string // "good", "fair", "poor" or "unknown"
	About string
	Text  string
}

// verdict judges the last evaluation and the course of the training.
func verdict(steps []metrics.StepRecord, evals []metrics.EvalRecord) []Finding {
	var list []Finding
	if len(evals) == 0 {
		list = append(list, Finding{"unknown", "Reconstruction", "There is no evaluation yet, so nothing is known about held-out clips."})
	} else {
		last := evals[len(evals)-1]
		list = append(list, reconstruction(last.Val), codeUse(last.Val))
		if f, ok := trend(evals); ok {
			list = append(list, f)
		}
	}
	skipped, waiting, n := 0, 0., 0.
	for _, s := range steps {
		skipped += s.Skipped
		if s.Waiting.Finite() {
			waiting += float64(s.Waiting)
			n++
		}
	}
	if skipped > 0 {
		list = append(list, Finding{"fair", "Stability", fmt.Sprintf("%d steps were skipped because the loss or a gradient was not finite. A lower learning rate usually cures this.", skipped)})
	}
	if problem, advice := metrics.JudgeAdversary(steps); problem != "" {
		list = append(list, Finding{"poor", "Adversarial training", fmt.Sprintf("At the end %s. Remedies: %s.", problem, advice)})
	} else if slices.ContainsFunc(steps, metrics.StepRecord.Adversarial) {
		list = append(list, Finding{"good", "Adversarial training", "Neither side has won, and the tokenizer follows the discriminator."})
	}
	if n > 0 && waiting/n > WaitingTooBig {
		list = append(list, Finding{"fair", "Speed", fmt.Sprintf("Training waited for data during %.0f %% of the time: the reader, not the network, sets the speed.", 100*waiting/n)})
	}
	return list
}

// foregroundGain is the PSNR over the foreground, or over whole frames where there is none, with the best trivial baseline
// and the difference to it.
func foregroundGain(r metrics.Report) (where string, value, best metrics.Number, name string) {
	where, of := "of the foreground", func(s metrics.Scores) metrics.Number { return s.ForegroundPSNR }
	if value = r.ForegroundPSNR; !value.Finite() {
		where, value, of = "of whole frames", r.PSNR, func(s metrics.Scores) metrics.Number { return s.PSNR }
	}
	name, best = r.BestBaseline(of)
	return where, value, best, name
}

// rate is the bits a pixel of a report, 0 where it does not say.
func rate(r metrics.Report) float64 {
	if r.BitsPerPixel.Finite() {
		return float64(r.BitsPerPixel)
	}
	return 0
}

// reconstruction compares with the best trivial baseline, at the rate of the codes.
func reconstruction(r metrics.Report) Finding {
	where, value, best, name := foregroundGain(r)
	if name == "" || !value.Finite() {
		return Finding{"unknown", "Reconstruction", "The last evaluation has no clips or no baselines to compare with."}
	}
	gain, extra := float64(value-best), GainPerBit*rate(r)
	f := Finding{About: "Reconstruction"}
	switch {
	case gain >= GainGood+extra:
		f.Level, f.Text = "good", "Held-out clips are reconstructed well."
	case gain >= GainFair+extra:
		f.Level, f.Text = "fair", "Held-out clips are reconstructed in part: better than any trivial baseline, but not well."
	case gain > 0:
		f.Level, f.Text = "poor", "Held-out clips are reconstructed hardly better than a trivial baseline."
	default:
		f.Level, f.Text = "poor", "Held-out clips are reconstructed no better than a trivial baseline."
	}
	f.Text += fmt.Sprintf(" The PSNR %s is %s dB, %+.1f dB relative to the best trivial baseline (%s: %s dB).", where, value.Text(1), gain, inWords(name), best.Text(1))
	if where != "of whole frames" {
		f.Text += fmt.Sprintf(" The PSNR of whole frames is %s dB.", r.PSNR.Text(1))
	}
	if extra > 0 {
		f.Text += fmt.Sprintf(" At %s bits a pixel, good means %+.1f dB and fair %+.1f dB.", r.BitsPerPixel.Text(3), GainGood+extra, GainFair+extra)
	}
	return f
}

// codeUse judges the histogram of the codes; codes that carry nothing are not good, however evenly they are used.
func codeUse(r metrics.Report) Finding {
	f, c := Finding{About: "Codes"}, r.Codes
	if c.Count == 0 {
		return Finding{"unknown", "Codes", "The last evaluation counted no codes."}
	}
	reach := c.Reachable()
	_, value, best, name := foregroundGain(r)
	switch {
	case c.Collapsed():
		f.Level, f.Text = "poor", "The codebook has collapsed: the codes are nearly the same for every clip and position."
	case name != "" && !(value > best):
		f.Level, f.Text = "poor", fmt.Sprintf("Many codes are used, but they do not carry the clips: the reconstruction is no better than %s.", inWords(name))
	case float64(c.Used) < UsedGood*float64(reach) || c.DeadBits > 0:
		f.Level, f.Text = "fair", "Part of the codebook is unused."
	case name != "" && float64(value-best) < GainFair:
		f.Level, f.Text = "fair", fmt.Sprintf("Many codes are used, but they carry little: the reconstruction is hardly better than %s.", inWords(name))
	default:
		f.Level, f.Text = "good", "The codebook is in use."
	}
	f.Text += fmt.Sprintf(" %s different codes of %s that could occur, perplexity %s", metrics.Grouped(c.Used), metrics.Grouped(reach), c.Perplexity.Text(1))
	switch {
	case c.DigitName() == "":
		f.Text += "."
	case c.DeadBits == 0:
		f.Text += fmt.Sprintf("; none of the %s is dead.", digits(c))
	default:
		f.Text += fmt.Sprintf("; %d of the %s never change.", c.DeadBits, digits(c))
	}
	return f
}

// digits names the digits of a code.
func digits(c metrics.Codes) string {
	return fmt.Sprintf("%d %s", c.Digits, cmp.Or(c.DigitName(), "digit"))
}

// trend compares the last evaluation with the best and with the one before the last quarter.
func trend(evals []metrics.EvalRecord) (Finding, bool) {
	last := evals[len(evals)-1]
	if len(evals) < 3 || !last.Val.PSNR.Finite() {
		return Finding{}, false
	}
	best, before := last, evals[0]
	for _, e := range evals {
		if e.Val.PSNR > best.Val.PSNR {
			best = e
		}
		if 4*e.Step <= 3*last.Step {
			before = e
		}
	}
	gain := float64(last.Val.PSNR - before.Val.PSNR)
	f := Finding{"good", "Learning", fmt.Sprintf("Levelled off: %+.1f dB PSNR since step %d.", gain, before.Step)}
	switch {
	case float64(best.Val.PSNR-last.Val.PSNR) >= FellBehind:
		f.Level, f.Text = "fair", fmt.Sprintf("The best evaluation was at step %d (%s dB); the last one is %s dB below it. Use checkpoints/best.",
			best.Step, best.Val.PSNR.Text(1), (best.Val.PSNR-last.Val.PSNR).Text(1))
	case gain >= StillRising:
		f.Text = fmt.Sprintf("Still improving: %+.1f dB PSNR since step %d. Longer training should help.", gain, before.Step)
	}
	if where, value, trivial, name := foregroundGain(last.Val); name != "" && !(value > trivial) {
		f.Level = "poor"
		if gain >= StillRising && float64(best.Val.PSNR-last.Val.PSNR) < FellBehind {
			f.Level = "fair"
		}
		f.Text += fmt.Sprintf(" The PSNR %s is still below that of %s.", where, inWords(name))
	}
	return f, true
}

// inWords explains the name of a baseline.
func inWords(name string) string {
	switch name {
	case "white":
		return "an all-white frame"
	case "mean_frame":
		return "the mean training frame"
	case "first_frame":
		return "the first frame repeated"
	case "previous_frame":
		return "the frame before"
	}
	return strings.ReplaceAll(name, "_", " ")
}
