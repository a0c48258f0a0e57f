package report

import (
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"io"
	"slices"
)

// frameDelay is the duration of a frame of an animation, in 1/100 s.
const frameDelay = 12

// AnimatedGIF writes an endless animation: for each clip a row of original,
// reconstruction and absolute error (times ErrorScale). The last frame of
// shorter clips is repeated.
//
// Why it has a palette of its own and no dithering: a fixed palette turns near-white into
// speckle, and error diffusion flickers, which would look like a fault of the tokenizer.
func AnimatedGIF(w io.Writer, clips []Pair) error {
	if err := check(clips); err != nil {
		return err
	}
	k, width, height, length := clips[0].enlarge(), 0, 0, 0
	for _, p := range clips {
		k = min(k, p.enlarge())
		width = max(width, 3*(p.W+gap)-gap)
		height += p.H + gap
		length = max(length, p.T)
	}
	height -= gap
	frames := make([]*image.RGBA, length)
	for f := range frames {
		img := image.NewRGBA(image.Rect(0, 0, width, height))
		draw.Draw(img, img.Bounds(), background, image.Point{}, draw.Src)
		top := 0
		for _, p := range clips {
			for view := range 3 {
				p.draw(img, view*(p.W+gap), top, 1, view, min(f, p.T-1))
			}
			top += p.H + gap
		}
		frames[f] = img
	}
	palette, index := quantise(frames)
	anim := &gif.GIF{Config: image.Config{ColorModel: palette, Width: width * k, Height: height * k}}
	for _, src := range frames {
		dst := image.NewPaletted(image.Rect(0, 0, width*k, height*k), palette)
		for y := range height {
			line := dst.Pix[y*k*dst.Stride:][:width*k]
			for x := range width {
				at := src.PixOffset(x, y)
				i := index(src.Pix[at], src.Pix[at+1], src.Pix[at+2])
				for j := range k {
					line[x*k+j] = i
				}
			}
			for j := 1; j < k; j++ {
				copy(dst.Pix[(y*k+j)*dst.Stride:], line)
			}
		}
		anim.Image = append(anim.Image, dst)
		anim.Delay = append(anim.Delay, frameDelay)
	}
	return gif.EncodeAll(w, anim)
}

// cell is the pixels whose colours agree in the upper six bits of each channel.
type cell struct {
	key   int // six bits of red, of green, of blue
	count float64
	sum   [3]float64
}

func cellOf(r, g, b uint8) int { return int(r>>2)<<12 | int(g>>2)<<6 | int(b>>2) }

// quantise chooses up to 256 colours by repeatedly splitting the box of cells with the
// largest squared error at the mean of its widest channel. index maps a colour of the
// frames to its index in the palette.
func quantise(frames []*image.RGBA) (palette color.Palette, index func(r, g, b uint8) uint8) {
	all := make([]cell, 1<<18)
	for _, f := range frames {
		for i := 0; i < len(f.Pix); i += 4 {
			c := &all[cellOf(f.Pix[i], f.Pix[i+1], f.Pix[i+2])]
			c.count++
			for k := range 3 {
				c.sum[k] += float64(f.Pix[i+k])
			}
		}
	}
	var used []cell
	for key := range all {
		if all[key].count > 0 {
			all[key].key = key
			used = append(used, all[key])
		}
	}
	boxes := []box{newBox(used)}
	for len(boxes) < 256 {
		worst := 0
		for i := range boxes {
			if boxes[i].spread > boxes[worst].spread {
				worst = i
			}
		}
		if boxes[worst].spread == 0 {
			break
		}
		low, high := boxes[worst].cut()
		boxes[worst] = low
		boxes = append(boxes, high)
	}
	indices := make([]uint8, 1<<18)
	for i, b := range boxes {
		palette = append(palette, color.RGBA{uint8(b.mean[0] + .5), uint8(b.mean[1] + .5), uint8(b.mean[2] + .5), 255})
		for _, c := range b.cells {
			indices[c.key] = uint8(i)
		}
	}
	return palette, func(r, g, b uint8) uint8 { return indices[cellOf(r, g, b)] }
}

type box struct {
	cells  []cell
	mean   [3]float64
	widest int     // channel
	spread float64 // squared error of that channel, over the pixels
}

func newBox(cells []cell) box {
	b := box{cells: cells}
	n := 0.
	for _, c := range cells {
		n += c.count
		for k := range 3 {
			b.mean[k] += c.sum[k]
		}
	}
	for k := range 3 {
		b.mean[k] /= n
	}
	if len(cells) < 2 {
		return b
	}
	for k := range 3 {
		spread := 0.
		for _, c := range cells {
			d := c.sum[k]/c.count - b.mean[k]
			spread += c.count * d * d
		}
		if spread > b.spread {
			b.widest, b.spread = k, spread
		}
	}
	return b
}

// cut splits at the mean; with a spread above 0 there are cells on both sides.
func (b box) cut() (low, high box) {
	below := func(c cell) bool { return c.sum[b.widest]/c.count < b.mean[b.widest] }
	slices.SortStableFunc(b.cells, func(x, y cell) int {
		switch {
		case below(x) == below(y):
			return 0
		case below(x):
			return -1
		}
		return 1
	})
	at := slices.IndexFunc(b.cells, func(c cell) bool { return !below(c) })
	return newBox(b.cells[:at]), newBox(b.cells[at:])
}
