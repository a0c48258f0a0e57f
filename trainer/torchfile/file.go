// Package torchfile turns PyTorch checkpoint files into named tensors, and back.
//
// A file comes in through Open or Read, which give the plain values it holds as a tree (File.Root), and through
// File.Tokenizer or File.Trainer, which give what the reference package saves by name. WriteTokenizer and WriteTrainer
// write files that torch.load reads.
//
// Why not a general pickle library: such a file comes from anywhere, and a pickle is a program. Here it can only describe
// data. Names of Python functions are compared with a short list and never looked up; all others stay inert (Opaque), and
// the typed views refuse a file that holds any. Every size in a file is checked against the bytes that are present and
// against Limits, so that reading no file takes more than a small multiple of its own size plus what Limits allow.
package torchfile

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
)

// File is an open checkpoint. Tensors in it read from it, so it must stay open while they are used.
type File struct {
	Root    any      // the tree that the file's pickle describes; see Tuple, List, Set, Dict, Tensor, Opaque
	Foreign []string // sorted names of all Python globals in the pickle that are more than plain values, tensors and modules of TorchScript

	limits Limits
	close  func() error
}

// Open reads the file at a path; see Read. Errors do not name the path.
func Open(path string, limits Limits) (*File, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	file, err := Read(f, info.Size(), limits)
	if err != nil {
		f.Close()
		return nil, err
	}
	file.close = f.Close
	return file, nil
}

// openFile opens a file for reading; the error does not name it.
func openFile(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		if p, ok := errors.AsType[*os.PathError](err); ok {
			err = p.Err
		}
		return nil, err
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		f.Close()
		return nil, fmt.Errorf("a folder; want a file of torch.save, a .safetensors file or the index of a sharded checkpoint (NAME.index.json)")
	}
	return f, nil
}

// Close closes a file that Open opened.
func (f *File) Close() error {
	if f.close == nil {
		return nil
	}
	return f.close()
}

// Read reads a file of size bytes that torch.save wrote: an uncompressed zip archive of a pickle and of the tensors'
// bytes, or, by torch before 1.6, pickles and the bytes one after the other. Of a TorchScript archive (torch.jit.save) it
// reads the same parts, which hold the module, and not the program. It reads the pickles; tensors are read when
// they are asked for. A damaged, absurd or malicious file is an error.
func Read(r io.ReaderAt, size int64, limits Limits) (*File, error) {
	limits = limits.withDefaults()
	start := make([]byte, min(32, max(size, 0)))
	if n, err := r.ReadAt(start, 0); n < len(start) {
		return nil, err
	}
	if _, ok := isLegacy(start); ok {
		return readLegacy(r, size, limits)
	}
	switch {
	case size == 0:
		return nil, fmt.Errorf("an empty file; want one of torch.save")
	case bytes.HasPrefix(start, []byte{0x80}):
		return nil, fmt.Errorf("a bare pickle, not a file of torch.save: want its zip archive, or the magic number of torch before 1.6")
	case !bytes.HasPrefix(start, []byte("PK\x03\x04")):
		return nil, fmt.Errorf("not a file of torch.save: starts with % x, want the zip archive's 50 4b 03 04", start[:min(4, len(start))])
	}
	a, err := readArchive(r, size, limits)
	if err != nil {
		return nil, err
	}
	data, err := a.record("data.pkl", int64(limits.Pickle))
	if err != nil {
		return nil, err
	}
	root, foreign, err := unpickle(data, limits, a.storage)
	if err != nil {
		return nil, fmt.Errorf("%s/data.pkl: %w", a.root, err)
	}
	return &File{Root: root, Foreign: foreign, limits: limits}, nil
}

// archive is the zip file: root/data.pkl, root/byteorder, root/data/0, ...
type archive struct {
	r        io.ReaderAt
	root     string
	entries  map[string]*zip.File // by name below root
	storages map[string]*storage
}

