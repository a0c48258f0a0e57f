package data

import (
	"slices"
	"strings"
	"testing"
)

// TestWithClasses gives clips the numbers that a network has for their classes.
func TestWithClasses(t *testing.T) {
	open := func(labels ...string) Source {
		return mustOpen(t, Options{}, tempNPZ(t, Array{"videos", []int{len(labels), 1, 3, 1, 1}, make([]uint8, 3*len(labels))}, Array{"labels", []int{len(labels)}, labels}))
	}
	labels := func(src Source) (all []int) {
		for i := range src.Len() {
			if l := src.Label(i); mustRead(t, src, i).Label != l {
				t.Errorf("clip %d has the label %d, read %d", i, l, mustRead(t, src, i).Label)
			}
			all = append(all, src.Label(i))
		}
		return all
	}
	names := []string{"bird", "cat", "dog"}
	for _, c := range []struct {
		clips []string
		names []string
		want  []int
		err   string
	}{
		{[]string{"dog", "", "cat"}, names, []int{2, -1, 1}, ""},
		{[]string{"dog", "", "cat"}, []string{"0", "1"}, []int{1, -1, 0}, ""},
		{[]string{"0", "1"}, names, []int{0, 1}, ""},
		{[]string{"dog", "fish"}, names, nil, "of the class fish; the network was trained on bird, cat, dog"},
	} {
		src, err := WithClasses(open(c.clips...), c.names)
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v as %v: %v; want %q", c.clips, c.names, err, c.err)
			}
		case err != nil || !slices.Equal(labels(src), c.want):
			t.Errorf("%v as %v: labels %v, want %v (%v)", c.clips, c.names, labels(src), c.want, err)
		}
	}
}
