package data

import (
	"bytes"
	"compress/lzw"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
	"slices"
)

// decodeGIF decodes a GIF as Pillow shows it, over white where it is transparent.
//
// Why our own parser: image/gif decodes all frames before it returns, so that a small
// file takes any amount of memory, and it refuses files that viewers show (no
// trailer, frames that reach over the canvas, a canvas of size 0).
func decodeGIF(raw []byte) (*pixels, error) {
	if len(raw) < 13 {
		return nil, errors.New("gif: cut off in its header")
	}
	g := &gifReader{r: bytes.NewReader(raw[13:]), background: int(raw[11])}
	g.w, g.h = int(binary.LittleEndian.Uint16(raw[6:])), int(binary.LittleEndian.Uint16(raw[8:]))
	if raw[10]&0x80 != 0 {
		g.global = make([]byte, 3<<(raw[10]&7+1))
		if _, err := io.ReadFull(g.r, g.global); err != nil {
			return nil, errors.New("gif: cut off in its palette")
		}
	}
	for {
		kind, err := g.r.ReadByte()
		if err != nil || kind == 0x3b { // the trailer, or a file without one
			break
		}
		switch kind {
		case '!':
			err = g.extension()
		case ',':
			err = g.frame()
		default:
			continue // padding
		}
		if err != nil {
			return nil, fmt.Errorf("gif: frame %d: %w", g.p.t, err)
		}
	}
	if g.p.t == 0 {
		return nil, errors.New("gif: no frames")
	}
	g.p.delays(g.seconds)
	return &g.p, nil
}

type gifReader struct {
	r          *bytes.Reader
	w, h       int
	global     []byte // palette
	background int
	canvas     *image.NRGBA
	p          pixels
	seconds    []float64
	// of the frame that follows
	delay       float64
	transparent int // palette entry, -1: none
	disposal    int // it lasts until a frame names another one, as in Pillow
	control     bool
}

// blocks reads data blocks up to the empty one.
func (g *gifReader) blocks(each func([]byte)) error {
	var buf [255]byte
	for {
		n, err := g.r.ReadByte()
		if err != nil || n == 0 {
			return nil // an end without an empty block is one too
		}
		m, err := io.ReadFull(g.r, buf[:n])
		each(buf[:m])
		if err != nil {
			return nil
		}
	}
}

func (g *gifReader) extension() error {
	label, err := g.r.ReadByte()
	if err != nil {
		return nil
	}
	first := true
	return g.blocks(func(b []byte) {
		if first && label == 0xf9 && len(b) >= 4 {
			g.control = true
			g.delay, g.transparent = float64(binary.LittleEndian.Uint16(b[1:]))/100, -1
			if b[0]&1 != 0 {
				g.transparent = int(b[3])
			}
			if d := int(b[0] >> 2 & 7); d != 0 {
				g.disposal = d
			}
		}
		first = false
	})
}

func (g *gifReader) frame() error {
	var head [9]byte
	if _, err := io.ReadFull(g.r, head[:]); err != nil {
		return errors.New("cut off in its header")
	}
	x, y := int(binary.LittleEndian.Uint16(head[0:])), int(binary.LittleEndian.Uint16(head[2:]))
	w, h := int(binary.LittleEndian.Uint16(head[4:])), int(binary.LittleEndian.Uint16(head[6:]))
	palette := g.global
	if head[8]&0x80 != 0 {
		palette = make([]byte, 3<<(head[8]&7+1))
		if _, err := io.ReadFull(g.r, palette); err != nil {
			return errors.New("cut off in its palette")
		}
	}
	if !g.control {
		g.transparent = -1
	}
	if g.canvas == nil { // a canvas smaller than the first frame grows to it
		g.w, g.h = max(g.w, x+w), max(g.h, y+h)
		if g.w < 1 || g.h < 1 || 3*g.w*g.h > maxPixels {
			return errTooLarge
		}
		g.canvas = image.NewNRGBA(image.Rect(0, 0, g.w, g.h))
		if g.transparent < 0 {
			g.fill(g.canvas.Rect, colour(palette, 0, 255))
		}
	}
	if len(g.p.rgb)+3*g.w*g.h > maxPixels {
		return errTooLarge
	}
	index, err := g.indices(w, h, head[8]&0x40 != 0)
	if err != nil {
		return err
	}
	area := image.Rect(x, y, x+w, y+h)
	var before []byte
	if g.disposal == 3 {
		before = slices.Clone(g.canvas.Pix)
	}
	clip := area.Intersect(g.canvas.Rect)
	for v := clip.Min.Y; v < clip.Max.Y; v++ {
		row := g.canvas.Pix[g.canvas.PixOffset(clip.Min.X, v):]
		for u := range clip.Dx() {
			if i := int(index[(v-y)*w+clip.Min.X-x+u]); i != g.transparent {
				c := colour(palette, i, 255)
				copy(row[4*u:], c[:])
			}
		}
	}
	if err := g.p.addCanvas(g.canvas); err != nil {
		return err
	}
	g.seconds = append(g.seconds, g.delay)
	switch {
	case g.disposal == 2 && g.transparent >= 0:
		g.fill(clip, [4]byte{})
	case g.disposal == 2:
		g.fill(clip, colour(palette, g.background, 255))
	case g.disposal == 3:
		g.canvas.Pix = before
	}
	g.control = false
	return nil
}

// colour is an entry of a palette; one that is not there is entry 0, and without a
// palette the number is a grey value.
func colour(palette []byte, i int, alpha byte) [4]byte {
	if palette == nil {
		return [4]byte{byte(i), byte(i), byte(i), alpha}
	}
	if 3*i+3 > len(palette) {
		i = 0
	}
	return [4]byte{palette[3*i], palette[3*i+1], palette[3*i+2], alpha}
}

func (g *gifReader) fill(area image.Rectangle, c [4]byte) {
	for v := area.Min.Y; v < area.Max.Y; v++ {
		row := g.canvas.Pix[g.canvas.PixOffset(area.Min.X, v):]
		for u := range area.Dx() {
			copy(row[4*u:], c[:])
		}
	}
}

// indices decompresses the palette indices [h,w] of a frame.
func (g *gifReader) indices(w, h int, interlaced bool) ([]byte, error) {
	width, err := g.r.ReadByte()
	if err != nil || width < 2 || width > 8 {
		return nil, errors.New("no compressed pixels")
	}
	var packed []byte
	g.blocks(func(b []byte) { packed = append(packed, b...) })
	// LZW of 12 bits makes at most 4096 values of 12 bits.
	if int64(w)*int64(h) > int64(len(packed)+1)*4096*8/12 || 3*w*h > maxPixels {
		return nil, fmt.Errorf("%dx%d pixels in %d bytes: cut off", w, h, len(packed))
	}
	index := make([]byte, w*h)
	r := lzw.NewReader(bytes.NewReader(packed), lzw.LSB, int(width))
	defer r.Close()
	if n, err := io.ReadFull(r, index); err != nil {
		return nil, fmt.Errorf("%d of %d pixels, cut off or damaged", n, w*h)
	}
	if !interlaced {
		return index, nil
	}
	rows := make([]byte, w*h)
	from := 0
	for _, pass := range [4][2]int{{0, 8}, {4, 8}, {2, 4}, {1, 2}} {
		for y := pass[0]; y < h; y += pass[1] {
			copy(rows[y*w:(y+1)*w], index[from:])
			from += w
		}
	}
	return rows, nil
}
