package probe

import (
	"context"
	"math"
	"slices"
	"sync"

	"magvit/kernels/philox"
	"magvit/trainer/data"
	"magvit/trainer/metrics"
	"magvit/trainer/probe/nn"
)

// codePredictor predicts the codes of later time steps from earlier ones: a perceptron
// gives a cell's digits from the median of the cell's digits over the observed steps,
// and from the forecast position of the moving object relative to the cell. Later steps
// follow from later forecast positions; future frames are not used.
type codePredictor struct {
	book     Codebook
	books    int // codes of a cell
	levels   []int
	width    int // of the embeddings of a cell's codes
	t, h, w  int // of the codes of a whole clip
	observed int // time steps of the frames seen
	per      int // frames that one time step encodes
	frames   int
	side     [2]float64
	net      *nn.Perceptron
}

const (
	codeHidden  = 128
	cellsNear   = 12 // cells nearest to the moving object that a fit samples of each time step
	cellsRandom = 4  // other cells that it samples
)

var codeRecipe = nn.Recipe{Steps: 1500, Batch: 32, LR: .005, Decay: .01}

func newCodePredictor(s *ForecastSet, r *philox.Stream) *codePredictor {
	d := s.codeShape
	p := &codePredictor{book: s.seen.Codebook, books: d[3], t: d[0], h: d[1], w: d[2], frames: s.frames[0], side: s.seen.side,
		observed: s.seen.codes.T, per: (s.frames[0] + d[0] - 1) / d[0]}
	out := 0
	for range p.books {
		for k := range p.book.digits() {
			p.levels = append(p.levels, p.book.levels(k))
			out += p.book.levels(k)
		}
	}
	p.width = p.books * p.book.width()
	p.net = nn.NewPerceptron(p.width+6*(p.per+1), codeHidden, out, 0, r)
	return p
}

// frameOf is the frame that part k of time step t encodes, as locator.frameOf has it;
// part -1 is the frame before.
func (p *codePredictor) frameOf(t, k int) int {
	return min(max(p.frames-(p.t-t)*p.per+k, 0), p.frames-1)
}

// features of cell i at time step t, where the object moves along the path motion.
func (p *codePredictor) features(dst []float32, median []float32, motion path, t, i int) []float32 {
	dst = append(dst, median[i*p.width:][:p.width]...)
	x, y := (float64(i%p.w)+.5)/float64(p.w)*p.side[0], (float64(i/p.w)+.5)/float64(p.h)*p.side[1]
	cell := p.side[0] / float64(p.w)
	for k := -1; k < p.per; k++ {
		q := motion[p.frameOf(t, k)]
		for _, v := range [2]float64{(q[0] - x) / cell, (q[1] - y) / cell} {
			v = min(max(v, -3), 3)
			// Sine and cosine of the distance, since codes change within a fraction of a cell.
			s, c := math.Sincos(2 * v)
			dst = append(dst, float32(v), float32(s), float32(c))
		}
	}
	return dst
}

// medianOf is the median of each value of an example's embeddings over the observed time steps.
func (p *codePredictor) medianOf(seen Field, example int) []float32 {
	x, n := seen.row(example), seen.H*seen.W*seen.C
	out, over := make([]float32, n), make([]float32, seen.T)
	for i := range out {
		for t := range over {
			over[t] = x[t*n+i]
		}
		slices.Sort(over)
		out[i] = over[seen.T/2]
	}
	return out
}

// fit trains on whole clips, all but their first time step.
func (p *codePredictor) fit(ctx context.Context, rc nn.Recipe, s *ForecastSet, clips []int, r *philox.Stream) error {
	cells := p.h * p.w
	medians := map[int][]float32{}
	order := make([]int, cells)
	for step := 1; step <= rc.Steps; step++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		var x [][]float32
		var targets []int32
		for range rc.Batch {
			e := clips[r.IntN(len(clips))]*s.seen.Views + r.IntN(s.seen.Views)
			t := 1 + r.IntN(max(p.t-1, 1))
			t = min(t, p.t-1)
			if medians[e] == nil {
				medians[e] = p.medianOf(s.seen.codes, e)
			}
			q := s.whole[e][p.frameOf(t, p.per-1)]
			for i := range order {
				order[i] = i
			}
			distance := func(i int) float64 {
				x, y := (float64(i%p.w)+.5)/float64(p.w)*p.side[0], (float64(i/p.w)+.5)/float64(p.h)*p.side[1]
				return (x-q[0])*(x-q[0]) + (y-q[1])*(y-q[1])
			}
			slices.SortStableFunc(order, func(a, b int) int {
				if d := distance(a) - distance(b); d != 0 {
					return int(math.Copysign(1, d))
				}
				return 0
			})
			for k := range min(cells, cellsNear+cellsRandom) {
				i := order[k]
				if k >= cellsNear {
					i = r.IntN(cells)
				}
				x = append(x, p.features(nil, medians[e], s.whole[e], t, i))
				targets = append(targets, s.codes[((e*p.t+t)*cells+i)*p.books:][:p.books]...)
			}
		}
		y := p.net.Forward(x, nil)
		for n := range x {
			row := y[n*p.net.Outputs():][:p.net.Outputs()]
			for k, l := range p.levels {
				z := row[:l]
				nn.Softmax(z)
				z[p.digit(targets[n*p.books:][:p.books], k)]--
				for i := range z {
					z[i] /= float32(len(x))
				}
				row = row[l:]
			}
		}
		p.net.Backward(y)
		nn.AdamW(p.net.Layers(), step, rc.LearningRate(step), rc.Decay)
	}
	return nil
}

