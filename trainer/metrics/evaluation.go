package metrics

import (
	"io"
	"math"
)

// ClassifyFile is the last evaluation of a classifier's run, in its directory: a Classification of the last weights on
// the held-out clips. Such a run has no best checkpoint, which the clips that it is judged on would choose.
const ClassifyFile = "classify.json"

// Scalar is a named value of an evaluation.
type Scalar struct {
	Name  string // of its TensorBoard tag
	Value Number
}

// Scalars lists the values of an evaluation that are worth a curve.
func (r EvalRecord) Scalars() []Scalar {
	if c := r.Classify; c != nil {
		list := []Scalar{{"val/accuracy", c.Accuracy}, {"val/cross_entropy", c.CrossEntropy}}
		if c.Forecast != nil {
			list = append(list, Scalar{"val/forecast", c.Forecast.Error})
		}
		return list
	}
	if p := r.Prior; p != nil {
		return []Scalar{{"val/bits_per_token", p.Bits}}
	}
	v := r.Val
	return []Scalar{{"val/psnr", v.PSNR}, {"val/foreground_psnr", v.ForegroundPSNR}, {"val/ssim", v.SSIM}, {"val/mse", v.MSE},
		{"codes/used_fraction", v.Codes.UsedFraction}, {"codes/perplexity", v.Codes.Perplexity}, {"codes/dead_bits", Number(v.Codes.DeadBits)}}
}

// Attributes returns the evaluation for a log, keys and values in turn.
func (r EvalRecord) Attributes() []any {
	if c := r.Classify; c != nil {
		off := math.NaN()
		if c.Forecast != nil {
			off = float64(c.Forecast.Error)
		}
		return []any{"accuracy", float64(c.Accuracy), "low", float64(c.Low), "high", float64(c.High),
			"cross_entropy", float64(c.CrossEntropy), "forecast", off}
	}
	if p := r.Prior; p != nil {
		return []any{"bits_per_token", float64(p.Bits), "frame_before", float64(p.FrameBefore), "unigram", float64(p.Unigram)}
	}
	v := r.Val
	name, best := v.BestBaseline(func(s Scores) Number { return s.PSNR })
	return []any{"psnr", float64(v.PSNR), "foreground_psnr", float64(v.ForegroundPSNR), "ssim", float64(v.SSIM),
		"best_baseline", name, "its_psnr", float64(best), "codes_used", v.Codes.Used, "perplexity", float64(v.Codes.Perplexity)}
}

// PSNR is that of a tokenizer in dB, else NaN.
func (r EvalRecord) PSNR() Number {
	if r.Classify != nil || r.Prior != nil {
		return Number(math.NaN())
	}
	return r.Val.PSNR
}

// Accuracy is that of a classifier in [0,1], else NaN.
func (r EvalRecord) Accuracy() Number {
	if r.Classify == nil {
		return Number(math.NaN())
	}
	return r.Classify.Accuracy
}

// At returns the record of an evaluation after a step.
func (r EvalRecord) At(step int) EvalRecord {
	r.Step = step
	if r.Classify != nil {
		c := *r.Classify
		c.Step = step
		r.Classify = &c
	}
	if r.Prior != nil {
		p := *r.Prior
		p.Step = step
		r.Prior = &p
	}
	return r
}

// Final returns the evaluation at a run's end as a file of the run directory, "" if the task has none.
func (r EvalRecord) Final(seconds float64) (file string, content any) {
	if r.Prior != nil {
		p := *r.Prior
		p.Seconds = Number(seconds)
		return PriorFile, p
	}
	if r.Classify == nil {
		return "", nil
	}
	c := *r.Classify
	c.Seconds = Number(seconds)
	return ClassifyFile, c
}

// Result returns what commands print as JSON.
func (r EvalRecord) Result() any {
	if r.Classify != nil {
		return *r.Classify
	}
	if r.Prior != nil {
		return *r.Prior
	}
	return r.Val
}

// WriteText writes the evaluation for people.
func (r EvalRecord) WriteText(w io.Writer) error {
	if r.Classify != nil {
		return WriteClassification(w, *r.Classify)
	}
	if r.Prior != nil {
		return WriteLikelihood(w, *r.Prior)
	}
	return WriteText(w, r.Val)
}
