package kernels

import "unsafe"

// fourierGrad is ConvGradW by Fourier transforms, see fourier. A range is a panel of
// output channels, a block a tile. With V as it is there, a block's
//
//	F [bins][2][mh][T][cols]        the output's gradient, transformed along the width
//	Y [lh][2][T][cols]              and along the height, of one bin
//	G [bins][lh][2][rows][cols]     += products of V and Y, summed over frames; a row is a
//	                                tap in time of an input channel
//
// G is the conjugate of the gradient's transform. Transformed back, it is
//
//	B [bins][2][KH][rows][cols]     along the height
//	E [KH][KW][rows][cols]          and the width.
type fourierGrad struct {
	*fourier
	gradW, gradH []float32 // of dy: to F, to Y
	backH, backW []float32 // G to B, B to E
}

func newFourierGrad(c *CPU, s Conv, height, width fourierAxis) *fourierGrad {
	g := &fourierGrad{fourier: newFourier(c, s, height, width)}
	g.gradW, g.gradH = width.real(width.m, -1), height.complex(height.m, -1)
	g.backH, g.backW = height.back(s.KH, -1), width.realBack(s.KW, -1, 1/float64(height.l))
	return g
}

func (g *fourierGrad) ranges() int { return len(g.panels) }
func (g *fourierGrad) blocks() int { return g.units() }

// Sizes of the workspace.
func (g *fourierGrad) rows() int       { return g.C * g.tapRows() }
func (g *fourierGrad) plane() int      { return g.rows() * g.panels[0].n } // of G
func (g *fourierGrad) gradFloats() int { return 2 * g.width.bins() * g.height.l * g.plane() }
func (g *fourierGrad) scratch() int {
	columns := 2*g.width.bins()*g.KH*g.plane() + g.KH*g.KW*g.plane() // B and E
	return segmentFloats + g.gradFloats() + max(columns, g.spectraFloats()+max(g.inputFloats()+g.halfFloats(), g.sumFloats()+g.lineFloats()))
}

func (g *fourierGrad) sums(dw, dy, x []float32, r, from, to int, scratch []float32) {
	panel := g.panels[r]
	cols := panel.n
	segments := segmentsIn(carve(&scratch, segmentFloats))
	sums := carve(&scratch, g.gradFloats())
	clear(sums)
	for b := from; b < to; b++ {
		u, space := g.unit(b), scratch
		v := carve(&space, g.spectraFloats())
		g.transform(v, x, u, space)
		y, f := carve(&space, g.sumFloats()), carve(&space, g.lineFloats())
		g.lineSpectra(f, dy, u, panel)
		g.add(sums, v, y, f, u.t, cols, segments)
	}
	g.gradients(dw, sums, panel, scratch)
}

// lineSpectra writes F of a unit.
func (g *fourierGrad) lineSpectra(f, dy []float32, u fourierUnit, panel winogradSpan) {
	rows, mh, w := 2*g.width.bins(), g.height.m, min(g.width.m, g.outW-u.w)
	for i := range mh {
		if u.h+i >= g.outH {
			for q := range rows {
				clear(f[(q*mh+i)*g.row():][:u.t*panel.n])
			}
			continue
		}
		for t := range u.t {
			from := dy[(((u.clip*g.outT+u.t0+t)*g.outH+u.h+i)*g.outW+u.w)*g.O+panel.at:]
			g.tiles.multiply(rows, panel.n, w, g.gradW, g.width.m, 1, matrix{from, g.O}, g.zeros, 0, f[i*g.row()+t*panel.n:], mh*g.row())
		}
	}
}

// add adds the products of a unit to G.
func (g *fourierGrad) add(sums, v, y, f []float32, t, cols int, segments []segment) {
	lh, mh, n, row := g.height.l, g.height.m, g.frame(), t*cols
	plane := g.rows() * cols
	for q := range g.width.bins() {
		g.tiles.multiply(2*lh, row, 2*mh, g.gradH, 2*mh, 1, matrix{f[q*2*mh*g.row():], g.row()}, g.zeros, 0, y, row)
		for i := range lh {
			a, b, to := v[(q*lh+i)*3*n:][:3*n], y[2*i*row:][:2*row], sums[(q*lh+i)*2*plane:][:2*plane]
			segments[0], segments[1] = segment{4 * n, 0, t}, segment{8 * n, t, t} // Xr·Yr + Xi·Yi
			g.outer(to[:plane], a, b, cols, segments[:2])
			segments[0], segments[1] = segment{4 * n, t, t}, segment{0, 0, t} // Xr·Yi - Xi·Yr
			g.outer(to[plane:], a, b, cols, segments[:2])
		}
	}
}

// outer adds to a plane of G the products of rows of V, each a frame after that of the tap
// in time before, and those of Y.
func (g *fourierGrad) outer(sums, v, y []float32, cols int, segments []segment) {
	taps, group := g.tapRows(), g.tiles.group()
	offset := func(i int) int { return 4 * (i/taps*g.columns + i%taps) }
	w := g.tiles.at(cols)
	rows := g.rows()
	for _, s := range segments { // the tiles do not check bounds
		_, _, _ = v[(s.a+offset(rows-1))/4+s.k-1], y[(s.b+s.k)*cols-1], sums[rows*cols-1]
	}
	for i, r := 0, 0; i < rows; i += w.rows[r] {
		r, _ = w.fit(rows - i)
		at := offset(i)
		first := (*float32)(unsafe.Add(unsafe.Pointer(&v[0]), at))
		w.do[r](1, &segments[0].a, len(segments), 0, first, offset(i+group)-at, offset(i+2*group)-at, 4, 4, &y[0], cols, &sums[i*cols], cols, &sums[i*cols], cols, &y[0], 0)
	}
}

// gradients writes dw of a panel from G.
func (g *fourierGrad) gradients(dw, sums []float32, panel winogradSpan, scratch []float32) {
	lh, bins, plane := g.height.l, g.width.bins(), g.rows()*panel.n
	b, e := carve(&scratch, 2*bins*g.KH*plane), carve(&scratch, g.KH*g.KW*plane)
	for q := range bins {
		g.tiles.multiply(2*g.KH, plane, 2*lh, g.backH, 2*lh, 1, matrix{sums[q*2*lh*plane:], plane}, g.zeros, 0, b[q*2*g.KH*plane:], plane)
	}
	for i := range g.KH {
		g.tiles.multiply(g.KW, plane, 2*bins, g.backW, 2*bins, 1, matrix{b[i*plane:], g.KH * plane}, g.zeros, 0, e[i*g.KW*plane:], plane)
	}
	for o := range panel.n {
		to := dw[(panel.at+o)*g.Conv.taps():][:g.Conv.taps()]
		for tap := range g.KT {
			for i := range g.KH * g.KW {
				for ch := range g.C {
					to[(tap*g.KH*g.KW+i)*g.C+ch] = e[i*plane+(ch*g.tapRows()+tap)*panel.n+o]
				}
			}
		}
	}
}
