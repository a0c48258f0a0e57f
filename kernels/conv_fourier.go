package kernels

import "math"

// fourier is a convolution of few input channels with a large kernel of stride 1 over
// height and width, by discrete Fourier transforms of tiles. The taps in time and the
// input channels are added in the transform domain.
//
// A tile is m×m output pixels of all frames of a clip, or of some of them. What it reads is
// a square of l = m+k-1 pixels a side, k the kernel's size. Transforms are products with
// small matrices, along the width of real values, for which half of the bins do, then along
// the height. They run by the same tiles as all products:
//
//	D [lh][lw][C][frames]           the input, frames as columns
//	P [bins][2][lh][C][frames]      transformed along the width: real and imaginary parts
//	V [bins][lh][3][C][frames]      along the height too: -imaginary, real, imaginary
//	U [bins][lh][C][2][KT][cols]    of the weights, conjugate, for a panel of channels
//	M [lh][2][T][cols]              a bin's products V·U, summed over C and KT
//	Z [bins][2][mh][T][cols]        M back along the height
//
// and Z back along the width is the output.
type fourier struct {
	Conv
	tiles         tiles
	outT          int
	outH, outW    int
	height, width fourierAxis
	perUnit       int            // output frames of a tile
	columns       int            // frames of D, P and V
	panels        []winogradSpan // of output channels
	zeros         []float32

	alongW, alongH     []float32 // D to P, P to V
	weightsW, weightsH []float32 // of the kernel; weightsH is [2][lh][2·KH]
	backH, backW       []float32 // M to Z, Z to the output
}

// fourierAxis is the transform along an axis: k taps, m outputs, l values.
type fourierAxis struct{ k, m, l int }

// bins is how many bins the transform of real values has.
func (a fourierAxis) bins() int { return a.l/2 + 1 }

// matrix is [rows][cols] values of f.
func fourierMatrix(rows, cols int, f func(i, j int) float64) []float32 {
	m := alignedFloats(rows * cols)
	for i := range rows {
		for j := range cols {
			m[i*cols+j] = float32(f(i, j))
		}
	}
	return m
}

// phase is the angle of element x of bin q.
func (a fourierAxis) phase(q, x int) float64 { return 2 * math.Pi * float64(q*x%a.l) / float64(a.l) }

// real is the matrix [bins·2][n] that transforms n real values by exp(sign·i·phase); the
// rows are the real and the imaginary part of each bin.
func (a fourierAxis) real(n int, sign float64) []float32 {
	return fourierMatrix(2*a.bins(), n, func(i, j int) float64 {
		if i%2 == 0 {
			return math.Cos(a.phase(i/2, j))
		}
		return sign * math.Sin(a.phase(i/2, j))
	})
}

// product is a part of exp(sign·i·phase)·(u+iv): the factor of u or v in the real or the
// imaginary part.
func (a fourierAxis) factor(q, x int, sign float64, imaginary, v bool) float64 {
	switch {
	case imaginary == v:
		return math.Cos(a.phase(q, x))
	case imaginary:
		return sign * math.Sin(a.phase(q, x))
	}
	return -sign * math.Sin(a.phase(q, x))
}

// complex is the matrix [l·2][2·n] that transforms n complex values, whose real parts
// come first, to the real and imaginary part of each bin.
func (a fourierAxis) complex(n int, sign float64) []float32 {
	return fourierMatrix(2*a.l, 2*n, func(i, j int) float64 { return a.factor(i/2, j%n, sign, i%2 == 1, j >= n) })
}

// back is the matrix [2·n][l·2] of the first n values of the inverse, real parts first, up
// to the factor 1/l.
func (a fourierAxis) back(n int, sign float64) []float32 {
	return fourierMatrix(2*n, 2*a.l, func(i, j int) float64 { return a.factor(j/2, i%n, sign, i >= n, j%2 == 1) })
}

