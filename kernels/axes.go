package kernels

// axisMap is a sparse matrix along one axis: for each position of the result, the
// positions it is made of.
type axisMap [][]axisTap

type axisTap struct {
	from   int
	weight float32
}

// adjoint is the transposed matrix, to an axis of n positions.
func (m axisMap) adjoint(n int) axisMap {
	a := make(axisMap, n)
	for to, taps := range m {
		for _, t := range taps {
			a[t.from] = append(a[t.from], axisTap{to, t.weight})
		}
	}
	return a
}

// axes are the maps of time, height and width, applied together.
type axes [3]axisMap

func (a axes) adjoint(t, h, w int) axes {
	return axes{a[0].adjoint(t), a[1].adjoint(h), a[2].adjoint(w)}
}

// stages applies the maps to a source [n,t,h,w,c], argument 1. A task is a few lines
// of the result.
func (a axes) stages(cpu *CPU, n, t, h, w, c int) []stage {
	ot, oh, line := len(a[0]), len(a[1]), len(a[2])*c
	cpu.reserve(w * c)
	lines, axpy := n*ot*oh, cpu.vec().axpy
	per := rowsPerTask(line)
	return []stage{{ceilDiv(lines, per), func(args [][]float32, task, worker int) {
		mixed := cpu.scratch[worker][:w*c]
		from, to := span(task, lines, per)
		for l := from; l < to; l++ {
			clip, frames, rows := l/oh/ot, a[0][l/oh%ot], a[1][l%oh]
			at := func(i, j axisTap) []float32 {
				return args[1][((clip*t+i.from)*h+j.from)*w*c:][:w*c]
			}
			src := mixed
			if len(frames) == 1 && len(rows) == 1 && frames[0].weight*rows[0].weight == 1 {
				src = at(frames[0], rows[0])
			} else {
				clear(mixed)
				for _, i := range frames {
					for _, j := range rows {
						axpy(mixed, at(i, j), i.weight*j.weight)
					}
				}
			}
			mix(axpy, args[0][l*line:][:line], src, a[2], c)
		}
	}}}
}

// mix applies the map m to a line of pixels of c values.
func mix(axpy func(y, x []float32, a float32), dst, src []float32, m axisMap, c int) {
	for w, taps := range m {
		y := dst[w*c:][:c]
		if len(taps) == 1 && taps[0].weight == 1 {
			copy(y, src[taps[0].from*c:])
			continue
		}
		clear(y)
		for _, t := range taps {
			axpy(y, src[t.from*c:][:c], t.weight)
		}
	}
}
