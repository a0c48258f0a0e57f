package kernels

import "unsafe"

//go:generate go run ./asm -out simd_amd64.s -stubs simd_amd64.go
//go:generate go run ./asm -part bf16 -out bf16_amd64.s -stubs bf16_amd64.go

// segment is a part of a tile's sum, for the tiles three integers: where its rows of a start, in bytes, and its
// rows of b, counted in rows, and how many steps it has.
type segment struct{ a, b, k int }

// tileFunc is a product of a fixed number of rows and columns, its sums held in
// registers:
//
//	c[i·sc+j] = from[i·sfrom+j] + Σ a[i,p] · b[p·sbk+j]
//
// with p over the steps of n segments, or below k if there are none. from may be c.
// sai and sak are the bytes between the rows of a and between the steps of the sum;
// rows come in groups (tiles.group), the second and third d1 and d2 bytes after the
// first.
//
// Every step fetches a cache line to L2, from next on, fetch bytes apart: what a later product
// reads. There are count such tiles, one below the other.
//
// Why from is added last: sums over a few hundred p stay short, and a longer sum
// is a sum of such sums, with an error that grows like the root of their number.
type tileFunc func(count int, segments *int, n, k int, a *float32, d1, d2, sai, sak int, b *float32, sbk int, from *float32, sfrom int, c *float32, sc int, next *float32, fetch int)

// tiles are the tiles of an instruction set, from the widest to the narrowest.
type tiles []tileWidth

// tileWidth are the tiles of one width, from the most rows to one.
type tileWidth struct {
	cols int
	rows []int
	do   []tileFunc
}

// columns is what a number of columns must be a multiple of.
func (t tiles) columns() int { return t[len(t)-1].cols }

// group is how many rows of a tile must be the same distance apart.
func (t tiles) group() int { return max(1, t[0].rows[0]/3) }

// pad rounds a number of columns up.
func (t tiles) pad(n int) int { return (n + t.columns() - 1) / t.columns() * t.columns() }

// at is the widest tile for n columns.
func (t tiles) at(n int) *tileWidth {
	for i := range t {
		if t[i].cols <= n {
			return &t[i]
		}
	}
	return &t[len(t)-1]
}

// fit is the tile to begin with for m rows, and how many of them: the highest one, but two
// middle ones where that would leave a low one, which is slow.
func (w *tileWidth) fit(m int) (r, count int) {
	if len(w.rows) > 1 && m >= w.rows[0] && (m-2*w.rows[1])%w.rows[0] == 0 {
		if m == 2*w.rows[1] {
			return 1, 2
		}
		return 0, (m - 2*w.rows[1]) / w.rows[0]
	}
	for w.rows[r] > m {
		r++
	}
	return r, m / w.rows[r]
}

// matrix is the right side of a product. With a stride its rows are that far apart.
// Without one it is packed: cut into panels as wide as tiles.at says, one after the
// other, each row by row.
type matrix struct {
	data   []float32
	stride int
}

// multiply is c[i·sc+j] = from[i·sfrom+j] + Σ a[i·sai+p·sak] · b[p,j] for i < m,
// j < n and p < k; n is a multiple of t.columns(), m and k are at least 1.
func (t tiles) multiply(m, n, k int, a []float32, sai, sak int, b matrix, from []float32, sfrom int, c []float32, sc int) {
	t.multiplyFetching(m, n, k, a, sai, sak, b, from, sfrom, c, sc, nil)
}

// multiplyFetching is multiply that fetches f, which may be nil.
func (t tiles) multiplyFetching(m, n, k int, a []float32, sai, sak int, b matrix, from []float32, sfrom int, c []float32, sc int, f *prefetch) {
	// The tiles do not check bounds: these are the last values they touch.
	_, _, _ = a[(m-1)*sai+(k-1)*sak], from[(m-1)*sfrom+n-1], c[(m-1)*sc+n-1]
	if b.stride > 0 {
		_ = b.data[(k-1)*b.stride+n-1]
	} else {
		_ = b.data[k*n-1]
	}
	t.run(m, n, nil, k, a, sai, sak, b, from, sfrom, c, sc, f)
}

