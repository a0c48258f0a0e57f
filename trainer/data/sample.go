package data

import (
	"math"
	"time"

	"magvit/kernels/philox"
)

// sampler converts clips to rows of a batch. It holds the scratch memory of one
// worker; its output depends on its arguments only.
type sampler struct {
	cfg     Config // resolved
	mem     memory
	line    []float32
	colour  []float32
	fitted  []float32
	scale   scaled
	mask    []bool
	row     []bool
	from    []source
	pose    pose          // of the row being filled
	frames  []int         // of the clip, that the row consists of
	resized time.Duration // time spent on scaling frames
}

// source is the origin of a pixel of a row: four neighbours and their weights, or
// the background.
type source struct {
	at     [4]int32 // pixel of the fitted frame, -1: background
	weight [4]float32
}

// choose draws the frames of a clip of n frames and how they are fitted. r nil is
// evaluation: the middle of the frame, from frame start on.
func (s *sampler) choose(w windowing, start int, r *philox.Stream) func(int, func(int) float64) ([]int, fit) {
	return func(n int, times func(int) float64) ([]int, fit) {
		f := fit{s.cfg.Fit, s.cfg.Height, s.cfg.Width, .5, .5}
		at := start
		if r != nil {
			if at < 0 {
				at = r.IntN(w.starts(n, times))
			}
			if fy, fx := r.Float64(), r.Float64(); s.cfg.cropsAtRandom() {
				f.fy, f.fx = fy, fx
			}
		}
		at = max(min(at, n-1), 0)
		s.frames = w.pick(s.frames[:0], n, at, times)
		return s.frames, f
	}
}

// sample fills row n of b with clip, a window of at most b.T frames. r nil is
// evaluation: nothing is augmented. crop takes a part of the batch's size out of the
// frame instead of the whole. bg is the clip's background in the clip's channels.
func (s *sampler) sample(b *Batch, n int, clip decoded, bg []float32, f fit, crop bool, r *philox.Stream) {
	cfg := &s.cfg
	H, W := cfg.Height, cfg.Width
	real := clip.T
	bg = channels(nil, bg, clip.C, b.C)
	frames := s.fit(&clip, b.C, f)
	by := f.scaling(clip.H, clip.W)

	weighted := cfg.ForegroundWeight > 0
	s.mask, s.row = grown(s.mask, real*H*W), grown(s.row, H*W)
	if weighted || crop && cfg.Crop.Moving > 0 {
		foreground(s.mask, frames, bg)
	}
	top, left := 0, 0
	switch {
	case crop:
		top, left = s.cropCorner(real, H, W, b.H, b.W, r)
	case r != nil && cfg.Shift > 0:
		top, left = r.IntN(2*cfg.Shift+1)-cfg.Shift, r.IntN(2*cfg.Shift+1)-cfg.Shift
	}
	if weighted {
		growMask(s.mask, s.row, real, H, W, cfg.Grow)
	}
	s.mapPixels(b.H, b.W, top, left, r)

	pixels := b.H * b.W
	video := b.Video[n*b.T*pixels*b.C : (n+1)*b.T*pixels*b.C]
	weight := b.Weight[n*b.T*pixels : (n+1)*b.T*pixels]
	for t := range real {
		s.copyFrame(video[t*pixels*b.C:(t+1)*pixels*b.C], weight[t*pixels:(t+1)*pixels],
			frames[t*H*W*b.C:(t+1)*H*W*b.C], s.mask[t*H*W:(t+1)*H*W], bg, weighted)
	}
	s.positions(b, n, clip.Clip, by)
	if r != nil && cfg.Reverse && r.IntN(2) == 1 {
		b.reverse(n, real)
	}
	if r != nil && cfg.Noise > 0 {
		for i, v := range video[:real*pixels*b.C] {
			video[i] = min(max(v+float32(cfg.Noise*r.Normal()), 0), 1)
		}
	}
	for t := real; t < b.T; t++ {
		copy(video[t*pixels*b.C:], video[(real-1)*pixels*b.C:real*pixels*b.C])
	}
	clear(weight[real*pixels:])
	b.Frames[n], b.Labels[n], b.Names[n] = real, clip.Label, clip.Name
}

