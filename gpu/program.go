package gpu

import (
	"fmt"
	"math"
	"strings"

	"magvit/kernels"
)

// program is what a Spec becomes: launches, one after another.
type program struct {
	launches []launch
	scratch  int    // values of scratch memory
	half     uint32 // arguments of the Spec that lie in bfloat16
	tied     bool   // those that do so together do
}

// launch is one kernel with its geometry and arguments: tensor maps, pointers, values.
type launch struct {
	kernel      string
	grid, block [3]uint32
	shared      int // bytes of dynamic shared memory
	maps        []tensorMap
	pointers    []operand
	values      []uint32
}

// operand is where a pointer leads: to an argument of the Spec, or into scratch memory.
type operand struct {
	arg  int
	from int // position in scratch memory
}

const inScratch = -1

var null = operand{arg: -2}

func arg(i int) operand { return operand{arg: i} }

// args are the Spec's first n arguments.
func args(n int) []operand {
	o := make([]operand, n)
	for i := range o {
		o[i] = arg(i)
	}
	return o
}

// reserve takes n values of scratch memory.
func (p *program) reserve(n int) operand {
	o := operand{inScratch, p.scratch}
	p.scratch += (n + 31) / 32 * 32
	return o
}

func (p *program) add(kernel string, grid, block [3]uint32, pointers []operand, values ...any) {
	l := launch{kernel: kernel, grid: grid, block: block, pointers: pointers}
	for _, v := range values {
		l.values = append(l.values, bits(v))
	}
	p.launches = append(p.launches, l)
}

// with gives the last launch its dynamic shared memory, in bytes, and tensor maps.
func (p *program) with(shared int, maps ...tensorMap) {
	l := &p.launches[len(p.launches)-1]
	l.shared, l.maps = shared, maps
}

// typed is the name of the kernel for the type that activations are stored in.
func (p *program) typed(kernel string) string {
	if p.tied {
		return kernel + "_half"
	}
	return kernel
}

const threads = 256 // of a block that has no reason for another number

func ceilDiv(n, size int) int { return (n + size - 1) / size }

func line(n int) [3]uint32 { return [3]uint32{uint32(n), 1, 1} }

// each adds a kernel with a thread for each of n results; n is its first value.
func (p *program) each(kernel string, n int, pointers []operand, values ...any) {
	p.spread(kernel, n, pointers, append([]any{n}, values...)...)
}

// spread adds a kernel with n threads.
func (p *program) spread(kernel string, n int, pointers []operand, values ...any) {
	p.add(kernel, line(ceilDiv(n, threads)), line(threads), pointers, values...)
}

// eights adds a kernel with a thread for every eight of n results; n is its first value.
func (p *program) eights(kernel string, n int, pointers []operand, values ...any) {
	p.add(kernel, line(ceilDiv(ceilDiv(n, 8), threads)), line(threads), pointers, append([]any{n}, values...)...)
}

// warps adds a kernel with a warp for each row.
func (p *program) warps(kernel string, rows int, pointers []operand, values ...any) {
	p.add(kernel, line(ceilDiv(rows, threads/32)), line(threads), pointers, append([]any{rows}, values...)...)
}

// wave is how many blocks keep a large device busy: two on each of 132 processors.
// Sums of rows want more, as each of theirs waits for memory alone.
const (
	wave    = 264
	sumWave = 4 * wave
)

// split divides n terms of a sum among blocks, if tiles blocks alone are too few. No
// part but the last has fewer than least terms; sizes are multiples of 16.
func split(n, tiles, least int) (parts, size int) { return splitInto(wave, n, tiles, least) }

func splitInto(blocks, n, tiles, least int) (parts, size int) {
	parts = max(1, min(ceilDiv(blocks, tiles), n/least))
	size = ceilDiv(ceilDiv(n, parts), 16) * 16
	return ceilDiv(n, size), size
}

// sumBlock is the form of a block of sum_columns: lanes threads have so many
// neighbouring columns each, of every rows-th row.
type sumBlock struct{ columns, lanes, rows int }

