package kernels

// gradColumns is how many columns of dw one task of ConvGradW makes: whole lines of
// the kernel where they are short, else an even part of one, so that a gather copies
// long runs. The sums of all output channels fit into L2.
func gradColumns(l *lattice, channels int) int {
	const sums = 48 << 10 // values, 192 KiB
	limit := min(max(sums/channels, 96), 288)
	line := l.cols * l.channels
	if line <= limit {
		return min(line*(limit/line), l.k())
	}
	return (ceilDiv(line, ceilDiv(line, limit)) + 15) / 16 * 16
}

// gradPixels is how many pixels ConvGradW takes at once.
const gradPixels = 256

// gradWeights is a product of dy, its pixels as columns, and the gathered rows of x.
// A range is some columns of the weights, a block gradPixels pixels.
type gradWeights struct {
	lattice
	prec   Precision
	tiles  tiles
	result int  // channels of dy
	cols   int  // of a range
	direct bool // the rows of x are read in place
	ld     int  // of gathered rows and of the sums
	zeros  []float32
}

func newGradWeights(c *CPU, prec Precision, s Conv) *gradWeights {
	g := &gradWeights{lattice: s.outputs(), prec: prec, tiles: c.tilesIn(prec), result: s.O}
	g.cols = gradColumns(&g.lattice, s.O)
	for g.cols > 192 && g.ranges() < minTasks {
		g.cols = (g.cols/2 + 15) / 16 * 16
	}
	k, columns := g.k(), g.tiles.columns()
	g.direct = g.plain() && k%columns == 0 && g.cols%columns == 0 && k < maxDirect && g.prec == F32
	g.ld = (g.cols+31)/32*32 + 16
	g.zeros = alignedFloats(max(g.ld, s.O))
	return g
}

func (g *gradWeights) ranges() int { return ceilDiv(g.k(), g.cols) }
func (g *gradWeights) blocks() int { return ceilDiv(g.pixels(), gradPixels) }

// parter makes the gradients of some of the weights from some of the pixels.
type parter interface {
	ranges() int // of weights
	blocks() int // of pixels
	scratch() int
	// sums writes to dw the gradients of a range of weights by the blocks [from,to).
	sums(dw, dy, x []float32, r, from, to int, scratch []float32)
}

// partPixels is how many pixels a part has at least: to write and add up a gradient
// takes as long as 60 float32 multiply-adds.
const partPixels = 2048

// ConvGradW's task makes the gradients of a range of weights. Where that would be too
// few tasks, the pixels are split too, and a second stage adds the parts in order.
func (s ConvGradW) cpu(c *CPU) []stage {
	if f := c.winograd(s); f != nil {
		return s.winograd(c, f)
	}
	prec := c.directIn(s)
	var g parter = newGradWeights(c, prec, s.Conv)
	if height, width, ok := c.fourier(s); ok {
		g = newFourierGrad(c, s.Conv, height, width)
	} else if better := newPointGrad(c, prec, s.Conv); better != nil {
		g = better
	} else if better := newShifted(c, prec, s.Conv); better != nil {
		g = better
	} else if better := newFolded(c, prec, s.Conv); better != nil {
		g = better
	}
	if better := newFoldedOutput(c, prec, s.Conv); better != nil {
		g = better
	}
	c.reserve(g.scratch())
	k, ranges := s.taps(), g.ranges()
	parts := max(1, min(ceilDiv(minTasks, ranges), s.pixels()/partPixels))
	part := ceilDiv(g.blocks(), parts)
	parts = ceilDiv(g.blocks(), part)
	var partial []float32
	if parts > 1 {
		partial = alignedFloats(parts * s.O * k)
	}
	multiply := func(args [][]float32, task, worker int) {
		dw := args[0]
		if parts > 1 {
			dw = partial[task/ranges*s.O*k:]
		}
		from, to := span(task/ranges, g.blocks(), part)
		g.sums(dw, args[1], args[2], task%ranges, from, to, c.scratch[worker])
	}
	stages := []stage{{ranges * parts, multiply}}
	if parts > 1 {
		stages = append(stages, stage{s.O, func(args [][]float32, o, _ int) {
			dw := args[0][o*k:][:k]
			copy(dw, partial[o*k:])
			for i := 1; i < parts; i++ {
				addSlice(dw, dw, partial[(i*s.O+o)*k:][:k])
			}
		}})
	}
	return stages
}

