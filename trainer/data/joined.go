package data

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// joined is several sources as one; classes of one name are one class.
type joined struct {
	parts    []Source
	first    []int // index of each part's first clip, and the total
	labels   [][]int
	classes  []string
	problems []string
}

func join(parts []Source, problems []string) *joined {
	j := &joined{parts: parts, first: []int{0}, problems: problems}
	for _, p := range parts {
		j.first = append(j.first, j.first[len(j.first)-1]+p.Len())
		for _, c := range p.Classes() {
			if !slices.Contains(j.classes, c) {
				j.classes = append(j.classes, c)
			}
		}
	}
	if len(parts) > 1 { // one part keeps its numbering
		slices.SortFunc(j.classes, natural)
	}
	for _, p := range parts {
		var to []int
		for _, c := range p.Classes() {
			to = append(to, slices.Index(j.classes, c))
		}
		j.labels = append(j.labels, to)
	}
	return j
}

// at finds the part that clip i is in, and its index there.
func (j *joined) at(i int) (part, k int) {
	part, ok := slices.BinarySearch(j.first, i)
	for ok && part+1 < len(j.first) && j.first[part+1] == i { // parts without clips
		part++
	}
	if !ok {
		part--
	}
	return part, i - j.first[part]
}

func (j *joined) Len() int { return j.first[len(j.first)-1] }

func (j *joined) Name(i int) string {
	p, k := j.at(i)
	return j.parts[p].Name(k)
}

func (j *joined) Label(i int) int {
	p, k := j.at(i)
	return j.relabel(p, j.parts[p].Label(k))
}

func (j *joined) relabel(part, label int) int {
	if label < 0 {
		return -1
	}
	return j.labels[part][label]
}

func (j *joined) Classes() []string { return j.classes }

// Problems are those of the opening, then those of the parts.
func (j *joined) Problems() []string {
	all := slices.Clone(j.problems)
	for _, p := range j.parts {
		all = append(all, p.Problems()...)
	}
	return all
}

func (j *joined) Read(ctx context.Context, i int) (Clip, error) { return j.readInto(ctx, i, nil) }

func (j *joined) readInto(ctx context.Context, i int, video []float32) (Clip, error) {
	p, k := j.at(i)
	c, err := readInto(ctx, j.parts[p], k, video)
	if err != nil {
		return Clip{}, err
	}
	c.Label = j.relabel(p, c.Label)
	return c, nil
}

func (j *joined) Part(i int) string {
	p, k := j.at(i)
	return Part(j.parts[p], k)
}

func (j *joined) readPart(ctx context.Context, i int, want request, cur *cursor, mem *memory) (decoded, bool, error) {
	p, k := j.at(i)
	c, whole, err := readPart(ctx, j.parts[p], k, want, cur, mem)
	if err != nil {
		return decoded{}, false, err
	}
	c.Label = j.relabel(p, c.Label)
	return c, whole, nil
}

func (j *joined) length(ctx context.Context, i int) (int, func(int) float64, bool, error) {
	p, k := j.at(i)
	n, times, err := length(ctx, j.parts[p], k)
	return n, times, err == nil, err
}

func (j *joined) Close() error {
	var err error
	for _, p := range j.parts {
		err = errors.Join(err, p.Close())
	}
	return err
}

// bufferReader is a Source that can decode into the caller's memory.
type bufferReader interface {
	readInto(ctx context.Context, i int, video []float32) (Clip, error)
}

// readInto reads clip i of any Source, into video where its capacity suffices. On an
// error the clip is empty.
func readInto(ctx context.Context, src Source, i int, video []float32) (Clip, error) {
	var c Clip
	var err error
	if r, ok := src.(bufferReader); ok {
		c, err = r.readInto(ctx, i, video)
	} else {
		c, err = src.Read(ctx, i)
	}
	if e := ctx.Err(); e != nil {
		return Clip{}, e // a read that was cancelled says nothing about the clip
	}
	if err != nil {
		return Clip{}, err
	}
	if err := (&decoded{Clip: c}).check(); err != nil {
		return Clip{}, err
	}
	return c, nil
}

// natural compares names so that frame 2 comes before frame 10.
func natural(a, b string) int {
	for a != "" && b != "" {
		x, y := digits(a), digits(b)
		if x > 0 && y > 0 {
			n, m := strings.TrimLeft(a[:x], "0"), strings.TrimLeft(b[:y], "0")
			if len(n) != len(m) {
				return len(n) - len(m)
			}
			if c := strings.Compare(n, m); c != 0 {
				return c
			}
			if x != y { // the same number: fewer zeros in front come first
				return x - y
			}
			a, b = a[x:], b[y:]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

// digits is how many digits s starts with.
func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
