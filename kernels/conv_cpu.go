package kernels

func (s Conv) cpu(c *CPU) []stage {
	if f := c.winograd(s); f != nil {
		return s.winograd(c, f)
	}
	if height, width, ok := c.fourier(s); ok {
		return s.fourier(c, height, width)
	}
	p := newProduct(c, c.directIn(s), s.outputs(), s.O, 0)
	c.reserve(p.scratch())
	k := p.k()

	pack := func(args [][]float32, task, _ int) {
		if task == 0 {
			copy(p.bias, args[3])
		}
		p.pack(task, func(dst []float32, k0, k1, j, cols int) {
			if n := min(cols, s.O-j); n > 0 {
				p.packColumns(c.vec(), dst, cols, args[2][j*k+k0:], k, n, k1-k0)
			}
		})
	}
	multiply := func(args [][]float32, task, worker int) {
		p0, p1 := p.span(task)
		y := args[0][p0*s.O : p1*s.O]
		p.rows(y, s.O, args[1], task, c.scratch[worker])
		if s.Act != None {
			c.applySlice(s.Act, y, y)
		}
		if s.Residual {
			c.vec().add(y, y, args[4][p0*s.O:p1*s.O])
		}
	}
	return []stage{{p.packTasks(), pack}, {p.tasks(), multiply}}
}

func (s ConvGradX) cpu(c *CPU) []stage {
	if f := c.winograd(s); f != nil {
		return s.winograd(c, f)
	}
	return s.phaseProducts(c, func(ph phase, p *product) func(args [][]float32, task, worker int) {
		return s.multiplyPhase(c, ph, p)
	})
}

// phaseProducts packs the weights of all phases, then multiplies those of each phase.
func (s ConvGradX) phaseProducts(c *CPU, multiply func(ph phase, p *product) func(args [][]float32, task, worker int)) []stage {
	var packs, products []stage
	at := 0
	for _, ph := range s.phases() {
		p := newProduct(c, c.directIn(s), ph.lattice, s.C, at)
		at = p.end()
		c.reserve(p.scratch())
		packs = append(packs, stage{p.packTasks(), s.packPhase(ph, p)})
		products = append(products, stage{p.tasks(), multiply(ph, p)})
	}
	return []stage{together(packs), together(products)}
}

// together is one stage with the tasks of several.
func together(stages []stage) stage {
	all := stage{do: func(args [][]float32, task, worker int) {
		i := 0
		for ; task >= stages[i].tasks; i++ {
			task -= stages[i].tasks
		}
		stages[i].do(args, task, worker)
	}}
	for _, s := range stages {
		all.tasks += s.tasks
	}
	return all
}

// packPhase packs the taps of a phase: row k of the weights holds those from
// output channel k%O through tap k/O to all input channels.
func (s ConvGradX) packPhase(ph phase, p *product) func(args [][]float32, task, worker int) {
	zeros := make([]float32, s.C)
	return func(args [][]float32, task, _ int) {
		w, taps := args[2], s.taps()
		p.pack(task, func(dst []float32, k0, k1, j, cols int) {
			n := min(cols, s.C-j)
			row := func(k int) []float32 {
				if k == k1 {
					return zeros[:n]
				}
				return w[k%s.O*taps+ph.taps[k/s.O]*s.C+j:][:n]
			}
			if p.prec == BF16 {
				for k := k0; k < k1; k += 2 {
					packRows(dst[(k-k0)/2*cols:], row(k), row(k+1))
				}
				return
			}
			o, tap := k0%s.O, k0/s.O
			for k := range k1 - k0 {
				copy(dst[k*cols:], w[o*taps+ph.taps[tap]*s.C+j:][:n])
				if o++; o == s.O {
					o, tap = 0, tap+1
				}
			}
		})
	}
}

// multiplyPhase computes the gradients of the input pixels of a phase.
func (s ConvGradX) multiplyPhase(c *CPU, ph phase, p *product) func(args [][]float32, task, worker int) {
	one := s.ST == 1 && s.SH == 1 && s.SW == 1
	// finish makes the gradients dx of their sums, those of the values from on.
	finish := func(dx, sums []float32, args [][]float32, from int) {
		if s.Residual {
			c.vec().add(dx, sums, args[len(args)-1][from:from+len(dx)])
			sums = dx
		}
		if s.Act != None {
			c.gradSlice(s.Act, dx, sums, args[3][from:from+len(dx)])
		} else if &sums[0] != &dx[0] {
			copy(dx, sums)
		}
	}
	return func(args [][]float32, task, worker int) {
		p0, p1 := p.span(task)
		scratch := c.scratch[worker]
		dx := args[0]
		if one {
			from, to := p0*s.C, p1*s.C
			p.rows(dx[from:to], s.C, args[1], task, scratch)
			finish(dx[from:to], dx[from:to], args, from)
			return
		}
		s.pixelSums(ph, p, args[1], task, scratch, func(sums []float32, pixel int) {
			from := pixel * s.C
			finish(dx[from:from+s.C], sums, args, from)
		})
	}
}

// pixelSums calls do with the sums over dy of each input pixel of a task, and the pixel's index.
func (s ConvGradX) pixelSums(ph phase, p *product, dy []float32, task int, scratch []float32, do func(sums []float32, pixel int)) {
	sums := scratch[p.own():]
	p.rows(sums, s.C, dy, task, scratch)
	p0, p1 := p.span(task)
	for i := range p1 - p0 {
		n, t, h, w := p.position(p0 + i)
		do(sums[i*s.C:][:s.C], ((n*s.T+ph.t0+t*s.ST)*s.H+ph.h0+h*s.SH)*s.W+ph.w0+w*s.SW)
	}
}
