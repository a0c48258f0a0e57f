package data

import (
	"context"
	"slices"
	"strconv"
	"strings"
)

// ShuffleLabels is src with the labels permuted by order, a permutation of the
// clips. It is a control: a classifier that is above chance on such held-out clips
// has seen them in training.
func ShuffleLabels(src Source, order []int) Source {
	r := relabelled{src, make([]int, src.Len()), src.Classes()}
	for i, k := range order {
		r.labels[i] = src.Label(k)
	}
	return r
}

// WithClasses is src with its classes numbered as in names, which a network was trained on, whatever
// their numbers in src. A class that names lack is an error if a clip has it. Where the
// classes of one of the two have numbers for names, numbers are kept.
func WithClasses(src Source, names []string) (Source, error) {
	own := src.Classes()
	if slices.Equal(own, names) || numbered(own) || numbered(names) {
		return src, nil
	}
	r := relabelled{src, make([]int, src.Len()), names}
	for i := range r.labels {
		l := src.Label(i)
		if r.labels[i] = -1; l < 0 {
			continue
		}
		if r.labels[i] = slices.Index(names, own[l]); r.labels[i] < 0 {
			return nil, badf("clip %s is of the class %s; the network was trained on %s", src.Name(i), own[l], strings.Join(names, ", "))
		}
	}
	return r, nil
}

// numbered reports whether all classes have numbers for names, as labels without names get them.
func numbered(classes []string) bool {
	for i, name := range classes {
		if n := strconv.Itoa(i); name != n && name != "class "+n {
			return false
		}
	}
	return true
}

// relabelled is a source whose clips have other labels.
type relabelled struct {
	Source
	labels  []int
	classes []string
}

func (r relabelled) Label(i int) int   { return r.labels[i] }
func (r relabelled) Classes() []string { return r.classes }
func (r relabelled) Part(i int) string { return Part(r.Source, i) }

func (r relabelled) Read(ctx context.Context, i int) (Clip, error) { return r.readInto(ctx, i, nil) }

func (r relabelled) readInto(ctx context.Context, i int, video []float32) (Clip, error) {
	c, err := readInto(ctx, r.Source, i, video)
	if err != nil {
		return Clip{}, err
	}
	c.Label = r.labels[i]
	return c, nil
}

func (r relabelled) readPart(ctx context.Context, i int, want request, cur *cursor, mem *memory) (decoded, bool, error) {
	c, whole, err := readPart(ctx, r.Source, i, want, cur, mem)
	if err != nil {
		return decoded{}, false, err
	}
	c.Label = r.labels[i]
	return c, whole, nil
}

func (r relabelled) length(ctx context.Context, i int) (int, func(int) float64, bool, error) {
	n, times, err := length(ctx, r.Source, i)
	return n, times, err == nil, err
}