// digit is digit k of a cell's codes.
func (p *codePredictor) digit(codes []int32, k int) int {
	n := p.book.digits()
	c := int(codes[k/n])
	for d := range k % n {
		c /= p.book.levels(d)
	}
	return c % p.book.levels(k%n)
}

// predict writes the codes of the time steps not seen into a clip's codes.
func (p *codePredictor) predict(codes []int32, median []float32, motion path) {
	cells := p.h * p.w
	for t := p.observed; t < p.t; t++ {
		x := make([][]float32, cells)
		for i := range x {
			x[i] = p.features(nil, median, motion, t, i)
		}
		y := p.net.Forward(x, nil)
		for i := range cells {
			row, n := y[i*p.net.Outputs():][:p.net.Outputs()], p.book.digits()
			for b := range p.books {
				code, stride := 0, 1
				for d := range n {
					l := p.levels[b*n+d]
					code += stride * nn.Argmax(row[:l])
					stride *= l
					row = row[l:]
				}
				codes[(t*cells+i)*p.books+b] = int32(code)
			}
		}
	}
}

// squares sums squared errors over all values and over those of the foreground.
type squares struct{ all, n, foreground, nForeground float64 }

func (q *squares) add(predicted, actual []float32, mask []bool, channels int) {
	for i, v := range predicted {
		d := float64(min(max(v, 0), 1) - actual[i])
		q.all, q.n = q.all+d*d, q.n+1
		if mask[i/channels] {
			q.foreground, q.nForeground = q.foreground+d*d, q.nForeground+1
		}
	}
}

// frames predicts the frames not seen of the clips tested.
func (t *forecastTrial) frames(ctx context.Context, forecast, located []path, decoding *sync.Mutex) error {
	s, views := t.s, t.s.seen.Views
	p := newCodePredictor(s, t.stream("painter"))
	if p.observed < p.t {
		if err := p.fit(ctx, codeRecipe.AtMost(t.o.Steps), s, t.fit, t.stream("painter fit")); err != nil {
			return err
		}
	}
	T, H, W, C := s.frames[0], s.frames[1], s.frames[2], s.frames[3]
	observed := len(s.seen.motion[0])
	per := len(s.codes) / len(s.whole)
	seenPer := len(s.seen.raw) / len(s.seen.Names)
	for k, c := range t.test {
		if err := ctx.Err(); err != nil {
			return err
		}
		actual := make([]float32, len(s.later[c]))
		for i, v := range s.later[c] {
			actual[i] = float32(v) / 255
		}
		copies := s.copyLast(c, T-observed)
		mask := movedMask(slices.Concat(copies[:H*W*C], actual), T-observed+1, H, W, C)
		truth := s.codes[c*views*per:][:per]
		// The codes of the frames seen, encoded alone, then the predicted ones.
		codes := slices.Clone(truth)
		copy(codes, s.seen.raw[c*seenPer:][:min(seenPer, per)])
		p.predict(codes, p.medianOf(s.seen.codes, c*views), slices.Concat(located[c*views], forecast[k]))
		var decoded [2][]float32
		for j, list := range [][]int32{codes, truth} {
			decoding.Lock()
			video, err := s.Decode(list)
			decoding.Unlock()
			if err != nil {
				return err
			}
			decoded[j] = video[observed*H*W*C:]
		}
		t.squared[0].add(decoded[0], actual, mask, C)
		t.squared[1].add(copies, actual, mask, C)
		t.squared[2].add(decoded[1], actual, mask, C)
	}
	return nil
}

// movedMask is the foreground of each frame but the first, together with the
// foreground of the first: an object that is drawn at its old position counts.
func movedMask(video []float32, t, h, w, c int) []bool {
	mask := make([]bool, t*h*w)
	data.Foreground(mask, video, t, h, w, c, metrics.Grow)
	for i, set := range mask[:h*w] {
		for f := 1; set && f < t; f++ {
			mask[f*h*w+i] = true
		}
	}
	return mask[h*w:]
}

// copyLast repeats the last frame seen of clip c n times.
func (s *ForecastSet) copyLast(c, n int) (video []float32) {
	for range n {
		for _, v := range s.lastSeen[c] {
			video = append(video, float32(v)/255)
		}
	}
	return video
}

// summarizePictures averages the errors of a kind of frames over splits.
func summarizePictures(k int, trials []forecastTrial, fitted, tested int) (p Picture) {
	for _, t := range trials {
		q := t.squared[k]
		p.PSNR += metrics.PSNR(q.all/q.n) / metrics.Number(len(trials))
		p.PerSplit = append(p.PerSplit, metrics.PSNR(q.foreground/max(q.nForeground, 1)))
	}
	p.ForegroundPSNR, p.Low, p.High = interval(p.PerSplit, tested, fitted)
	return p
}
