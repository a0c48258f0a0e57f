package kernels

// shifted is ConvGradW's way without a copy of each pixel's row. A task makes the
// gradients of the taps of one frame of the kernel, for some input channels and all
// output channels. It takes a few lines of output pixels at a time and copies the
// lines that they read once for each column of the kernel, shifted by it: then what
// all pixels read through one tap is contiguous, line after line.
type shifted struct {
	Conv
	prec     Precision
	tiles    tiles
	t, h, w  int // of the output
	frames   int // output frames of a block
	lines    int // output lines of a block's frame; all of them if there are several
	slots    int // copied lines of a frame with the same place among the strides
	channels int // of the input, of a task
	zeros    []float32
}

const (
	// shiftPixels is about how many pixels a block has, unless a line alone has more.
	shiftPixels = 256
	// shiftFrames bounds the frames of a block: small ones are mostly their rim.
	shiftFrames = 16
)

// newShifted is nil where rows are better gathered.
func newShifted(c *CPU, prec Precision, s Conv) *shifted {
	const most = 64 // channels: copies of 256 pixels and 3 columns are 192 KiB
	g := &shifted{Conv: s, prec: prec, tiles: c.tilesIn(prec)}
	g.t, g.h, g.w = s.Out()
	if s.C%16 != 0 || g.prec == BF16 && g.w%2 != 0 {
		return nil
	}
	g.lines = min(g.h, max(1, shiftPixels/g.w))
	g.frames = 1
	if g.lines == g.h {
		g.frames = max(1, min(shiftPixels/(g.h*g.w), shiftFrames, s.N*g.t))
	}
	g.slots = g.lines + ceilDiv(s.KH, s.SH) - 1
	g.channels = ceilDiv(s.C/16, ceilDiv(s.C, most)) * 16
	if g.ranges() < minTasks/4 && g.channels > 32 {
		g.channels = 32
	}
	g.zeros = alignedFloats(max(s.C, s.taps()))
	return g
}

// ranges is how many tasks share the taps and channels, blocks how many the pixels
// may be split into.
func (g *shifted) ranges() int { return g.KT * ceilDiv(g.C, g.channels) }
func (g *shifted) blocks() int { return ceilDiv(g.N*g.t, g.frames) * ceilDiv(g.h, g.lines) }

// rows is how many rows of copied lines a frame takes, floats how many values.
func (g *shifted) rows() int   { return g.KW * g.SH * g.slots * g.prec.words(g.w) }
func (g *shifted) floats() int { return g.frames * g.rows() * g.channels }

// pixels is how many pixels of a block are in one frame.
func (g *shifted) pixels() int { return g.lines * g.w }

func (g *shifted) scratch() int {
	n := segmentFloats + g.floats()
	if g.prec == BF16 {
		n += g.frames * g.pixels() / 2 * g.O
	}
	return n
}

// inPlace says that the input itself is the copy.
func (g *shifted) inPlace() bool {
	return g.prec == F32 && g.KH == 1 && g.KW == 1 && g.SH == 1 && g.SW == 1 && g.PH == 0 && g.PW == 0 && g.C < maxDirect
}

