package data

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	_ "image/jpeg" // frames may be JPEG
	_ "image/png"  // or PNG
	"os"
	"path/filepath"
	"slices"
)

// readGIF decodes a GIF as a viewer shows it: each frame drawn over what the one
// before left behind, on white where nothing was drawn.
func readGIF(path string) (*pixels, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	head, err := gif.DecodeConfig(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	if head.Width < 1 || head.Height < 1 || 3*head.Width*head.Height > maxPixels {
		return nil, errTooLarge
	}
	g, err := gif.DecodeAll(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	canvas := image.NewRGBA(image.Rect(0, 0, head.Width, head.Height))
	p := &pixels{}
	for i, frame := range g.Image {
		var before *image.RGBA
		if g.Disposal[i] == gif.DisposalPrevious {
			before = &image.RGBA{Pix: slices.Clone(canvas.Pix), Stride: canvas.Stride, Rect: canvas.Rect}
		}
		draw.Draw(canvas, frame.Rect, frame, frame.Rect.Min, draw.Over)
		if err := p.add(canvas); err != nil {
			return nil, err
		}
		switch g.Disposal[i] {
		case gif.DisposalPrevious:
			canvas = before
		case gif.DisposalBackground:
			draw.Draw(canvas, frame.Rect, image.Transparent, image.Point{}, draw.Src)
		}
	}
	return p, nil
}

// readFrames decodes a folder of PNG and JPEG in the natural order of their names.
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
	p := &pixels{}
	for _, n := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		m, err := readImage(filepath.Join(dir, n))
		if err == nil {
			err = p.add(m)
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

func readImage(path string) (image.Image, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	head, _, err := image.DecodeConfig(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	if int64(head.Width)*int64(head.Height) > maxPixels/3 {
		return nil, errTooLarge
	}
	m, _, err := image.Decode(bytes.NewReader(raw))
	return m, err
}

// add appends a frame, over white where it is transparent.
func (p *pixels) add(m image.Image) error {
	b := m.Bounds()
	if p.t == 0 {
		p.h, p.w = b.Dy(), b.Dx()
	}
	if b.Dy() != p.h || b.Dx() != p.w {
		return fmt.Errorf("%dx%d pixels, the frames before it have %dx%d (width x height)", b.Dx(), b.Dy(), p.w, p.h)
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
