package report

import (
	"fmt"

	"magvit/trainer/metrics"
)

// likelihood judges the last evaluation of a prior: it has learnt what its interval of bits has less than the models
// without a network.
func likelihood(p metrics.Likelihood) Finding {
	f := Finding{"poor", "Codes", fmt.Sprintf("The prior predicts %d held-out clips with %.2f bits for each code (95 %% interval %.2f to %.2f); the frame before gives %.2f, unigrams %.2f, no model %.2f.",
		p.Clips, p.Bits, p.Low, p.High, p.FrameBefore, p.Unigram, p.Uniform)}
	if p.High < p.Unigram {
		f.Level = "fair"
	}
	if p.High < min(p.FrameBefore, p.Unigram) {
		f.Level = "good"
	}
	return f
}

// priorCharts draws a prior's evaluations, of which the last one is not empty.
func priorCharts(steps []metrics.StepRecord, evals []metrics.EvalRecord) ([]Chart, error) {
	series := func(name string, of func(metrics.Likelihood) metrics.Number) curve {
		c := curve{name: name}
		for _, e := range evals {
			c.add(e.Step, of(*e.Prior))
		}
		return c
	}
	loss := curve{name: "on training batches"}
	for _, s := range steps {
		loss.add(s.Step, s.Terms.Of("cross_entropy"))
	}
	var out []Chart
	for _, s := range []struct {
		title, definition string
		curves            []curve
	}{
		{"Bits for each code, held-out clips", "Of the prior, and of models without a network: the code at the same place in the frame before, and unigrams.", []curve{
			series("prior", func(p metrics.Likelihood) metrics.Number { return p.Bits }),
			series("frame before", func(p metrics.Likelihood) metrics.Number { return p.FrameBefore }),
			series("unigram", func(p metrics.Likelihood) metrics.Number { return p.Unigram })}},
		{"Cross-entropy, nats", "Mean over the codes that are to be predicted, with smoothed labels.", []curve{loss}},
	} {
		c, ok, err := chart(s.title, s.definition, overSteps(evals[len(evals)-1].Step), false, s.curves...)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, c)
		}
	}
	return out, nil
}
