package data

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"

	"golang.org/x/image/webp"
)

func isWebP(raw []byte) bool {
	return len(raw) >= 16 && string(raw[:4]) == "RIFF" && string(raw[8:12]) == "WEBP"
}

// decodeWebP decodes a WebP image or animation as libwebp shows it, over white where
// it is transparent.
func decodeWebP(raw []byte) (*pixels, error) {
	p := &pixels{}
	var canvas *image.NRGBA
	var seconds []float64
	animated := false
	for rest := raw[12:]; len(rest) >= 8; {
		kind, body, next, err := riffChunk(rest)
		if err != nil {
			return nil, fmt.Errorf("webp: %w", err)
		}
		rest = next
		switch {
		case kind == "VP8X" && len(body) >= 10 && body[0]&2 != 0:
			w, h := 1+u24(body[4:]), 1+u24(body[7:])
			if 3*w*h > maxPixels {
				return nil, errTooLarge
			}
			animated, canvas = true, image.NewNRGBA(image.Rect(0, 0, w, h))
		case kind == "ANMF" && animated:
			delay, err := webpFrame(p, canvas, body)
			if err != nil {
				return nil, fmt.Errorf("webp: frame %d: %w", p.t, err)
			}
			seconds = append(seconds, delay)
		}
	}
	if animated {
		if p.t == 0 {
			return nil, errors.New("webp: no frames")
		}
		p.delays(seconds)
		p.orient(orientation(raw))
		return p, nil
	}
	m, err := webpStill(raw)
	if err != nil {
		return nil, err
	}
	flat := image.NewNRGBA(image.Rect(0, 0, m.Bounds().Dx(), m.Bounds().Dy()))
	draw.Draw(flat, flat.Rect, m, m.Bounds().Min, draw.Src)
	if err := p.addCanvas(flat); err != nil {
		return nil, err
	}
	p.orient(orientation(raw))
	return p, nil
}

func u24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// riffChunk splits the first chunk off; chunks have an even length.
func riffChunk(b []byte) (kind string, body, rest []byte, err error) {
	n := uint64(binary.LittleEndian.Uint32(b[4:]))
	if n > uint64(len(b)-8) {
		return "", nil, nil, errors.New("cut off")
	}
	return string(b[:4]), b[8 : 8+n], b[min(8+n+n%2, uint64(len(b))):], nil
}

// webpFrame draws a frame of an animation onto the canvas and appends it.
func webpFrame(p *pixels, canvas *image.NRGBA, body []byte) (seconds float64, err error) {
	if len(body) < 16 {
		return 0, errors.New("cut off")
	}
	x, y, w, h := 2*u24(body), 2*u24(body[3:]), 1+u24(body[6:]), 1+u24(body[9:])
	area := image.Rect(x, y, x+w, y+h)
	if !area.In(canvas.Rect) {
		return 0, fmt.Errorf("%v is outside of the picture, %v", area, canvas.Rect)
	}
	file := []byte("RIFF\x00\x00\x00\x00WEBP")
	if len(body) >= 20 && string(body[16:20]) == "ALPH" {
		extended := make([]byte, 10)
		extended[0] = 0x10
		for i, v := range []int{w - 1, h - 1} {
			extended[4+3*i], extended[5+3*i], extended[6+3*i] = byte(v), byte(v>>8), byte(v>>16)
		}
		file = append(binary.LittleEndian.AppendUint32(append(file, "VP8X"...), 10), extended...)
	}
	file = append(file, body[16:]...)
	binary.LittleEndian.PutUint32(file[4:], uint32(len(file)-8))
	m, err := webpStill(file)
	if err != nil {
		return 0, err
	}
	if m.Bounds().Dx() != w || m.Bounds().Dy() != h {
		return 0, fmt.Errorf("%v pixels, its header says %dx%d", m.Bounds().Max, w, h)
	}
	op := draw.Over
	if body[15]&2 != 0 {
		op = draw.Src
	}
	draw.Draw(canvas, area, m, m.Bounds().Min, op)
	if err := p.addCanvas(canvas); err != nil {
		return 0, err
	}
	if body[15]&1 != 0 {
		draw.Draw(canvas, area, image.Transparent, image.Point{}, draw.Src)
	}
	return float64(u24(body[12:])) / 1000, nil
}

// webpStill decodes a still image; lossy ones with libwebp's chroma interpolation.
func webpStill(raw []byte) (image.Image, error) {
	head, err := webp.DecodeConfig(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	if int64(head.Width)*int64(head.Height) > maxPixels/3 {
		return nil, errTooLarge
	}
	m, err := webp.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	switch m := m.(type) {
	case *image.YCbCr:
		return webpRGB(m, nil, 0), nil
	case *image.NYCbCrA:
		return webpRGB(&m.YCbCr, m.A, m.AStride), nil
	}
	return m, nil
}

// webpRGB converts 4:2:0 to RGB as libwebp does: chroma weighted 9, 3, 3, 1, and its
// fixed-point conversion of limited-range BT.601.
func webpRGB(m *image.YCbCr, alpha []byte, stride int) *image.NRGBA {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	cw, ch := (w+1)/2, (h+1)/2
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		near := y / 2
		far := min(max(near+2*(y%2)-1, 0), ch-1)
		for x := range w {
			cx := x / 2
			side := min(max(cx+2*(x%2)-1, 0), cw-1)
			up := func(c []byte) int {
				a, b, d, e := int(c[near*m.CStride+cx]), int(c[near*m.CStride+side]), int(c[far*m.CStride+cx]), int(c[far*m.CStride+side])
				return (a + (a+b+d+e+8+2*(b+d))>>3) >> 1
			}
			u, v := up(m.Cb), up(m.Cr)
			luma := int(m.Y[y*m.YStride+x]) * 19077 >> 8
			c := color.NRGBA{webpClip(luma + v*26149>>8 - 14234), webpClip(luma - u*6419>>8 - v*13320>>8 + 8708), webpClip(luma + u*33050>>8 - 17685), 255}
			if alpha != nil {
				c.A = alpha[y*stride+x]
			}
			out.SetNRGBA(x, y, c)
		}
	}
	return out
}

func webpClip(v int) byte { return clampByte(v >> 6) }
