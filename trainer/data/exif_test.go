package data

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/image/tiff"
)

// exifOf is EXIF data with an orientation alone, in either byte order.
func exifOf(order binary.AppendByteOrder, orientation int) []byte {
	b := []byte("II*\x00")
	if order == binary.BigEndian {
		b = []byte("MM\x00*")
	}
	b = order.AppendUint16(order.AppendUint32(b, 8), 1)
	b = order.AppendUint32(order.AppendUint16(order.AppendUint16(b, 274), 3), 1)
	b = order.AppendUint16(order.AppendUint16(b, uint16(orientation)), 0)
	return order.AppendUint32(b, 0)
}

// orientedPictures are a picture of 48x32 whose quarters are red, green, blue and white, with an orientation.
func orientedPictures(t *testing.T, orientation int) map[string][]byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, 48, 32))
	for k := range 48 * 32 {
		c := []color.RGBA{{250, 0, 0, 255}, {0, 250, 0, 255}, {0, 0, 250, 255}, {250, 250, 250, 255}}[k/48/16*2+k%48/24]
		m.SetRGBA(k%48, k/48, c)
	}
	var j, p, f bytes.Buffer
	need(t, jpeg.Encode(&j, m, &jpeg.Options{Quality: 95}))
	need(t, png.Encode(&p, m))
	need(t, tiff.Encode(&f, m, nil))
	little, big := exifOf(binary.LittleEndian, orientation), exifOf(binary.BigEndian, orientation)
	segment := append([]byte(exifMagic), big...)
	jpg := append([]byte("\xff\xd8\xff\xe1"), byte(0), byte(len(segment)+2))
	jpg = append(append(jpg, segment...), j.Bytes()[2:]...)
	at := len(pngMagic) + 25 // after IHDR
	chunk := appendChunk(bytes.Clone(p.Bytes()[:at]), "eXIf", little)
	// The entries of a TIFF's directory are in the order of their tags: those from 277 on move by one, over 296, the
	// unit of the resolution.
	tif := f.Bytes()
	dir := int(binary.LittleEndian.Uint32(tif[4:])) + 2
	for e := dir; ; e += 12 {
		if binary.LittleEndian.Uint16(tif[e:]) != 277 {
			continue
		}
		end := e
		for binary.LittleEndian.Uint16(tif[end:]) != 296 {
			end += 12
		}
		copy(tif[e+12:], bytes.Clone(tif[e:end]))
		copy(tif[e:], little[10:22])
		break
	}
	return map[string][]byte{"a.jpg": jpg, "a.png": append(chunk, p.Bytes()[at:]...), "a.tif": tif, "a.webp": webpWith(t, little)}
}

// webpWith is the same picture as Pillow 13.0.0 writes it without loss, with EXIF data.
func webpWith(t *testing.T, exif []byte) []byte {
	t.Helper()
	const stored = "524946467200000057454250565038580a000000080000002f00001f00005650384c310000002f2fc007001f20164cbaf2e71dc9e80b091293fff792e63f227b006ada36824ab2248fe49bb97344ff27a0d09899b0313300"
	file, err := hex.DecodeString(stored)
	need(t, err)
	binary.LittleEndian.PutUint32(file[4:], uint32(len(file)+8+len(exif)-8))
	return append(append(binary.LittleEndian.AppendUint32(append(file, "EXIF"...), uint32(len(exif))), exif...), make([]byte, len(exif)%2)...)
}

// TestOrientation turns pictures as ImageOps.exif_transpose of Pillow 13.0.0 does: size, and colours of the quarters. They are
// clips of their own and frames of a folder.
func TestOrientation(t *testing.T) {
	wants := []string{"48x32:rgbw", "48x32:grwb", "48x32:wbgr", "48x32:bwrg", "32x48:rbgw", "32x48:brwg", "32x48:wgbr", "32x48:gwrb"}
	for o := 1; o <= 8; o++ {
		for name, raw := range orientedPictures(t, o) {
			dir := filepath.Join(t.TempDir(), "clip")
			need(t, os.Mkdir(dir, 0o777))
			for k := range 2 {
				need(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(k)+filepath.Ext(name)), raw, 0o666))
			}
			for frames, path := range map[int]string{1: filepath.Join(dir, "0"+filepath.Ext(name)), 2: dir} {
				c := mustRead(t, mustOpen(t, Options{}, path), 0)
				if c.T != frames {
					t.Errorf("%s: %d frames, want %d", name, c.T, frames)
				}
				last := c.Video[(c.T-1)*c.H*c.W*3:]
				got := fmt.Sprintf("%dx%d:", c.W, c.H)
				for _, y := range []int{c.H / 4, 3 * c.H / 4} {
					for _, x := range []int{c.W / 4, 3 * c.W / 4} {
						p, bits := last[(y*c.W+x)*3:], 0
						for k := range 3 {
							if p[k] > .5 {
								bits |= 1 << k
							}
						}
						got += map[int]string{1: "r", 2: "g", 4: "b", 7: "w"}[bits]
					}
				}
				if want := wants[o-1]; got != want {
					t.Errorf("%s of orientation %d among %d: %s, want %s", name, o, frames, got, want)
				}
			}
		}
	}
}

// Damaged EXIF data turn nothing, and are no reason to leave a picture out.
func TestDamagedOrientation(t *testing.T) {
	for _, raw := range orientedPictures(t, 6) {
		for cut := range min(len(raw), 400) {
			if o := orientation(raw[:cut]); o != 1 && o != 6 {
				t.Fatalf("orientation %d of %d bytes", o, cut)
			}
		}
	}
	for o := range 12 {
		want := o
		if o < 1 || o > 8 {
			want = 1
		}
		if got := tiffOrientation(exifOf(binary.BigEndian, o)); got != want {
			t.Errorf("orientation %d is read as %d", o, got)
		}
	}
}

func need(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
