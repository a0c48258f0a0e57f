package kernels

import "unsafe"

// product multiplies the rows of a lattice by weights that were packed before.
//
// The sum over the row of values that a pixel reads is cut into chunks. The packed
// weights are chunk after chunk; a block of pixels multiplies one chunk after the
// other, each added to the result of those before. Where pixels find their rows is
// either a gathered copy of them (conv_gather.go) or, where neighbours share most of
// theirs, the source's lines (conv_strip.go).
//
// Sums are float32 within a chunk and over the chunks: the squared relative error is
// about 3e-16·(chunk + chunks), below 3e-13.
type product struct {
	lattice
	prec   Precision
	tiles  tiles
	out    int // result channels
	n      int // result channels, padded to whole tiles
	edge   int // columns of n that are computed to scratch first, as not all of them are channels
	chunks []chunk
	cpu    *CPU
	at     int       // of the packed weights, in the memory shared by the workers
	packed int       // how many values these are: [words of k][n], as chunks of panels
	bias   []float32 // [n], added to every row
	direct bool      // rows are read in place
	block  int       // pixels of one task at most
	strip  *strip    // nil: rows are gathered
	long   int       // values of the longest chunk
	packs  []packing
}

// chunk is a part of the sum.
type chunk struct {
	at    int // its panels, in rows of packed
	words int
	parts []part
}

// part is a run of neighbouring values [k0,k1) of the rows, k1-k0 at most maxChunk.
type part struct{ k0, k1, row int } // row of the chunk's panels

// packing is a task: a part's weights for the channels of a panel.
type packing struct {
	part
	at        int // of the part's first row in its panel, in the packed weights
	j0, width int // channels
}

const (
	// A chunk of 12 rows and of a panel of 32 columns are 36 and 96 KiB, well
	// inside a core's L2.
	maxChunk = 768
	// Rows a multiple of 4 KiB apart share the same lines of the first cache.
	maxDirect = 1024
	// minTasks is how many tasks a kernel should have, so that all workers are busy.
	minTasks = 16
)

// newProduct has its packed weights in the memory shared by the workers, from value at on.
func newProduct(c *CPU, prec Precision, l lattice, channels, at int) *product {
	t := c.tilesIn(prec)
	p := &product{lattice: l, prec: prec, tiles: t, out: channels, n: t.pad(channels), cpu: c, at: at}
	p.direct = l.plain() && l.channels < maxDirect && p.prec == F32
	if p.strip = newStrip(p); p.strip != nil {
		p.block = p.strip.h * p.strip.w
	} else {
		for p.block = 96; p.block > 12 && ceilDiv(l.pixels(), p.block) < minTasks; p.block /= 2 {
		}
		k := l.k()
		size := (ceilDiv(k, max(1, ceilDiv(k, maxChunk))) + 15) / 16 * 16
		for k0 := 0; k0 < k; k0 += size {
			p.add(part{k0: k0, k1: min(k0+size, k)})
		}
	}
	if p.n > channels {
		if p.edge = p.n; p.strip == nil {
			for p.tiles.at(p.edge).cols < p.edge {
				p.edge -= p.tiles.at(p.edge).cols
			}
		}
	}
	rows := 0
	for i := range p.chunks {
		p.chunks[i].at = rows
		rows += p.chunks[i].words
	}
	p.packed, p.bias = rows*p.n, alignedFloats(p.n)
	c.reserveShared(p.end())
	for _, c := range p.chunks {
		for j := 0; j < p.n; {
			cols := p.tiles.at(p.n - j).cols
			for _, s := range c.parts {
				p.packs = append(p.packs, packing{s, c.at*p.n + j*c.words + s.row*cols, j, cols})
			}
			j += cols
		}
	}
	return p
}

// end is where memory is free behind the packed weights: a cache line's start.
func (p *product) end() int { return p.at + ceilDiv(p.packed, 16)*16 }

// add makes a new chunk of the parts, whose rows follow one another.
func (p *product) add(parts ...part) {
	c := chunk{parts: parts}
	for i := range parts {
		parts[i].row = c.words
		c.words += p.prec.words(parts[i].k1 - parts[i].k0)
		p.long = max(p.long, parts[i].k1-parts[i].k0)
	}
	p.chunks = append(p.chunks, c)
}

// tasks is the number of blocks of pixels.
func (p *product) tasks() int {
	if p.strip != nil {
		return p.strip.tasks(p)
	}
	return ceilDiv(p.pixels(), p.block)
}

// span are the pixels of a task.
func (p *product) span(task int) (p0, p1 int) {
	if p.strip != nil {
		return p.strip.span(p, task)
	}
	return span(task, p.pixels(), p.block)
}

// stride is the distance of gathered rows: an odd number of cache lines.
func (p *product) stride() int { return (p.prec.words(p.long)+31)/32*32 + 16 }

// scratch is how many values a worker needs: those of rows, then results.
func (p *product) scratch() int { return p.own() + p.block*p.n }

// own is how many values rows needs: those of gathered rows, then those of the edge.
func (p *product) own() int { return p.gathers() + p.block*p.edge }

