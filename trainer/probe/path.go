package probe

import (
	"math"
	"slices"

	"magvit/trainer/data"
)

// path is the centroid (x, y) of the foreground in each frame, in units of the frame's
// longer side. A frame without foreground repeats the position of the frame before.
type path [][2]float64

// track measures the path of an example.
func track(e Example) path { return foregroundPath(e, func([]float32, []float32) float64 { return 1 }) }

// Middles are x and y of the centroid of the foreground in each frame of a clip [T,H,W,C], in
// pixels from the middle of the first one. A frame without foreground repeats the frame before.
func Middles(video []float32, s data.Shape) [][2]float64 {
	p, long := track(Example{Video: video, T: s.T, H: s.H, W: s.W, C: s.C}), float64(max(s.H, s.W))
	for t := range p {
		p[t] = [2]float64{p[t][0]*long - .5, p[t][1]*long - .5}
	}
	return p
}

// trackWeighted measures the path of a clip that may be decoded: each pixel of the foreground
// counts by its squared difference from the background. A decoder's faint errors far from the
// object, which are foreground too, then hardly move the centroid.
func trackWeighted(e Example) path {
	return foregroundPath(e, func(pixel, background []float32) (weight float64) {
		for k, b := range background {
			d := float64(pixel[k] - b)
			weight += d * d
		}
		return weight
	})
}

// foregroundPath measures the centroid of the foreground in each frame, its pixels weighted.
func foregroundPath(e Example, weightOf func(pixel, background []float32) float64) path {
	mask, background := make([]bool, e.T*e.H*e.W), make([]float32, e.C)
	data.Foreground(mask, e.Video, e.T, e.H, e.W, e.C, 0)
	data.Background(background, e.Video)
	p := make(path, e.T)
	long := float64(max(e.H, e.W))
	last := [2]float64{float64(e.W) / long / 2, float64(e.H) / long / 2}
	for t := range p {
		var n, sx, sy float64
		for i := range e.H * e.W {
			at := t*e.H*e.W + i
			if !mask[at] {
				continue
			}
			w := weightOf(e.Video[at*e.C:][:e.C], background)
			n, sx, sy = n+w, sx+w*float64(i%e.W), sy+w*float64(i/e.W)
		}
		if n > 0 {
			last = [2]float64{(sx/n + .5) / long, (sy/n + .5) / long}
		}
		p[t] = last
	}
	return p
}

// Shortcuts are features of the motion that do not contain its form. If they suffice to
// classify clips, a high accuracy from codes proves little.
var Shortcuts = []string{"mean_speed", "sorted_speeds", "extent", "positions", "all"}

const histogramSide = 4 // cells along each side of the histogram of positions

// shortcut gives the features of one of Shortcuts.
func (p path) shortcut(name string) (f []float32) {
	speeds := make([]float64, max(len(p)-1, 1))
	for t := 1; t < len(p); t++ {
		speeds[t-1] = math.Hypot(p[t][0]-p[t-1][0], p[t][1]-p[t-1][1])
	}
	switch name {
	case "mean_speed":
		sum := 0.
		for _, v := range speeds {
			sum += v
		}
		return []float32{float32(sum / float64(len(speeds)))}
	case "sorted_speeds":
		slices.Sort(speeds)
		for _, v := range speeds {
			f = append(f, float32(v))
		}
		return f
	case "extent":
		low, high := p[0], p[0]
		for _, q := range p {
			for k, v := range q {
				low[k], high[k] = min(low[k], v), max(high[k], v)
			}
		}
		w, h := high[0]-low[0], high[1]-low[1]
		return []float32{float32(w), float32(h), float32(math.Hypot(w, h))}
	case "positions":
		f = make([]float32, histogramSide*histogramSide)
		cell := func(v float64) int { return min(max(int(v*histogramSide), 0), histogramSide-1) }
		for _, q := range p {
			f[cell(q[1])*histogramSide+cell(q[0])]++
		}
		return f
	}
	for _, part := range Shortcuts[:len(Shortcuts)-1] {
		f = append(f, p.shortcut(part)...)
	}
	return f
}

// coordinates are the path itself, what a perfect locator would give.
func (p path) coordinates() (f []float32) {
	for _, q := range p {
		f = append(f, float32(q[0]), float32(q[1]))
	}
	return f
}

// motionField makes a field of features of the paths.
func (s *Set) motionField(of func(path) []float32) Field {
	f := Field{T: 1, H: 1, W: 1, C: len(of(s.motion[0]))}
	for _, p := range s.motion {
		f.add(of(p))
	}
	return f
}