func readArchive(r io.ReaderAt, size int64, limits Limits) (*archive, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("%w: it is damaged, or its end is missing", err)
	}
	if len(z.File) > limits.Entries {
		return nil, fmt.Errorf("archive of %d entries; %d are the most", len(z.File), limits.Entries)
	}
	a := &archive{r: r, entries: make(map[string]*zip.File, len(z.File)), storages: map[string]*storage{}}
	script := false
	for _, f := range z.File {
		script = script || path.Base(f.Name) == "constants.pkl"
	}
	for _, f := range z.File {
		if dir, name := path.Split(f.Name); name == "data.pkl" && strings.Count(dir, "/") == 1 {
			if a.root != "" && a.root+"/" != dir {
				return nil, fmt.Errorf("archive of two pickles, %.100q and %.100q", a.root+"/data.pkl", f.Name)
			}
			a.root = strings.TrimSuffix(dir, "/")
		}
	}
	if a.root == "" {
		return nil, fmt.Errorf("archive without NAME/data.pkl: not a file of torch.save")
	}
	left := uint64(size)
	for _, f := range z.File {
		name, ok := strings.CutPrefix(f.Name, a.root+"/")
		switch {
		case script && ok && name != "data.pkl" && name != "byteorder" && !strings.HasPrefix(name, "data/"):
			continue // program text and constants, of which some are compressed
		case !ok:
			return nil, fmt.Errorf("archive entry %.100q is outside %.100q", f.Name, a.root)
		case a.entries[name] != nil:
			return nil, fmt.Errorf("archive holds %.100q twice", f.Name)
		case f.Method != zip.Store || f.CompressedSize64 != f.UncompressedSize64 || f.Flags&1 != 0:
			return nil, fmt.Errorf("archive entry %.100q is compressed or encrypted; torch.save stores its entries as they are", f.Name)
		case f.UncompressedSize64 > left: // entries that share bytes would add up to more than the file
			return nil, fmt.Errorf("archive entries, up to %.100q, are longer than the file of %d bytes", f.Name, size)
		}
		left -= f.UncompressedSize64
		a.entries[name] = f
	}
	if a.entries["byteorder"] != nil {
		order, err := a.record("byteorder", 16)
		if err != nil {
			return nil, err
		}
		if string(order) != "little" {
			return nil, fmt.Errorf("byte order %q; only little is supported: save the file again on a little endian machine", order)
		}
	}
	return a, nil
}

// record reads a whole entry and compares its checksum.
func (a *archive) record(name string, most int64) ([]byte, error) {
	f := a.entries[name]
	if f.UncompressedSize64 > uint64(most) {
		return nil, fmt.Errorf("archive entry %.100q of %d bytes; %d are the most", f.Name, f.UncompressedSize64, most)
	}
	s, err := a.entry(f, Uint8, int(f.UncompressedSize64))
	if err != nil {
		return nil, err
	}
	t, err := newTensor(s, 0, []int{s.elements}, []int{1})
	if err != nil {
		return nil, err
	}
	return t.Bytes()
}

// entry makes a storage of an entry, which must be as long as its elements.
func (a *archive) entry(f *zip.File, dtype Dtype, elements int) (*storage, error) {
	if want := uint64(elements) * uint64(dtype.Size()); f.UncompressedSize64 != want {
		return nil, fmt.Errorf("archive entry %.100q has %d bytes; %d elements of %s take %d", f.Name, f.UncompressedSize64, elements, dtype, want)
	}
	offset, err := f.DataOffset()
	if err != nil {
		return nil, fmt.Errorf("archive entry %.100q: %w", f.Name, err)
	}
	at := io.NewSectionReader(a.r, offset, int64(f.UncompressedSize64))
	return &storage{name: f.Name, dtype: dtype, elements: elements, at: at, crc: f.CRC32}, nil
}

// storage resolves the name of a tensor's storage; every use of it must agree on type and size.
func (a *archive) storage(name string, dtype Dtype, elements int) (*storage, error) {
	if s := a.storages[name]; s != nil {
		return s, s.agrees(dtype, elements)
	}
	f := a.entries["data/"+name]
	if f == nil {
		return nil, fmt.Errorf("storage %.100q is not in the archive (it holds %d entries)", name, len(a.entries))
	}
	s, err := a.entry(f, dtype, elements)
	if err != nil {
		return nil, err
	}
	a.storages[name] = s
	return s, nil
}

// dictValue gives a dict's value under a key as a type; the error names the keys or the type present.
func dictValue[T any](d *Dict, key, want string) (T, error) {
	v, ok := d.Get(key)
	if !ok {
		var keys []string
		for _, e := range d.Entries {
			if k, ok := e.Key.(string); ok && len(keys) < 20 {
				keys = append(keys, fmt.Sprintf("%.60s", k))
			}
		}
		slices.Sort(keys)
		var zero T
		return zero, fmt.Errorf("no %q, want %s; there are: %s", key, want, strings.Join(keys, ", "))
	}
	t, ok := v.(T)
	if !ok {
		return t, fmt.Errorf("%q is %s, want %s", key, kind(v), want)
	}
	return t, nil
}
