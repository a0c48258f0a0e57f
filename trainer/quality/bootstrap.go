package quality

import (
	"math"
	"slices"

	"magvit/kernels/philox"
	"magvit/trainer/metrics"
)

// resamples is the number of bootstrap samples of an interval.
const resamples = 1000

var unknown = metrics.Number(math.NaN())

// interval is the 95 % percentile interval of a bootstrap over clips (Efron 1979): the 2.5th
// and 97.5th percentile of a statistic over resamples of as many clips, drawn with replacement. Sample k
// depends on k and the number of clips alone. sums is the row of each clip, and the
// statistic is one of the sum of rows. One clip has no interval.
func interval(sums [][]float64, statistic func(sum []float64) float64) (low, high metrics.Number) {
	n := len(sums)
	if n < 2 {
		return unknown, unknown
	}
	values := make([]float64, resamples)
	sum := make([]float64, len(sums[0]))
	for k := range values {
		clear(sum)
		r := philox.New(1, "bootstrap over clips", uint64(n), uint64(k))
		for range n {
			for i, v := range sums[r.IntN(n)] {
				sum[i] += v
			}
		}
		values[k] = statistic(sum)
	}
	slices.Sort(values)
	return metrics.Number(percentile(values, .025)), metrics.Number(percentile(values, .975))
}

// percentile interpolates linearly between sorted values.
func percentile(sorted []float64, p float64) float64 {
	at := p * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// clipSums is a metric that is a function of sums over clips.
type clipSums interface {
	of(p Pair) ([]float64, error)
	statistic(sum []float64) float64
	about() Value // without its numbers
}

// perClip is a metric with an interval.
type perClip struct {
	sums clipSums
	rows [][]float64
}

func (m *perClip) add(p Pair) error {
	row, err := m.sums.of(p)
	m.rows = append(m.rows, row)
	return err
}

func (m *perClip) value() (Value, error) {
	v := m.sums.about()
	sum := make([]float64, len(m.rows[0]))
	for _, row := range m.rows {
		for i, x := range row {
			sum[i] += x
		}
	}
	v.Value = metrics.Number(m.sums.statistic(sum))
	v.Low, v.High = interval(m.rows, m.sums.statistic)
	return v, nil
}