// gathers is how many values gathered rows or lines are.
func (p *product) gathers() int {
	switch {
	case p.strip != nil:
		return p.strip.scratch(p)
	case p.direct:
		return 0
	}
	return p.block * p.stride()
}

// packTasks is the number of tasks that fill packed.
func (p *product) packTasks() int { return len(p.packs) }

// pack packs the weights of one task. fill writes those of [k0,k1) and of the
// channels [j,j+cols), few enough for the first cache: word q of channel j+i goes to
// dst[q·cols+i]; k0-k1 is even but at the end of a part. Where there is no such
// channel it writes nothing: such columns hold anything, and their sums are left out.
func (p *product) pack(task int, fill func(dst []float32, k0, k1, j, cols int)) {
	s := p.packs[task]
	for k0 := s.k0; k0 < s.k1; k0 += maxPiece {
		k1 := min(k0+maxPiece, s.k1)
		fill(p.shared()[s.at+p.prec.words(k0-s.k0)*s.width:], k0, k1, s.j0, s.width)
	}
}

const maxPiece = 128

// packColumns writes n rows of k weights each, ld values from one to the next, to the columns of a panel.
func (p *product) packColumns(v *vectors, panel []float32, cols int, w []float32, ld, n, k int) {
	if p.prec == F32 {
		v.transposed(panel, cols, w, ld, n, k, 1)
		return
	}
	var words [maxPiece / 2]float32
	for i := range n {
		packRow(halves(words[:]), w[i*ld:][:k])
		for j, pair := range words[:p.prec.words(k)] {
			panel[j*cols+i] = pair
		}
	}
}

// rows computes the result channels of a task's pixels to dst, rows of stride ld.
func (p *product) rows(dst []float32, ld int, src []float32, task int, scratch []float32) {
	edge, some := scratch[p.gathers():], false
	switch {
	case p.strip == nil:
		some = p.gathered(dst, ld, edge, src, task, scratch)
	case p.edge > 0:
		some = p.strip.rows(p, edge, p.edge, src, task, scratch)
	default:
		some = p.strip.rows(p, dst, ld, src, task, scratch)
	}
	p0, p1 := p.span(task)
	for i := range p1 - p0 {
		to := dst[i*ld:][:p.out]
		if !some {
			copy(to, p.bias)
		} else if p.edge > 0 {
			copy(to[p.n-p.edge:], edge[i*p.edge:])
		}
	}
}

// gathered is rows by way of copies of them; false if there is nothing to add up.
func (p *product) gathered(dst []float32, ld int, edge, src []float32, task int, scratch []float32) bool {
	p0, p1 := p.span(task)
	whole := p.n - p.edge
	from, sfrom, fromEdge, sfromEdge := p.bias, 0, p.bias[whole:], 0
	for _, c := range p.chunks {
		a, sai := scratch, p.stride()
		c0, c1 := c.parts[0].k0, c.parts[0].k1
		switch {
		case p.direct:
			a, sai = src[p0*p.channels+c0:], p.channels
		case p.prec == BF16:
			h := halves(a)
			gather(&p.lattice, packRow, h, 2*sai, src, p0, p1, c0, c1)
			if (c1-c0)%2 == 1 {
				for i := range p1 - p0 {
					h[2*i*sai+c1-c0] = 0
				}
			}
		default:
			gather(&p.lattice, copyRow, a, sai, src, p0, p1, c0, c1)
		}
		var f prefetch
		if p.direct { // the next block's rows, and where its result goes
			next := min(p1+p.block, p.pixels())
			f = prefetch{src[p1*p.channels : next*p.channels], dst[:cap(dst)][min((p1-p0)*ld, cap(dst)):min((next-p0)*ld, cap(dst))]}
		}
		panels := p.panels(c)
		if whole > 0 {
			p.tiles.multiplyFetching(p1-p0, whole, c.words, a, sai, 1, matrix{data: panels}, from, sfrom, dst, ld, &f)
		}
		if p.edge > 0 {
			p.tiles.multiplyFetching(p1-p0, p.edge, c.words, a, sai, 1, matrix{data: panels[whole*c.words:]}, fromEdge, sfromEdge, edge, p.edge, &f)
		}
		from, sfrom, fromEdge, sfromEdge = dst, ld, edge, p.edge
	}
	return len(p.chunks) > 0
}

// panels are the weights of a chunk.
func (p *product) panels(c chunk) []float32 { return p.shared()[c.at*p.n:][:c.words*p.n] }

// shared is the memory of the packed weights.
func (p *product) shared() []float32 { return p.cpu.shared[p.at:][:p.packed] }

// bytes is the size of a value of packed rows.
func (p Precision) bytes() int {
	if p == BF16 {
		return 2
	}
	return 4
}

// segmentsIn is the memory of some floats, which start on a cache line, as segments.
func segmentsIn(words []float32) []segment {
	return unsafe.Slice((*segment)(unsafe.Pointer(unsafe.SliceData(words))), len(words)*4/int(unsafe.Sizeof(segment{})))
}
