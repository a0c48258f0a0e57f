package data

// foregroundThreshold is the smallest difference from the background that counts as
// foreground: above the noise of a camera or a codec, below the contrast of objects.
const foregroundThreshold = .25

// Foreground sets mask [T,H,W] where video [T,H,W,C] differs from the clip's
// background by more than .25 in any channel, dilated by grow pixels within a
// frame (8-connected: a square).
//
// Why the median over the whole clip, per channel: it is the colour that covers
// most of the picture most of the time, and moving objects do not shift it.
func Foreground(mask []bool, video []float32, t, h, w, c, grow int) {
	bg := make([]float32, c)
	Background(bg, video)
	foreground(mask, video, bg)
	growMask(mask, make([]bool, h*w), t, h, w, grow)
}

// Background sets bg [C] to each channel's median over video [...,C], to 1/255.
func Background(bg, video []float32) {
	c := len(bg)
	for k := range bg {
		var count [256]int
		for i := k; i < len(video); i += c {
			count[uint8(min(max(video[i], 0), 1)*255+.5)]++
		}
		bg[k] = median(&count)
	}
}

// median is the median of values k/255, of which there are count[k].
func median(count *[256]int) float32 {
	n, below := 0, 0
	for _, m := range count {
		n += m
	}
	for v, m := range count {
		if below += m; 2*below >= n {
			return float32(v) / 255
		}
	}
	return 0
}

func foreground(mask []bool, video, bg []float32) {
	c := len(bg)
	for i := range mask {
		mask[i] = false
		for k, b := range bg {
			if d := video[i*c+k] - b; d > foregroundThreshold || d < -foregroundThreshold {
				mask[i] = true
				break
			}
		}
	}
}

// growMask dilates each frame of mask, first along x, then along y; row is scratch of h*w.
func growMask(mask, row []bool, t, h, w, grow int) {
	if grow == 0 {
		return
	}
	for f := range t {
		m := mask[f*h*w : (f+1)*h*w]
		clear(row[:h*w])
		for i, set := range m {
			if set {
				x := i % w
				for j := i - min(grow, x); j <= i+min(grow, w-1-x); j++ {
					row[j] = true
				}
			}
		}
		clear(m)
		for i, set := range row[:h*w] {
			if set {
				y := i / w
				for j := max(y-grow, 0); j <= min(y+grow, h-1); j++ {
					m[j*w+i%w] = true
				}
			}
		}
	}
}
