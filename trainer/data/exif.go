package data

import (
	"bytes"
	"encoding/binary"
	"image"
)

// orientation returns the orientation that the EXIF data of a picture name, 1 to 8, see
// pixels.orient; 1 where they name none. Of a TIFF it is that of the page which the header points to.
func orientation(raw []byte) int {
	switch {
	case bytes.HasPrefix(raw, []byte("\xff\xd8")):
		return tiffOrientation(jpegEXIF(raw[2:]))
	case bytes.HasPrefix(raw, []byte(pngMagic)):
		return tiffOrientation(pngEXIF(raw[len(pngMagic):]))
	case isWebP(raw):
		for rest := raw[12:]; len(rest) >= 8; {
			kind, body, next, err := riffChunk(rest)
			if err != nil {
				break
			}
			if kind == "EXIF" {
				return tiffOrientation(bytes.TrimPrefix(body, []byte(exifMagic)))
			}
			rest = next
		}
	case isTIFF(raw):
		return tiffOrientation(raw)
	}
	return 1
}

// exifMagic precedes EXIF data in a JPEG.
const exifMagic = "Exif\x00\x00"

// jpegEXIF returns the EXIF data of a JPEG after its first marker, nil without any.
func jpegEXIF(b []byte) []byte {
	for len(b) >= 4 && b[0] == 0xff {
		if b[1] == 0xff { // a fill byte
			b = b[1:]
			continue
		}
		n := int(binary.BigEndian.Uint16(b[2:]))
		if b[1] == 0xda || n < 2 || n+2 > len(b) { // the picture begins
			return nil
		}
		if body, ok := bytes.CutPrefix(b[4:n+2], []byte(exifMagic)); ok && b[1] == 0xe1 {
			return body
		}
		b = b[n+2:]
	}
	return nil
}

// pngEXIF returns the EXIF data of a PNG's chunks, nil without any.
func pngEXIF(b []byte) []byte {
	for len(b) >= 12 {
		n := uint64(binary.BigEndian.Uint32(b))
		if n+12 > uint64(len(b)) {
			return nil
		}
		if string(b[4:8]) == "eXIf" {
			return b[8 : 8+n]
		}
		b = b[12+n:]
	}
	return nil
}

// tiffOrientation reads the orientation of the first directory of a TIFF, which EXIF data are.
func tiffOrientation(b []byte) int {
	if len(b) < 8 || !isTIFF(b) {
		return 1
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if b[0] == 'M' {
		order = binary.BigEndian
	}
	at := uint64(order.Uint32(b[4:]))
	if at+2 > uint64(len(b)) {
		return 1
	}
	entries := b[at+2:]
	for range order.Uint16(b[at:]) {
		if len(entries) < 12 {
			break
		}
		if order.Uint16(entries) == 274 {
			if v := order.Uint16(entries[8:]); v >= 1 && v <= 8 {
				return int(v)
			}
			break
		}
		entries = entries[12:]
	}
	return 1
}

// oriented returns a picture as its orientation says, over white where it is transparent.
func oriented(m image.Image, orientation int) (image.Image, error) {
	if orientation == 1 {
		return m, nil
	}
	p := &pixels{}
	if err := p.add(m); err != nil {
		return nil, err
	}
	p.orient(orientation)
	return p.image(0), nil
}

// orient turns and mirrors all frames as an EXIF orientation says: bit 2 of o-1 exchanges rows and
// columns first, then o names the corner that the first pixel belongs to.
func (p *pixels) orient(o int) {
	if o < 2 || o > 8 {
		return
	}
	h, w := p.h, p.w
	if o >= 5 {
		h, w = w, h
	}
	right := o == 2 || o == 3 || o == 6 || o == 7
	bottom := o == 3 || o == 4 || o == 7 || o == 8
	from := make([]byte, 3*h*w)
	for k := range p.t {
		frame := p.rgb[3*k*h*w:][:3*h*w]
		copy(from, frame)
		for y := range h {
			for x := range w {
				i, j := y, x // of the stored picture
				if bottom {
					i = h - 1 - y
				}
				if right {
					j = w - 1 - x
				}
				if o >= 5 {
					i, j = j, i
				}
				copy(frame[3*(y*w+x):][:3], from[3*(i*p.w+j):][:3])
			}
		}
	}
	p.h, p.w = h, w
}