// fit is the frames of a clip [T,Height,Width,c], fitted as f says. Each line becomes floats and has c channels before it is
// scaled.
func (s *sampler) fit(clip *decoded, c int, f fit) []float32 {
	began := time.Now()
	H, W := s.cfg.Height, s.cfg.Width
	s.fitted, s.line = grown(s.fitted, clip.T*H*W*c), grown(s.line, clip.W*clip.C)
	scaled := clip.H != H || clip.W != W
	for k := range clip.T {
		dst := s.fitted[k*H*W*c : (k+1)*H*W*c]
		if scaled {
			s.scale.begin(clip.H, clip.W, c, f)
		}
		for y := range clip.H {
			line := channels(s.colour, clip.line(s.line, k, y), clip.C, c)
			if clip.C != c {
				s.colour = line
			}
			if scaled {
				narrow(&s.scale, y, line, 1)
			} else {
				copy(dst[y*W*c:], line)
			}
		}
		if scaled {
			s.scale.finish(dst)
		}
	}
	if scaled {
		s.resized += time.Since(began)
	}
	return s.fitted
}

// cropCorner chooses the corner of a crop of h by w: anywhere, or so that it
// contains a random foreground pixel at a random position.
func (s *sampler) cropCorner(t, H, W, h, w int, r *philox.Stream) (top, left int) {
	near := r.Float64() < s.cfg.Crop.Moving
	count := 0
	if near {
		for _, set := range s.mask[:t*H*W] {
			if set {
				count++
			}
		}
	}
	if count == 0 {
		return r.IntN(H - h + 1), r.IntN(W - w + 1)
	}
	k := r.IntN(count)
	for i, set := range s.mask[:t*H*W] {
		if !set {
			continue
		}
		if k--; k < 0 {
			y, x := i%(H*W)/W, i%W
			return min(max(y-r.IntN(h), 0), H-h), min(max(x-r.IntN(w), 0), W-w)
		}
	}
	panic("data: cropCorner miscounted the foreground")
}

// mapPixels finds the source of each pixel of a row of h by w: transposed and
// mirrored, rotated about its centre, shifted by top and left.
func (s *sampler) mapPixels(h, w, top, left int, r *philox.Stream) {
	cfg := &s.cfg
	H, W := cfg.Height, cfg.Width
	p := pose{top: top, left: left}
	angle := 0.
	if r != nil {
		if cfg.Flip {
			p.mirrorY, p.mirrorX = r.IntN(2) == 1, r.IntN(2) == 1
		}
		if cfg.Transpose {
			p.exchange = r.IntN(2) == 1
		}
		if cfg.Rotation > 0 {
			angle = r.Uniform(-cfg.Rotation, cfg.Rotation) * radians
		}
	}
	p.sin, p.cos = math.Sincos(angle)
	s.pose = p
	pixel := func(y, x int) int32 {
		if y < 0 || y >= H || x < 0 || x >= W {
			return -1
		}
		return int32(y*W + x)
	}
	s.from = grown(s.from, h*w)
	for i := range s.from {
		y, x := i/w, i%w
		if p.exchange {
			y, x = x, y
		}
		if p.mirrorY {
			y = h - 1 - y
		}
		if p.mirrorX {
			x = w - 1 - x
		}
		if angle == 0 {
			s.from[i] = source{at: [4]int32{pixel(y+top, x+left)}, weight: [4]float32{1}}
			continue
		}
		dy, dx := float64(y)-float64(h-1)/2, float64(x)-float64(w-1)/2
		fy := float64(top) + float64(h-1)/2 + p.cos*dy - p.sin*dx
		fx := float64(left) + float64(w-1)/2 + p.sin*dy + p.cos*dx
		y0, x0 := math.Floor(fy), math.Floor(fx)
		gy, gx := float32(fy-y0), float32(fx-x0)
		iy, ix := int(y0), int(x0)
		s.from[i] = source{
			at:     [4]int32{pixel(iy, ix), pixel(iy, ix+1), pixel(iy+1, ix), pixel(iy+1, ix+1)},
			weight: [4]float32{(1 - gy) * (1 - gx), (1 - gy) * gx, gy * (1 - gx), gy * gx},
		}
	}
}

// copyFrame gathers one frame and its weights: 1, or 1 + ForegroundWeight where any
// contributing source pixel is foreground.
func (s *sampler) copyFrame(dst, weight, frame []float32, mask []bool, bg []float32, weighted bool) {
	c := len(bg)
	heavy := 1 + float32(s.cfg.ForegroundWeight)
	for i := range s.from {
		f := &s.from[i]
		out := dst[i*c : (i+1)*c]
		weight[i] = 1
		if f.weight[0] == 1 {
			if f.at[0] < 0 {
				copy(out, bg)
				continue
			}
			copy(out, frame[int(f.at[0])*c:])
			if weighted && mask[f.at[0]] {
				weight[i] = heavy
			}
			continue
		}
		clear(out)
		for k, at := range f.at {
			from := bg
			if at >= 0 {
				from = frame[int(at)*c : int(at)*c+c]
				if weighted && mask[at] && f.weight[k] > 0 {
					weight[i] = heavy
				}
			}
			for j := range out {
				out[j] += f.weight[k] * from[j]
			}
		}
	}
}
