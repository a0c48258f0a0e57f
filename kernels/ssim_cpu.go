package kernels

// ssimShift is subtracted from all values, so that the float32 products of a window, which
// variances are differences of, are small.
const ssimShift = .5

// unshifted is index for moments of values minus ssimShift.
func (m ssimMoments) unshifted() (s, dx, dxx, dxt float64) {
	vx, vt, cov := m.xx-m.x*m.x, m.tt-m.t*m.t, m.xt-m.x*m.t
	x, t := m.x+ssimShift, m.t+ssimShift
	s, dx, dxx, dxt = ssimMoments{x, t, vx + x*x, vt + t*t, cov + x*t}.index()
	// The derivatives by the moments of shifted values: xx = xx' + 2·shift·x' + ..., and so on.
	return s, dx + 2*ssimShift*dxx + ssimShift*dxt, dxx, dxt
}

// ssimFrame is one worker's memory for a frame.
type ssimFrame struct {
	s           SSIMLoss
	taps        []float32
	axpy        func(y, x []float32, a float32)
	x, t, mixed []float32    // lines of the frame
	rows        [5][]float32 // [H, windows·C]: means along a line of x, t, x², t² and x·t
	sums        [5][]float32 // a line of windows
}

func (s SSIMLoss) scratch() int {
	_, w := s.windows()
	return 3*s.W*s.C + 5*(s.H+1)*w*s.C
}

func (s SSIMLoss) frame(c *CPU, taps []float32, worker int) ssimFrame {
	scratch := c.scratch[worker]
	_, w := s.windows()
	f := ssimFrame{s: s, taps: taps, axpy: c.vec().axpy, x: carve(&scratch, s.W*s.C), t: carve(&scratch, s.W*s.C), mixed: carve(&scratch, s.W*s.C)}
	for i := range f.rows {
		f.rows[i], f.sums[i] = carve(&scratch, s.H*w*s.C), carve(&scratch, w*s.C)
	}
	return f
}

// along adds the weighted mean along a line.
func (f *ssimFrame) along(dst, src []float32) {
	clear(dst)
	for k, g := range f.taps {
		f.axpy(dst, src[k*f.s.C:][:len(dst)], g)
	}
}

// read computes rows of a frame of x and target.
func (f *ssimFrame) read(x, target []float32) {
	line := len(f.x)
	n := len(f.sums[0])
	for h := range f.s.H {
		for i, v := range x[h*line:][:line] {
			f.x[i], f.t[i] = v-ssimShift, target[h*line+i]-ssimShift
		}
		for k, pair := range [5][2][]float32{{f.x}, {f.t}, {f.x, f.x}, {f.t, f.t}, {f.x, f.t}} {
			src := pair[0]
			if pair[1] != nil {
				plainMul(f.mixed, pair[0], pair[1])
				src = f.mixed
			}
			f.along(f.rows[k][h*n:][:n], src)
		}
	}
}

// line computes sums of the windows of line h.
func (f *ssimFrame) line(h int) {
	n := len(f.sums[0])
	for k, sums := range f.sums {
		clear(sums)
		for j, g := range f.taps {
			f.axpy(sums, f.rows[k][(h+j)*n:][:n], g)
		}
	}
}

// index is S of the line's window and channel i, and its derivatives by the moments of shifted values.
func (f *ssimFrame) index(i int) (s, dx, dxx, dxt float64) {
	return ssimMoments{float64(f.sums[0][i]), float64(f.sums[1][i]), float64(f.sums[2][i]), float64(f.sums[3][i]), float64(f.sums[4][i])}.unshifted()
}

// middle are the weights of the windows of line h of frame n.
func (s SSIMLoss) middle(weight []float32, n, h int) []float32 {
	_, w := s.windows()
	return weight[(n*s.H+h+s.Window/2)*s.W+s.Window/2:][:w]
}

func float32s(x []float64) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(v)
	}
	return y
}

// A task is a frame.
func (s SSIMLoss) cpu(c *CPU) []stage {
	c.reserve(s.scratch())
	taps := float32s(ssimTaps(s.Window))
	errs, weights := make([]float64, s.N), make([]float64, s.N)
	h, w := s.windows()
	size := s.H * s.W * s.C
	return []stage{
		{s.N, func(args [][]float32, n, worker int) {
			f := s.frame(c, taps, worker)
			f.read(args[1][n*size:][:size], args[2][n*size:][:size])
			errs[n], weights[n] = 0, 0
			for r := range h {
				f.line(r)
				weight := s.middle(args[3], n, r)
				for i := range w * s.C {
					similar, _, _, _ := f.index(i)
					errs[n] += float64(weight[i/s.C]) * (1 - similar)
					weights[n] += float64(weight[i/s.C])
				}
			}
		}},
		{1, func(args [][]float32, _, _ int) {
			args[0][0] = 0
			if total := sumOf(weights); total != 0 {
				args[0][0] = float32(sumOf(errs) / total)
			}
		}},
	}
}

// A task is a frame. The derivatives by a window's moments go back to its pixels as the
// pixels went to the moments: along columns, then along lines.
func (s SSIMLossGrad) cpu(c *CPU) []stage {
	f := SSIMLoss(s)
	h, w := f.windows()
	wide, n := s.W*s.C, w*s.C
	c.reserve(f.scratch() + 3*(s.H*n+wide+n))
	taps, axpy := float32s(ssimTaps(s.Window)), c.vec().axpy
	weights, scale := make([]float64, s.N), 0.
	size := s.H * wide
	return []stage{
		{s.N, func(args [][]float32, i, _ int) {
			weights[i] = 0
			for r := range h {
				for _, v := range f.middle(args[4], i, r) {
					weights[i] += float64(v) * float64(s.C)
				}
			}
		}},
		{1, func(args [][]float32, _, _ int) {
			scale = 0
			if total := sumOf(weights); total != 0 {
				scale = float64(args[1][0]) / total
			}
		}},
		{s.N, func(args [][]float32, frame, worker int) {
			x, target, dx := args[2][frame*size:][:size], args[3][frame*size:][:size], args[0][frame*size:][:size]
			m := f.frame(c, taps, worker)
			m.read(x, target)
			scratch := c.scratch[worker][f.scratch():]
			var columns, slopes, pixels [3][]float32
			for k := range columns {
				columns[k], slopes[k], pixels[k] = carve(&scratch, s.H*n), carve(&scratch, n), carve(&scratch, wide)
				clear(columns[k])
			}
			for r := range h {
				m.line(r)
				weight := f.middle(args[4], frame, r)
				for i := range n {
					_, a, b, d := m.index(i)
					by := -scale * float64(weight[i/s.C])
					slopes[0][i], slopes[1][i], slopes[2][i] = float32(by*a), float32(by*b), float32(by*d)
				}
				for k := range slopes {
					for j, g := range taps {
						axpy(columns[k][(r+j)*n:][:n], slopes[k], g)
					}
				}
			}
			for r := range s.H {
				for k := range pixels {
					clear(pixels[k])
					for j, g := range taps {
						axpy(pixels[k][j*s.C:][:n], columns[k][r*n:][:n], g)
					}
				}
				for i := range wide {
					at := r*wide + i
					dx[at] = pixels[0][i] + 2*(x[at]-ssimShift)*pixels[1][i] + (target[at]-ssimShift)*pixels[2][i]
				}
			}
		}},
	}
}
