package report

import (
	"fmt"
	"strings"

	"magvit/trainer/metrics"
)

// Thresholds of the verdict. They are printed in the report.
const (
	GainGood      = 12. // dB above the best trivial baseline from which a reconstruction is called good
	GainFair      = 3.  // dB from which it is called partly learnt
	CollapsedAt   = 4.  // a perplexity below is called collapsed
	UsedGood      = .10 // share of the reachable codes from which their use is called good
	FellBehind    = 1.  // dB below its own best evaluation from which the last one is called worse
	StillRising   = .5  // dB gained over the last quarter of the steps from which longer training is advised
	WaitingTooBig = .20 // share of the time spent waiting for data that is worth a remark
)

// Finding is one sentence or two of the verdict.
type Finding struct {
	Level string // "good", "fair", "poor" or "unknown"
	About string
	Text  string
}

// verdict says in plain words what the last evaluation means.
func verdict(steps []metrics.StepRecord, evals []metrics.EvalRecord) []Finding {
	var list []Finding
	if len(evals) == 0 {
		list = append(list, Finding{"unknown", "Reconstruction", "There is no evaluation yet, so nothing is known about held-out clips."})
	} else {
		last := evals[len(evals)-1]
		list = append(list, reconstruction(last.Val), codeUse(last.Val.Codes))
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
	if n > 0 && waiting/n > WaitingTooBig {
		list = append(list, Finding{"fair", "Speed", fmt.Sprintf("Training waited for data during %.0f %% of the time: the reader, not the network, sets the speed.", 100*waiting/n)})
	}
	return list
}

// reconstruction compares with the best trivial baseline, on the foreground where there is one.
func reconstruction(r metrics.Report) Finding {
	on, value, of := "overall", r.PSNR, func(s metrics.Scores) metrics.Number { return s.PSNR }
	if r.ForegroundPSNR.Finite() {
		on, value, of = "on what moves", r.ForegroundPSNR, func(s metrics.Scores) metrics.Number { return s.ForegroundPSNR }
	}
	name, best := r.BestBaseline(of)
	if name == "" || !value.Finite() {
		return Finding{"unknown", "Reconstruction", "The last evaluation holds no clips or no baselines to compare with."}
	}
	gain := float64(value - best)
	f := Finding{About: "Reconstruction"}
	switch {
	case gain >= GainGood:
		f.Level, f.Text = "good", "Held-out clips come back well through the codes."
	case gain >= GainFair:
		f.Level, f.Text = "fair", "Held-out clips come back in part: better than any trivial guess, but not well."
	default:
		f.Level, f.Text = "poor", "Held-out clips do not come back: the result is hardly better than a trivial guess, or worse."
	}
	f.Text += fmt.Sprintf(" The PSNR %s is %s dB, %+.1f dB against the best trivial guess (%s: %s dB).", on, value.Text(1), gain, inWords(name), best.Text(1))
	if on != "overall" {
		f.Text += fmt.Sprintf(" Over whole frames it is %s dB.", r.PSNR.Text(1))
	}
	return f
}

func codeUse(c metrics.Codes) Finding {
	f := Finding{About: "Codes"}
	if c.Count == 0 {
		return Finding{"unknown", "Codes", "The last evaluation counted no codes."}
	}
	reach := c.Reachable()
	switch {
	case float64(c.Perplexity) < CollapsedAt:
		f.Level, f.Text = "poor", "The codebook has collapsed: nearly every place of every clip gets the same few codes."
	case float64(c.Used) < UsedGood*float64(reach) || c.DeadBits > 0:
		f.Level, f.Text = "fair", "Part of the codebook is unused."
	default:
		f.Level, f.Text = "good", "The codebook is in use."
	}
	f.Text += fmt.Sprintf(" %d different codes of %d that could occur, perplexity %s", c.Used, reach, c.Perplexity.Text(1))
	switch {
	case c.DeadBits == 0:
		f.Text += fmt.Sprintf("; none of the %s is dead.", digits(c))
	default:
		f.Text += fmt.Sprintf("; %d of the %s never change.", c.DeadBits, digits(c))
	}
	return f
}

// digits names the digits of a code.
func digits(c metrics.Codes) string {
	if c.Levels != nil {
		return fmt.Sprintf("%d dimensions", c.Digits)
	}
	return fmt.Sprintf("%d bits", c.Digits)
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
	switch {
	case float64(best.Val.PSNR-last.Val.PSNR) >= FellBehind:
		return Finding{"fair", "Learning", fmt.Sprintf("The best evaluation was at step %d (%s dB); the last one is %s dB below it. Use checkpoints/best.",
			best.Step, best.Val.PSNR.Text(1), (best.Val.PSNR - last.Val.PSNR).Text(1))}, true
	case gain >= StillRising:
		return Finding{"good", "Learning", fmt.Sprintf("Still improving: %+.1f dB PSNR since step %d. Longer training should help.", gain, before.Step)}, true
	}
	return Finding{"good", "Learning", fmt.Sprintf("Levelled off: %+.1f dB PSNR since step %d.", gain, before.Step)}, true
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
