package data

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tiffOf is a TIFF of grey pages of 3x2 pixels. A page of a value below 0 is a reduced copy.
func tiffOf(order binary.AppendByteOrder, values ...int) []byte {
	b := []byte("II*\x00")
	if order == binary.AppendByteOrder(binary.BigEndian) {
		b = []byte("MM\x00*")
	}
	b = order.AppendUint32(b, 8)
	for k, v := range values {
		tags := [][2]uint32{{254, 0}, {256, 3}, {257, 2}, {258, 8}, {259, 1}, {262, 1}, {273, 0}, {277, 1}, {278, 2}, {279, 6}}
		if v < 0 {
			tags[0][1], v = 1, -v
		}
		after := uint32(len(b) + 2 + 12*len(tags) + 4)
		tags[6][1] = after
		b = order.AppendUint16(b, uint16(len(tags)))
		for _, t := range tags {
			b = order.AppendUint32(order.AppendUint32(order.AppendUint16(order.AppendUint16(b, uint16(t[0])), 4), 1), t[1])
		}
		next := after + 6
		if k == len(values)-1 {
			next = 0
		}
		b = append(order.AppendUint32(b, next), bytes.Repeat([]byte{byte(v)}, 6)...)
	}
	return b
}

// The pages of a TIFF are frames, as Pillow 13.0.0 counts them, but for reduced copies; a stack in a folder is a clip.
func TestPagesOfTIFFAreFrames(t *testing.T) {
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, c := range [][]int{{10}, {10, 200, 30}, {10, -99, 30}} {
			p, err := decodePicture(tiffOf(order, c...))
			if err != nil {
				t.Fatal(err)
			}
			var want []byte
			for _, v := range c {
				if v > 0 {
					want = append(want, bytes.Repeat([]byte{byte(v)}, 18)...)
				}
			}
			if p.h != 2 || p.w != 3 || !slices.Equal(p.rgb, want) {
				t.Errorf("%v: %d frames of %dx%d: %v", c, p.t, p.w, p.h, p.rgb)
			}
		}
	}
	root := filepath.Join(t.TempDir(), "set")
	for name, values := range map[string][]int{"stacks/a.tif": {1, 2}, "stacks/b.TIFF": {3, 4, 5}, "frames/1.tif": {1}, "frames/2.tif": {2}} {
		write(t, filepath.Join(root, name), tiffOf(binary.LittleEndian, values...))
	}
	src := mustOpen(t, Options{}, root)
	if d := cmp.Diff([]string{"frames -1", "stacks/a.tif 0", "stacks/b.TIFF 0"}, names(src)); d != "" {
		t.Error(d)
	}
	for i, n := range []int{2, 2, 3} {
		if c := mustRead(t, src, i); c.T != n {
			t.Errorf("%s: %d frames, want %d", c.Name, c.T, n)
		}
	}
	whole := tiffOf(binary.LittleEndian, 1, 2)
	for cut := range len(whole) {
		if _, err := decodePicture(whole[:cut]); err == nil {
			t.Fatalf("a TIFF of %d of %d bytes is read", cut, len(whole))
		}
	}
	circle := tiffOf(binary.LittleEndian, 1, 2)
	binary.LittleEndian.PutUint32(circle[len(circle)-10:], 8)
	if _, err := decodePicture(circle); err == nil || !strings.Contains(err.Error(), "circle") {
		t.Error(err)
	}
}