// prefetch is what the next product reads, to be fetched to L2 while this one is
// computed.
type prefetch [2][]float32

// next takes cache lines off f, steps for each of some tiles, at most count of them, and returns
// the first line, the bytes to the next one, and the number of tiles. Where f is empty it is
// always the line at instead.
func (f *prefetch) next(count, steps int, instead *float32) (first *float32, fetch, n int) {
	if f == nil {
		return instead, 0, count
	}
	for i, s := range f {
		if len(s) > 0 {
			n = min(count, ceilDiv(len(s), 16*steps))
			f[i] = s[min(16*steps*n, len(s)):]
			return &s[0], 64, n
		}
	}
	return instead, 0, count
}

// run is multiply for a sum of segments, whose matrix has a stride; the caller checks
// from and c. f may be nil.
func (t tiles) run(m, n int, segments []segment, k int, a []float32, sai, sak int, b matrix, from []float32, sfrom int, c []float32, sc int, f *prefetch) {
	var first *int
	steps := k
	if len(segments) > 0 {
		first = &segments[0].a
		for _, g := range segments {
			_, _ = a[g.a/4+(m-1)*sai+(g.k-1)*sak], b.data[(g.b+g.k-1)*b.stride+n-1]
			steps += g.k
		}
	}
	group := 4 * sai * t.group()
	for j := 0; j < n; {
		w := t.at(n - j)
		at, sbk := j*k, w.cols // of the panel's first value, and between its rows
		if b.stride > 0 {
			at, sbk = j, b.stride
		}
		panel := &b.data[at]
		for i := 0; i < m; {
			r, count := w.fit(m - i)
			next, fetch, count := f.next(count, steps, panel)
			w.do[r](count, first, max(1, len(segments)), k, &a[i*sai], group, 2*group, 4*sai, 4*sak, panel, sbk, &from[i*sfrom+j], sfrom, &c[i*sc+j], sc, next, fetch)
			i += count * w.rows[r]
		}
		j += w.cols
	}
}

var genericTiles = tiles{{8, []int{1}, []tileFunc{tile1x8}}}

// tile1x8 is the tile in plain Go.
func tile1x8(count int, segments *int, n, k int, a *float32, _, _, sai, sak int, b *float32, sbk int, from *float32, sfrom int, c *float32, sc int, _ *float32, _ int) {
	all := []segment{{k: k}}
	if segments != nil {
		all = unsafe.Slice((*segment)(unsafe.Pointer(segments)), n)
	}
	for i := range count {
		row1x8(all, at(a, i*sai/4), sak, b, sbk, at(from, i*sfrom), at(c, i*sc))
	}
}

// at is the address of value i of those from p on.
func at(p *float32, i int) *float32 { return (*float32)(unsafe.Add(unsafe.Pointer(p), 4*i)) }

// row1x8 is one row of tile1x8.
func row1x8(all []segment, a *float32, sak int, b *float32, sbk int, from, c *float32) {
	var s0, s1, s2, s3, s4, s5, s6, s7 float32
	for _, g := range all {
		left := unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(a), g.a)), (g.k-1)*sak/4+1)
		right := unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(b), 4*g.b*sbk)), (g.k-1)*sbk+8)
		for p := range g.k {
			v, r := left[p*sak/4], (*[8]float32)(right[p*sbk:])
			s0 += v * r[0]
			s1 += v * r[1]
			s2 += v * r[2]
			s3 += v * r[3]
			s4 += v * r[4]
			s5 += v * r[5]
			s6 += v * r[6]
			s7 += v * r[7]
		}
	}
	add, to := (*[8]float32)(unsafe.Slice(from, 8)), (*[8]float32)(unsafe.Slice(c, 8))
	for j, s := range [8]float32{s0, s1, s2, s3, s4, s5, s6, s7} {
		to[j] = add[j] + s
	}
}
