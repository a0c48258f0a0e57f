package metrics

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
)

// Classification is the accuracy of a network that classifies clips from pixels and
// forecasts positions. What was not evaluated is NaN (null in JSON) or nil.
type Classification struct {
	Preset       string            `json:"preset,omitempty"`
	Network      string            `json:"network"`
	Step         int               `json:"step"`              // of the weights
	Seconds      Number            `json:"seconds,omitempty"` // of training, evaluations included
	Clips        int               `json:"clips"`             // evaluated, with a label
	Accuracy     Number            `json:"accuracy"`          // fraction classified correctly, in [0,1]
	Low          Number            `json:"low"`               // 95 % interval of the accuracy over clips (Wilson 1927)
	High         Number            `json:"high"`
	CrossEntropy Number            `json:"cross_entropy"` // nats; uniform probabilities have log of the number of classes
	Chance       Number            `json:"chance"`        // 1/classes
	Majority     Number            `json:"majority"`      // fraction of the most frequent class
	Classes      []string          `json:"classes"`
	PerClass     []ClassScore      `json:"per_class"`
	Confusion    [][]int           `json:"confusion"` // [class][predicted] clips
	Forecast     *ForecastAccuracy `json:"forecast"`
}

// ClassScore is the recall and precision of one class.
type ClassScore struct {
	Class     string `json:"class"`
	Clips     int    `json:"clips"`
	Recall    Number `json:"recall"`    // fraction of the class's clips that are classified as it
	Precision Number `json:"precision"` // fraction of the clips classified as it that are of the class
}

// Distances are mean distances between forecast and true positions, of the network and
// of three baselines. The first two know the true positions of the frames seen, which a
// network must measure in the pictures, as the third does.
type Distances struct {
	Error            Number `json:"error"`
	ConstantPosition Number `json:"constant_position"` // of the last frame seen
	ConstantVelocity Number `json:"constant_velocity"` // of the last two frames seen
	MeasuredVelocity Number `json:"measured_velocity"` // constant velocity of the foreground's middle in the last two frames seen; null in space
}

// ForecastAccuracy holds the errors of forecast positions.
type ForecastAccuracy struct {
	Of    string `json:"of"`    // image or space
	Unit  string `json:"unit"`  // of the distances
	Clips int    `json:"clips"` // with positions
	Seen  int    `json:"seen"`  // frames that a forecast is made from
	Distances
	PerFrame []Distances             `json:"per_frame"` // of the frames forecast, in order
	PerClass []ForecastClassDistance `json:"per_class"` // nil without labels
}

// ForecastClassDistance holds the errors of one class.
type ForecastClassDistance struct {
	Class string `json:"class"`
	Distances
}

// Wilson is the 95 % interval of a proportion of which `correct` of n were counted.
func Wilson(correct, n int) (low, high Number) {
	const z = 1.959963984540054
	if n == 0 {
		return Number(math.NaN()), Number(math.NaN())
	}
	p, m := float64(correct)/float64(n), float64(n)
	centre := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return Number(max(centre-half, 0)), Number(min(centre+half, 1))
}

// Classifier accumulates the predictions of a network.
type Classifier struct {
	classes   []string
	confusion [][]int
	nats      float64
	frames    [][4]mean // by frame of the forecast: network, position, velocity, measured velocity
	byClass   [][4]mean // the same by class
	forecasts int       // clips
}

type mean struct{ sum, n float64 }

func (m *mean) add(v float64) { m.sum, m.n = m.sum+v, m.n+1 }
func (m mean) number() Number { return Number(m.sum / m.n) }
func distances(m [4]mean) Distances {
	return Distances{m[0].number(), m[1].number(), m[2].number(), m[3].number()}
}

// NewClassifier is empty; classes may be nil, and horizon (frames forecast) 0.
func NewClassifier(classes []string, horizon int) *Classifier {
	c := &Classifier{classes: classes, frames: make([][4]mean, horizon), byClass: make([][4]mean, len(classes))}
	for range classes {
		c.confusion = append(c.confusion, make([]int, len(classes)))
	}
	return c
}

// Predict counts a clip with its logits, one for each class.
func (c *Classifier) Predict(label int, logits []float32) {
	best, sum := 0, 0.
	for k, v := range logits {
		if v > logits[best] {
			best = k
		}
	}
	for _, v := range logits {
		sum += math.Exp(float64(v) - float64(logits[best]))
	}
	c.nats += math.Log(sum) + float64(logits[best]) - float64(logits[label])
	c.confusion[label][best]++
}

