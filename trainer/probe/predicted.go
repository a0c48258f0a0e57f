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
	Horizon          int            `json:"horizon"` // frames that were predicted
	Error            metrics.Number `json:"error"`
	ConstantVelocity metrics.Number `json:"constant_velocity"` // of the last two frames seen
	ConstantPosition metrics.Number `json:"constant_position"`
	PSNR             metrics.Number `json:"psnr"`
	LastFramePSNR    metrics.Number `json:"last_frame_psnr"` // of copies of the last frame seen

	sums           [3]float64 // of distances
	squares        [2]float64
	frames, values float64
}

// Add compares a prediction with the clip whose first frames, seen of them, were given.
func (p *Predicted) Add(truth, predicted Example, seen int) {
	is, found := track(truth), track(predicted)
	side := float64(max(truth.H, truth.W))
	p.Clips, p.Seen, p.Horizon = p.Clips+1, seen, truth.T-seen
	size := truth.H * truth.W * truth.C
	last := truth.Video[(seen-1)*size : seen*size]
	for t := seen; t < truth.T; t++ {
		at, before := is[seen-1], is[max(seen-2, 0)]
		steps := float64(t - seen + 1)
		velocity := [2]float64{at[0] + steps*(at[0]-before[0]), at[1] + steps*(at[1]-before[1])}
		for k, guess := range [3][2]float64{found[t], velocity, at} {
			p.sums[k] += side * math.Hypot(guess[0]-is[t][0], guess[1]-is[t][1])
		}
		p.frames++
		for i, v := range truth.Video[t*size : (t+1)*size] {
			g := min(max(predicted.Video[t*size+i], 0), 1)
			p.squares[0] += float64(g-v) * float64(g-v)
			p.squares[1] += float64(last[i]-v) * float64(last[i]-v)
		}
		p.values += float64(size)
	}
}

// Means fills the means over all clips added.
func (p *Predicted) Means() {
	p.Error, p.ConstantVelocity, p.ConstantPosition = metrics.Number(p.sums[0]/p.frames), metrics.Number(p.sums[1]/p.frames), metrics.Number(p.sums[2]/p.frames)
	p.PSNR, p.LastFramePSNR = metrics.PSNR(p.squares[0]/p.values), metrics.PSNR(p.squares[1]/p.values)
}

// WritePredicted prints a Predicted for a terminal.
func WritePredicted(w io.Writer, p Predicted) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%d clips, %d frames given, %d predicted\tmean distance, pixels\tPSNR dB\n", p.Clips, p.Seen, p.Horizon)
	fmt.Fprintf(t, "predicted\t%s\t%s\n", p.Error.Text(2), p.PSNR.Text(2))
	fmt.Fprintf(t, "last frame copied\t%s\t%s\n", p.ConstantPosition.Text(2), p.LastFramePSNR.Text(2))
	fmt.Fprintf(t, "constant velocity\t%s\t\n", p.ConstantVelocity.Text(2))
	return t.Flush()
}
