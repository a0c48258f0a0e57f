package data

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/image/tiff"
)

func isTIFF(raw []byte) bool {
	return bytes.HasPrefix(raw, []byte("II*\x00")) || bytes.HasPrefix(raw, []byte("MM\x00*"))
}

// decodeTIFF decodes the pages of a TIFF, which are the frames of a clip.
func decodeTIFF(raw []byte) (*pixels, error) {
	order, pages, err := tiffPages(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	raw = slices.Clone(raw)
	p := &pixels{}
	for k, at := range pages {
		order.PutUint32(raw[4:], at) // package tiff decodes the page that the header points to
		m, err := checked(raw, tiff.DecodeConfig, tiff.Decode)
		if err == nil {
			err = p.add(m)
		}
		if err != nil && len(pages) > 1 {
			err = fmt.Errorf("page %d of %d: %w", k, len(pages), err)
		}
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

// maxPages bounds the pages of a TIFF.
const maxPages = 1 << 16

// tiffPages returns the places of the descriptions of a TIFF's pages. Reduced copies of other pages are left out.
func tiffPages(r io.ReaderAt) (order binary.ByteOrder, pages []uint32, err error) {
	var b [12]byte
	at := func(place int64, n int) []byte {
		if _, e := r.ReadAt(b[:n], place); e != nil && err == nil {
			err = fmt.Errorf("a TIFF that is cut off: %w", e)
		}
		return b[:n]
	}
	order = binary.ByteOrder(binary.LittleEndian)
	if at(0, 8)[0] == 'M' {
		order = binary.BigEndian
	}
	seen := map[uint32]bool{}
	for next := order.Uint32(b[4:]); next != 0 && err == nil; {
		if seen[next] || len(seen) == maxPages {
			return nil, nil, fmt.Errorf("a TIFF whose pages go round in a circle, or more than %d", maxPages)
		}
		seen[next] = true
		place := int64(next)
		entries := int64(order.Uint16(at(place, 2)))
		reduced := false
		for i := int64(0); i < entries && err == nil; i++ {
			e := at(place+2+12*i, 12)
			if order.Uint16(e) == 254 { // NewSubfileType
				reduced = order.Uint32(e[8:])&1 != 0
			}
		}
		if !reduced {
			pages = append(pages, next)
		}
		next = order.Uint32(at(place+2+12*entries, 4))
	}
	if err == nil && len(pages) == 0 {
		err = errors.New("a TIFF without pages")
	}
	return order, pages, err
}

// isStack reports whether a file is a TIFF of several pages.
func isStack(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	_, pages, err := tiffPages(f)
	return err == nil && len(pages) > 1
}
