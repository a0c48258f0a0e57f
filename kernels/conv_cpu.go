package kernels

func (s Conv) cpu(c *CPU) []stage {
	p := newProduct(isaTiles[c.isa], s.outputs(), s.O)
	c.reserve(p.scratch())
	k := p.k()

	pack := func(args [][]float32, task, _ int) {
		if task == 0 {
			copy(p.bias, args[3])
		}
		p.packPiece(task, func(dst []float32, k0, k1, j, cols int) {
			for i := range min(cols, s.O-j) {
				at := i
				for _, v := range args[2][(j+i)*k+k0 : (j+i)*k+k1] {
					dst[at] = v
					at += cols
				}
			}
		})
	}
	multiply := func(args [][]float32, task, worker int) {
		p0, p1 := span(task, p.pixels(), p.block)
		scratch := c.scratch[worker]
		y := args[0][p0*s.O : p1*s.O]
		if s.O == p.n {
			p.rows(y, s.O, args[1], p0, p1, scratch)
		} else {
			wide := scratch[p.block*p.stride():]
			p.rows(wide, p.n, args[1], p0, p1, scratch)
			for i := range p1 - p0 {
				copy(y[i*s.O:][:s.O], wide[i*p.n:])
			}
		}
		if s.Act != None {
			c.applySlice(s.Act, y, y)
		}
		if s.Residual {
			addSlice(y, y, args[4][p0*s.O:p1*s.O])
		}
	}
	return []stage{{p.packTasks(), pack}, {p.tasks(), multiply}}
}

func (s ConvGradX) cpu(c *CPU) []stage {
	var pack, multiply []stage
	for _, ph := range s.phases() {
		p := newProduct(isaTiles[c.isa], ph.lattice, s.C)
		c.reserve(p.scratch())
		pack = append(pack, stage{p.packTasks(), s.packPhase(ph, p)})
		multiply = append(multiply, stage{p.tasks(), s.multiplyPhase(c, ph, p)})
	}
	return []stage{together(pack), together(multiply)}
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
	return func(args [][]float32, task, _ int) {
		w, row := args[2], s.taps()
		p.packPiece(task, func(dst []float32, k0, k1, j, cols int) {
			n := min(cols, s.C-j)
			for k := k0; k < k1; k++ {
				copy(dst[(k-k0)*cols:][:n], w[k%s.O*row+ph.taps[k/s.O]*s.C+j:])
			}
		})
	}
}

// multiplyPhase computes the gradients of the input pixels of a phase.
func (s ConvGradX) multiplyPhase(c *CPU, ph phase, p *product) func(args [][]float32, task, worker int) {
	one := s.ST == 1 && s.SH == 1 && s.SW == 1
	return func(args [][]float32, task, worker int) {
		p0, p1 := span(task, p.pixels(), p.block)
		scratch := c.scratch[worker]
		dx := args[0]
		if one && s.C == p.n {
			from, to := p0*s.C, p1*s.C
			p.rows(dx[from:to], s.C, args[1], p0, p1, scratch)
			if s.Act != None {
				c.gradSlice(s.Act, dx[from:to], dx[from:to], args[3][from:to])
			}
			return
		}
		wide := scratch[p.block*p.stride():]
		p.rows(wide, p.n, args[1], p0, p1, scratch)
		for i := range p1 - p0 {
			n, t, h, w := p.position(p0 + i)
			from := (((n*s.T+ph.t0+t*s.ST)*s.H+ph.h0+h*s.SH)*s.W + ph.w0 + w*s.SW) * s.C
			row := dx[from : from+s.C]
			if s.Act == None {
				copy(row, wide[i*p.n:])
			} else {
				c.gradSlice(s.Act, row, wide[i*p.n:][:s.C], args[3][from:from+s.C])
			}
		}
	}
}

// gradColumns is how many columns of dw one task of ConvGradW makes: whole lines of
// the kernel where they are short, else an even part of one, so that a gather copies
// long runs. The sums of all output channels shall stay in the second cache.
func gradColumns(l *lattice, channels int) int {
	const sums = 48 << 10 // values, 192 KiB
	limit := min(max(sums/channels, 96), 288)
	line := l.cols * l.channels
	if line <= limit {
		return min(line*(limit/line), l.k())
	}
	return (blocks(line, blocks(line, limit)) + 15) / 16 * 16
}

// ConvGradW is a product of dy, its pixels as columns, and the gathered rows of x.
//
// A task makes the gradients of some columns [k0,k1) of the weights for all output
// channels. It takes the pixels in blocks, gathers their columns and adds the
// block's product to what it has. Where that would be too few tasks, the pixels are
// split too, and a second stage adds the parts in order.
func (s ConvGradW) cpu(c *CPU) []stage {
	const block = 256 // pixels
	t, l := isaTiles[c.isa], s.outputs()
	k, pixels := l.k(), l.pixels()
	cols := gradColumns(&l, s.O)
	for cols > 192 && blocks(k, cols) < minTasks {
		cols = (cols/2 + 15) / 16 * 16
	}
	ranges := blocks(k, cols)
	parts := max(1, min(blocks(minTasks, ranges), pixels/block))
	part := blocks(blocks(pixels, parts), block) * block
	parts = blocks(pixels, part)
	direct := l.plain() && k%t.unit() == 0 && cols%t.unit() == 0 && k < maxDirect
	ld := (cols+31)/32*32 + 16 // of gathered rows and of the sums

	zeros, gathered := alignedFloats(ld), block*ld
	c.reserve(gathered + s.O*ld)
	var partial []float32
	if parts > 1 {
		partial = alignedFloats(parts * s.O * k)
	}
	multiply := func(args [][]float32, task, worker int) {
		k0, k1 := span(task%ranges, k, cols)
		from, to := span(task/ranges, pixels, part)
		dw := args[0]
		if parts > 1 {
			dw = partial[task/ranges*s.O*k:]
		}
		dy, x := args[1], args[2]
		rows, sum := c.scratch[worker][:gathered], c.scratch[worker][gathered:][:s.O*ld]
		add, sadd := zeros, 0
		for p0 := from; p0 < to; p0 += block {
			p1 := min(p0+block, to)
			b := matrix{rows, ld}
			if direct {
				b = matrix{x[p0*k+k0:], k}
			} else {
				l.gather(rows, b.stride, x, p0, p1, k0, k1)
			}
			t.multiply(s.O, t.pad(k1-k0), p1-p0, dy[p0*s.O:], 1, s.O, b, add, sadd, sum, ld)
			add, sadd = sum, ld
		}
		for o := range s.O {
			copy(dw[o*k+k0:][:k1-k0], sum[o*ld:])
		}
	}
	stages := []stage{{ranges * parts, multiply}}
	if parts > 1 {
		stages = append(stages, stage{s.O, func(args [][]float32, o, _ int) {
			dw := args[0][o*k:][:k]
			copy(dw, partial[o*k:])
			for i := 1; i < parts; i++ {
				addSlice(dw, dw, partial[(i*s.O+o)*k:][:k])
			}
		}})
	}
	return stages
}
