package data

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"testing"
	"time"
)

func onePixelGIF(t testing.TB, frames int) []byte {
	t.Helper()
	g := &gif.GIF{}
	for i := range frames {
		m := image.NewPaletted(image.Rect(0, 0, 2, 2), color.Palette{color.White, color.Black})
		m.Pix[i%4] = 1
		g.Image, g.Delay = append(g.Image, m), append(g.Delay, 4)
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, g); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// rawGIF is a GIF of 8x8 with a palette of black, red, blue and violet, background
// entry 3, and frames written by hand.
func rawGIF(frames ...[]byte) []byte {
	b := append([]byte("GIF89a"), 8, 0, 8, 0, 0xf1, 3, 0)
	b = append(b, 0, 0, 0, 255, 0, 0, 0, 0, 255, 120, 60, 180)
	for _, f := range frames {
		b = append(b, f...)
	}
	return append(b, 0x3b)
}

// rawFrame is one colour, at x, y, compressed with a clear code before every pixel.
func rawFrame(x, y, w, h uint16, c uint64, disposal byte, transparent int) []byte {
	flags, entry := disposal<<2, byte(0)
	if transparent >= 0 {
		flags, entry = flags|1, byte(transparent)
	}
	b := []byte{0x21, 0xf9, 4, flags, 10, 0, entry, 0, 0x2c}
	for _, v := range []uint16{x, y, w, h} {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	b = append(b, 0, 2)
	var out []byte
	bits, n := uint64(0), 0
	put := func(code uint64) {
		bits |= code << n
		for n += 3; n >= 8; n -= 8 {
			out, bits = append(out, byte(bits)), bits>>8
		}
	}
	for i := range int(w) * int(h) {
		if i%2 == 0 {
			put(4)
		}
		put(c)
	}
	put(5)
	out = append(out, byte(bits))
	for len(out) > 0 {
		k := min(len(out), 255)
		b = append(append(b, byte(k)), out[:k]...)
		out = out[k:]
	}
	return append(b, 0)
}

// What Pillow 13.0.0 shows of the same bytes: canvas size, frames, and pixel 3,3 of
// the last frame.
func TestGIFsAsPillowShowsThem(t *testing.T) {
	full := rawFrame(0, 0, 8, 8, 1, 0, -1)
	small := rawGIF(full)
	small[6], small[8] = 0, 0
	narrow := rawGIF(full)
	narrow[6] = 6
	for name, c := range map[string]struct {
		raw     []byte
		t, h, w int
		pixel   [3]byte
	}{
		"background colour":       {rawGIF(full, rawFrame(2, 2, 4, 4, 2, 2, -1), rawFrame(0, 0, 2, 2, 2, 0, -1)), 3, 8, 8, [3]byte{120, 60, 180}},
		"background, transparent": {rawGIF(full, rawFrame(2, 2, 4, 4, 2, 2, 0), rawFrame(0, 0, 2, 2, 2, 0, -1)), 3, 8, 8, [3]byte{255, 255, 255}},
		"previous":                {rawGIF(full, rawFrame(2, 2, 4, 4, 2, 3, -1), rawFrame(0, 0, 2, 2, 2, 1, -1)), 3, 8, 8, [3]byte{255, 0, 0}},
		"kept":                    {rawGIF(full, rawFrame(2, 2, 4, 4, 2, 1, -1), rawFrame(0, 0, 2, 2, 2, 1, -1)), 3, 8, 8, [3]byte{0, 0, 255}},
		"transparent pixels":      {rawGIF(full, rawFrame(2, 2, 4, 4, 2, 1, 2)), 2, 8, 8, [3]byte{255, 0, 0}},
		"not covered":             {rawGIF(rawFrame(6, 6, 2, 2, 1, 1, -1)), 1, 8, 8, [3]byte{0, 0, 0}},
		"over the canvas":         {rawGIF(full, rawFrame(6, 6, 4, 4, 2, 1, -1)), 2, 8, 8, [3]byte{255, 0, 0}},
		"no trailer":              {rawGIF(full)[:len(rawGIF(full))-1], 1, 8, 8, [3]byte{255, 0, 0}},
		"canvas of 0x0":           {small, 1, 8, 8, [3]byte{255, 0, 0}},
		"canvas too narrow":       {narrow, 1, 8, 8, [3]byte{255, 0, 0}},
	} {
		p, err := decodeGIF(c.raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		at := 3 * ((p.t-1)*p.h*p.w + 3*p.w + 3)
		if p.t != c.t || p.h != c.h || p.w != c.w || [3]byte(p.rgb[at:]) != c.pixel {
			t.Errorf("%s: %d frames of %dx%d, pixel %v, want %+v", name, p.t, p.w, p.h, p.rgb[at:at+3], c)
		}
	}
}

// Two megabytes that decode to gigabytes are refused after a part of them.
func TestGIFThatIsTooLargeIsRefusedEarly(t *testing.T) {
	if testing.Short() {
		t.Skip("decodes a gigabyte")
	}
	var frames [][]byte
	one := rawFrame(0, 0, 3000, 3000, 1, 0, -1)
	for range 60 {
		frames = append(frames, one)
	}
	raw := rawGIF(frames...)
	before := allocated()
	if _, err := decodeGIF(raw); !errors.Is(err, errTooLarge) {
		t.Errorf("%v", err)
	}
	if used := allocated() - before; used > 3<<30 {
		t.Errorf("%d MiB", used>>20)
	}
}

// animatedPNG is 3 frames of 4x4: red, a blue square of half alpha over it, a green
// pixel after the square was taken away.
func animatedPNG(t testing.TB) []byte {
	frame := func(w, h int, c color.NRGBA) []byte {
		m := image.NewNRGBA(image.Rect(0, 0, w, h))
		for i := range w * h {
			m.SetNRGBA(i%w, i/w, c)
		}
		m.Pix[3] = max(m.Pix[3]-1, 0) // keeps the encoder at RGBA
		var b bytes.Buffer
		if err := png.Encode(&b, m); err != nil {
			t.Fatal(err)
		}
		a, err := parseAPNG(append(bytes.Clone(b.Bytes()[:33]), append(appendChunk(appendChunk(nil, "acTL", make([]byte, 8)), "fcTL", control(0, w, h, 0, 0, 0, 0)), b.Bytes()[33:]...)...))
		if err != nil {
			t.Fatal(err)
		}
		return a.frames[0].data
	}
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 4), 4)
	b := appendChunk([]byte(pngMagic), "IHDR", append(head, 8, 6, 0, 0, 0))
	b = appendChunk(b, "acTL", []byte{0, 0, 0, 3, 0, 0, 0, 0})
	b = appendChunk(b, "fcTL", control(0, 4, 4, 0, 0, 0, 0))
	b = appendChunk(b, "IDAT", frame(4, 4, color.NRGBA{255, 0, 0, 255}))
	b = appendChunk(b, "fcTL", control(1, 2, 2, 1, 1, 1, 1))
	b = appendChunk(b, "fdAT", append([]byte{0, 0, 0, 2}, frame(2, 2, color.NRGBA{0, 0, 255, 128})...))
	b = appendChunk(b, "fcTL", control(3, 1, 1, 0, 0, 0, 0))
	b = appendChunk(b, "fdAT", append([]byte{0, 0, 0, 4}, frame(1, 1, color.NRGBA{0, 255, 0, 255})...))
	return appendChunk(b, "IEND", nil)
}

func control(seq, w, h, x, y int, dispose, blend byte) []byte {
	var b []byte
	for _, v := range []int{seq, w, h, x, y} {
		b = binary.BigEndian.AppendUint32(b, uint32(v))
	}
	return append(b, 0, 1, 0, 25, dispose, blend)
}

func TestAnimatedPNG(t *testing.T) {
	p, err := decodePNG(animatedPNG(t))
	if err != nil {
		t.Fatal(err)
	}
	if p.t != 3 || p.h != 4 || p.w != 4 || p.times[2] != .08 {
		t.Fatalf("%d frames of %dx%d, times %v", p.t, p.w, p.h, p.times)
	}
	pixel := func(f, y, x int) [3]byte { return [3]byte(p.rgb[3*(f*16+4*y+x):]) }
	for _, c := range []struct {
		f, y, x int
		want    [3]byte
	}{
		{0, 2, 2, [3]byte{255, 0, 0}}, {1, 0, 3, [3]byte{255, 0, 0}}, {1, 2, 2, [3]byte{127, 0, 128}},
		{2, 2, 2, [3]byte{255, 255, 255}}, {2, 3, 3, [3]byte{255, 0, 0}}, {2, 0, 1, [3]byte{255, 0, 0}},
	} {
		got := pixel(c.f, c.y, c.x)
		for k := range 3 {
			if d := int(got[k]) - int(c.want[k]); d > 1 || d < -1 { // rounding of the blend
				t.Errorf("frame %d, pixel %d,%d is %v, want %v", c.f, c.y, c.x, got, c.want)
				break
			}
		}
	}
}

// libjpeg-turbo's values of the chroma of 4:2:0 at the edges of the filter: weights
// 3/4 and 1/4 each way, the outermost samples repeated.
func TestChromaIsInterpolated(t *testing.T) {
	m := image.NewYCbCr(image.Rect(0, 0, 8, 4), image.YCbCrSubsampleRatio420)
	for i := range m.Y {
		m.Y[i] = 100
	}
	for i := range m.Cb {
		m.Cb[i], m.Cr[i] = 128, 128
	}
	copy(m.Cr, []uint8{128, 160, 128, 128, 128, 160, 128, 128})
	out := upsampled(m).(*image.RGBA)
	// (3*128+160+bias)/4 = 136, (3*160+128)/4 = 152 between samples, constant along y.
	for x, cr := range []int{128, 136, 152, 152, 136, 128, 128, 128} {
		want := 100 + (91881*(cr-128)+1<<15)>>16
		if got := int(out.Pix[4*x]); got != want {
			t.Errorf("pixel %d: red %d, want %d", x, got, want)
		}
	}
}

func FuzzPicture(f *testing.F) {
	f.Add(onePixelGIF(f, 3), ".gif")
	f.Add(animatedPNG(f), ".png")
	f.Add(rawGIF(rawFrame(0, 0, 8, 8, 1, 2, 0)), ".gif")
	var b bytes.Buffer
	jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 5, 4)), nil)
	f.Add(bytes.Clone(b.Bytes()), ".jpg")
	f.Add([]byte("RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88\xfe\x07\x00"), ".webp")
	f.Fuzz(func(t *testing.T, raw []byte, kind string) {
		before := allocated()
		p, err := decodePicture(raw)
		if err == nil && (p.t < 1 || len(p.rgb) != 3*p.t*p.h*p.w || p.times != nil && len(p.times) != p.t) {
			t.Errorf("%d bytes, %d frames of %dx%d, %d times", len(p.rgb), p.t, p.w, p.h, len(p.times))
		}
		if n := allocated() - before; n > 3<<30 {
			t.Errorf("%d MiB allocated for %d bytes", n>>20, len(raw))
		}
	})
}

