package codes

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"magvit/trainer/data"
	"magvit/trainer/usage"
)

// Members of a clip in an archive: KEY.codes.npy, KEY.json, and KEY.cls where it has a label. A program that makes codes
// may leave out all but an array KEY.npy or KEY.codes.npy.
const (
	codesMember = data.CodesMember
	aboutMember = ".json"
	classMember = ".cls"
)

// sample is the content of KEY.json: the clip, and what its codes mean.
type sample struct {
	Name       string    `json:"name"`
	Label      *int64    `json:"label,omitempty"`
	Class      string    `json:"class,omitempty"`
	Frames     int32     `json:"frames"`
	FPS        float32   `json:"fps,omitempty"`
	FrameRange *[2]int32 `json:"frame_range,omitempty"`
	Header
}

// tar makes the archive of a block. Its bytes depend on the block alone.
func (h *Header) tar(number int, b Block) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	add := func(name string, content []byte) error {
		err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR})
		if err == nil {
			_, err = w.Write(content)
		}
		return err
	}
	per := h.PerClip()
	for i, name := range b.Names {
		key := fmt.Sprintf("%06d_%05d", number, i)
		s := sample{Name: name, Header: *h}
		s.Source, s.Classes = nil, nil
		if b.Frames != nil {
			s.Frames = b.Frames[i]
		}
		if b.FPS != nil {
			s.FPS = b.FPS[i]
		}
		if b.FrameRange != nil {
			s.FrameRange = &b.FrameRange[i]
		}
		if b.Labels != nil && b.Labels[i] >= 0 {
			s.Label = &b.Labels[i]
			if l := int(b.Labels[i]); l < len(h.Classes) {
				s.Class = h.Classes[l]
			}
		}
		about, err := json.Marshal(s)
		if err != nil {
			return nil, err
		}
		codes := data.AppendNPY(nil, data.Array{Shape: h.Stored(), Data: split(nil, b.Codes[i*per:][:per], h.Factors)})
		if err := errors.Join(add(key+codesMember, codes), add(key+aboutMember, about)); err != nil {
			return nil, err
		}
		if s.Label != nil {
			if err := add(key+classMember, []byte(strconv.FormatInt(*s.Label, 10))); err != nil {
				return nil, err
			}
		}
	}
	err := w.Close()
	return out.Bytes(), err
}

// openTar reads a shard of a folder, or an archive alone, whose members say what its codes are.
func openTar(path string) (*Set, error) {
	var h Header
	if x, listed, _ := listing(path); listed {
		h = x.Header
	}
	n, b, err := readTar(path, &h)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, usage.Errorf("%s: no member KEY.npy or KEY%s; magvit encode --format tar writes them", path, codesMember)
	}
	return oneBlock(path, h, b), nil
}

// maxMember bounds a member of an archive.
const maxMember = 1 << 30

// readTar reads the clips of an archive. A header without a grid gets that of the first clip, one without names of
// classes those that the clips have.
func readTar(path string, h *Header) (n int, b Block, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, b, usage.Wrap(err)
	}
	defer f.Close()
	t := tarReader{path: path, h: h, classes: map[int64]string{}}
	r := tar.NewReader(f)
	for {
		m, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, b, usage.Errorf("%s: damaged or no tar archive: %w", path, err)
		}
		if m.Typeflag == tar.TypeReg {
			if err := t.member(m, r); err != nil {
				return 0, b, err
			}
		}
	}
	if err := t.finish(); err != nil {
		return 0, b, err
	}
	if !t.labeled {
		t.block.Labels = nil
	}
	if h.Classes == nil {
		h.Classes = t.names()
	}
	return len(t.block.Names), t.block, t.block.check(path, len(t.block.Names))
}

// tarReader gathers the members that share a key into clips.
type tarReader struct {
	path    string
	h       *Header
	key     string
	array   *data.Array
	about   sample
	label   int64
	labeled bool
	classes map[int64]string // names of labels
	block   Block
}

func (t *tarReader) member(m *tar.Header, r io.Reader) error {
	name := m.Name
	at := strings.LastIndex(name, "/") + 1
	dot := strings.Index(name[at:], ".")
	if dot < 0 {
		return nil
	}
	key, kind := name[:at+dot], name[at+dot:]
	if key != t.key {
		if err := t.finish(); err != nil {
			return err
		}
		t.key, t.label = key, -1
	}
	if m.Size > maxMember {
		return usage.Errorf("%s: %s: %d bytes; legal: up to %d", t.path, name, m.Size, maxMember)
	}
	switch kind {
	case codesMember, ".npy":
		a, err := data.ReadNPY(r, t.path+": "+name)
		t.array = &a
		return err
	case aboutMember:
		if err := json.NewDecoder(r).Decode(&t.about); err != nil {
			return usage.Errorf("%s: %s: %w", t.path, name, err)
		}
		if t.about.Label != nil {
			t.label = *t.about.Label
		}
	case classMember:
		raw, err := io.ReadAll(r)
		if n, wrong := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64); err == nil && wrong == nil {
			t.label = n
		}
		return err
	}
	return nil
}

// finish adds the clip of the members so far.
func (t *tarReader) finish() error {
	a, about := t.array, t.about
	t.array, t.about = nil, sample{}
	if a == nil {
		return nil
	}
	if t.h.Grid == [3]int{} {
		*t.h = about.Header
		t.h.Grid, t.h.Codebooks = [3]int{}, 0 // those of the array
	}
	a.Shape = append([]int{1}, a.Shape...)
	b, err := t.h.blockOf(t.path+": "+t.key, *a, Clips{})
	if err != nil {
		return err
	}
	if len(t.block.Codes)+len(b.Codes) > maxCodes {
		return usage.Errorf("%s: more than %d codes; legal: up to that in a file", t.path, maxCodes)
	}
	if about.Name == "" {
		about.Name = t.key
	}
	if err := t.name(about); err != nil {
		return err
	}
	c := &t.block
	c.Codes, c.Names, c.Labels = append(c.Codes, b.Codes...), append(c.Names, about.Name), append(c.Labels, t.label)
	t.labeled = t.labeled || t.label >= 0
	if about.Frames > 0 {
		c.Frames = append(c.Frames, about.Frames)
	}
	c.FPS = append(c.FPS, about.FPS)
	if about.FrameRange != nil {
		c.FrameRange = append(c.FrameRange, *about.FrameRange)
	}
	return nil
}

// name notes what a clip calls its label.
func (t *tarReader) name(about sample) error {
	if about.Class == "" || t.label < 0 {
		return nil
	}
	if t.label >= maxLabel {
		return usage.Errorf("%s: %s: a label of %d; want 0 to %d, or -1 for none", t.path, t.key, t.label, maxLabel-1)
	}
	if name, known := t.classes[t.label]; known && name != about.Class {
		return usage.Errorf("%s: %s: class %d is %q and %q", t.path, t.key, t.label, name, about.Class)
	}
	t.classes[t.label] = about.Class
	return nil
}

// names are the names of the labels by number, nil where there are none.
func (t *tarReader) names() (names []string) {
	for label := range t.classes {
		for n := int64(len(names)); n <= label; n++ {
			names = append(names, fmt.Sprintf("class %d", n))
		}
	}
	for label, name := range t.classes {
		names[label] = name
	}
	return names
}
