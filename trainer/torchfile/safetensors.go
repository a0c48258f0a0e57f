package torchfile

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// maxHeader bounds the header of a .safetensors file, as the format does.
const maxHeader = 100_000_000

// OpenSafetensors reads the header of a .safetensors file; tensors are read when they are asked
// for, until close is called. They are sorted by name.
func OpenSafetensors(path string) (list []NamedTensor, closeFile func() error, err error) {
	f, err := openFile(path)
	if err != nil {
		return nil, nil, err
	}
	if list, err = safetensorsOf(f); err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("not a safetensors file: %w", err)
	}
	return list, f.Close, nil
}

// SafetensorsMetadata returns the metadata of a safetensors file: its __metadata__, nil where there is none.
func SafetensorsMetadata(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	text, err := safetensorsHeader(f, info.Size())
	if err != nil {
		return nil, err
	}
	var header struct {
		Metadata map[string]string `json:"__metadata__"`
	}
	err = json.Unmarshal(text, &header)
	return header.Metadata, err
}

// safetensorsHeader reads the header of a file of size bytes.
func safetensorsHeader(f io.Reader, size int64) ([]byte, error) {
	if size == 0 {
		return nil, fmt.Errorf("an empty file")
	}
	var n [8]byte
	if _, err := io.ReadFull(f, n[:]); err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint64(n[:])
	if length > maxHeader || int64(length) > size-8 {
		return nil, fmt.Errorf("a header of %d bytes in a file of %d", length, size)
	}
	text := make([]byte, length)
	_, err := io.ReadFull(f, text)
	return text, err
}

func safetensorsOf(f *os.File) (list []NamedTensor, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	text, err := safetensorsHeader(f, info.Size())
	if err != nil {
		return nil, err
	}
	size := int64(len(text))
	var header map[string]struct {
		DType   string
		Shape   []int
		Offsets [2]int64 `json:"data_offsets"`
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	delete(all, "__metadata__")
	if text, err = json.Marshal(all); err == nil {
		err = json.Unmarshal(text, &header)
	}
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	rest := info.Size() - 8 - size
	var spans [][2]int64
	for name, h := range header {
		dtype := safetensorsTypes[h.DType]
		if dtype == "" {
			dtype = unreadTypes[h.DType]
		}
		if dtype == "" {
			return nil, fmt.Errorf("%.100q is %.20s; want F32, F64, F16 or BF16: convert the weights to float32 before saving", name, h.DType)
		}
		elements, err := count(h.Shape)
		if err != nil {
			return nil, fmt.Errorf("%.100q: %w", name, err)
		}
		if h.Offsets[0] < 0 || h.Offsets[1] > rest || h.Offsets[1]-h.Offsets[0] != int64(elements)*int64(dtype.Size()) {
			return nil, fmt.Errorf("%.100q of shape %v is at bytes %v of %d: the header is wrong, or the end of the file is missing", name, h.Shape, h.Offsets, rest)
		}
		at := io.NewSectionReader(f, 8+size+h.Offsets[0], h.Offsets[1]-h.Offsets[0])
		s := &storage{name: name, dtype: dtype, elements: elements, at: at, checked: true}
		t, err := newTensor(s, 0, h.Shape, rowMajor(h.Shape))
		if err != nil {
			return nil, fmt.Errorf("%.100q: %w", name, err)
		}
		list = append(list, NamedTensor{name, t})
		spans = append(spans, h.Offsets)
	}
	slices.SortFunc(spans, func(a, b [2]int64) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	end := int64(0)
	for _, s := range spans {
		if s[0] != end {
			return nil, fmt.Errorf("tensors at bytes %d to %d follow byte %d: they overlap, or leave a gap", s[0], s[1], end)
		}
		end = s[1]
	}
	if end != rest {
		return nil, fmt.Errorf("tensors of %d bytes in a file with %d", end, rest)
	}
	slices.SortFunc(list, func(a, b NamedTensor) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}
