package kernels

func (s Shuffle) cpu(c *CPU) []stage {
	if s.Act == None {
		return s.stages(c, nil)
	}
	return s.stages(c, func(args [][]float32, from, to int) {
		y := args[0][from:to]
		c.applySlice(s.Act, y, y)
	})
}

func (s ShuffleGrad) cpu(c *CPU) []stage {
	return s.back().stages(c, func(args [][]float32, from, to int) {
		dx := args[0][from:to]
		c.gradSlice(s.Act, dx, dx, args[2][from:to])
	})
}

// stages: a task is a few lines of W pixels of the small grid. A deep pixel is a matrix
// [C,f]; its columns are the values of f wide pixels, some in other lines or frames.
// finish, unless it is nil, gets the parts of the result that have been moved.
func (s Shuffle) stages(c *CPU, finish func(args [][]float32, from, to int)) []stage {
	v, f := c.vec(), s.FT*s.FH*s.FW
	wideLine := s.W * s.FW * s.C
	offsets := make([]int, 0, f) // of the f wide pixels from the first
	for a := range s.FT {
		for i := range s.FH {
			for j := range s.FW {
				offsets = append(offsets, (a*s.H*s.FH+i)*wideLine+j*s.C)
			}
		}
	}
	lines := s.N * s.T * s.H
	per := rowsPerTask(s.W * s.C * f)
	return []stage{{ceilDiv(lines, per), func(args [][]float32, task, _ int) {
		wide, deep := args[0], args[1]
		if s.Down {
			wide, deep = deep, wide
		}
		from, to := span(task, lines, per)
		for l := from; l < to; l++ {
			first := (l/s.H*s.FT*s.H*s.FH + l%s.H*s.FH) * wideLine
			s.line(v, wide[first:], deep[l*s.W*s.C*f:], offsets)
			switch {
			case finish == nil:
			case s.Down:
				finish(args, l*s.W*s.C*f, (l+1)*s.W*s.C*f)
			default:
				for m := 0; m < f; m += s.FW {
					finish(args, first+offsets[m], first+offsets[m]+wideLine)
				}
			}
		}
	}}}
}

// line copies a line of deep pixels to the wide ones, or back if Down.
func (s Shuffle) line(v *vectors, wide, deep []float32, offsets []int) {
	f := len(offsets)
	if s.C == 3 && s.FW == 4 && !s.PhaseFirst { // patches of a picture
		for m := 0; m < f; m += 4 {
			v.patches(s.Down, wide[offsets[m]:][:s.W*s.FW*s.C], deep[m:], s.W, f)
		}
		return
	}
	for w := range s.W {
		s.pixel(v, wide[w*s.FW*s.C:], deep[w*s.C*f:][:s.C*f], offsets)
	}
}

// pixel copies one deep pixel to the wide ones, or back if Down.
func (s Shuffle) pixel(v *vectors, wide, px []float32, offsets []int) {
	c := s.C
	switch {
	case s.PhaseFirst:
		for m, o := range offsets {
			if s.Down {
				copy(px[m*c:][:c], wide[o:])
			} else {
				copy(wide[o:][:c], px[m*c:])
			}
		}
	case len(offsets) == 1 && s.Down:
		copy(px, wide)
	case len(offsets) == 1:
		copy(wide, px)
	case len(offsets) == 2:
		pairs(s.Down, wide[offsets[0]:][:c], wide[offsets[1]:][:c], px)
	case len(offsets)%4 != 0:
		for m, o := range offsets {
			column(s.Down, wide[o:][:c], px[m:], len(offsets))
		}
	default:
		for m := 0; m < len(offsets); m += 4 {
			o := (*[4]int)(offsets[m:])
			v.columns(s.Down, wide[o[0]:][:c], wide[o[1]:][:c], wide[o[2]:][:c], wide[o[3]:][:c], px[m:], len(offsets))
		}
	}
}

// column copies px[0], px[stride], ... to row, or back.
func column(back bool, row, px []float32, stride int) {
	at := 0
	for i := range row {
		if back {
			px[at] = row[i]
		} else {
			row[i] = px[at]
		}
		at += stride
	}
}

// pairs copies the columns of px [len(a),2] to a and b, or back.
func pairs(back bool, a, b, px []float32) {
	b, px = b[:len(a)], px[:2*len(a)]
	for i := range a {
		p := (*[2]float32)(px[2*i:])
		if back {
			p[0], p[1] = a[i], b[i]
		} else {
			a[i], b[i] = p[0], p[1]
		}
	}
}

// columns copies the first four columns of px, whose rows are stride apart, to a, b, c
// and d, or back.
func (v *vectors) columns(back bool, a, b, c, d, px []float32, stride int) {
	if back {
		v.quadsBack(a, b, c, d, px, stride)
	} else {
		v.quads(a, b, c, d, px, stride)
	}
}

// patches copies the first four columns of n deep pixels [3,f] to 4n wide pixels of
// three values, or back.
func (v *vectors) patches(back bool, wide, deep []float32, n, f int) {
	if back {
		v.thirdsBack(wide, deep, n, f)
	} else {
		v.thirds(wide, deep, n, f)
	}
}
