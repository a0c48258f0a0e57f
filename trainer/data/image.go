package data

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/image/bmp"
)

// decodePicture decodes an image or animation. The bytes say what it is, and not its name.
func decodePicture(raw []byte) (*pixels, error) {
	p := &pixels{}
	switch {
	case bytes.HasPrefix(raw, []byte("GIF8")):
		return decodeGIF(raw)
	case bytes.HasPrefix(raw, []byte(pngMagic)):
		return decodePNG(raw)
	case isWebP(raw):
		return decodeWebP(raw)
	case isTIFF(raw):
		return decodeTIFF(raw)
	}
	m, err := decodeImage(raw)
	if err == nil {
		err = p.add(m)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// decodeImage decodes a still image. Sizes are checked before memory is allocated.
func decodeImage(raw []byte) (image.Image, error) {
	switch {
	case len(raw) == 0:
		return nil, errEmpty
	case bytes.HasPrefix(raw, []byte("\xff\xd8")):
		return checked(raw, jpeg.DecodeConfig, decodeJPEG)
	case bytes.HasPrefix(raw, []byte(pngMagic)):
		return checked(raw, png.DecodeConfig, png.Decode)
	case bytes.HasPrefix(raw, []byte("BM")):
		return checked(raw, bmp.DecodeConfig, bmp.Decode)
	case isWebP(raw) || isTIFF(raw) || bytes.HasPrefix(raw, []byte("GIF8")):
		p, err := decodePicture(raw)
		if err != nil {
			return nil, err
		}
		return p.image(0), nil
	}
	return nil, errors.New("its content is no image of a kind that is read (JPEG, PNG, GIF, WebP, TIFF, BMP), whatever its name")
}

// checked decodes an image whose header names a legal size, and turns it as its EXIF data say.
func checked(raw []byte, config func(io.Reader) (image.Config, error), decode func(io.Reader) (image.Image, error)) (image.Image, error) {
	head, err := config(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	if head.Width < 1 || head.Height < 1 || int64(head.Width)*int64(head.Height) > maxPixels/3 {
		return nil, errTooLarge
	}
	m, err := decode(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	return oriented(m, orientation(raw))
}

// image is frame k as an image.
func (p *pixels) image(k int) image.Image {
	m := image.NewRGBA(image.Rect(0, 0, p.w, p.h))
	for i := range p.w * p.h {
		copy(m.Pix[4*i:], p.rgb[3*(k*p.w*p.h+i):][:3])
		m.Pix[4*i+3] = 255
	}
	return m
}

// readFrames decodes a folder of images in the natural order of their names.
func readFrames(ctx context.Context, dir string) (*pixels, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if slices.Contains(imageKinds, kindOf(e.Name())) && e.Name()[0] != '.' {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, natural)
	if len(names) == 1 { // an animation, or one frame
		raw, err := readAll(filepath.Join(dir, names[0]), nil)
		if err != nil {
			return nil, err
		}
		p, err := decodePicture(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", names[0], err)
		}
		return p, nil
	}
	p := &pixels{}
	for _, n := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		raw, err := readAll(filepath.Join(dir, n), nil)
		if err == nil {
			err = p.addImage(raw)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n, err)
		}
	}
	if p.t == 0 {
		return nil, errors.New("no frames")
	}
	return p, nil
}

// addImage appends a still image. An animation among other frames is refused.
func (p *pixels) addImage(raw []byte) error {
	if bytes.HasPrefix(raw, []byte(pngMagic)) || isWebP(raw) || isTIFF(raw) || bytes.HasPrefix(raw, []byte("GIF8")) {
		q, err := decodePicture(raw)
		if err != nil {
			return err
		}
		if q.t > 1 {
			return fmt.Errorf("an animation of %d frames among other frames; a clip of its own belongs in its own file", q.t)
		}
		if bytes.HasPrefix(raw, []byte(pngMagic)) {
			m, err := decodeImage(raw)
			if err != nil {
				return err
			}
			return p.add(m)
		}
		return p.add(q.image(0))
	}
	m, err := decodeImage(raw)
	if err != nil {
		return err
	}
	return p.add(m)
}

// add appends a frame, over white where it is transparent.
func (p *pixels) add(m image.Image) error {
	b := m.Bounds()
	if p.t == 0 {
		p.h, p.w = b.Dy(), b.Dx()
	}
	if b.Dy() != p.h || b.Dx() != p.w {
		return fmt.Errorf("%dx%d pixels, the frames before it have %dx%d (width x height); images that are no film are clips each by a pattern of files, or by data.images", b.Dx(), b.Dy(), p.w, p.h)
	}
	if len(p.rgb)+3*p.h*p.w > maxPixels {
		return errTooLarge
	}
	flat := image.NewRGBA(image.Rect(0, 0, p.w, p.h))
	draw.Draw(flat, flat.Rect, image.NewUniform(color.White), image.Point{}, draw.Src)
	draw.Draw(flat, flat.Rect, m, b.Min, draw.Over)
	for i := 0; i < len(flat.Pix); i += 4 {
		p.rgb = append(p.rgb, flat.Pix[i:i+3]...)
	}
	p.t++
	return nil
}

// delays sets the times of the frames from the seconds that each is shown.
func (p *pixels) delays(seconds []float64) {
	p.times = make([]float64, p.t)
	for k := 1; k < p.t; k++ {
		p.times[k] = p.times[k-1] + max(seconds[k-1], 1e-3)
	}
}

// addCanvas appends an RGBA canvas with straight alpha, over white.
func (p *pixels) addCanvas(m *image.NRGBA) error {
	p.h, p.w = m.Rect.Dy(), m.Rect.Dx()
	if len(p.rgb)+3*p.h*p.w > maxPixels {
		return errTooLarge
	}
	p.rgb = append(p.rgb, overWhite(slices.Clone(m.Pix))...)
	p.t++
	return nil
}
