package kernels

import "strings"

func (s SumRows) cuda(p *Launches) {
	p.totalSums(p.typed("sum_rows"), p.arg("y"), s.Rows, s.C, sumRowsOf(p.arg("x"), s.Rows, s.C))
}

// sumRowsKernel is the name of the kernel that sums rows of x, a factor of products: in BF16 it
// rounds them.
func (p *Launches) sumRowsKernel(x Operand) string {
	switch {
	case p.isBF16(x):
		return "sum_rows_half"
	case p.precision == BF16:
		return "sum_rows_rounded"
	}
	return "sum_rows"
}

type sumChunksArgs struct {
	Y, X     Operand
	N, Chunk int
}

func (s SumSquares) cuda(p *Launches) {
	ctas, size := chunks(s.Len)
	y := p.arg("y")
	if ctas == 1 {
		p.oneCTA("sum_squares", sumChunksArgs{y, p.arg("x"), s.Len, size})
		return
	}
	partials := p.workspace(ctas)
	p.add("sum_squares", grid1D(ctas), grid1D(threads), sumChunksArgs{partials, p.arg("x"), s.Len, size})
	p.oneCTA("sum_values", sumChunksArgs{y, partials, ctas, ceilDiv(ctas, 8) * 8})
}

type sumSquaresGradArgs struct {
	DX, DY, X Operand
	N         int
}

func (s SumSquaresGrad) cuda(p *Launches) {
	p.elementwise("sum_squares_grad", s.Len, sumSquaresGradArgs{p.arg("dx"), p.arg("dy"), p.arg("x"), s.Len})
}

type weightedSumArgs struct {
	Y, X           Operand
	N              int
	W0, W1, W2, W3 float32
}

func (s WeightedSum) cuda(p *Launches) {
	p.add("weighted_sum", grid1D(1), grid1D(1), weightedSumArgs{p.arg("y"), p.arg("x"), s.Len, s.W[0], s.W[1], s.W[2], s.W[3]})
}

type spreadArgs struct {
	DX, DY         Operand
	N              int
	W0, W1, W2, W3 float32
}

func (s Spread) cuda(p *Launches) {
	p.add("spread", grid1D(1), grid1D(4), spreadArgs{p.arg("dx"), p.arg("dy"), s.Len, s.W[0], s.W[1], s.W[2], s.W[3]})
}

// columnBlock is the shape of a CTA of column_sums: lanes threads read columns neighbouring
// columns each, of every rows-th row.
type columnBlock struct{ columns, lanes, rows int }

// columnBlockOf is the shape of the CTAs that sum groups of rows of c values, each with as
// many rows of threads as there is use for. Where CTAs are few, each has fewer columns and
// more threads for each of them.
func columnBlockOf(kernel string, groups, rows, c int) columnBlock {
	b := columnBlock{columns: 1, lanes: threads}
	least := 8 // 32 bytes
	if readsEightColumns(kernel) && c%8 == 0 {
		b.columns, least = 8, 1
	}
	for b.lanes > least {
		narrow := b.columns*b.lanes/2 >= c
		high := b.lanes > 32 && rows*b.lanes >= 2*threads
		few := groups*b.tiles(c) < sumWave && rows*b.lanes > 4*threads
		if !narrow && !high && !few {
			break
		}
		b.lanes /= 2
	}
	b.rows = threads / b.lanes
	return b
}

// tiles is the number of CTAs for the c columns of a group.
func (b columnBlock) tiles(c int) int { return ceilDiv(c, b.columns*b.lanes) }

// readsEightColumns reports whether a thread of the kernel reads eight columns at once, as
// those made with wide_column_sums do.
func readsEightColumns(kernel string) bool {
	return strings.HasPrefix(kernel, "sum_rows") || strings.HasPrefix(kernel, "product_rows")
}

// rowSums are the arguments of a kernel that sums rows into y [rows/group,c], for each
// group of neighbouring rows.
type rowSums func(y Operand, group int) any

type sumRowsArgs struct {
	Y, X                 Operand
	Rows, Columns, Group int
}

func sumRowsOf(x Operand, rows, c int) rowSums {
	return func(y Operand, group int) any { return sumRowsArgs{y, x, rows, c, group} }
}

// columnSums adds a kernel made with column_sums.
func (p *Launches) columnSums(kernel string, y Operand, rows, c, group int, args rowSums) {
	groups := ceilDiv(rows, group)
	b := columnBlockOf(kernel, groups, min(rows, group), c)
	p.add(kernel, grid1D(groups*b.tiles(c)), grid2D(b.lanes, b.rows), args(y, group))
}

// sumRows is columnSums of x in float32.
func (p *Launches) sumRows(y, x Operand, rows, c, group int) {
	p.columnSums("sum_rows", y, rows, c, group, sumRowsOf(x, rows, c))
}

// splitRows splits groups of rows among as many CTAs as sums want. Each thread of a split
// has several rows.
func splitRows(kernel string, groups, rows, c int) (splits, size int) {
	b := columnBlockOf(kernel, sumWave, rows, c)
	return splitInto(sumWave, rows, groups*b.tiles(c), 4*b.rows)
}

// groupSums is columnSums with n groups of rows; long groups are summed in splits of
// equal size first, if there are such.
func (p *Launches) groupSums(kernel string, y Operand, n, rows, c int, args rowSums) {
	splits, _ := splitRows(kernel, n, rows, c)
	for rows%splits != 0 {
		splits--
	}
	partials := p.partials(y, splits, n*c)
	p.columnSums(kernel, partials, n*rows, c, rows/splits, args)
	p.addPartials(y, partials, splits, n*splits, c)
}

// totalSums is columnSums with all rows in one group, summed in splits first if they are many.
func (p *Launches) totalSums(kernel string, y Operand, rows, c int, args rowSums) {
	splits, size := splitRows(kernel, 1, rows, c)
	if splits == 1 {
		size = rows
	}
	partials := p.partials(y, splits, c)
	p.columnSums(kernel, partials, rows, c, size, args)
	p.addPartials(y, partials, splits, splits, c)
}

// partials is where the splits of n sums are written: y itself if there is one split, else
// memory for each split.
func (p *Launches) partials(y Operand, splits, n int) Operand {
	if splits == 1 {
		return y
	}
	return p.workspace(splits * n)
}

// addPartials sums groups of that many splits, of rows rows of n values in all, into y.
// It does nothing for a single split.
func (p *Launches) addPartials(y, partials Operand, splits, rows, n int) {
	if splits > 1 {
		p.sumRows(y, partials, rows, n, splits)
	}
}
