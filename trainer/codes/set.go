package codes

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"magvit/trainer/data"
	"magvit/trainer/usage"
)

// IndexName is the file of a folder that lists its shards.
const IndexName = data.CodesIndex

// maxCodes bounds the codes that are in memory at a time: those of a file or shard.
const maxCodes = 1 << 28

// Set is a set of codes on disk.
type Set struct {
	Header
	Path  string
	Clips int

	shards []func() (Block, error) // each read when it is asked for
}

// Open opens a set: an .npz file, a folder with an index, its index, a single .npy shard or plain .npy array of codes, or a
// .tar archive.
func Open(path string) (*Set, error) {
	st, err := os.Stat(path)
	switch kind := strings.ToLower(filepath.Ext(path)); {
	case err != nil:
		return nil, usage.Wrap(err)
	case st.IsDir():
		return openFolder(path)
	case filepath.Base(path) == IndexName:
		return openFolder(filepath.Dir(path))
	case kind == ".npy":
		return openNPY(path)
	case kind == ".tar":
		return openTar(path)
	}
	return openNPZ(path)
}

// Each gives f the clips of the set in order, a file at a time.
func (s *Set) Each(ctx context.Context, f func(Block) error) error {
	n := 0
	for _, read := range s.shards {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := read()
		if err != nil {
			return err
		}
		b.First = n
		if err := f(b); err != nil {
			return err
		}
		n += len(b.Codes) / s.PerClip()
	}
	return nil
}

// whole converts stored integers to codes.
func (h *Header) whole(name string, values []int64) ([]int32, error) {
	if len(values) > maxCodes {
		return nil, usage.Errorf("%s: %d codes; legal: up to %d in a file", name, len(values), maxCodes)
	}
	codes := make([]int32, len(values))
	for i, v := range values {
		if v < 0 || v > 1<<31-1 {
			return nil, usage.Errorf("%s: code %d at %d; want 0 to %d", name, v, i, 1<<31-1)
		}
		codes[i] = int32(v)
	}
	codes, err := join(codes, h.Factors)
	if err != nil {
		return nil, usage.Errorf("%s: %w", name, err)
	}
	return codes, nil
}

// blockOf makes a block of an array [n,T',H',W'] or [n,T',H',W',k] and checks it against the header; a header without a
// grid gets that of the array.
func (h *Header) blockOf(name string, a data.Array, c Clips) (Block, error) {
	values, whole := a.Data.([]int64)
	switch {
	case !whole:
		return Block{}, usage.Errorf("%s: codes are not whole numbers; want int32", name)
	case len(a.Shape) != 4 && len(a.Shape) != 5:
		return Block{}, usage.Errorf("%s: codes of shape %v; want [N,T',H',W'], and an axis of codebooks if there are several", name, a.Shape)
	case len(values) == 0:
		return Block{}, usage.Errorf("%s: codes of shape %v: there are no clips", name, a.Shape)
	}
	if err := h.check(name); err != nil {
		return Block{}, err
	}
	found := *h
	if err := found.setShape(name, a.Shape[1:]); err != nil {
		return Block{}, err
	}
	if h.Grid != [3]int{} && (found.Grid != h.Grid || found.Codebooks != h.Codebooks) {
		return Block{}, usage.Errorf("%s: codes of shape %v; the index has clips of %v", name, a.Shape, h.Stored())
	}
	h.Grid, h.Codebooks = found.Grid, found.Codebooks
	if err := c.check(name, a.Shape[0]); err != nil {
		return Block{}, err
	}
	codes, err := h.whole(name, values)
	return Block{Codes: codes, Clips: c}, err
}

// check compares the lengths of what is there with the number of clips.
func (c *Clips) check(name string, n int) error {
	for _, a := range []struct {
		name   string
		there  bool
		length int
	}{{"frames", c.Frames != nil, len(c.Frames)}, {"labels", c.Labels != nil, len(c.Labels)}, {"names", c.Names != nil, len(c.Names)}} {
		if a.there && a.length != n {
			return usage.Errorf("%s: %d %s for %d clips", name, a.length, a.name, n)
		}
	}
	return nil
}

// listing is the index of a file's folder if it lists the file as a shard.
func listing(path string) (x index, listed bool, err error) {
	x, err = readIndex(filepath.Dir(path))
	if errors.Is(err, os.ErrNotExist) {
		return x, false, nil
	}
	return x, err == nil && slices.ContainsFunc(x.Shards, func(s shard) bool { return s.File == filepath.Base(path) }), err
}

// openNPY reads a shard of a folder, or an array of codes that another program saved.
func openNPY(path string) (*Set, error) {
	var h Header
	var about Clips
	x, listed, err := listing(path)
	if err != nil {
		return nil, err
	}
	if listed {
		m, err := readSidecar(path)
		if err != nil {
			return nil, err
		}
		h, about = x.Header, m.Clips
	}
	b, err := readNPY(path, &h, about)
	if err != nil {
		return nil, err
	}
	return oneBlock(path, h, b), nil
}

func readNPY(path string, h *Header, about Clips) (Block, error) {
	f, err := os.Open(path)
	if err != nil {
		return Block{}, usage.Wrap(err)
	}
	defer f.Close()
	a, err := data.ReadNPY(f, path)
	if err != nil {
		return Block{}, err
	}
	return h.blockOf(path, a, about)
}

// oneBlock is a set that is in memory.
func oneBlock(path string, h Header, b Block) *Set {
	return &Set{Header: h, Path: path, Clips: len(b.Codes) / h.PerClip(), shards: []func() (Block, error){func() (Block, error) { return b, nil }}}
}
