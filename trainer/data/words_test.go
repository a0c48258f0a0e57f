package data

import (
	"archive/zip"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rawMember writes an .npz file with one member as it is: header, flags, content.
func rawMember(t *testing.T, h zip.FileHeader, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.npz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	h.CompressedSize64, h.UncompressedSize64 = uint64(len(content)), uint64(len(content))
	w, err := z.CreateRaw(&h)
	if err == nil {
		_, err = w.Write([]byte(content))
	}
	if err = errors.Join(err, z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestMessagesNameTheCause opens files whose fault was once described as another.
func TestMessagesNameTheCause(t *testing.T) {
	mnist := tempNPZ(t, Array{"videos", []int{5, 9, 4, 4}, make([]uint8, 5*9*4*4)})
	grey := tempNPZ(t, Array{"videos", []int{9, 5, 4, 4}, make([]uint8, 5*9*4*4)})
	for want, path := range map[string]string{
		"bzip2": rawMember(t, zip.FileHeader{Name: "videos.npy", Method: 12}, "BZh9"), "LZMA": rawMember(t, zip.FileHeader{Name: "videos.npy", Method: 14}, "x"),
		"encrypted": rawMember(t, zip.FileHeader{Name: "videos.npy", Flags: 1}, "x"), "transpose(1, 0, 2, 3)": mnist, "expand_dims(videos, 2)": grey,
	} {
		_, err := Open(t.Context(), []string{path}, Options{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "damaged") {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

// TestBytesAreText reads numpy's byte strings, as np.array([b"a"]) has them.
func TestBytesAreText(t *testing.T) {
	var b bytes.Buffer
	b.Write(appendNpyHeader(nil, "|S3", []int{3}))
	b.WriteString("abca\x00\x00\xff\x00\x00")
	a, err := ReadArrays(rawMember(t, zip.FileHeader{Name: "labels.npy", Method: zip.Store, CRC32: 0}, ""))
	if err == nil {
		t.Errorf("an empty member is read: %v", a)
	}
	h, err := readNpyHeader(bytes.NewReader(b.Bytes()), "labels")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := h.decode(b.Bytes()[h.start:]), []string{"abc", "a", "\ufffd"}; !slices.Equal(got.([]string), want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestRateAndSpan has arrays, which have no frame rate, and all their windows.
func TestRateAndSpan(t *testing.T) {
	src, err := Open(t.Context(), []string{tempNPZ(t, Array{"videos", []int{2, 3, 3, 4, 4}, make([]uint8, 2*3*3*4*4)})}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if r, err := Rate(t.Context(), src, 1); r != 0 || err != nil {
		t.Errorf("arrays: %v, %v", r, err)
	}
	var at []int
	cfg := Defaults()
	cfg.Frames, cfg.Windows = 2, "all"
	if _, err := Each(t.Context(), src, []int{0, 1}, cfg, 1, func(b *Batch) error {
		at = append(at, b.Span[0][0], b.Span[0][1])
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := []int{0, 2, 1, 3, 0, 2, 1, 3}; !slices.Equal(at, want) {
		t.Errorf("windows of 2 of 3 frames at %v, want %v", at, want)
	}
}
