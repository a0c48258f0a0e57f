package probe

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"magvit/trainer/metrics"
)

// Predicted is how far frames that a generator adds to the first ones of clips are from the
// true ones. Distances are those of the foreground's middle, in pixels.
type Predicted struct {
	Clips            int            `json:"clips"`
	Seen             int            `json:"seen"`    // frames that were given
	Horizon          int            `json:"horizon"` // frames that were predicted, of the longest clip
	Error            metrics.Number `json:"error"`
	ConstantVelocity metrics.Number `json:"constant_velocity"` // of the last two frames seen
	ConstantPosition metrics.Number `json:"constant_position"`
	PSNR             metrics.Number `json:"psnr"`
	LastFramePSNR    metrics.Number `json:"last_frame_psnr"` // of copies of the last frame seen

	PerClass []PredictedClass `json:"per_class,omitempty"` // classes of the clips with labels

	all     distances
	byClass map[int]*distances // by label
	squares [2]float64
	values  float64
}

// PredictedClass are the distances of the clips of a class.
type PredictedClass struct {
	Class            string         `json:"class"`
	Clips            int            `json:"clips"`
	Error            metrics.Number `json:"error"`
	ConstantVelocity metrics.Number `json:"constant_velocity"`
	ConstantPosition metrics.Number `json:"constant_position"`
}

// distances are sums over frames: of the prediction, constant velocity and constant position.
type distances struct {
	sums   [3]float64
	frames float64
	clips  int
}

func (d *distances) means() (m [3]metrics.Number) {
	for k, sum := range d.sums {
		m[k] = metrics.Number(sum / d.frames)
	}
	return m
}

// Add compares a prediction with the clip whose first frames, seen of them, were given. The
// clip may be shorter than the prediction.
func (p *Predicted) Add(truth, predicted Example, seen int) {
	is, found := trackWeighted(truth), trackWeighted(predicted)
	side := float64(max(truth.H, truth.W))
	p.Clips, p.Seen, p.Horizon = p.Clips+1, seen, max(p.Horizon, truth.T-seen)
	to := []*distances{&p.all}
	if truth.Label >= 0 {
		if p.byClass == nil {
			p.byClass = map[int]*distances{}
		}
		if p.byClass[truth.Label] == nil {
			p.byClass[truth.Label] = &distances{}
		}
		to = append(to, p.byClass[truth.Label])
	}
	for _, d := range to {
		d.clips++
		d.frames += float64(truth.T - seen)
	}
	size := truth.H * truth.W * truth.C
	last := truth.Video[(seen-1)*size : seen*size]
	for t := seen; t < truth.T; t++ {
		at, before := is[seen-1], is[max(seen-2, 0)]
		steps := float64(t - seen + 1)
		velocity := [2]float64{at[0] + steps*(at[0]-before[0]), at[1] + steps*(at[1]-before[1])}
		for k, guess := range [3][2]float64{found[t], velocity, at} {
			for _, d := range to {
				d.sums[k] += side * math.Hypot(guess[0]-is[t][0], guess[1]-is[t][1])
			}
		}
		for i, v := range truth.Video[t*size : (t+1)*size] {
			g := min(max(predicted.Video[t*size+i], 0), 1)
			p.squares[0] += float64(g-v) * float64(g-v)
			p.squares[1] += float64(last[i]-v) * float64(last[i]-v)
		}
		p.values += float64(size)
	}
}

// Means fills the means over all clips added, and over those of each class.
func (p *Predicted) Means(classes []string) {
	m := p.all.means()
	p.Error, p.ConstantVelocity, p.ConstantPosition = m[0], m[1], m[2]
	p.PerClass = nil
	for label, name := range classes {
		if d := p.byClass[label]; d != nil {
			m := d.means()
			p.PerClass = append(p.PerClass, PredictedClass{name, d.clips, m[0], m[1], m[2]})
		}
	}
	p.PSNR, p.LastFramePSNR = metrics.PSNR(p.squares[0]/p.values), metrics.PSNR(p.squares[1]/p.values)
}

// WritePredicted prints a Predicted for a terminal.
func WritePredicted(w io.Writer, p Predicted) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%d clips, %d frames given, %d predicted\tmean distance, pixels\tPSNR dB\n", p.Clips, p.Seen, p.Horizon)
	fmt.Fprintf(t, "predicted\t%s\t%s\n", p.Error.Text(2), p.PSNR.Text(2))
	fmt.Fprintf(t, "last frame copied\t%s\t%s\n", p.ConstantPosition.Text(2), p.LastFramePSNR.Text(2))
	fmt.Fprintf(t, "constant velocity\t%s\t\n", p.ConstantVelocity.Text(2))
	for i, c := range p.PerClass {
		if i == 0 {
			fmt.Fprintf(t, "\t\t\nclass\tpredicted\tlast frame\tconstant velocity\n")
		}
		fmt.Fprintf(t, "%s (%d clips)\t%s\t%s\t%s\n", c.Class, c.Clips, c.Error.Text(2), c.ConstantPosition.Text(2), c.ConstantVelocity.Text(2))
	}
	return t.Flush()
}
