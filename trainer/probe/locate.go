package probe

import (
	"context"
	"math"
	"slices"

	"magvit/kernels/philox"
	"magvit/trainer/probe/nn"
)

// locator finds the position of the moving object in each frame of a clip.
//
// It examines the cells of a frame that differ most from their median over the
// clip. From such a cell's 3x3 neighbourhood, and the same minus the median, a
// perceptron gives a weight and, for each frame that the cell encodes, the
// object's offset from the cell's center; the position is the mean over cells by
// these weights (a soft arg-max over space).
//
// Why it is fitted separately, on positions and not on classes: some hundred clips
// are few to learn both the object's appearance and the form of paths; but each of
// their frames shows a position, and no label is needed for that.
type locator struct {
	f          Field      // standardised
	median     []float32  // [examples,H,W,C], over T
	candidates []int32    // [examples,T,perFrame] cells
	perFrame   int        // candidate cells of a frame
	frames     int        // of a clip
	per        int        // frames that one time step of f encodes
	side       [2]float64 // of a frame, the longer being 1
	net        *nn.Perceptron

	columns, p, z, positions []float32 // of the last forward pass
}

const (
	candidateCells = 16 // of a frame
	locatorHidden  = 64
)

// locatorRecipe is about fifteen epochs over the frames of 136 clips of 8 frames in 4
// views. It was chosen on data of one seed and is reported on another.
var locatorRecipe = nn.Recipe{Steps: 1500, Batch: 32, LR: .01}

// newLocator makes a locator for the examples of f, whose clips have the given number of frames.
func newLocator(f Field, frames int, side [2]float64, r *philox.Stream) *locator {
	l := &locator{f: f, perFrame: min(candidateCells, f.H*f.W), frames: frames, per: (frames + f.T - 1) / f.T, side: side}
	l.net = nn.NewPerceptron(9*2*f.C, locatorHidden, 1+2*l.per, 0, r)
	n := len(f.Data) / f.size()
	l.median, l.candidates = make([]float32, n*f.H*f.W*f.C), make([]int32, 0, n*f.T*l.perFrame)
	over, change, order := make([]float32, f.T), make([]float64, f.H*f.W), make([]int32, f.H*f.W)
	for e := range n {
		x, m := f.row(e), l.medianOf(e)
		for i := range m {
			for t := range over {
				over[t] = x[t*len(m)+i]
			}
			slices.Sort(over)
			m[i] = over[f.T/2]
		}
		for t := range f.T {
			clear(change)
			for i := range f.H * f.W {
				d := 0.
				for c := range f.C {
					d += math.Abs(float64(x[t*len(m)+i*f.C+c] - m[i*f.C+c]))
				}
				f.around(i, func(_, j int) { change[j] += d })
			}
			for i := range order {
				order[i] = int32(i)
			}
			slices.SortStableFunc(order, func(a, b int32) int {
				switch {
				case change[a] > change[b]:
					return -1
				case change[a] < change[b]:
					return 1
				}
				return 0
			})
			l.candidates = append(l.candidates, order[:l.perFrame]...)
		}
	}
	return l
}

func (l *locator) medianOf(example int) []float32 {
	n := l.f.H * l.f.W * l.f.C
	return l.median[example*n:][:n]
}

// around calls do with each cell j of the 3x3 neighbourhood of cell i, and the
// number 0..8 that it has there.
func (f Field) around(i int, do func(k, j int)) {
	y, x := i/f.W, i%f.W
	for dy := -1; dy <= 1; dy++ {
		for dx := -1; dx <= 1; dx++ {
			if yy, xx := y+dy, x+dx; yy >= 0 && yy < f.H && xx >= 0 && xx < f.W {
				do((dy+1)*3+dx+1, yy*f.W+xx)
			}
		}
	}
}

// center is the position of cell i.
func (l *locator) center(i int32) [2]float32 {
	x, y := float64(int(i)%l.f.W)+.5, float64(int(i)/l.f.W)+.5
	return [2]float32{float32(x / float64(l.f.W) * l.side[0]), float32(y / float64(l.f.H) * l.side[1])}
}

// frameOf is the frame that part k of time step t encodes. Time steps are aligned with
// the clip's end, so that a first frame that is coded alone is matched correctly.
func (l *locator) frameOf(t, k int) int {
	return max(l.frames-(l.f.T-t)*l.per+k, 0)
}