// Forecast counts a clip: errors[f] are the distances of the network, of constant position,
// of constant velocity and of that of measured positions in the f-th frame forecast. A label below 0 means no label.
func (c *Classifier) Forecast(label int, errors [][4]float64) {
	c.forecasts++
	for f, d := range errors {
		for k, v := range d {
			c.frames[f][k].add(v)
			if label >= 0 && label < len(c.byClass) {
				c.byClass[label][k].add(v)
			}
		}
	}
}

// Report is the result of all clips counted.
func (c *Classifier) Report() Classification {
	unknown := Number(math.NaN())
	r := Classification{Accuracy: unknown, Low: unknown, High: unknown, CrossEntropy: unknown, Chance: unknown, Majority: unknown, Classes: c.classes}
	correct, largest := 0, 0
	for k, row := range c.confusion {
		n := 0
		for _, v := range row {
			n += v
		}
		correct, largest, r.Clips = correct+row[k], max(largest, n), r.Clips+n
	}
	if r.Clips > 0 {
		n := Number(r.Clips)
		r.Accuracy, r.Majority, r.CrossEntropy, r.Chance = Number(correct)/n, Number(largest)/n, Number(c.nats)/n, 1/Number(len(c.classes))
		r.Low, r.High = Wilson(correct, r.Clips)
		r.Confusion = c.confusion
		for k, name := range c.classes {
			row, column := 0, 0
			for j := range c.classes {
				row, column = row+c.confusion[k][j], column+c.confusion[j][k]
			}
			hit := Number(c.confusion[k][k])
			r.PerClass = append(r.PerClass, ClassScore{name, row, hit / Number(row), hit / Number(column)})
		}
	}
	if c.forecasts == 0 {
		return r
	}
	f := &ForecastAccuracy{Clips: c.forecasts}
	var all [4]mean
	for _, m := range c.frames {
		f.PerFrame = append(f.PerFrame, distances(m))
		for k := range all {
			all[k].sum, all[k].n = all[k].sum+m[k].sum, all[k].n+m[k].n
		}
	}
	f.Distances = distances(all)
	for k, name := range c.classes {
		f.PerClass = append(f.PerClass, ForecastClassDistance{name, distances(c.byClass[k])})
	}
	r.Forecast = f
	return r
}

// WriteClassification prints a Classification for a terminal.
func WriteClassification(w io.Writer, r Classification) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	percent := func(n Number) string { return (100 * n).Text(1) }
	if r.Clips > 0 {
		fmt.Fprintf(w, "accuracy  %s %% (95 %%: %s to %s) of %d clips; chance %s, majority %s; cross-entropy %s\n\n",
			percent(r.Accuracy), percent(r.Low), percent(r.High), r.Clips, percent(r.Chance), percent(r.Majority), r.CrossEntropy.Text(3))
		fmt.Fprint(t, "class\tclips\trecall %\tprecision %\t")
		for _, name := range r.Classes {
			fmt.Fprintf(t, "as %s\t", name)
		}
		fmt.Fprintln(t)
		for k, c := range r.PerClass {
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\t", c.Class, c.Clips, percent(c.Recall), percent(c.Precision))
			for _, n := range r.Confusion[k] {
				fmt.Fprintf(t, "%d\t", n)
			}
			fmt.Fprintln(t)
		}
	}
	if f := r.Forecast; f != nil {
		if err := t.Flush(); err != nil {
			return err
		}
		if r.Clips > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "forecast of the last %d frames from the first %d, mean distance in %s, %d clips\n\n", len(f.PerFrame), f.Seen, f.Unit, f.Clips)
		fmt.Fprintln(t, "\tnetwork\tconstant position\tconstant velocity\tof measured positions\t")
		row := func(name string, d Distances) {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t\n", name, d.Error.Text(3), d.ConstantPosition.Text(3), d.ConstantVelocity.Text(3), d.MeasuredVelocity.Text(3))
		}
		row("all", f.Distances)
		for _, c := range f.PerClass {
			row(c.Class, c.Distances)
		}
		for k, d := range f.PerFrame {
			row(fmt.Sprintf("frame +%d", k+1), d)
		}
	}
	return t.Flush()
}
