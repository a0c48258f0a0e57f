package data

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/draw"
	"image/png"
	"slices"
)

const pngMagic = "\x89PNG\r\n\x1a\n"

// decodePNG decodes a PNG, or an animated one as its viewers show it, over white
// where it is transparent.
func decodePNG(raw []byte) (*pixels, error) {
	a, err := parseAPNG(raw)
	if err != nil {
		return nil, err
	}
	if len(a.frames) == 0 {
		m, err := checked(raw, png.DecodeConfig, png.Decode)
		if err != nil {
			return nil, err
		}
		p := &pixels{}
		return p, p.add(m)
	}
	p := &pixels{}
	var seconds []float64
	canvas := image.NewNRGBA(image.Rect(0, 0, a.w, a.h))
	for i, f := range a.frames {
		m, err := png.Decode(bytes.NewReader(a.file(f)))
		if err != nil {
			return nil, fmt.Errorf("frame %d: %w", i, err)
		}
		before := canvas.Pix
		if f.dispose == 2 && i > 0 {
			before = slices.Clone(canvas.Pix)
		}
		area := image.Rect(f.x, f.y, f.x+f.w, f.y+f.h)
		op := draw.Src
		if f.blend == 1 {
			op = draw.Over
		}
		draw.Draw(canvas, area, m, m.Bounds().Min, op)
		if err := p.addCanvas(canvas); err != nil {
			return nil, err
		}
		seconds = append(seconds, f.seconds)
		switch {
		case f.dispose == 1 || f.dispose == 2 && i == 0:
			draw.Draw(canvas, area, image.Transparent, image.Point{}, draw.Src)
		case f.dispose == 2:
			canvas.Pix = before
		}
	}
	p.delays(seconds)
	p.orient(orientation(raw))
	return p, nil
}

type apng struct {
	w, h   int
	head   []byte // the data of IHDR
	shared []byte // chunks that all frames need: the palette and what belongs to it
	frames []apngFrame
}

type apngFrame struct {
	x, y, w, h     int
	seconds        float64
	dispose, blend byte
	data           []byte
}

// parseAPNG collects the frames of an animated PNG; a plain one has none.
func parseAPNG(raw []byte) (*apng, error) {
	a := &apng{}
	animated, open, done := false, false, false
	for rest := raw[len(pngMagic):]; len(rest) >= 12 && !done; {
		n := binary.BigEndian.Uint32(rest)
		if uint64(n)+12 > uint64(len(rest)) {
			return nil, errors.New("png: cut off")
		}
		kind, body := string(rest[4:8]), rest[8:8+n]
		rest = rest[12+n:]
		switch kind {
		case "IHDR":
			if n != 13 {
				return nil, errors.New("png: damaged header")
			}
			a.head = body
			a.w, a.h = int(binary.BigEndian.Uint32(body)), int(binary.BigEndian.Uint32(body[4:]))
			if a.w < 1 || a.h < 1 || int64(a.w)*int64(a.h) > maxPixels/3 {
				return nil, errTooLarge
			}
		case "acTL":
			animated = true
		case "fcTL":
			f, err := a.control(body)
			if err != nil || !animated {
				return nil, fmt.Errorf("png: damaged animation: %w", err)
			}
			if len(a.frames) >= maxPixels/(3*a.w*a.h) {
				return nil, errTooLarge
			}
			a.frames, open = append(a.frames, f), true
		case "IDAT":
			if open && len(a.frames) == 1 {
				a.frames[0].data = append(a.frames[0].data, body...)
			}
		case "fdAT":
			if !open || n < 4 {
				return nil, errors.New("png: damaged animation")
			}
			f := &a.frames[len(a.frames)-1]
			f.data = append(f.data, body[4:]...)
		case "IEND":
			done = true
		case "PLTE", "tRNS", "gAMA", "cHRM", "sRGB":
			a.shared = appendChunk(a.shared, kind, body)
		}
	}
	if !animated {
		a.frames = nil
	}
	return a, nil
}

func (a *apng) control(b []byte) (f apngFrame, err error) {
	if len(b) != 26 || a.head == nil {
		return f, errors.New("a frame without a size")
	}
	at := func(i int) int { return int(binary.BigEndian.Uint32(b[i:])) }
	f = apngFrame{w: at(4), h: at(8), x: at(12), y: at(16), dispose: b[24], blend: b[25]}
	if f.w < 1 || f.h < 1 || f.x+f.w > a.w || f.y+f.h > a.h {
		return f, fmt.Errorf("a frame of %dx%d at %d,%d of a picture of %dx%d", f.w, f.h, f.x, f.y, a.w, a.h)
	}
	num, den := binary.BigEndian.Uint16(b[20:]), binary.BigEndian.Uint16(b[22:])
	f.seconds = float64(num) / float64(cmp.Or(den, 100))
	return f, nil
}

// file is a frame as a plain PNG.
func (a *apng) file(f apngFrame) []byte {
	head := slices.Clone(a.head)
	binary.BigEndian.PutUint32(head, uint32(f.w))
	binary.BigEndian.PutUint32(head[4:], uint32(f.h))
	b := appendChunk([]byte(pngMagic), "IHDR", head)
	b = append(b, a.shared...)
	b = appendChunk(b, "IDAT", f.data)
	return appendChunk(b, "IEND", nil)
}

func appendChunk(b []byte, kind string, body []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	start := len(b)
	b = append(append(b, kind...), body...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[start:]))
}