// forward gives positions [len(at),per,2]; at lists example*T+t.
func (l *locator) forward(at []int) []float32 {
	f, in := l.f, l.net.Inputs()
	rows := len(at) * l.perFrame
	l.columns, l.p, l.positions = sized(l.columns, rows*in), sized(l.p, rows), sized(l.positions, len(at)*l.per*2)
	clear(l.columns)
	clear(l.positions)
	for n, a := range at {
		x, m := f.Data[a*f.H*f.W*f.C:][:f.H*f.W*f.C], l.medianOf(a/f.T)
		for k, cell := range l.candidates[a*l.perFrame:][:l.perFrame] {
			row := l.columns[(n*l.perFrame+k)*in:][:in]
			f.around(int(cell), func(k, j int) {
				now, median, out := x[j*f.C:][:f.C], m[j*f.C:][:f.C], row[k*2*f.C:][:2*f.C]
				for c, v := range now {
					out[c], out[f.C+c] = v, v-median[c]
				}
			})
		}
	}
	l.z = l.net.ForwardRows(l.columns, rows, nil)
	for n, a := range at {
		z, p := l.z[n*l.perFrame*l.net.Outputs():], l.p[n*l.perFrame:][:l.perFrame]
		for k := range p {
			p[k] = z[k*l.net.Outputs()]
		}
		nn.Softmax(p)
		for k, cell := range l.candidates[a*l.perFrame:][:l.perFrame] {
			center := l.center(cell)
			for i := range l.per * 2 {
				l.positions[n*l.per*2+i] += p[k] * (center[i%2] + offsetScale*z[k*l.net.Outputs()+1+i])
			}
		}
	}
	return l.positions
}

func sized(b []float32, n int) []float32 { return slices.Grow(b[:0], n)[:n] }

// offsetScale is the offset from a cell's center of an output of 1, as a fraction of the frame's longer side.
const offsetScale = .25

// backward adds to the gradients; dpositions is of the last forward pass.
func (l *locator) backward(dpositions []float32, at []int) {
	out := l.net.Outputs()
	dz := make([]float32, len(l.z))
	for n, a := range at {
		g, y := dpositions[n*l.per*2:][:l.per*2], l.positions[n*l.per*2:]
		for k, cell := range l.candidates[a*l.perFrame:][:l.perFrame] {
			p, center := l.p[n*l.perFrame+k], l.center(cell)
			z, d := l.z[(n*l.perFrame+k)*out:][:out], dz[(n*l.perFrame+k)*out:][:out]
			for i, v := range g {
				d[0] += p * v * (center[i%2] + offsetScale*z[1+i] - y[i])
				d[1+i] = p * v * offsetScale
			}
		}
	}
	l.net.BackwardRows(nil, dz)
}

// fit trains on the measured paths of some clips' examples. The loss is the mean
// distance.
func (l *locator) fit(ctx context.Context, rc nn.Recipe, paths []path, clips []int, views int, r *philox.Stream) error {
	at, d := make([]int, rc.Batch), make([]float32, rc.Batch*l.per*2)
	for step := 1; step <= rc.Steps; step++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		for k := range at {
			at[k] = (clips[r.IntN(len(clips))]*views+r.IntN(views))*l.f.T + r.IntN(l.f.T)
		}
		y := l.forward(at)
		for n, a := range at {
			for k := range l.per {
				i := (n*l.per + k) * 2
				want := paths[a/l.f.T][l.frameOf(a%l.f.T, k)]
				dx, dy := float64(y[i])-want[0], float64(y[i+1])-want[1]
				distance := math.Sqrt(dx*dx+dy*dy) + 1e-3 // smooth at 0
				d[i], d[i+1] = float32(dx/distance/float64(len(at))), float32(dy/distance/float64(len(at)))
			}
		}
		l.backward(d, at)
		nn.AdamW(l.net.Layers(), step, rc.LearningRate(step), rc.Decay)
	}
	return nil
}

// locate gives the path of every example.
func (l *locator) locate() []path {
	n := len(l.f.Data) / l.f.size()
	list := make([]path, n)
	at := make([]int, l.f.T)
	for e := range list {
		for t := range at {
			at[t] = e*l.f.T + t
		}
		y := l.forward(at)
		list[e] = make(path, l.frames)
		for t := range at {
			for k := range l.per {
				i := (t*l.per + k) * 2
				list[e][l.frameOf(t, k)] = [2]float64{float64(y[i]), float64(y[i+1])}
			}
		}
	}
	return list
}

// locatePaths fits a locator on some clips and gives the paths of all.
func (s *Set) locatePaths(ctx context.Context, f Field, clips []int, steps int, r *philox.Stream) ([]path, error) {
	l := newLocator(channelwise(f, clips, s.Views), len(s.motion[0]), s.side, r)
	if err := l.fit(ctx, locatorRecipe.AtMost(steps), s.motion, clips, s.Views, r); err != nil {
		return nil, err
	}
	return l.locate(), nil
}
