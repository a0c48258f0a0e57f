package kernels

import (
	"slices"
	"unsafe"
)

// strip is the way of a product without a copy of each pixel's row: neighbours in a
// line of the picture share most of what they read. A task's pixels are whole lines of
// one frame or a part of one line. The lines that they read are copied once, with
// zeros where the source ends, frame after frame; the rows of neighbouring pixels
// are then one row of the picture apart. Frames outside the source are left out.
type strip struct {
	h, w   int // lines, and pixels of a line, of a task
	groups []planes
	top    int // of the source's lines, the first one that a pixel reads, from the pixel's
	lines  int // source lines of a task
	pitch  int // values from a source line to the next in the copy
	floats int // of a frame's lines
}

// planes are some frames whose lines are copied together, and the chunks of the sum
// over them.
type planes struct {
	frames []int // from the pixel's
	chunks []stripChunk
}

type stripChunk struct {
	number int     // of the product's chunk
	from   []place // of its parts
}

// place is where a part starts: the frame's number in its planes, and bytes from
// the frame's copy.
type place struct{ frame, at int }

const (
	// maxSegments bounds the parts of a chunk.
	maxSegments = 64
	// maxPlanes bounds the values of the frames that are copied together, to a
	// quarter of a core's L2.
	maxPlanes = 64 << 10
	// stripPixels is how many pixels a task has at most.
	stripPixels = 128
)

// inLines says that frames of h lines of w pixels are no better gathered.
func inLines(t tiles, h, w int) bool { return w%t.group() == 0 && h*w >= 32 }

// newStrip adds the chunks to the product; nil if its rows are better gathered.
func newStrip(p *product) *strip {
	step := p.sw * p.channels * p.prec.bytes()
	if p.direct || p.k() == 0 || len(p.lines) == 0 || !inLines(p.tiles, p.h, p.w) || step%4096 == 0 {
		return nil
	}
	s := &strip{h: 1, w: p.w}
	if p.w > stripPixels {
		group := p.tiles.group()
		s.w = (ceilDiv(p.w, ceilDiv(p.w, stripPixels)) + group - 1) / group * group
	} else {
		s.h = ceilDiv(p.h, ceilDiv(p.h, min(p.h, stripPixels/p.w)))
		for s.h > 1 && s.h*s.w > 24 && s.tasks(p) < minTasks {
			s.h = (s.h + 1) / 2
		}
	}
	bottom := 0
	for i, l := range p.lines {
		if i == 0 {
			s.top, bottom = l.h, l.h
		}
		s.top, bottom = min(s.top, l.h), max(bottom, l.h)
	}
	s.lines = (s.h-1)*p.sh + bottom - s.top + 1
	s.pitch = (((s.w-1)*p.sw+p.cols)*p.channels + 1 + 31) / 32 * 32 // and a zero, for the last word of bfloat16
	s.floats = p.prec.words(s.lines * s.pitch)
	s.plan(p)
	return s
}

// plan cuts the sum into planes and chunks.
func (s *strip) plan(p *product) {
	var frames []int
	for _, l := range p.lines {
		if !slices.Contains(frames, l.t) {
			frames = append(frames, l.t)
		}
	}
	run := p.cols * p.channels
	piece := (ceilDiv(run, ceilDiv(run, maxChunk)) + 15) / 16 * 16
	for together := max(1, maxPlanes/s.floats); len(frames) > 0; {
		g := planes{frames: frames[:min(together, len(frames))]}
		frames = frames[len(g.frames):]
		var parts []part
		var from []place
		sum := 0
		flush := func() {
			if len(parts) > 0 {
				p.add(parts...)
				g.chunks = append(g.chunks, stripChunk{len(p.chunks) - 1, from})
			}
			parts, from, sum = nil, nil, 0
		}
		for i, l := range p.lines {
			frame := slices.Index(g.frames, l.t)
			if frame < 0 {
				continue
			}
			for k := 0; k < run; k += piece {
				end := min(k+piece, run)
				if sum += end - k; sum > maxChunk || len(parts) == maxSegments {
					flush()
					sum = end - k
				}
				parts = append(parts, part{k0: i*run + k, k1: i*run + end})
				from = append(from, place{frame, ((l.h-s.top)*s.pitch + k) * p.prec.bytes()})
			}
		}
		flush()
		s.groups = append(s.groups, g)
	}
}

// perFrame is how many tasks a frame's pixels make.
func (s *strip) perFrame(p *product) int { return ceilDiv(p.h, s.h) * ceilDiv(p.w, s.w) }

func (s *strip) tasks(p *product) int { return p.lattice.n * p.t * s.perFrame(p) }

