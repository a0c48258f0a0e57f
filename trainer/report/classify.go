package report

import (
	"fmt"
	"math"

	"magvit/trainer/metrics"
)

// classified judges the last evaluation of a classifier: an accuracy is above chance
// where its interval is.
func classified(c metrics.Classification) (list []Finding) {
	if c.Clips > 0 {
		f := Finding{"poor", "Classes", fmt.Sprintf("%.0f %% of %d held-out clips are classified correctly (95 %% interval %.0f to %.0f); chance is %.0f %%.",
			100*c.Accuracy, c.Clips, 100*c.Low, 100*c.High, 100*c.Chance)}
		if c.Low > max(c.Chance, c.Majority) {
			f.Level = "fair"
		}
		if c.Low > .75 {
			f.Level = "good"
		}
		list = append(list, f)
	}
	if d := c.Forecast; d != nil {
		f := Finding{"poor", "Forecast", fmt.Sprintf("The mean error of forecasts is %.3g %s; constant position has %.3g, constant velocity %.3g.",
			d.Error, d.Unit, d.ConstantPosition, d.ConstantVelocity)}
		if d.Error < d.ConstantPosition {
			f.Level = "fair"
		}
		if d.Error < min(d.ConstantPosition, d.ConstantVelocity) {
			f.Level = "good"
		}
		list = append(list, f)
	}
	return list
}

// classifierCharts draws a classifier's evaluations, of which the last one is not empty.
func classifierCharts(steps []metrics.StepRecord, evals []metrics.EvalRecord) (out []Chart, err error) {
	lastStep := evals[len(evals)-1].Step
	series := func(name string, of func(metrics.Classification) metrics.Number) curve {
		c := curve{name: name}
		for _, e := range evals {
			c.add(e.Step, of(*e.Classify))
		}
		return c
	}
	// forecast is NaN where there is none.
	forecast := func(of func(metrics.Distances) metrics.Number) func(metrics.Classification) metrics.Number {
		return func(c metrics.Classification) metrics.Number {
			if c.Forecast == nil {
				return metrics.Number(math.NaN())
			}
			return of(c.Forecast.Distances)
		}
	}
	train := curve{name: "on training batches"}
	for _, s := range steps {
		train.add(s.Step, s.Terms.Of("cross_entropy"))
	}
	for _, s := range []struct {
		title, definition string
		curves            []curve
	}{
		{"Accuracy on held-out clips", "Fraction of the clips classified correctly, with its 95 % interval (Wilson).", []curve{
			series("accuracy", func(c metrics.Classification) metrics.Number { return c.Accuracy }),
			series("low", func(c metrics.Classification) metrics.Number { return c.Low }),
			series("high", func(c metrics.Classification) metrics.Number { return c.High }),
			series("chance", func(c metrics.Classification) metrics.Number { return c.Chance })}},
		{"Cross-entropy, nats", "Mean negative logarithm of the probability of the correct class.", []curve{
			series("on held-out clips", func(c metrics.Classification) metrics.Number { return c.CrossEntropy }), train}},
		{"Forecast on held-out clips", "Mean distance between forecast and true positions; broken lines are forecasts that need no network.", []curve{
			series("network", forecast(func(d metrics.Distances) metrics.Number { return d.Error })),
			series("constant position", forecast(func(d metrics.Distances) metrics.Number { return d.ConstantPosition })),
			series("constant velocity", forecast(func(d metrics.Distances) metrics.Number { return d.ConstantVelocity }))}},
	} {
		c, ok, err := chart(s.title, s.definition, overSteps(lastStep), false, s.curves...)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, c)
		}
	}
	return out, nil
}