// FuzzPAM: whatever a decoder prints, reading it ends.
func FuzzPAM(f *testing.F) {
	f.Add([]byte("P7\nWIDTH 2\nHEIGHT 1\nDEPTH 3\nMAXVAL 255\nENDHDR\nabcdef"))
	f.Add([]byte("P7\nWIDTH 1\nHEIGHT 1\nDEPTH 4\nENDHDR\nabcdP7\nWIDTH 1\nHEIGHT 1\nDEPTH 4\nENDHDR\nabcd"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d := &decoder{out: newPipe(raw), cancel: func() {}, timer: time.AfterFunc(time.Hour, func() {}), quiet: time.Hour}
		d.once.Do(func() {}) // there is no process to wait for
		for {
			p, err := d.next()
			if err != nil {
				return
			}
			n := 0
			err = d.read(p, func(y int, rgb []byte) {
				if n != 3*p.w*y || len(rgb)%(3*p.w) != 0 {
					t.Fatalf("%d bytes from line %d on, after %d, in a frame of %dx%d", len(rgb), y, n, p.w, p.h)
				}
				n += len(rgb)
			})
			if err == nil && n != 3*p.h*p.w {
				t.Fatalf("%d bytes in a frame of %dx%d", n, p.w, p.h)
			}
		}
	})
}

func newPipe(raw []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(raw)) }