// ConvGradWB adds the rows of dy after the gradient of the weights, rounded as that rounds them.
func (s ConvGradWB) cpu(c *CPU) (stages []stage) {
	views := make([][3][]float32, c.workers) // dw, dy, x
	for _, w := range ConvGradW(s).cpu(c) {
		stages = append(stages, stage{w.tasks, func(args [][]float32, task, worker int) {
			view := views[worker][:]
			view[0], view[1], view[2] = args[0], args[2], args[3]
			w.do(view, task, worker)
		}})
	}
	c.reserve(rowsPerTask(s.O) * s.O)
	addRows, round := c.vec().addRows, c.PrecisionFor(s) == BF16
	for _, b := range columnSums(1, s.pixels(), s.O, func(acc []float64, args [][]float32, from, to, worker int) {
		rows := args[1][from*s.O : to*s.O]
		if round {
			rounded := c.scratch[worker][:len(rows)]
			for i, v := range rows {
				rounded[i] = RoundBF16(v)
			}
			rows = rounded
		}
		addRows(acc, rows, to-from, s.O)
	}) {
		stages = append(stages, stage{b.tasks, func(args [][]float32, task, worker int) { b.do(args[1:], task, worker) }})
	}
	return stages
}

// scratch is how many values a worker needs: sums, gathered rows, and in BF16 the
// words of dy and the rows that become words.
func (g *gradWeights) scratch() int {
	n := (g.result + gradPixels) * g.ld
	if g.prec == BF16 {
		n += gradPixels/2*g.result + gradBatch*g.ld
	}
	return n
}

func (g *gradWeights) sums(dw, dy, x []float32, r, first, last int, scratch []float32) {
	k := g.k()
	k0, k1 := span(r, k, g.cols)
	sum, rows, words := carve(&scratch, g.result*g.ld), carve(&scratch, gradPixels*g.ld), []float32(nil)
	if g.prec == BF16 {
		words = carve(&scratch, gradPixels/2*g.result)
	}
	add, sadd := g.zeros, 0
	for block := first; block < last; block++ {
		p0, p1 := span(block, g.pixels(), gradPixels)
		a, b := dy[p0*g.result:], matrix{rows, g.ld}
		switch {
		case g.prec == BF16:
			g.pairDY(words, dy, p0, p1)
			g.pairRows(rows, x, p0, p1, k0, k1, scratch)
			a = words
		case g.direct:
			b = matrix{x[p0*k+k0:], k}
		default:
			gather(&g.lattice, copyRow, rows, g.ld, x, p0, p1, k0, k1)
		}
		g.tiles.multiply(g.result, g.tiles.pad(k1-k0), g.prec.words(p1-p0), a, 1, g.result, b, add, sadd, sum, g.ld)
		add, sadd = sum, g.ld
	}
	for o := range g.result {
		copy(dw[o*k+k0:][:k1-k0], sum[o*g.ld:])
	}
}

// pairDY makes words of dy: row q of dst those of the pixels p0+2q and p0+2q+1.
func (g *gradWeights) pairDY(dst, dy []float32, p0, p1 int) {
	c := g.result
	for p := p0; p < p1; p += 2 {
		second := g.zeros[:c]
		if p+1 < p1 {
			second = dy[(p+1)*c:][:c]
		}
		packRows(dst[(p-p0)/2*c:], dy[p*c:][:c], second)
	}
}

// gradBatch is how many rows are gathered before they become words: few enough for
// the first cache.
const gradBatch = 16

// pairRows gathers rows like gather, and makes words of them like pairDY.
func (g *gradWeights) pairRows(dst, x []float32, p0, p1, k0, k1 int, rows []float32) {
	n := k1 - k0
	for ; p0 < p1; p0 += gradBatch {
		end := min(p0+gradBatch, p1)
		gather(&g.lattice, copyRow, rows, g.ld, x, p0, end, k0, k1)
		for i := 0; i < end-p0; i += 2 {
			second := g.zeros[:n]
			if p0+i+1 < end {
				second = rows[(i+1)*g.ld:][:n]
			}
			packRows(dst[i/2*g.ld:], rows[i*g.ld:][:n], second)
		}
		dst = dst[gradBatch/2*g.ld:]
	}
}
