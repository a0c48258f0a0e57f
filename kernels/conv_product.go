package kernels

// product multiplies the rows of a lattice by weights that were packed before.
//
// The row of values that a pixel reads is cut into chunks. A block of pixels
// gathers its rows of one chunk, multiplies them, and adds the result to that of
// the chunks before. The packed weights are likewise chunk after chunk.
//
// Sums are float32 within a chunk and over the chunks: the squared relative error is
// about 3e-16·(chunk + chunks), below 3e-13.
type product struct {
	lattice
	prec   Precision
	tiles  tiles
	n      int       // result channels, padded to whole tiles
	chunk  int       // values of a row taken at once
	block  int       // pixels of one task
	packed []float32 // [words of k][n], as chunks of panels
	bias   []float32 // [n], added to every row
	direct bool      // rows are read in place
	piece  int       // rows of weights packed by one task
}

const (
	// A chunk of 12 rows and of a panel of 32 columns are 36 and 96 KiB, well
	// inside a core's second cache.
	maxChunk = 768
	// Rows a multiple of 4 KiB apart share the same lines of the first cache.
	maxDirect = 1024
	maxPiece  = 128
	// minTasks is how many tasks a kernel should have, so that all workers are busy.
	minTasks = 16
)

func newProduct(c *CPU, l lattice, channels int) *product {
	t := c.productTiles()
	p := &product{lattice: l, prec: c.prec, tiles: t, n: t.pad(channels)}
	k := l.k()
	p.direct = l.plain() && l.channels < maxDirect && p.prec == F32
	if k > 0 {
		p.chunk = (blocks(k, blocks(k, maxChunk)) + 15) / 16 * 16
	}
	for p.block = 96; p.block > 12 && blocks(l.pixels(), p.block) < minTasks; p.block /= 2 {
	}
	// Long pieces read the weights in long runs; small kernels need several tasks.
	for p.piece = maxPiece; p.piece > 32 && blocks(k, p.piece) < minTasks/2; p.piece /= 2 {
	}
	p.packed, p.bias = alignedFloats(p.prec.words(k)*p.n), alignedFloats(p.n)
	return p
}

// tasks is the number of blocks of pixels.
func (p *product) tasks() int { return blocks(p.pixels(), p.block) }

// stride is the distance of gathered rows: an odd number of cache lines.
func (p *product) stride() int { return (p.prec.words(p.chunk)+31)/32*32 + 16 }

// scratch is how many values a worker needs: gathered rows, then results.
func (p *product) scratch() int { return p.block * (p.stride() + p.n) }

// packTasks is the number of tasks that fill packed.
func (p *product) packTasks() int { return blocks(p.k(), p.piece) }

// packPiece packs the rows of weights of one task. fill writes those of [k0,k1)
// and of the channels [j,j+cols): word q of channel j+i goes to dst[q·cols+i]; k0
// is even. Where there is no such channel, packed stays zero.
func (p *product) packPiece(task int, fill func(dst []float32, k0, k1, j, cols int)) {
	from, to := span(task, p.k(), p.piece)
	for from < to {
		c0 := from / p.chunk * p.chunk
		c1 := min(c0+p.chunk, p.k())
		end := min(to, c1)
		for j := 0; j < p.n; {
			cols, words := p.tiles.at(p.n-j).cols, p.prec.words(c1-c0)
			panel := p.packed[p.prec.words(c0)*p.n+j*words:][:words*cols]
			fill(panel[p.prec.words(from-c0)*cols:p.prec.words(end-c0)*cols], from, end, j, cols)
			j += cols
		}
		from = end
	}
}

// rows computes the result of the pixels [p0,p1) to dst, rows of stride ld >= n.
func (p *product) rows(dst []float32, ld int, src []float32, p0, p1 int, scratch []float32) {
	m, k := p1-p0, p.k()
	if k == 0 {
		for i := range m {
			copy(dst[i*ld:][:p.n], p.bias)
		}
		return
	}
	from, sfrom := p.bias, 0
	for c0 := 0; c0 < k; c0 += p.chunk {
		c1 := min(c0+p.chunk, k)
		a, sai := scratch, p.stride()
		w0, w1 := p.prec.words(c0), p.prec.words(c1)
		switch {
		case p.direct:
			a, sai = src[p0*p.channels+c0:], p.channels
		case p.prec == BF16:
			h := halves(a)
			gather(&p.lattice, packRow, h, 2*sai, src, p0, p1, c0, c1)
			if (c1-c0)%2 == 1 {
				for i := range m {
					h[2*i*sai+c1-c0] = 0
				}
			}
		default:
			gather(&p.lattice, copyRow, a, sai, src, p0, p1, c0, c1)
		}
		p.tiles.multiply(m, p.n, w1-w0, a, sai, 1, matrix{data: p.packed[w0*p.n : w1*p.n]}, from, sfrom, dst, ld)
		from, sfrom = dst, ld
	}
}

// packColumn writes a row of weights, values along the sum, to column i of a panel.
func (p *product) packColumn(panel []float32, cols, i int, row []float32) {
	if p.prec == BF16 {
		var words [maxPiece / 2]float32
		packRow(halves(words[:]), row)
		row = words[:p.prec.words(len(row))]
	}
	for _, v := range row {
		panel[i] = v
		i += cols
	}
}
