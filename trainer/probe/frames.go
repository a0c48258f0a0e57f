package probe

import (
	"context"
	"math"
	"slices"
	"sync"

	"magvit/kernels/philox"
	"magvit/trainer/data"
	"magvit/trainer/metrics"
)

// painter tells the codes of a later place in time from earlier ones: a perceptron
// gives a cell's digits from what the cell mostly was in the frames seen, and from
// where what moves is forecast to be, seen from the cell. Codes further ahead than
// one place follow from forecasts further ahead; nothing is told from what comes
// after.
type painter struct {
	book    Codebook
	books   int // codes of a cell
	levels  []int
	t, h, w int // of the codes of a whole clip
	seen    int // places in time that are seen
	per     int // frames that a place in time stands for
	frames  int
	side    [2]float64
	net     *perceptron
}

const (
	painterHidden = 128
	paintNear     = 12 // cells nearest to what moves, of each place in time,
	paintFar      = 4  // and others: what a step is fitted on
)

var painterRecipe = recipe{steps: 1500, batch: 32, lr: .005, decay: .01}

func newPainter(s *ForecastSet, r *philox.Stream) *painter {
	d := s.codeShape
	p := &painter{book: s.seen.Codebook, books: d[3], t: d[0], h: d[1], w: d[2], frames: s.frames[0], side: s.seen.side,
		seen: s.seen.codes.T, per: (s.frames[0] + d[0] - 1) / d[0]}
	out := 0
	for range p.books {
		for k := range p.book.digits() {
			p.levels = append(p.levels, p.book.levels(k))
			out += p.book.levels(k)
		}
	}
	p.net = newPerceptron(len(p.levels)+6*(p.per+1), painterHidden, out, 0, r)
	return p
}

// stands is the frame that part k of place t stands for, as a locator has it; part
// -1 is the frame before.
func (p *painter) stands(t, k int) int { return min(max(p.frames-(p.t-t)*p.per+k, 0), p.frames-1) }

// features of cell i at place t, when what moves goes along way.
func (p *painter) features(dst []float32, usual []float32, way path, t, i int) []float32 {
	dst = append(dst, usual[i*len(p.levels):][:len(p.levels)]...)
	x, y := (float64(i%p.w)+.5)/float64(p.w)*p.side[0], (float64(i/p.w)+.5)/float64(p.h)*p.side[1]
	cell := p.side[0] / float64(p.w)
	for k := -1; k < p.per; k++ {
		q := way[p.stands(t, k)]
		for _, v := range [2]float64{(q[0] - x) / cell, (q[1] - y) / cell} {
			v = min(max(v, -3), 3)
			// A few bumps beside the distance, since codes change within a fraction of a cell.
			s, c := math.Sincos(2 * v)
			dst = append(dst, float32(v), float32(s), float32(c))
		}
	}
	return dst
}

// usual is the median over the places seen of each of an example's digits.
func (p *painter) usual(seen Field, example int) []float32 {
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

// fit learns from whole clips, all but their first place in time.
func (p *painter) fit(ctx context.Context, rc recipe, s *ForecastSet, clips []int, r *philox.Stream) error {
	cells := p.h * p.w
	usual := map[int][]float32{}
	order := make([]int, cells)
	for step := 1; step <= rc.steps; step++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		var x [][]float32
		var want []int32
		for range rc.batch {
			e := clips[r.IntN(len(clips))]*s.seen.Views + r.IntN(s.seen.Views)
			t := 1 + r.IntN(max(p.t-1, 1))
			t = min(t, p.t-1)
			if usual[e] == nil {
				usual[e] = p.usual(s.seen.codes, e)
			}
			q := s.whole[e][p.stands(t, p.per-1)]
			for i := range order {
				order[i] = i
			}
			far := func(i int) float64 {
				x, y := (float64(i%p.w)+.5)/float64(p.w)*p.side[0], (float64(i/p.w)+.5)/float64(p.h)*p.side[1]
				return (x-q[0])*(x-q[0]) + (y-q[1])*(y-q[1])
			}
			slices.SortStableFunc(order, func(a, b int) int {
				if d := far(a) - far(b); d != 0 {
					return int(math.Copysign(1, d))
				}
				return 0
			})
			for k := range min(cells, paintNear+paintFar) {
				i := order[k]
				if k >= paintNear {
					i = r.IntN(cells)
				}
				x = append(x, p.features(nil, usual[e], s.whole[e], t, i))
				want = append(want, s.codes[((e*p.t+t)*cells+i)*p.books:][:p.books]...)
			}
		}
		y := p.net.forward(x, nil)
		for n := range x {
			row := y[n*p.net.out.out:][:p.net.out.out]
			for k, l := range p.levels {
				z := row[:l]
				softmax(z)
				z[p.digit(want[n*p.books:][:p.books], k)]--
				for i := range z {
					z[i] /= float32(len(x))
				}
				row = row[l:]
			}
		}
		p.net.backward(y)
		adam(p.net.layers(), step, rc.rate(step), rc.decay)
	}
	return nil
}

