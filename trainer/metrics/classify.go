package metrics

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
)

// Classification is how well a network on pixels tells the classes of clips, and
// forecasts where things will be. What was not asked for is NaN (null in JSON) or nil.
type Classification struct {
	Preset       string            `json:"preset,omitempty"`
	Network      string            `json:"network"`
	Step         int               `json:"step"`              // of the weights
	Seconds      Number            `json:"seconds,omitempty"` // of training, evaluations included
	Clips        int               `json:"clips"`             // evaluated, with a label
	Accuracy     Number            `json:"accuracy"`          // share of them that is given to its class, in [0,1]
	Low          Number            `json:"low"`               // 95 % interval of the accuracy over clips (Wilson 1927)
	High         Number            `json:"high"`
	CrossEntropy Number            `json:"cross_entropy"` // nats; log of the number of classes knows nothing
	Chance       Number            `json:"chance"`        // 1/classes
	Majority     Number            `json:"majority"`      // share of the most frequent class
	Classes      []string          `json:"classes"`
	PerClass     []ClassScore      `json:"per_class"`
	Confusion    [][]int           `json:"confusion"` // [class][guess] clips
	Forecast     *ForecastAccuracy `json:"forecast"`
}

// ClassScore is how well one class is told.
type ClassScore struct {
	Class     string `json:"class"`
	Clips     int    `json:"clips"`
	Recall    Number `json:"recall"`    // share of the class's clips that are given to it
	Precision Number `json:"precision"` // share of the clips given to it that are of the class
}

// Distances are mean distances between a forecast position and the true one, of the
// network and of what needs none.
type Distances struct {
	Error            Number `json:"error"`
	ConstantPosition Number `json:"constant_position"` // it stays where it was seen last
	ConstantVelocity Number `json:"constant_velocity"` // it goes on as between the last two frames seen
}

// ForecastAccuracy is how far forecasts are off.
type ForecastAccuracy struct {
	Of    string `json:"of"`    // image or space
	Unit  string `json:"unit"`  // of the distances
	Clips int    `json:"clips"` // with positions
	Seen  int    `json:"seen"`  // frames that a forecast sees
	Distances
	PerFrame []Distances             `json:"per_frame"` // of the frames forecast, in order
	PerClass []ForecastClassDistance `json:"per_class"` // nil without labels
}

// ForecastClassDistance is that of one class.
type ForecastClassDistance struct {
	Class string `json:"class"`
	Distances
}

// Wilson is the 95 % interval of a share of which `right` of n were counted.
func Wilson(right, n int) (low, high Number) {
	const z = 1.959963984540054
	if n == 0 {
		return Number(math.NaN()), Number(math.NaN())
	}
	p, m := float64(right)/float64(n), float64(n)
	centre := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return Number(max(centre-half, 0)), Number(min(centre+half, 1))
}

// Classifier gathers the guesses and forecasts of a network.
type Classifier struct {
	classes   []string
	confusion [][]int
	nats      float64
	frames    [][3]mean // by frame of the forecast: network, position, velocity
	byClass   [][3]mean // the same by class
	forecasts int       // clips
}

type mean struct{ sum, n float64 }

func (m *mean) add(v float64) { m.sum, m.n = m.sum+v, m.n+1 }
func (m mean) number() Number { return Number(m.sum / m.n) }
func distances(m [3]mean) Distances {
	return Distances{m[0].number(), m[1].number(), m[2].number()}
}

// NewClassifier is an empty one; classes may be nil, and horizon 0.
func NewClassifier(classes []string, horizon int) *Classifier {
	c := &Classifier{classes: classes, frames: make([][3]mean, horizon), byClass: make([][3]mean, len(classes))}
	for range classes {
		c.confusion = append(c.confusion, make([]int, len(classes)))
	}
	return c
}

// Guess counts a clip with its logits, one for each class.
func (c *Classifier) Guess(label int, logits []float32) {
	guess, all := 0, 0.
	for k, v := range logits {
		if v > logits[guess] {
			guess = k
		}
	}
	for _, v := range logits {
		all += math.Exp(float64(v) - float64(logits[guess]))
	}
	c.nats += math.Log(all) + float64(logits[guess]) - float64(logits[label])
	c.confusion[label][guess]++
}

// Forecast counts a clip: off[f] are the distances of the network, of the last position
// and of the last velocity in the f-th frame forecast. A label below 0 is none.
func (c *Classifier) Forecast(label int, off [][3]float64) {
	c.forecasts++
	for f, d := range off {
		for k, v := range d {
			c.frames[f][k].add(v)
			if label >= 0 && label < len(c.byClass) {
				c.byClass[label][k].add(v)
			}
		}
	}
}

// Report sums up.
func (c *Classifier) Report() Classification {
	none := Number(math.NaN())
	r := Classification{Accuracy: none, Low: none, High: none, CrossEntropy: none, Chance: none, Majority: none, Classes: c.classes}
	right, most := 0, 0
	for k, row := range c.confusion {
		n := 0
		for _, v := range row {
			n += v
		}
		right, most, r.Clips = right+row[k], max(most, n), r.Clips+n
	}
	if r.Clips > 0 {
		n := Number(r.Clips)
		r.Accuracy, r.Majority, r.CrossEntropy, r.Chance = Number(right)/n, Number(most)/n, Number(c.nats)/n, 1/Number(len(c.classes))
		r.Low, r.High = Wilson(right, r.Clips)
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
	var all [3]mean
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
		fmt.Fprintln(t, "\tnetwork\tconstant position\tconstant velocity\t")
		line := func(name string, d Distances) {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", name, d.Error.Text(3), d.ConstantPosition.Text(3), d.ConstantVelocity.Text(3))
		}
		line("all", f.Distances)
		for _, c := range f.PerClass {
			line(c.Class, c.Distances)
		}
		for k, d := range f.PerFrame {
			line(fmt.Sprintf("frame +%d", k+1), d)
		}
	}
	return t.Flush()
}
