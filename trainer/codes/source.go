package codes

import (
	"context"
	"fmt"
	"slices"

	"magvit/trainer/data"
	"magvit/trainer/usage"
)

// Source is the clips of sets of codes, as a data.Source: a clip's frames are its codes
// [T',H',W'·codebooks,1] as numbers, the codebooks of a position next to each other.
//
// Why: what trains on clips then also trains on codes: the same split, order and resumption.
type Source struct {
	Header
	codes  []int32
	labels []int
	names  []string

	named, numbered string // sets with and without names of their classes, "" if there is none
}

// OpenSource reads sets of codes into memory. They must be of one tokenizer, with clips of one shape. Classes of one name
// are one class, whatever their numbers in each set.
func OpenSource(ctx context.Context, paths []string) (*Source, error) {
	s := &Source{}
	for i, path := range paths {
		set, err := Open(path)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			s.Header = set.Header
			s.Header.Classes = slices.Clone(set.Classes)
		}
		if set.Grid != s.Grid || set.Codebooks != s.Codebooks || set.Codebook != s.Codebook || set.Tokenizer != s.Tokenizer {
			return nil, usage.Errorf("%s: codes %v of %d by the tokenizer %.12s; %s has %v of %d by %.12s: want codes of one tokenizer and shape",
				path, set.Stored(), set.Codebook, set.Tokenizer, paths[0], s.Stored(), s.Codebook, s.Tokenizer)
		}
		if err := set.Each(ctx, func(b Block) error { return s.add(set, b) }); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Source) add(set *Set, b Block) error {
	if len(s.codes)+len(b.Codes) > maxCodes {
		return usage.Errorf("%s: more than %d codes; train on fewer of its shards", set.Path, maxCodes)
	}
	for i, v := range b.Codes {
		if set.Codebook > 0 && int(v) >= set.Codebook {
			return usage.Errorf("%s: code %d at %d; want 0 to %d", set.Path, v, b.First*set.PerClip()+i, set.Codebook-1)
		}
	}
	s.codes = append(s.codes, b.Codes...)
	for i := range len(b.Codes) / set.PerClip() {
		name, label := fmt.Sprintf("%s:%d", set.Path, b.First+i), -1
		if b.Names != nil {
			name = b.Names[i]
		}
		if b.Labels != nil && b.Labels[i] >= 0 {
			var err error
			if label, err = s.class(set, b.Labels[i]); err != nil {
				return err
			}
		}
		s.names, s.labels = append(s.names, name), append(s.labels, label)
	}
	return nil
}

// maxLabel bounds class numbers: a larger one is an identifier, not a class.
const maxLabel = 1 << 16

// class is the number of a set's label among the classes of all sets.
func (s *Source) class(set *Set, label int64) (int, error) {
	if label >= maxLabel {
		return 0, usage.Errorf("%s: a label of %d; want 0 to %d, or -1 for none", set.Path, label, maxLabel-1)
	}
	if set.Classes == nil {
		s.numbered = set.Path
	} else {
		s.named = set.Path
	}
	if s.named != "" && s.numbered != "" {
		return 0, usage.Errorf("%s has names of its classes, %s has numbers alone: want names in both or in none, since a number may be another class there", s.named, s.numbered)
	}
	if set.Classes == nil {
		return int(label), nil
	}
	name := fmt.Sprintf("class %d", label)
	if label < int64(len(set.Classes)) {
		name = set.Classes[label]
	}
	n := slices.Index(s.Header.Classes, name)
	if n < 0 {
		n = len(s.Header.Classes)
		s.Header.Classes = append(s.Header.Classes, name)
	}
	return n, nil
}

// Tokens is the shape of a clip's codes where the codebooks of a position are columns of
// their own: frames, rows, columns.
func (h *Header) Tokens() []int { return []int{h.Grid[0], h.Grid[1], h.Grid[2] * h.Codebooks} }

func (s *Source) Len() int           { return len(s.names) }
func (s *Source) Name(i int) string  { return s.names[i] }
func (s *Source) Label(i int) int    { return s.labels[i] }
func (s *Source) Problems() []string { return nil }
func (s *Source) Close() error       { return nil }

// Classes names the classes; those without a name are numbers.
func (s *Source) Classes() []string {
	names, most := s.Header.Classes, -1
	for _, l := range s.labels {
		most = max(most, l)
	}
	for n := len(names); n <= most; n++ {
		names = append(names[:n:n], fmt.Sprintf("class %d", n))
	}
	return names
}

func (s *Source) Read(_ context.Context, i int) (data.Clip, error) {
	t, per := s.Tokens(), s.PerClip()
	c := data.Clip{Name: s.names[i], Label: s.labels[i], T: t[0], H: t[1], W: t[2], C: 1, Video: make([]float32, per)}
	for k, code := range s.codes[i*per:][:per] {
		c.Video[k] = float32(code)
	}
	return c, nil
}
