package data

import (
	"image"
	"image/jpeg"
	"io"
)

// decodeJPEG decodes a JPEG as libjpeg-turbo does by default: subsampled chroma is
// interpolated by a triangle filter ("fancy upsampling").
//
// Why: image/jpeg repeats each chroma sample, which moves colours by up to a pixel
// against what Pillow, OpenCV and torchvision read.
func decodeJPEG(r io.Reader) (image.Image, error) {
	m, err := jpeg.Decode(r)
	if err != nil {
		return nil, err
	}
	y, ok := m.(*image.YCbCr)
	if !ok {
		return m, nil
	}
	return upsampled(y), nil
}

// upsampled converts YCbCr of any ratio to RGB with the arithmetic of libjpeg.
func upsampled(m *image.YCbCr) image.Image {
	b := m.Bounds()
	w, h := b.Dx(), b.Dy()
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	fx, fy := 1, 1
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		fx = 2
	case image.YCbCrSubsampleRatio420:
		fx, fy = 2, 2
	case image.YCbCrSubsampleRatio440:
		fy = 2
	case image.YCbCrSubsampleRatio444:
	default: // 4:1:1 and 4:1:0 are repeated by libjpeg too
		for y := range h {
			for x := range w {
				i, j := m.YOffset(b.Min.X+x, b.Min.Y+y), m.COffset(b.Min.X+x, b.Min.Y+y)
				toRGB(out.Pix[out.PixOffset(x, y):], m.Y[i], m.Cb[j], m.Cr[j])
			}
		}
		return out
	}
	cw, ch := (w+fx-1)/fx, (h+fy-1)/fy
	cb, cr := make([]byte, w+1), make([]byte, w+1)
	for y := range h {
		near, far := y/fy, y/fy
		if fy == 2 {
			far += 2*(y%2) - 1
		}
		far = min(max(far, 0), ch-1)
		upsampleRow(cb, m.Cb[near*m.CStride:][:cw], m.Cb[far*m.CStride:][:cw], fx, fy, y%2)
		upsampleRow(cr, m.Cr[near*m.CStride:][:cw], m.Cr[far*m.CStride:][:cw], fx, fy, y%2)
		for x := range w {
			toRGB(out.Pix[out.PixOffset(x, y):], m.Y[y*m.YStride+x], cb[x], cr[x])
		}
	}
	return out
}

// upsampleRow interpolates one line of chroma from the nearest line and the next
// nearest one, by fx along the line and fy across. odd is the parity of the line.
func upsampleRow(dst, near, far []byte, fx, fy, odd int) {
	n := len(near)
	switch {
	case fx == 1 && fy == 1:
		copy(dst, near)
	case fx == 1:
		for i := range near {
			dst[i] = byte((3*int(near[i]) + int(far[i]) + 1 + odd) >> 2)
		}
	case n <= 2: // libjpeg repeats the samples of such narrow pictures
		for i := range dst {
			dst[i] = near[min(i/2, n-1)]
		}
	case fy == 1:
		for i := range dst[:min(2*n, len(dst))] {
			k := i / 2
			side, bias := k-1, 1
			if i%2 == 1 {
				side, bias = k+1, 2
			}
			if side < 0 || side >= n {
				dst[i] = near[k]
				continue
			}
			dst[i] = byte((3*int(near[k]) + int(near[side]) + bias) >> 2)
		}
	default:
		sum := func(k int) int { return 3*int(near[k]) + int(far[k]) }
		for i := range dst[:min(2*n, len(dst))] {
			k := i / 2
			side, bias := k-1, 8
			if i%2 == 1 {
				side, bias = k+1, 7
			}
			side = min(max(side, 0), n-1)
			dst[i] = byte((3*sum(k) + sum(side) + bias) >> 4)
		}
	}
}

// toRGB writes a pixel with libjpeg's fixed-point conversion of 16 bits.
func toRGB(dst []byte, y, cb, cr byte) {
	const half = 1 << 15
	u, v := int(cb)-128, int(cr)-128
	dst[0] = clampByte(int(y) + (91881*v+half)>>16)
	dst[1] = clampByte(int(y) + (-22554*u-46802*v+half)>>16)
	dst[2] = clampByte(int(y) + (116130*u+half)>>16)
	dst[3] = 255
}

func clampByte(v int) byte { return byte(min(max(v, 0), 255)) }
