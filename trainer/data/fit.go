package data

// Ways to bring a frame of other proportions to the configured size (Config.Fit).
const (
	fitCrop      = "crop"      // cover the size and cut off the rest: at random in training, the middle in evaluation
	fitCenter    = "center"    // cover the size and keep the middle
	fitLetterbox = "letterbox" // fit into the size; the bars are black
	fitStretch   = "stretch"   // scale each axis on its own
)

// fit is how the frames of a clip are brought to H by W.
type fit struct {
	mode   string // "": crop
	H, W   int    // 0: as stored
	fy, fx float64
}

// scaling maps a point of a clip's frame to the fitted frame: the frame is scaled to
// sh by sw; the part from (top, left) on is written at (y, x), h by w pixels.
type scaling struct {
	sh, sw, top, left int
	y, x, h, w        int
	scaleY, scaleX    float64
}

// scaling computes how a frame of h by w is fitted.
func (f fit) scaling(h, w int) scaling {
	H, W := f.H, f.W
	if h == H && w == W || H == 0 {
		return scaling{sh: h, sw: w, h: h, w: w, scaleY: 1, scaleX: 1}
	}
	s := scaling{h: H, w: W}
	switch f.mode {
	case fitStretch:
		s.sh, s.sw = H, W
	case fitLetterbox:
		scale := min(float64(H)/float64(h), float64(W)/float64(w))
		s.sh, s.sw = min(max(int(float64(h)*scale+.5), 1), H), min(max(int(float64(w)*scale+.5), 1), W)
		s.h, s.w, s.y, s.x = s.sh, s.sw, (H-s.sh)/2, (W-s.sw)/2
	default:
		fy, fx := f.fy, f.fx
		if f.mode == fitCenter {
			fy, fx = .5, .5
		}
		scale := max(float64(H)/float64(h), float64(W)/float64(w))
		s.sh, s.sw = max(int(float64(h)*scale+.5), H), max(int(float64(w)*scale+.5), W)
		s.top, s.left = int(fy*float64(s.sh-H)+.5), int(fx*float64(s.sw-W)+.5)
	}
	s.scaleY, s.scaleX = float64(s.sh)/float64(h), float64(s.sw)/float64(w)
	return s
}

// point maps a position in pixels.
func (s scaling) point(x, y float64) (float64, float64) {
	return x*s.scaleX - float64(s.left) + float64(s.x), y*s.scaleY - float64(s.top) + float64(s.y)
}

// scaled fits frames, line by line; it holds the filters of the last size and scratch memory.
type scaled struct {
	from, to   [2]int
	by         scaling
	c          int // channels
	rows, cols []tap
	low, high  int // lines of a frame that lines of the result need
	narrow     []float32
}

// begin starts a frame of h by w by c, which is fitted as f says. All of its lines are then given to narrow, and
// finish has the result.
func (s *scaled) begin(h, w, c int, f fit) {
	by := f.scaling(h, w)
	if s.by != by || s.from != [2]int{h, w} || s.to != [2]int{f.H, f.W} {
		s.by, s.from, s.to = by, [2]int{h, w}, [2]int{f.H, f.W}
		s.rows, s.cols = taps(h, by.sh, by.top, by.h), taps(w, by.sw, by.left, by.w)
		s.low, s.high = s.rows[0].from, 0
		for _, tap := range s.rows {
			s.high = max(s.high, tap.from+len(tap.weight))
		}
	}
	s.c = c
	s.narrow = grown(s.narrow, h*by.w*c+1) // narrowRGB writes one value too many
}

// narrow scales line y [w,c] of a frame along the line, and multiplies it by unit. narrowRGB does it where another byte is in
// memory after those of the line.
func narrow[V uint8 | float32](s *scaled, y int, in []V, unit float32) {
	if y < s.low || y >= s.high {
		return
	}
	line := s.by.w * s.c
	if rgb, ok := any(in).([]byte); ok && s.c == 3 && fitAVX && cap(rgb) > len(rgb) {
		narrowRGB(&s.narrow[y*line], &rgb[0], s.cols, unit)
		return
	}
	narrowLine(s.narrow[y*line:(y+1)*line], in, s.cols, s.c, unit)
}

