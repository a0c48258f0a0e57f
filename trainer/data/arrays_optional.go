package data

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// readOptional reads the other arrays. One of an unsupported type is left out and
// named as a problem, since the clips are readable without it.
func (s *arrays) readOptional(a *archive) error {
	for _, read := range []func(*archive) error{
		s.readPacked,
		s.readLabels,
		func(a *archive) (err error) { s.trajectory, err = s.readPositions(a, "trajectory_3d", 3); return err },
		func(a *archive) (err error) { s.points, err = s.readPositions(a, "points_2d", 2); return err },
		func(a *archive) (err error) { s.equations, err = s.readText(a, "equations"); return err },
		func(a *archive) (err error) { s.descriptions, err = s.readText(a, "descriptions"); return err },
	} {
		err := read(a)
		if errors.Is(err, errType) {
			s.problems = append(s.problems, err.Error()+"; the array is left out")
		} else if err != nil {
			return err
		}
	}
	return nil
}

// maxPosition bounds the coordinates of positions, in pixels or units of space.
const maxPosition = 1e6

// readPositions reads positions [N,T,dims]. Those that are not numbers or beyond
// maxPosition become NaN, the mark of an unknown position.
func (s *arrays) readPositions(a *archive, name string, dims int) ([]float32, error) {
	h, v, err := a.read(name, func(h npyHeader) error {
		if !slices.Contains([]byte("fiu"), h.kind) || !slices.Equal(h.shape, []int{s.n, s.t, dims}) {
			return badf("%s: %s is %s %v; wanted: numbers [%d,%d,%d], as many clips and frames as videos", s.path, name, h.descr, h.shape, s.n, s.t, dims)
		}
		return nil
	})
	if err != nil || h == nil {
		return nil, err
	}
	p, ok := v.([]float32)
	if !ok {
		for _, n := range v.([]int64) {
			p = append(p, float32(n))
		}
	}
	unknown, first := 0, -1
	var value float32
	for i := 0; i < len(p); i += dims {
		for _, x := range p[i : i+dims] {
			if !(x >= -maxPosition && x <= maxPosition) {
				if unknown++; first < 0 {
					first, value = i/dims, x
				}
				for k := range dims {
					p[i+k] = float32(math.NaN())
				}
				break
			}
		}
	}
	if unknown > 0 {
		s.problems = append(s.problems, fmt.Sprintf("%s: %s: %d of %d positions are left out, the first at clip %d, frame %d: %v; legal: numbers from %g to %g",
			s.path, name, unknown, s.n*s.t, first/s.t, first%s.t, value, -maxPosition, maxPosition))
	}
	return p, nil
}

// readText reads text [N]. A text array of another shape is a problem, not an error.
func (s *arrays) readText(a *archive, name string) ([]string, error) {
	h, v, err := a.read(name, func(h npyHeader) error {
		if h.kind != 'U' && h.kind != 'S' || !slices.Equal(h.shape, []int{s.n}) {
			return typef("%s: %s is %s %v; wanted: text [%d], one for each clip", s.path, name, h.descr, h.shape, s.n)
		}
		return nil
	})
	if err != nil || h == nil {
		return nil, err
	}
	return v.([]string), nil
}

// maxLabel bounds class numbers: a larger one is an identifier, not a class.
const maxLabel = 1 << 16

// readLabels reads labels [N]: whole numbers of any type, or text, where "" is no
// label and the classes are the different texts in natural order.
func (s *arrays) readLabels(a *archive) error {
	h, v, err := a.read("labels", func(h npyHeader) error {
		if len(h.shape) == 2 && h.shape[1] == 1 { // a column
			h.shape = h.shape[:1]
		}
		if !slices.Equal(h.shape, []int{s.n}) {
			return badf("%s: labels have shape %v, videos hold %d clips; wanted: one label for each clip", s.path, h.shape, s.n)
		}
		return nil
	})
	if err != nil || h == nil {
		return err
	}
	switch v := v.(type) {
	case []string:
		s.labels, s.classes = textLabels(v)
		return nil
	case []float32:
		whole := make([]int64, len(v))
		for i, f := range v {
			if f != f || float32(int64(f)) != f {
				return badf("%s: labels are %s, clip %d has %v; legal: whole numbers or text", s.path, h.descr, i, f)
			}
			whole[i] = int64(f)
		}
		return s.numberLabels(a, whole)
	}
	return s.numberLabels(a, v.([]int64))
}

func (s *arrays) numberLabels(a *archive, numbers []int64) error {
	s.labels = make([]int, s.n)
	top := -1
	for i, n := range numbers {
		if n < -1 || n >= maxLabel {
			return badf("%s: labels: clip %d has %d; legal: 0 to %d, or -1 for none", s.path, i, n, maxLabel-1)
		}
		s.labels[i] = int(n)
		top = max(top, int(n))
	}
	for c := range top + 1 {
		s.classes = append(s.classes, strconv.Itoa(c))
	}
	h, v, err := a.read("classes", nil)
	if names, ok := v.([]string); err == nil && h != nil && ok && len(names) > top {
		s.classes = names
	} else if err == nil && h != nil {
		s.problems = append(s.problems, fmt.Sprintf("%s: classes is %s %v, not text [%d]; the classes are numbered instead", s.path, h.descr, h.shape, top+1))
	}
	return err
}

// textLabels numbers the different texts in natural order; "" has no label.
func textLabels(text []string) (labels []int, classes []string) {
	number := map[string]int{}
	for _, t := range text {
		if _, ok := number[t]; !ok && t != "" {
			number[t] = 0
			classes = append(classes, t)
		}
	}
	slices.SortFunc(classes, natural)
	for i, c := range classes {
		number[c] = i
	}
	labels = make([]int, len(text))
	for i, t := range text {
		if labels[i] = -1; t != "" {
			labels[i] = number[t]
		}
	}
	return labels, classes
}
