package kernels

// pointGrad is ConvGradW's way where a pixel's row is the pixel itself, as in a linear layer: a
// product of dy and x over the pixels, both in place. The channels of one of them fill whole
// vectors and are the columns; those of the other are the rows.
type pointGrad struct {
	Conv
	tiles         tiles
	rows, columns int  // channels
	byX           bool // the columns are x's channels, else dy's
	wide          int  // columns of a range
	block         int  // pixels of a block
	zeros         []float32
}

const (
	// pointPixels is how many pixels a block has at most: those of 32 columns fill half of L1.
	pointPixels = 128
	// pointRows is how many values of the rows a block has, about: with those of the next block,
	// which are fetched meanwhile, they fill half of L2.
	pointRows = 64 << 10
)

// newPointGrad is nil where the kernel has more than one tap, or no channels fill whole vectors.
func newPointGrad(c *CPU, prec Precision, s Conv) *pointGrad {
	source, lanes := s.outputs(), c.tilesIn(prec).columns()
	if prec != F32 || !source.plain() || s.C%lanes != 0 && s.O%lanes != 0 {
		return nil
	}
	g := &pointGrad{Conv: s, tiles: c.tilesIn(prec), rows: s.O, columns: s.C, byX: true}
	if s.C%lanes != 0 {
		g.rows, g.columns, g.byX = s.C, s.O, false
	}
	g.wide = g.columns
	for g.wide > 32 && g.wide%(2*lanes) == 0 && g.ranges() < minTasks/4 {
		g.wide /= 2
	}
	g.block = max(min(pointPixels, pointRows/g.rows), 16)
	g.zeros = alignedFloats(g.wide)
	return g
}

func (g *pointGrad) ranges() int { return ceilDiv(g.columns, g.wide) }
func (g *pointGrad) blocks() int { return ceilDiv(g.pixels(), g.block) }

// scratch is how many values the sums need where the product is that of the transposed weights.
func (g *pointGrad) scratch() int {
	if g.byX {
		return 0
	}
	return g.rows * g.wide
}

func (g *pointGrad) sums(dw, dy, x []float32, r, from, to int, scratch []float32) {
	j0, j1 := span(r, g.columns, g.wide)
	a, b, sum, ld := dy, x, dw[j0:], g.C
	if !g.byX {
		a, b, sum, ld = x, dy, scratch, g.wide
	}
	add, sadd := g.zeros, 0
	for i := from; i < to; i++ {
		p0, p1 := span(i, g.pixels(), g.block)
		next := min(p1+g.block, g.pixels())
		f := prefetch{a[p1*g.rows : next*g.rows], b[p1*g.columns : next*g.columns]}
		g.tiles.multiplyFetching(g.rows, j1-j0, p1-p0, a[p0*g.rows:], 1, g.rows, matrix{b[p0*g.columns+j0:], g.columns}, add, sadd, sum, ld, &f)
		add, sadd = sum, ld
	}
	if g.byX {
		return
	}
	for c := range g.rows {
		for j, v := range sum[c*ld:][:j1-j0] {
			dw[(j0+j)*g.C+c] = v
		}
	}
}
