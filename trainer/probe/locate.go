package probe

import (
	"context"
	"math"
	"slices"

	"magvit/kernels/philox"
)

// locator says where what moves is in each frame of a clip.
//
// It looks at the cells of a frame that differ most from what they are over the
// whole clip. From such a cell's 3x3 neighbourhood, and that minus the clip's
// median, a perceptron gives a weight and, for each of the frames that the cell
// stands for, how far from the cell's middle the thing is; the place is the
// weighted mean of what the cells say (a soft arg-max over space).
//
// Why fitted by itself, on places and not on classes: a hundred and some clips are
// few to learn from what a path looks like and where the thing is at once; but
// each of their frames shows where it is, and no label is needed for that.
type locator struct {
	f      Field     // standardised
	median []float32 // [examples,H,W,C], over T
	look   []int32   // [examples,T,most]: the cells to look at
	most   int
	frames int        // of a clip
	per    int        // frames that a place in time stands for
	side   [2]float64 // of a frame, the longer being 1
	net    *perceptron

	col, p, z, place []float32 // of the last forward
}

const (
	lookAt        = 16 // cells of a frame
	locatorHidden = 64
)

// locatorRecipe is about fifteen looks at each frame of 136 clips of 8 frames in 4
// views. Chosen on data of one seed, reported on another.
var locatorRecipe = recipe{steps: 1500, batch: 32, lr: .01}

// newLocator prepares to look at the examples of f, of clips with so many frames.
func newLocator(f Field, frames int, side [2]float64, r *philox.Stream) *locator {
	l := &locator{f: f, most: min(lookAt, f.H*f.W), frames: frames, per: (frames + f.T - 1) / f.T, side: side}
	l.net = newPerceptron(9*2*f.C, locatorHidden, 1+2*l.per, 0, r)
	n := len(f.Data) / f.size()
	l.median, l.look = make([]float32, n*f.H*f.W*f.C), make([]int32, 0, n*f.T*l.most)
	over, change, order := make([]float32, f.T), make([]float64, f.H*f.W), make([]int32, f.H*f.W)
	for e := range n {
		x, m := f.row(e), l.still(e)
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
			l.look = append(l.look, order[:l.most]...)
		}
	}
	return l
}

func (l *locator) still(example int) []float32 {
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

// middle is where cell i is.
func (l *locator) middle(i int32) [2]float32 {
	x, y := float64(int(i)%l.f.W)+.5, float64(int(i)/l.f.W)+.5
	return [2]float32{float32(x / float64(l.f.W) * l.side[0]), float32(y / float64(l.f.H) * l.side[1])}
}

// stands is the frame that part k of place t in time stands for: the last of them
// for the clip's last, so that a first frame that is coded alone lies right.
func (l *locator) stands(t, k int) int {
	return max(l.frames-(l.f.T-t)*l.per+k, 0)
}

// forward gives places [len(at),per,2]; at lists example*T+t.
func (l *locator) forward(at []int) []float32 {
	f, in := l.f, l.net.hidden.in
	rows := len(at) * l.most
	l.col, l.p, l.place = sized(l.col, rows*in), sized(l.p, rows), sized(l.place, len(at)*l.per*2)
	clear(l.col)
	clear(l.place)
	for n, a := range at {
		x, m := f.Data[a*f.H*f.W*f.C:][:f.H*f.W*f.C], l.still(a/f.T)
		for k, cell := range l.look[a*l.most:][:l.most] {
			row := l.col[(n*l.most+k)*in:][:in]
			f.around(int(cell), func(k, j int) {
				now, was, out := x[j*f.C:][:f.C], m[j*f.C:][:f.C], row[k*2*f.C:][:2*f.C]
				for c, v := range now {
					out[c], out[f.C+c] = v, v-was[c]
				}
			})
		}
	}
	l.z = l.net.run(l.col, rows, nil)
	for n, a := range at {
		z, p := l.z[n*l.most*l.net.out.out:], l.p[n*l.most:][:l.most]
		for k := range p {
			p[k] = z[k*l.net.out.out]
		}
		softmax(p)
		for k, cell := range l.look[a*l.most:][:l.most] {
			mid := l.middle(cell)
			for i := range l.per * 2 {
				l.place[n*l.per*2+i] += p[k] * (mid[i%2] + reach*z[k*l.net.out.out+1+i])
			}
		}
	}
	return l.place
}

// reach is how far from a cell's middle an output of 1 is, of the longer side.
const reach = .25

// backward adds to the gradients; dplace is of the last forward's places.
func (l *locator) backward(dplace []float32, at []int) {
	out := l.net.out.out
	dz := make([]float32, len(l.z))
	for n, a := range at {
		g, y := dplace[n*l.per*2:][:l.per*2], l.place[n*l.per*2:]
		for k, cell := range l.look[a*l.most:][:l.most] {
			p, mid := l.p[n*l.most+k], l.middle(cell)
			z, d := l.z[(n*l.most+k)*out:][:out], dz[(n*l.most+k)*out:][:out]
			for i, v := range g {
				d[0] += p * v * (mid[i%2] + reach*z[1+i] - y[i])
				d[1+i] = p * v * reach
			}
		}
	}
	l.net.back(nil, dz)
}

// fit learns from the measured paths of some clips' examples: the loss is the
// mean distance.
func (l *locator) fit(ctx context.Context, rc recipe, paths []path, clips []int, views int, r *philox.Stream) error {
	at, d := make([]int, rc.batch), make([]float32, rc.batch*l.per*2)
	for step := 1; step <= rc.steps; step++ {
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
				want := paths[a/l.f.T][l.stands(a%l.f.T, k)]
				dx, dy := float64(y[i])-want[0], float64(y[i+1])-want[1]
				far := math.Sqrt(dx*dx+dy*dy) + 1e-3 // smooth at 0
				d[i], d[i+1] = float32(dx/far/float64(len(at))), float32(dy/far/float64(len(at)))
			}
		}
		l.backward(d, at)
		adam(l.net.layers(), step, rc.rate(step), rc.decay)
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
				list[e][l.stands(t, k)] = [2]float64{float64(y[i]), float64(y[i+1])}
			}
		}
	}
	return list
}

// located fits a locator of what moves on some clips, and gives the path of all.
func (s *Set) located(ctx context.Context, f Field, clips []int, steps int, r *philox.Stream) ([]path, error) {
	l := newLocator(channelwise(f, clips, s.Views), len(s.motion[0]), s.side, r)
	rc := locatorRecipe
	if steps > 0 {
		rc.steps = min(rc.steps, steps)
	}
	if err := l.fit(ctx, rc, s.motion, clips, s.Views, r); err != nil {
		return nil, err
	}
	return l.locate(), nil
}