// finish writes the fitted frame to dst [f.H,f.W,c].
func (s *scaled) finish(dst []float32) {
	line := s.by.w * s.c
	if s.by.h < s.to[0] || s.by.w < s.to[1] {
		clear(dst)
	}
	for y, tap := range s.rows {
		at := ((s.by.y+y)*s.to[1] + s.by.x) * s.c
		if to, lines := dst[at:at+line], s.narrow[tap.from*line:]; fitAVX {
			sumLines(to, &lines[0], tap.weight)
		} else {
			addLines(to, lines, tap.weight)
		}
	}
}

// fitFrame scales one frame [h,w,c], multiplied by unit, into dst [f.H,f.W,c].
func fitFrame[V uint8 | float32](s *scaled, dst []float32, in []V, h, w, c int, f fit, unit float32) {
	s.begin(h, w, c, f)
	for y := range h {
		narrow(s, y, in[y*w*c:(y+1)*w*c], unit)
	}
	s.finish(dst)
}

// addLines adds up consecutive lines of the length of dst, each times its weight: dst[k] = min(Σ weight[i]·lines[i][k], 1).
// The minimum is for a sum of weights that rounds to a little above 1.
func addLines(dst, lines []float32, weight []float32) {
	clear(dst)
	for i, g := range weight {
		for k, v := range lines[i*len(dst) : (i+1)*len(dst)] {
			dst[k] += g * v
		}
	}
	for k, v := range dst {
		dst[k] = min(v, 1)
	}
}

// narrowLine scales one line of pixels.
func narrowLine[V uint8 | float32](dst []float32, in []V, cols []tap, c int, unit float32) {
	if c == 3 {
		for x, tap := range cols {
			var r, g, b float32
			px := in[3*tap.from:]
			px = px[:3*len(tap.weight)]
			for i, w := range tap.weight {
				r += w * float32(px[3*i])
				g += w * float32(px[3*i+1])
				b += w * float32(px[3*i+2])
			}
			dst[3*x], dst[3*x+1], dst[3*x+2] = r*unit, g*unit, b*unit
		}
		return
	}
	for x, tap := range cols {
		for k := range c {
			var v float32
			for i, w := range tap.weight {
				v += w * float32(in[(tap.from+i)*c+k])
			}
			dst[x*c+k] = v * unit
		}
	}
}

type tap struct {
	from   int
	weight []float32
}

// taps returns the filter weights of pixels [from, from+n) of a line scaled from
// `size` to `to` pixels: bilinear when it grows, and when it shrinks a triangle
// filter as wide as two new pixels (antialiased bilinear).
func taps(size, to, from, n int) []tap {
	step := float64(size) / float64(to)
	reach := max(step, 1)
	all := make([]tap, n)
	for i := range all {
		centre := (float64(from+i) + .5) * step
		low := max(int(centre-reach), 0)
		high := min(int(centre+reach)+1, size)
		t := tap{from: low, weight: make([]float32, 0, high-low)}
		sum := 0.
		for k := low; k < high; k++ {
			d := (float64(k) + .5 - centre) / reach
			g := max(1-max(d, -d), 0)
			sum += g
			t.weight = append(t.weight, float32(g))
		}
		for k := range t.weight {
			t.weight[k] /= float32(sum)
		}
		all[i] = t
	}
	return all
}

// channels converts video [...,from] to [...,to]: grey is repeated for each colour,
// colours are weighted to grey by ITU-R BT.601.
func channels(dst, video []float32, from, to int) []float32 {
	if from == to {
		return video
	}
	dst = grown(dst, len(video)/from*to)
	if to == 3 {
		for i, v := range video {
			dst[3*i], dst[3*i+1], dst[3*i+2] = v, v, v
		}
		return dst
	}
	for i := range dst {
		dst[i] = .299*video[3*i] + .587*video[3*i+1] + .114*video[3*i+2]
	}
	return dst
}