// sums writes to dw the sums over the blocks [from,to), for range r.
func (g *shifted) sums(dw, dy, x []float32, r, from, to int, scratch []float32) {
	i, c0 := r%g.KT, r/g.KT*g.channels
	n, k := min(g.channels, g.C-c0), g.taps()
	segments := segmentsIn(carve(&scratch, segmentFloats))
	copied, words := carve(&scratch, g.floats()), scratch
	place := g.inPlace()
	add, sadd := g.zeros, 0
	for b := from; b < to; b++ {
		per := ceilDiv(g.h, g.lines)
		f0, h0 := b/per*g.frames, b%per*g.lines
		h1 := min(h0+g.lines, g.h)
		pixels := (h1 - h0) * g.w
		a := dy[(f0*g.h+h0)*g.w*g.O:]
		if g.prec == BF16 {
			a = words
		}
		count := 0
		for f := f0; f < min(f0+g.frames, g.N*g.t); f++ {
			ti := f%g.t*g.ST - g.PT + i*g.DT
			if uint(ti) >= uint(g.T) {
				continue
			}
			source := f/g.t*g.T + ti
			s := segment{(f - f0) * g.prec.words(pixels) * g.O * 4, (f - f0) * g.rows(), g.prec.words(pixels)}
			if g.prec == BF16 {
				packPairs(words[(f-f0)*pixels/2*g.O:], dy[(f*g.h+h0)*g.w*g.O:], g.O, pixels/2, g.O)
			}
			if place {
				s.b = (source*g.h + h0) * g.w
			} else {
				frame := x[source*g.H*g.W*g.C:][:g.H*g.W*g.C]
				g.copyLines(copied[(f-f0)*g.rows()*n:], frame, h0*g.SH-g.PH, (h1-h0-1)*g.SH+g.KH, c0, n)
			}
			segments[count] = s
			count++
		}
		if count == 0 {
			continue
		}
		var f prefetch
		if place && g.t == g.T { // the next block
			all, end := g.N*g.t*g.h*g.w, (f0*g.h+h0)*g.w+g.frames*pixels
			at, to := min(end, all), min(end+g.frames*pixels, all)
			f = prefetch{dy[at*g.O : to*g.O], x[at*g.C : to*g.C]}
		}
		for tap := range g.KH * g.KW {
			m := matrix{copied[g.slot(tap%g.KW, tap/g.KW)*n:], n}
			if place {
				m = matrix{x[c0:], g.C}
			}
			to := dw[(i*g.KH*g.KW+tap)*g.C+c0:]
			from := add
			if sadd > 0 {
				from = to
			}
			_ = to[(g.O-1)*k+n-1] // the tiles do not check bounds
			g.tiles.run(g.O, n, segments[:count], 0, a, 1, g.O, m, from, sadd, to, k, &f)
		}
		sadd = k
	}
	if sadd == 0 { // all pixels read before the first frame or after the last
		for o := range g.O {
			for tap := i * g.KH * g.KW; tap < (i+1)*g.KH*g.KW; tap++ {
				clear(dw[o*k+tap*g.C+c0:][:n])
			}
		}
	}
}

// slot is where the copied line r, for column l of the kernel, starts, in rows. Lines
// that successive output lines read follow one another.
func (g *shifted) slot(l, r int) int {
	return ((l*g.SH+r%g.SH)*g.slots + r/g.SH) * g.prec.words(g.w)
}

// copyLines copies n channels from c0 of the lines from top, with zeros where the
// frame ends.
func (g *shifted) copyLines(dst, frame []float32, top, lines, c0, n int) {
	for r := range lines {
		inside := uint(top+r) < uint(g.H)
		for l := range g.KW {
			to := dst[g.slot(l, r)*n:][:g.prec.words(g.w)*n]
			if !inside {
				clear(to)
				continue
			}
			// The pixels [w0,w1) are inside the frame.
			first := l - g.PW
			w0 := min(max(0, ceilDiv(-first, g.SW)), g.w)
			w1 := min(max(w0, ceilDiv(g.W-first, g.SW)), g.w)
			line := frame[(top+r)*g.W*g.C+c0:]
			if g.prec == BF16 {
				g.pairLine(to, line, first, w0, w1, n)
				continue
			}
			clear(to[:w0*n])
			clear(to[w1*n:])
			for w := w0; w < w1; w++ {
				copy(to[w*n:][:n], line[(w*g.SW+first)*g.C:])
			}
		}
	}
}

// pairLine makes words of n channels of the pixels of a line, of which those of
// [w0,w1) are inside the frame: pixel w at w·SW+first.
func (g *shifted) pairLine(to, line []float32, first, w0, w1, n int) {
	pixel := func(w int) []float32 {
		if w0 <= w && w < w1 {
			return line[(w*g.SW+first)*g.C:][:n]
		}
		return g.zeros[:n]
	}
	inner, end := (w0+1)/2*2, w1/2*2
	for w := 0; w < g.w; w += 2 {
		if w == inner && inner < end {
			packPairs(to[w/2*n:], line[(w*g.SW+first)*g.C:], n, (end-w)/2, g.SW*g.C)
			w = end - 2
			continue
		}
		packRows(to[w/2*n:], pixel(w), pixel(w+1))
	}
}