// digit is number k of a cell's digits.
func (p *painter) digit(codes []int32, k int) int {
	n := p.book.digits()
	c := int(codes[k/n])
	for d := range k % n {
		c /= p.book.levels(d)
	}
	return c % p.book.levels(k%n)
}

// paint writes the codes of the places not seen into a clip's codes.
func (p *painter) paint(codes []int32, usual []float32, way path) {
	cells := p.h * p.w
	for t := p.seen; t < p.t; t++ {
		x := make([][]float32, cells)
		for i := range x {
			x[i] = p.features(nil, usual, way, t, i)
		}
		y := p.net.forward(x, nil)
		for i := range cells {
			row, n := y[i*p.net.out.out:][:p.net.out.out], p.book.digits()
			for b := range p.books {
				code, unit := 0, 1
				for d := range n {
					l := p.levels[b*n+d]
					code += unit * argmax(row[:l])
					unit *= l
					row = row[l:]
				}
				codes[(t*cells+i)*p.books+b] = int32(code)
			}
		}
	}
}

// squares sums squared errors over all values and over those of what moves.
type squares struct{ all, n, fore, nFore float64 }

func (q *squares) add(guess, came []float32, mask []bool, channels int) {
	for i, v := range guess {
		d := float64(min(max(v, 0), 1) - came[i])
		q.all, q.n = q.all+d*d, q.n+1
		if mask[i/channels] {
			q.fore, q.nFore = q.fore+d*d, q.nFore+1
		}
	}
}

// frames predicts the frames not seen of the clips tested.
func (t *foretrial) frames(ctx context.Context, told, found []path, decoding *sync.Mutex) error {
	s, views := t.s, t.s.seen.Views
	p := newPainter(s, t.stream("painter"))
	if p.seen < p.t {
		if err := p.fit(ctx, t.recipe(painterRecipe), s, t.fit, t.stream("painter fit")); err != nil {
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
		came := make([]float32, len(s.later[c]))
		for i, v := range s.later[c] {
			came[i] = float32(v) / 255
		}
		still := s.last(c, T-observed)
		mask := moved(slices.Concat(still[:H*W*C], came), T-observed+1, H, W, C)
		truth := s.codes[c*views*per:][:per]
		// Codes of the frames seen, as they were alone; then what is painted.
		codes := slices.Clone(truth)
		copy(codes, s.seen.raw[c*seenPer:][:min(seenPer, per)])
		p.paint(codes, p.usual(s.seen.codes, c*views), slices.Concat(found[c*views], told[k]))
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
		t.squared[0].add(decoded[0], came, mask, C)
		t.squared[1].add(still, came, mask, C)
		t.squared[2].add(decoded[1], came, mask, C)
	}
	return nil
}

// moved is the mask of what moves in each frame but the first, where it is and
// where it was in the first: a ghost that stays there counts.
func moved(video []float32, t, h, w, c int) []bool {
	mask := make([]bool, t*h*w)
	data.Foreground(mask, video, t, h, w, c, metrics.Grow)
	for i, was := range mask[:h*w] {
		for f := 1; was && f < t; f++ {
			mask[f*h*w+i] = true
		}
	}
	return mask[h*w:]
}

// last is the last frame seen of clip c, so many times.
func (s *ForecastSet) last(c, times int) (video []float32) {
	for range times {
		for _, v := range s.lastSeen[c] {
			video = append(video, float32(v)/255)
		}
	}
	return video
}

// pictured sums up how near frames are, over splits.
func pictured(k int, trials []foretrial, fitted, tested int) (p Picture) {
	for _, t := range trials {
		q := t.squared[k]
		p.PSNR += metrics.PSNR(q.all/q.n) / metrics.Number(len(trials))
		p.PerSplit = append(p.PerSplit, metrics.PSNR(q.fore/max(q.nFore, 1)))
	}
	p.ForegroundPSNR, p.Low, p.High = interval(p.PerSplit, tested, fitted)
	return p
}