// realBack is the matrix [n][bins·2] of the first n real values of the inverse, times
// scale/l.
func (a fourierAxis) realBack(n int, sign, scale float64) []float32 {
	scale /= float64(a.l)
	return fourierMatrix(n, 2*a.bins(), func(i, j int) float64 {
		f := 2 * scale
		if j/2 == 0 || j/2 == a.l/2 {
			f = scale
		}
		return f * a.factor(j/2, i, sign, false, j%2 == 1)
	})
}

// newFourier is the convolution by tiles of the given axes.
func newFourier(c *CPU, s Conv, height, width fourierAxis) *fourier {
	g := &fourier{Conv: s, tiles: isaTiles[c.isa], height: height, width: width}
	g.outT, g.outH, g.outW = s.Out()
	g.perUnit, g.columns = s.fourierFrames()
	for at := 0; at < s.O; {
		cols := g.tiles.at(s.O - at).cols
		g.panels = append(g.panels, winogradSpan{at, cols})
		at += cols
	}
	g.alongW = width.real(width.l, -1)
	v := height.complex(height.l, -1)
	row := 2 * height.l
	g.alongH = fourierMatrix(3*height.l, row, func(i, j int) float64 {
		if i%3 == 0 {
			return -float64(v[(i/3*2+1)*row+j])
		}
		return float64(v[(i/3*2+i%3-1)*row+j])
	})
	g.zeros = alignedFloats(max(g.perUnit*g.panels[0].n, s.C*g.columns, s.O, g.tapRows()*s.C*g.panels[0].n))
	return g
}

// fourierFrames is how many output frames a tile has, and how many of the input it holds:
// those that the output reads and that rows beyond the last tap would, in whole vectors.
func (s Conv) fourierFrames() (perUnit, columns int) {
	t, _, _ := s.Out()
	perUnit = ceilDiv(t, ceilDiv(t, max(1, maxFourierFrames-s.KT)))
	return perUnit, (perUnit + ceilDiv(s.KT, 4)*4 - 1 + 15) / 16 * 16
}

// tapRows is how many rows of a product the taps in time of a channel take: whole groups
// of any instruction set's tiles.
func (g *fourier) tapRows() int { return ceilDiv(g.KT, 4) * 4 }

// units is how many tiles all clips have.
func (g *fourier) units() int {
	return g.N * ceilDiv(g.outT, g.perUnit) * ceilDiv(g.outH, g.height.m) * ceilDiv(g.outW, g.width.m)
}

// fourierUnit is a tile: the frames [t0,t0+t) of a clip, and its first pixel.
type fourierUnit struct{ clip, t0, t, h, w int }

func (g *fourier) unit(i int) fourierUnit {
	cols, rows := ceilDiv(g.outW, g.width.m), ceilDiv(g.outH, g.height.m)
	chunks := ceilDiv(g.outT, g.perUnit)
	u := fourierUnit{w: i % cols * g.width.m}
	i /= cols
	u.h = i % rows * g.height.m
	i /= rows
	u.t0 = i % chunks * g.perUnit
	u.clip, u.t = i/chunks, min(g.perUnit, g.outT-u.t0)
	return u
}

// Sizes of the workspace.
func (g *fourier) frame() int         { return g.C * g.columns }                             // a pixel of D
func (g *fourier) inputFloats() int   { return g.height.l * g.width.l * g.frame() }          // D
func (g *fourier) halfFloats() int    { return 2 * g.width.bins() * g.height.l * g.frame() } // P
func (g *fourier) spectraFloats() int { return 3 * g.width.bins() * g.height.l * g.frame() } // V
func (g *fourier) row() int           { return oddLines(g.perUnit * g.panels[0].n) }         // a row of Z
func (g *fourier) sumFloats() int     { return 2 * g.height.l * g.perUnit * g.panels[0].n }  // M
func (g *fourier) lineFloats() int    { return 2 * g.width.bins() * g.height.m * g.row() }   // Z
func (g *fourier) taps2() int         { return 2 * g.C * g.KT }                              // rows of a plane of U

