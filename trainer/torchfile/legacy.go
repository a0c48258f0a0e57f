package torchfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// legacyMagic is the number that files of torch before 1.6 begin with, as a pickled integer.
const legacyMagic = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."

// legacyVersion is the only version of that format.
const legacyVersion = 1001

// isLegacy reports whether a file that begins with start has the format of torch before 1.6, and the length of its first
// pickle, the magic number. Protocols from 4 on put a frame around the number.
func isLegacy(start []byte) (length int, ok bool) {
	i := bytes.Index(start[:min(len(start), 32)], []byte(legacyMagic))
	return i + len(legacyMagic), i == 2 || i == 11
}

// readLegacy reads a file of torch before 1.6, or of torch.save(..., _use_new_zipfile_serialization=False): pickles of
// the magic number, the version, the machine, the object and the list of its storages, and then each storage's number of elements
// and its values. The format has no checksums.
func readLegacy(r io.ReaderAt, size int64, limits Limits) (*File, error) {
	data := make([]byte, min(size, int64(limits.Pickle)))
	if n, err := r.ReadAt(data, 0); n < len(data) {
		return nil, err
	}
	at, _ := isLegacy(data)
	l := &legacyStorages{r: r, size: size, byName: map[string]*legacyStorage{}}
	next := func(what string, storage func(string, Dtype, int) (*storage, error)) (any, []string, error) {
		root, foreign, n, err := unpickleFirst(data[at:], limits, storage)
		if err != nil && int64(len(data)) < size {
			err = fmt.Errorf("%w (the first %d bytes of the file were read; its pickles may take no more)", err, len(data))
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s, from byte %d: %w", what, at, err)
		}
		at += n
		return root, foreign, nil
	}
	version, _, err := next("version", nil)
	if err != nil {
		return nil, err
	}
	if version != any(int64(legacyVersion)) {
		return nil, fmt.Errorf("version %v of the format of torch before 1.6; want %d", version, legacyVersion)
	}
	machine, _, err := next("description of the machine", nil)
	if err != nil {
		return nil, err
	}
	if d, ok := machine.(*Dict); ok {
		if little, ok := d.Get("little_endian"); ok && little != any(true) {
			return nil, fmt.Errorf("byte order big; only little is supported: save the file again on a little endian machine")
		}
	}
	root, foreign, err := next("object", l.storage)
	if err != nil {
		return nil, err
	}
	names, _, err := next("list of storages", nil)
	if err != nil {
		return nil, err
	}
	if err := l.locate(names, int64(at)); err != nil {
		return nil, err
	}
	return &File{Root: root, Foreign: foreign, limits: limits}, nil
}

// legacyStorages are the storages that a pickle names. Their places are known when the whole file is.
type legacyStorages struct {
	r      io.ReaderAt
	size   int64
	byName map[string]*legacyStorage
}

// legacyStorage is a storage and its place in the file. It is the io.ReaderAt of that storage, also of copies of it.
type legacyStorage struct {
	storage
	values *io.SectionReader // nil until it is located
}

func (s *legacyStorage) ReadAt(p []byte, off int64) (int, error) { return s.values.ReadAt(p, off) }

// storage resolves the name of a tensor's storage; every use of it must agree on type and size.
func (l *legacyStorages) storage(name string, dtype Dtype, elements int) (*storage, error) {
	s := l.byName[name]
	if s == nil {
		if most := l.size / int64(dtype.Size()); int64(elements) > most {
			return nil, fmt.Errorf("storage %.100q of %d elements of %s in a file of %d bytes", name, elements, dtype, l.size)
		}
		s = &legacyStorage{storage: storage{name: name, dtype: dtype, elements: elements, checked: true}}
		s.at = s
		l.byName[name] = s
	}
	return &s.storage, s.agrees(dtype, elements)
}

// locate finds the values of the storages, which follow each other from a byte of the file on in the order of names.
func (l *legacyStorages) locate(names any, at int64) error {
	list, ok := names.(*List)
	if !ok {
		return fmt.Errorf("list of storages is %s", kind(names))
	}
	var count [8]byte
	for _, v := range list.Items {
		name, _ := v.(string)
		s := l.byName[name]
		switch {
		case s == nil:
			return fmt.Errorf("list of storages holds %s %.100q, which no tensor has", kind(v), name)
		case s.values != nil:
			return fmt.Errorf("storage %.100q is listed twice", name)
		}
		if n, err := l.r.ReadAt(count[:], at); n < len(count) {
			return fmt.Errorf("storage %.100q at byte %d of %d: %w", name, at, l.size, err)
		}
		if n := binary.LittleEndian.Uint64(count[:]); n != uint64(s.elements) {
			return fmt.Errorf("storage %.100q has %d elements at byte %d, and %d in the object", name, n, at, s.elements)
		}
		at += int64(len(count))
		length := int64(s.elements) * int64(s.dtype.Size())
		if length > l.size-at {
			return fmt.Errorf("storage %.100q of %d bytes from byte %d on; the file has %d: it is cut off", name, length, at, l.size)
		}
		s.values = io.NewSectionReader(l.r, at, length)
		at += length
	}
	for name, s := range l.byName {
		if s.values == nil {
			return fmt.Errorf("storage %.100q is not in the list of storages", name)
		}
	}
	if at != l.size {
		return fmt.Errorf("storages end at byte %d of %d", at, l.size)
	}
	return nil
}
