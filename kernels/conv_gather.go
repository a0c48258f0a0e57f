package kernels

// lattice is a set of pixels and what each of them reads from a source: the
// output pixels of a convolution, or the input pixels of one phase of its strides.
//
// Pixel (n,t,h,w) reads, for each line, a run of cols neighbouring source pixels
// from (n, t·st+line.t, h·sh+line.h, w·sw+col); zeros where the source ends. What
// it reads, line after line, is its row of k values.
type lattice struct {
	n, t, h, w     int // pixels
	st, sh, sw     int // steps in the source
	srcT, srcH     int // the source
	srcW, channels int
	lines          []line
	col, cols      int
}

// line is the place of a run relative to the pixel's: frame and row.
type line struct{ t, h int }

func (l *lattice) pixels() int { return l.n * l.t * l.h * l.w }
func (l *lattice) k() int      { return len(l.lines) * l.cols * l.channels }

// plain says that the rows are the source itself.
func (l *lattice) plain() bool {
	return len(l.lines) == 1 && l.lines[0] == line{} && l.cols == 1 && l.col == 0 &&
		l.st == 1 && l.sh == 1 && l.sw == 1 && l.t == l.srcT && l.h == l.srcH && l.w == l.srcW
}

// position is the coordinates of pixel p.
func (l *lattice) position(p int) (n, t, h, w int) {
	p, w = p/l.w, p%l.w
	p, h = p/l.h, p%l.h
	return p / l.t, p % l.t, h, w
}

// gather copies, by put, the values [k0,k1) of the rows of the pixels [p0,p1); the
// row of p0+i starts at dst[i·stride].
func gather[V float32 | uint16](l *lattice, put func(dst []V, src []float32), dst []V, stride int, src []float32, p0, p1, k0, k1 int) {
	size := l.cols * l.channels
	first, last := k0/size, (k1-1)/size
	n, t, h, w := l.position(p0)
	for p := p0; p < p1; p++ {
		row := dst[(p-p0)*stride:][:k1-k0]
		left := (w*l.sw + l.col) * l.channels // of the run, in its source row
		for i := first; i <= last; i++ {
			lo, hi := max(k0-i*size, 0), min(k1-i*size, size)
			run := row[:hi-lo]
			row = row[hi-lo:]
			ti, hi2 := t*l.st+l.lines[i].t, h*l.sh+l.lines[i].h
			if uint(ti) >= uint(l.srcT) || uint(hi2) >= uint(l.srcH) {
				clear(run)
				continue
			}
			width := l.srcW * l.channels
			from, to := left+lo, left+hi
			if from < 0 {
				cut := min(-from, len(run))
				clear(run[:cut])
				run, from = run[cut:], from+cut
			}
			if to > width {
				cut := max(len(run)-(to-width), 0)
				clear(run[cut:])
				run = run[:cut]
			}
			if len(run) > 0 {
				put(run, src[((n*l.srcT+ti)*l.srcH+hi2)*width+from:][:len(run)])
			}
		}
		if w++; w == l.w {
			w = 0
			if h++; h == l.h {
				h = 0
				if t++; t == l.t {
					t = 0
					n++
				}
			}
		}
	}
}

func copyRow(dst, src []float32) { copy(dst, src) }

// outputs is the lattice of the convolution's output pixels, its source the input.
func (s Conv) outputs() lattice {
	t, h, w := s.Out()
	l := lattice{
		n: s.N, t: t, h: h, w: w, st: s.ST, sh: s.SH, sw: s.SW,
		srcT: s.T, srcH: s.H, srcW: s.W, channels: s.C, col: -s.PW, cols: s.KW,
	}
	for i := range s.KT {
		for j := range s.KH {
			l.lines = append(l.lines, line{i*s.DT - s.PT, j - s.PH})
		}
	}
	return l
}

// phase is a part of the input pixels: those t0+i·ST, h0+j·SH, w0+l·SW. All of
// them are read through the same taps of the kernel, the k-th of them at a fixed
// offset in the output, which is the lattice's source.
type phase struct {
	lattice
	t0, h0, w0 int
	taps       []int // tap of the kernel for each source pixel of a row
}

// phases splits the input into its phases; one if all strides are 1.
func (s Conv) phases() []phase {
	ot, oh, ow := s.Out()
	var all []phase
	for t0 := range min(s.ST, s.T) {
		for h0 := range min(s.SH, s.H) {
			for w0 := range min(s.SW, s.W) {
				p := phase{t0: t0, h0: h0, w0: w0, lattice: lattice{
					n: s.N, t: ceilDiv(s.T-t0, s.ST), h: ceilDiv(s.H-h0, s.SH), w: ceilDiv(s.W-w0, s.SW), st: 1, sh: 1, sw: 1,
					srcT: ot, srcH: oh, srcW: ow, channels: s.O,
				}}
				for i := range s.KT {
					for j := range s.KH {
						t, h := t0+s.PT-i*s.DT, h0+s.PH-j
						if t%s.ST != 0 || h%s.SH != 0 {
							continue
						}
						p.lines = append(p.lines, line{t / s.ST, h / s.SH})
						p.cols = 0
						for l := s.KW - 1; l >= 0; l-- { // ascending in the source
							w := w0 + s.PW - l
							if w%s.SW != 0 {
								continue
							}
							if p.cols == 0 {
								p.col = w / s.SW
							}
							p.cols++
							p.taps = append(p.taps, (i*s.KH+j)*s.KW+l)
						}
					}
				}
				all = append(all, p)
			}
		}
	}
	return all
}
