package kernels

// folded is ConvGradW's way where the input has few channels: what a line of the
// kernel reads, KW·C neighbouring values, are the rows of the product, and the output
// channels, in place in dy, its columns. A task makes the gradients of the taps of one
// frame of the kernel; it takes a few lines of output pixels at a time.
type folded struct {
	Conv
	source  lattice
	prec    Precision
	tiles   tiles
	t, h, w int // of the output
	lines   int // output lines of a block
	pitch   int // values of a copied line of the input
	zeros   []float32
}

// newFolded is nil where the output channels do not fill the tiles.
func newFolded(c *CPU, s Conv) *folded {
	g := &folded{Conv: s, source: s.outputs(), prec: c.prec, tiles: c.productTiles()}
	g.t, g.h, g.w = s.Out()
	if s.O%g.tiles.columns() != 0 || g.prec == BF16 && g.w%2 != 0 {
		return nil
	}
	g.lines = min(g.h, max(1, min(shiftPixels/g.w, maxSegments)))
	g.pitch = (((g.w-1)*s.SW+s.KW)*s.C + 31) / 32 * 32
	g.zeros = alignedFloats(s.O)
	return g
}

func (g *folded) ranges() int { return g.KT }
func (g *folded) blocks() int { return g.N * g.t * ceilDiv(g.h, g.lines) }

// run is how many values a line of the kernel reads, inputs how many lines of the
// input a block reads, and words how many words of pairs a line makes.
func (g *folded) run() int    { return g.KW * g.C }
func (g *folded) inputs() int { return (g.lines-1)*g.SH + g.KH }
func (g *folded) words() int  { return g.w / 2 * g.run() }

func (g *folded) scratch() int {
	n := segmentFloats + g.KH*g.run()*g.O + g.inputs()*g.pitch
	if g.prec == BF16 {
		n += g.inputs()*g.words() + g.lines*g.w/2*g.O
	}
	return n
}

func (g *folded) sums(dw, dy, x []float32, i, from, to int, scratch []float32) {
	run := g.run()
	segments := segmentsIn(carve(&scratch, segmentFloats))
	sum, copied := carve(&scratch, g.KH*run*g.O), carve(&scratch, g.inputs()*g.pitch)
	a, next, sak := copied, g.pitch, g.SW*g.C // rows of the product, between lines and pixels
	if g.prec == BF16 {
		a, next, sak = carve(&scratch, g.inputs()*g.words()), g.words(), run
	}
	add, sadd := g.zeros, 0
	for b := from; b < to; b++ {
		per := ceilDiv(g.h, g.lines)
		frame, h0 := b/per, b%per*g.lines
		h1 := min(h0+g.lines, g.h)
		ti := frame%g.t*g.ST - g.PT + i*g.DT
		if uint(ti) >= uint(g.T) {
			continue
		}
		inputs := (h1-h0-1)*g.SH + g.KH
		copyBox(&g.source, copyRow, copied, g.pitch, x[(frame/g.t*g.T+ti)*g.H*g.W*g.C:], h0*g.SH-g.PH, inputs, -g.PW)
		right := dy[(frame*g.h+h0)*g.w*g.O:]
		if g.prec == BF16 {
			for r := range inputs {
				packPairs(a[r*next:], copied[r*g.pitch:], run, g.w/2, g.SW*g.C)
			}
			packPairs(scratch, right, g.O, (h1-h0)*g.w/2, g.O)
			right = scratch
		}
		for j := range g.KH {
			for h := range h1 - h0 {
				segments[h] = segment{(h*g.SH + j) * next * 4, h * g.prec.words(g.w), g.prec.words(g.w)}
			}
			part := sum[j*run*g.O:][:run*g.O]
			from := add
			if sadd > 0 {
				from = part
			}
			g.tiles.run(run, g.O, segments[:h1-h0], 0, a, 1, sak, matrix{right, g.O}, from, sadd, part, g.O, nil)
		}
		sadd = g.O
	}
	if sadd == 0 { // all pixels read before the first frame or after the last
		clear(sum)
	}
	for o := range g.O {
		row := dw[o*g.taps()+i*g.KH*run:][:g.KH*run]
		for u := range row {
			row[u] = sum[u*g.O+o]
		}
	}
}