// sumForm is the form of the blocks that sum groups of so many rows of c values: as
// many lines of threads as there is use for. Where blocks are few, each has fewer
// columns and more threads for each.
func sumForm(kernel string, groups, rows, c int) sumBlock {
	b := sumBlock{columns: 1, lanes: threads}
	least := 8 // 32 bytes
	if byEight(kernel) && c%8 == 0 {
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

// tiles is how many blocks the columns of a group take.
func (b sumBlock) tiles(c int) int { return ceilDiv(c, b.columns*b.lanes) }

// byEight tells the kernels made with wide_column_sums, which read eight columns at once.
func byEight(kernel string) bool {
	switch strings.TrimSuffix(kernel, "_half") {
	case "sum_rows", "weighted_rows", "product_rows":
		return true
	}
	return false
}

// columns adds a kernel made with sum_columns: y [groups,c] from rows.
func (p *program) columns(kernel string, y operand, sources []operand, rows, c, group int, more ...any) {
	groups := ceilDiv(rows, group)
	b := sumForm(kernel, groups, min(rows, group), c)
	p.add(kernel, line(groups*b.tiles(c)), [3]uint32{uint32(b.lanes), uint32(b.rows), 1}, append([]operand{y}, sources...), append([]any{rows, c, group}, more...)...)
}

// sumParts splits groups of rows into parts of as many blocks as sums want. Each
// thread of a part has some rows.
func sumParts(kernel string, groups, rows, c int) (parts, size int) {
	b := sumForm(kernel, sumWave, rows, c)
	return splitInto(sumWave, rows, groups*b.tiles(c), 4*b.rows)
}

// groups is columns with n groups of so many rows; long ones are summed by parts of
// equal length first, if there are such.
func (p *program) groups(kernel string, y operand, sources []operand, n, rows, c int) {
	parts, _ := sumParts(kernel, n, rows, c)
	for rows%parts != 0 {
		parts--
	}
	if parts == 1 {
		p.columns(kernel, y, sources, n*rows, c, rows)
		return
	}
	some := p.reserve(n * parts * c)
	p.columns(kernel, some, sources, n*rows, c, rows/parts)
	p.columns("sum_rows", y, []operand{some}, n*parts, c, parts)
}

// sum is columns with all rows in one group; where they are many, parts are summed first.
func (p *program) sum(kernel string, y operand, sources []operand, rows, c int) {
	parts, group := sumParts(kernel, 1, rows, c)
	if parts == 1 {
		p.columns(kernel, y, sources, rows, c, rows)
		return
	}
	some := p.reserve(parts * c)
	p.columns(kernel, some, sources, rows, c, group)
	p.columns("sum_rows", y, []operand{some}, parts, c, parts)
}

// plan decides how to run a Spec on an architecture. The precision is that of products
// and of what is stored.
func plan(s kernels.Spec, precision kernels.Precision, arch string) (*program, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	for _, a := range s.Args() {
		if a.Len() > math.MaxInt32 {
			return nil, fmt.Errorf("%s has %d values, want at most 2^31-1", a.Name, a.Len())
		}
	}
	s, half := kernels.Plain(s)
	can := storage(s)
	p := &program{half: half, tied: can.Tied != 0 && half&can.Tied == can.Tied}
	if half != 0 && precision != kernels.BF16 || half&^(can.Free|can.Tied) != 0 || half&can.Tied != 0 && !p.tied {
		return nil, fmt.Errorf("no kernel stores arguments %b in bf16; in precision bf16 any of %b can be, and all or none of %b", half, can.Free, can.Tied)
	}
	bf16 := precision == kernels.BF16 && (arch == hopper && p.tensorCores(s, processors, fillsTensorCores) || p.products(s))
	if !bf16 && !p.layer(s) && !p.attend(s) && !p.quantizer(s) && !p.convolution(s) {
		return nil, ErrNoKernel
	}
	for _, l := range p.launches {
		if l.grid[0] > math.MaxInt32 || l.grid[1] > math.MaxUint16 || l.grid[2] > math.MaxUint16 {
			return nil, fmt.Errorf("kernel %s needs a grid of %v blocks, want at most 2^31-1, 65535, 65535", l.kernel, l.grid)
		}
	}
	return p, nil
}
