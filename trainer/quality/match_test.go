package quality

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"magvit/trainer/data"
)

// named is a Source of names alone.
type named []string

func (n named) Len() int                                   { return len(n) }
func (n named) Name(i int) string                          { return n[i] }
func (named) Label(int) int                                { return -1 }
func (named) Classes() []string                            { return nil }
func (named) Read(context.Context, int) (data.Clip, error) { return data.Clip{}, nil }
func (named) Problems() []string                           { return nil }
func (named) Close() error                                 { return nil }

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		a, b    named
		byOrder bool
		want    [][2]int
		err     string
	}{
		{named{"x.mp4", "y.mp4"}, named{"y.gif", "x.gif"}, false, [][2]int{{0, 1}, {1, 0}}, ""},
		{named{"clips/000000", "clips/000001"}, named{"seen/000000", "seen/000001"}, false, [][2]int{{0, 0}, {1, 1}}, ""},
		{named{"up/x.mp4", "down/x.mp4"}, named{"recon/up/x.mp4", "recon/down/x.mp4"}, false, [][2]int{{0, 0}, {1, 1}}, ""},
		{named{"x.mp4", "y.mp4"}, named{"a.mp4", "b.mp4"}, true, [][2]int{{0, 0}, {1, 1}}, ""},
		{named{"x.mp4", "y.mp4"}, named{"a.mp4"}, true, nil, "2 and 1 clips"},
		{named{"x.mp4", "y.mp4"}, named{"x.mp4", "z.mp4"}, false, nil, "y.mp4 has no partner"},
		{named{"x.mp4"}, named{"x.mp4", "z.mp4"}, false, nil, "z.mp4 of the second set has no partner"},
		{named{"x.mp4"}, named{"x.mp4", "x.gif"}, false, nil, "have the same name"},
	} {
		got, err := Match(c.a, c.b, c.byOrder)
		if c.err == "" && (err != nil || !reflect.DeepEqual(got, c.want)) {
			t.Errorf("%v, %v: %v, %v; want %v", c.a, c.b, got, err, c.want)
		}
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%v, %v: %v, want %q", c.a, c.b, err, c.err)
		}
	}
}