// transform writes V of a unit; scratch is for D and P.
func (g *fourier) transform(v, x []float32, u fourierUnit, scratch []float32) {
	d, p := carve(&scratch, g.inputFloats()), carve(&scratch, g.halfFloats())
	g.gather(d, x, u)
	n, lh, lw, bins := g.frame(), g.height.l, g.width.l, g.width.bins()
	for h := range lh {
		g.tiles.multiply(2*bins, n, lw, g.alongW, lw, 1, matrix{d[h*lw*n:], n}, g.zeros, 0, p[h*n:], lh*n)
	}
	for q := range bins {
		g.tiles.multiply(3*lh, n, 2*lh, g.alongH, 2*lh, 1, matrix{p[q*2*lh*n:], n}, g.zeros, 0, v[q*3*lh*n:], n)
	}
}

// gather writes D: the pixels that a unit reads, zeros beyond the clip.
func (g *fourier) gather(d, x []float32, u fourierUnit) {
	n, width := g.frame(), g.W*g.C
	left := (u.w - g.PW) * g.C
	from, to := max(left, 0), min(left+g.width.l*g.C, width)
	for h := range g.height.l {
		lines := d[h*g.width.l*n:][:g.width.l*n]
		clear(lines)
		in := u.h - g.PH + h
		if uint(in) >= uint(g.H) || from >= to {
			continue
		}
		for f := range g.columns {
			t := u.t0 - g.PT + f
			if uint(t) >= uint(g.T) {
				continue
			}
			src := x[((u.clip*g.T+t)*g.H+in)*width:][from:to]
			at := (from-left)*g.columns + f
			for _, s := range src {
				lines[at] = s
				at += g.columns
			}
		}
	}
}

// prepare is the stage that makes U, in the memory shared by the workers.
func (g *fourier) prepare(c *CPU) stage {
	g.weightsW = g.width.real(g.KW, 1)
	all := g.height.complex(g.KH, 1)
	lh, bins, row := g.height.l, g.width.bins(), 2*g.KH
	g.weightsH = fourierMatrix(2*lh, row, func(i, j int) float64 { return float64(all[(i%lh*2+i/lh)*row+j]) })
	size := lh * bins * g.taps2()
	c.reserveShared(size * g.O)
	most := g.panels[0].n
	c.reserve(g.KH * (g.KW + 2*bins) * most)
	return stage{len(g.panels) * g.KT * g.C, func(args [][]float32, task, worker int) {
		panel := g.panels[task/(g.KT*g.C)]
		tap, ch := task/g.C%g.KT, task%g.C
		cols, scratch := panel.n, c.scratch[worker]
		w, half := carve(&scratch, g.KH*g.KW*cols), carve(&scratch, 2*bins*g.KH*cols)
		for o := range cols {
			src := args[2][(panel.at+o)*g.Conv.taps()+tap*g.KH*g.KW*g.C:]
			for i := range g.KH * g.KW {
				w[i*cols+o] = src[i*g.C+ch]
			}
		}
		for a := range g.KH {
			g.tiles.multiply(2*bins, cols, g.KW, g.weightsW, g.KW, 1, matrix{w[a*g.KW*cols:], cols}, g.zeros, 0, half[a*cols:], g.KH*cols)
		}
		u := c.shared[size*panel.at:][:size*cols]
		for q := range bins {
			for part := range 2 {
				to := u[(q*lh*g.taps2()+(ch*2+part)*g.KT+tap)*cols:]
				g.tiles.multiply(lh, cols, row, g.weightsH[part*lh*row:], row, 1, matrix{half[q*row*cols:], cols}, g.zeros, 0, to, g.taps2()*cols)
			}
		}
	}}
}

