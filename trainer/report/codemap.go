package report

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
)

// CodeMap writes a PNG: for each clip a caption, then up to eight frames above the codes
// of the same time in the first codebook. levels are the numbers of values of a code's
// digits, the first one varying fastest.
//
// A code's colour encodes its digits, a third of them each in red, green and blue, so
// that codes of similar colour differ in few digits or by little.
func CodeMap(w io.Writer, clips []Pair, levels []int) error {
	if err := check(clips); err != nil {
		return err
	}
	width, height := 0, 0
	for _, p := range clips {
		n := p.Grid[0] * p.Grid[1] * p.Grid[2] * p.Grid[3]
		if n < 1 || len(p.Codes) < n {
			return fmt.Errorf("picture of %s: %d codes for a grid of %v", p.Name, len(p.Codes), p.Grid)
		}
		k := p.enlarge()
		width = max(width, min(sampled, p.Grid[0])*(p.W*k+gap)-gap)
		height += captionHeight + 2*(p.H*k+gap)
	}
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.Draw(img, img.Bounds(), background, image.Point{}, draw.Src)
	top := 0
	for _, p := range clips {
		text(img, 2, top, p.label()+": frames and their codes")
		top += captionHeight
		k, n := p.enlarge(), min(sampled, p.Grid[0])
		for i := range n {
			latent := i * (p.Grid[0] - 1) / max(n-1, 1)
			frame := latent * (p.T - 1) / max(p.Grid[0]-1, 1)
			left := i * (p.W*k + gap)
			p.draw(img, left, top, k, 0, frame)
			for y := range p.H * k {
				for x := range p.W * k {
					h, w := y*p.Grid[1]/(p.H*k), x*p.Grid[2]/(p.W*k)
					code := p.Codes[((latent*p.Grid[1]+h)*p.Grid[2]+w)*p.Grid[3]]
					img.SetRGBA(left+x, top+p.H*k+gap+y, codeColor(int(code), levels))
				}
			}
		}
		top += 2 * (p.H*k + gap)
	}
	return png.Encode(w, img)
}

// codeColor encodes the digits of a code: the last third, which often matters most, in red.
// Codes of a single digit, as those of a learned codebook, have colours without an order.
func codeColor(code int, levels []int) color.RGBA {
	if len(levels) == 1 {
		h := uint32(code+1) * 2654435761 // multiplicative hashing: neighbours are far apart
		return color.RGBA{uint8(h >> 24), uint8(h >> 16), uint8(h >> 8), 255}
	}
	var value, size [3]int
	for i := range size {
		size[i] = 1
	}
	for i, l := range levels {
		third := 2 - i*3/len(levels)
		value[third] += code % l * size[third]
		size[third] *= l
		code /= l
	}
	var c [3]uint8
	for i := range c {
		c[i] = uint8(255 * value[i] / max(size[i]-1, 1))
	}
	return color.RGBA{c[0], c[1], c[2], 255}
}
