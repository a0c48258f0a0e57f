package data

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/flate"
)

// readArray decodes a clip that is an .npy or .npz member of an archive: an array
// [T,C,H,W] or [T,H,W,C], or one with an axis of one clip in front, of the types that
// Open reads. An .npz holds it as video, videos, or its only array.
func (f *files) readArray(i int, kind string, mem *memory) (decoded, error) {
	c := decoded{Clip: Clip{Name: f.Name(i), Label: f.Label(i)}}
	err := f.unchanged(i)
	var raw []byte
	if err == nil {
		raw, err = readAll(f.path(i), f.more[i])
	}
	if err == nil && kind == ".npz" {
		raw, err = onlyArray(raw)
	}
	if err == nil {
		err = c.fromArray(raw, mem)
	}
	if err != nil {
		return decoded{}, &ClipError{c.Name, err}
	}
	return c, nil
}

func onlyArray(raw []byte) ([]byte, error) {
	z, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil, err
	}
	z.RegisterDecompressor(zip.Deflate, flate.NewReader)
	var found *zip.File
	for _, f := range z.File {
		if len(z.File) == 1 || slices.Contains([]string{"video.npy", "videos.npy"}, f.Name) {
			found = f
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%d arrays, none of them video or videos", len(z.File))
	}
	if found.UncompressedSize64 > maxFile {
		return nil, fmt.Errorf("%s: %d bytes; legal: up to %d", found.Name, found.UncompressedSize64, maxFile)
	}
	r, err := found.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, maxFile))
}

// fromArray fills the clip from the bytes of an .npy file.
func (c *decoded) fromArray(raw []byte, mem *memory) error {
	r := bytes.NewReader(raw)
	h, err := readNpyHeader(r, "array")
	if err != nil {
		return err
	}
	raw = raw[h.start:]
	if int64(len(raw)) != h.bytes {
		return fmt.Errorf("shape %v of %s needs %d bytes, there are %d", h.shape, h.descr, h.bytes, len(raw))
	}
	shape := h.shape
	if len(shape) == 5 && shape[0] == 1 {
		shape = shape[1:]
	}
	last := len(shape) == 4 && (shape[3] == 3 || shape[3] == 1) && shape[1] != 3 && shape[1] != 1
	if last {
		shape = []int{shape[0], shape[3], shape[1], shape[2]}
	}
	s := &arrays{path: "array"}
	h.shape = append([]int{1}, shape...)
	if err := s.setShape("array", h); err != nil {
		return err
	}
	c.T, c.H, c.W, c.C = s.t, s.h, s.w, s.c
	if last { // decode as one row of planes of one pixel each: the order stays
		s.t, s.h, s.w = s.t*s.h*s.w, 1, 1
	}
	s.decodeTo(c, raw, mem)
	s.t, s.h, s.w = c.T, c.H, c.W
	if s.kind == 'f' {
		return s.check(0, c.Video)
	}
	return nil
}
