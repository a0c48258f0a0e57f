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
func newFolded(c *CPU, prec Precision, s Conv) *folded {
	g := &folded{Conv: s, source: s.outputs(), prec: prec, tiles: c.tilesIn(prec)}
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

// foldedOutput is ConvGradW's way where the output has few channels: x and dy in each
// other's place. The gradient of tap k of a convolution of stride 1 is that of tap
// K-1-k, of the convolution that makes x's pixels from those of dy.
type foldedOutput struct {
	*folded
	of Conv
}

// newFoldedOutput is nil where there are enough output channels, or strides.
func newFoldedOutput(c *CPU, prec Precision, s Conv) *foldedOutput {
	if s.O >= 16 || s.C < 16 || s.O*s.KW >= 2*s.C || s.ST != 1 || s.SH != 1 || s.SW != 1 {
		return nil
	}
	back := s
	back.T, back.H, back.W = s.Out()
	back.C, back.O = s.O, s.C
	back.PT, back.PH, back.PW = (s.KT-1)*s.DT-s.PT, s.KH-1-s.PH, s.KW-1-s.PW
	g := newFolded(c, prec, back)
	if back.PT < 0 || back.PH < 0 || back.PW < 0 || g == nil {
		return nil
	}
	g.t = s.T // the last frames read beyond the end, where there is nothing
	return &foldedOutput{g, s}
}

func (g *foldedOutput) scratch() int { return g.folded.scratch() + g.O*g.taps() }

func (g *foldedOutput) sums(dw, dy, x []float32, r, from, to int, scratch []float32) {
	back := carve(&scratch, g.O*g.taps())
	g.folded.sums(back, x, dy, r, from, to, scratch)
	plane := g.KH * g.KW
	for k := range plane {
		for o := range g.of.O {
			to := dw[(o*g.KT*plane+(g.KT-1-r)*plane+plane-1-k)*g.of.C:][:g.of.C]
			for c := range to {
				to[c] = back[c*g.taps()+(r*plane+k)*g.of.O+o]
			}
		}
	}
}
