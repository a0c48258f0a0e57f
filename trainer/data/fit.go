package data

// fitted scales frames [T,h,w,C] so that they just cover H by W, keeping their
// proportions, and cuts that window out of them at a fraction (fy, fx in [0,1]) of
// the excess. The result [T,H,W,C] is in dst, grown where needed.
func fitted(dst *scaled, frames []float32, t, h, w, c, H, W int, fy, fx float64) []float32 {
	sh, sw, top, left := cover(h, w, H, W, fy, fx)
	rows := taps(h, sh, top, H)
	cols := taps(w, sw, left, W)
	dst.narrow, dst.out = grown(dst.narrow, h*W*c), grown(dst.out, t*H*W*c)
	for f := range t {
		in, out := frames[f*h*w*c:(f+1)*h*w*c], dst.out[f*H*W*c:(f+1)*H*W*c]
		for y := range h {
			for x, tap := range cols {
				for k := range c {
					var v float32
					for i, g := range tap.weight {
						v += g * in[(y*w+tap.from+i)*c+k]
					}
					dst.narrow[(y*W+x)*c+k] = v
				}
			}
		}
		for y, tap := range rows {
			row := out[y*W*c : (y+1)*W*c]
			clear(row)
			for i, g := range tap.weight {
				for k, v := range dst.narrow[(tap.from+i)*W*c : (tap.from+i+1)*W*c] {
					row[k] += g * v
				}
			}
			for k, v := range row {
				row[k] = min(v, 1) // the weights' sum may round to a little above 1
			}
		}
	}
	return dst.out
}

// cover returns the size to which a frame of h by w is scaled and the corner of the
// window in it.
func cover(h, w, H, W int, fy, fx float64) (sh, sw, top, left int) {
	scale := max(float64(H)/float64(h), float64(W)/float64(w))
	sh, sw = max(int(float64(h)*scale+.5), H), max(int(float64(w)*scale+.5), W)
	return sh, sw, int(fy*float64(sh-H) + .5), int(fx*float64(sw-W) + .5)
}

// scaled is the scratch memory of fitted.
type scaled struct{ narrow, out []float32 }

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