// corner is a task's frame, and its first pixel there.
func (s *strip) corner(p *product, task int) (frame, h, w int) {
	per := ceilDiv(p.w, s.w)
	frame, task = task/s.perFrame(p), task%s.perFrame(p)
	return frame, task / per * s.h, task % per * s.w
}

func (s *strip) span(p *product, task int) (p0, p1 int) {
	frame, h, w := s.corner(p, task)
	p0 = (frame*p.h+h)*p.w + w
	return p0, p0 + min(s.h, p.h-h)*min(s.w, p.w-w)
}

// scratch is how many values a worker needs: segments, and the copied lines.
func (s *strip) scratch(p *product) int {
	most := 0
	for _, g := range s.groups {
		most = max(most, len(g.frames))
	}
	return segmentFloats + most*s.floats
}

// segmentFloats hold maxSegments.
const segmentFloats = maxSegments * int(unsafe.Sizeof(segment{})) / 4

// rows computes the result of a task's pixels; false if all it reads is outside.
func (s *strip) rows(p *product, dst []float32, ld int, src []float32, task int, scratch []float32) (some bool) {
	frame, h, w := s.corner(p, task)
	n, t := frame/p.t, frame%p.t
	p0, p1 := s.span(p, task)
	segments := segmentsIn(carve(&scratch, segmentFloats))
	from, sfrom := p.bias, 0
	for _, g := range s.groups {
		for i, dt := range g.frames {
			if ti := t*p.st + dt; uint(ti) < uint(p.srcT) {
				s.copyLines(p, scratch[i*s.floats:][:s.floats], src[(n*p.srcT+ti)*p.srcH*p.srcW*p.channels:], h, w)
			}
		}
		for _, c := range g.chunks {
			chunk, count := p.chunks[c.number], 0
			for i, at := range c.from {
				if uint(t*p.st+g.frames[at.frame]) < uint(p.srcT) {
					segments[count] = segment{at.frame*s.floats*4 + at.at, chunk.parts[i].row, p.prec.words(chunk.parts[i].k1 - chunk.parts[i].k0)}
					count++
				}
			}
			if count > 0 {
				s.multiply(p, p1-p0, segments[:count], scratch, p.panels(chunk), chunk.words, from, sfrom, dst, ld)
				from, sfrom, some = dst, ld, true
			}
		}
	}
	return some
}

// copyLines copies the lines of a frame that the pixels from (h,w) read.
func (s *strip) copyLines(p *product, dst, frame []float32, h, w int) {
	if p.prec == BF16 {
		copyBox(&p.lattice, packRow, halves(dst), s.pitch, frame, h*p.sh+s.top, s.lines, w*p.sw+p.col)
	} else {
		copyBox(&p.lattice, copyRow, dst, s.pitch, frame, h*p.sh+s.top, s.lines, w*p.sw+p.col)
	}
}

// copyBox copies, by put, lines of a frame from (top,left); each fills pitch values.
// Where the frame ends they are zeros.
func copyBox[V float32 | uint16](l *lattice, put func(dst []V, src []float32), dst []V, pitch int, frame []float32, top, lines, left int) {
	width := l.srcW * l.channels
	first := left * l.channels
	for r := range lines {
		line := dst[r*pitch:][:pitch]
		if uint(top+r) >= uint(l.srcH) {
			clear(line)
			continue
		}
		before := min(max(-first, 0), pitch)
		end := max(min(width-first, pitch), before)
		clear(line[:before])
		clear(line[end:])
		if before < end {
			put(line[before:end], frame[(top+r)*width+first+before:][:end-before])
		}
	}
}

// multiply adds a chunk's products: row i of the result is that of pixel i of the task.
func (s *strip) multiply(p *product, m int, segments []segment, a []float32, panels []float32, words int, from []float32, sfrom int, dst []float32, ld int) {
	size := p.prec.bytes()
	step, next, group := p.sw*p.channels*size, p.sh*s.pitch*size, p.tiles.group()
	width := min(s.w, m) // a task of several lines has whole ones
	offset := func(i int) int { return i/width*next + i%width*step }
	_, _ = from[(m-1)*sfrom+p.n-1], dst[(m-1)*ld+p.n-1] // the tiles do not check bounds
	for _, g := range segments {
		_ = a[(g.a+offset(m-1)+4*g.k-1)/4]
	}
	for j := 0; j < p.n; {
		w := p.tiles.at(p.n - j)
		panel := &panels[j*words]
		for i, r := 0, 0; i < m; i += w.rows[r] {
			r, _ = w.fit(m - i)
			at := offset(i)
			row := (*float32)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(a)), at))
			w.do[r](1, &segments[0].a, len(segments), 0, row, offset(i+group)-at, offset(i+2*group)-at, step, 4,
				panel, w.cols, &from[i*sfrom+j], sfrom, &dst[i*ld+j], ld, panel, 0)
		}
		j += w.cols
	}
}