// fourier are the stages of the convolution.
func (s Conv) fourier(c *CPU, height, width fourierAxis) []stage {
	g := newFourier(c, s, height, width)
	g.backH, g.backW = height.back(height.m, 1), width.realBack(width.m, 1, 1/float64(height.l))
	c.reserve(g.spectraFloats() + max(g.inputFloats()+g.halfFloats(), g.sumFloats()+g.lineFloats()))
	n := g.frame()
	var re, im []segment // of the sums for the real and for the imaginary part
	for ch := range g.C {
		re = append(re, segment{4 * (n + ch*g.columns), 2 * ch * g.KT, g.KT}, segment{4 * ch * g.columns, (2*ch + 1) * g.KT, g.KT})
		im = append(im, segment{4 * (2*n + ch*g.columns), 2 * ch * g.KT, g.KT}, segment{4 * (n + ch*g.columns), (2*ch + 1) * g.KT, g.KT})
	}
	return []stage{g.prepare(c), {g.units(), func(args [][]float32, task, worker int) {
		u, scratch := g.unit(task), c.scratch[worker]
		v := carve(&scratch, g.spectraFloats())
		g.transform(v, args[1], u, scratch)
		m, z := carve(&scratch, g.sumFloats()), carve(&scratch, g.lineFloats())
		for _, panel := range g.panels {
			g.products(z, m, v, c.shared[g.height.l*g.width.bins()*g.taps2()*panel.at:], panel.n, u.t, re, im)
			g.output(args[0], args[3], z, u, panel)
		}
		g.finish(c, args, u)
	}}}
}

// products writes Z of a panel.
func (g *fourier) products(z, m, v, weights []float32, cols, t int, re, im []segment) {
	lh, mh, row := g.height.l, g.height.m, t*cols
	n, plane := 3*g.frame(), g.taps2()*cols
	for q := range g.width.bins() {
		for i := range lh {
			a, b := v[(q*lh+i)*n:][:n], matrix{weights[(q*lh+i)*plane:][:plane], cols}
			g.tiles.run(t, cols, re, 0, a, 1, 1, b, g.zeros, 0, m[2*i*row:][:row], cols, nil)
			g.tiles.run(t, cols, im, 0, a, 1, 1, b, g.zeros, 0, m[(2*i+1)*row:][:row], cols, nil)
		}
		g.tiles.multiply(2*mh, row, 2*lh, g.backH, 2*lh, 1, matrix{m, row}, g.zeros, 0, z[q*2*mh*g.row():], g.row())
	}
}

// output writes the output pixels of a unit for a panel of channels.
func (g *fourier) output(y, bias, z []float32, u fourierUnit, panel winogradSpan) {
	k, w := 2*g.width.bins(), min(g.width.m, g.outW-u.w)
	for i := range min(g.height.m, g.outH-u.h) {
		for t := range u.t {
			to := y[(((u.clip*g.outT+u.t0+t)*g.outH+u.h+i)*g.outW+u.w)*g.O+panel.at:]
			g.tiles.multiply(w, panel.n, k, g.backW, k, 1, matrix{z[i*g.row()+t*panel.n:], g.height.m * g.row()}, bias[panel.at:], 0, to, g.O)
		}
	}
}

// finish applies the activation and adds the residual.
func (g *fourier) finish(c *CPU, args [][]float32, u fourierUnit) {
	if g.Act == None && !g.Residual {
		return
	}
	n := min(g.width.m, g.outW-u.w) * g.O
	for i := range min(g.height.m, g.outH-u.h) {
		for t := range u.t {
			at := (((u.clip*g.outT+u.t0+t)*g.outH+u.h+i)*g.outW + u.w) * g.O
			y := args[0][at:][:n]
			if g.Act != None {
				c.applySlice(g.Act, y, y)
			}
			if g.Residual {
				c.vec().add(y, y, args[4][at:][:n])
			}
		}
	}
}
