package data

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"magvit/trainer/usage"
)

// list of names and labels, without videos.
type roll struct {
	memorySource
	names  []string
	labels []int
}

func (r *roll) Len() int          { return len(r.names) }
func (r *roll) Name(i int) string { return r.names[i] }
func (r *roll) Label(i int) int   { return r.labels[i] }

func rolls(n int, label func(i int) int) *roll {
	r := &roll{}
	for i := range n {
		r.names, r.labels = append(r.names, fmt.Sprintf("clip-%d.mp4", i)), append(r.labels, label(i))
	}
	return r
}

func TestSplitProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		labels := rapid.SliceOfN(rapid.IntRange(-1, 4), 2, 300).Draw(t, "labels")
		share := rapid.Float64Range(.001, .999).Draw(t, "share")
		src := rolls(len(labels), func(i int) int { return labels[i] })
		train, val, err := Split(src, share)
		if err != nil {
			t.Fatal(err)
		}
		if len(train) == 0 || len(val) == 0 {
			t.Fatalf("%d and %d clips", len(train), len(val))
		}
		all := slices.Concat(train, val)
		slices.Sort(all)
		if !slices.Equal(all, upTo(len(labels))) || !slices.IsSorted(train) || !slices.IsSorted(val) {
			t.Fatalf("not each clip on one side in order: %v, %v", train, val)
		}
		n := float64(len(labels))
		if d := math.Abs(float64(len(val)) - share*n); d > .5+1e-9 && len(val) != 1 && len(train) != 1 {
			t.Fatalf("%d of %v clips held out, want %v of them", len(val), n, share)
		}
		for l := -1; l <= 4; l++ {
			here, of := 0, 0
			for _, i := range val {
				if labels[i] == l {
					here++
				}
			}
			for _, k := range labels {
				if k == l {
					of++
				}
			}
			if want := float64(len(val)) * float64(of) / n; math.Abs(float64(here)-want) >= 1 {
				t.Fatalf("class %d: %d of %d clips held out, want about %.1f", l, here, of, want)
			}
		}
	})
}

// Windows of a film, as Pack names them, and parts of one, as a list does, are all on one side.
func TestSplitHoldsOutWholeFilms(t *testing.T) {
	src := &roll{}
	for i := range 200 {
		name := fmt.Sprintf("film-%d.mp4@%d", i/10, 16*(i%10))
		if i >= 100 {
			name = fmt.Sprintf("film-%d.mp4@%g-%g", i/10, float64(i%10)/2, float64(i%10)/2+.5)
		}
		src.names, src.labels = append(src.names, name), append(src.labels, i/10%2)
	}
	_, val, err := Split(src, .2)
	if err != nil {
		t.Fatal(err)
	}
	clips := map[string]int{}
	for _, i := range val {
		name, _, _ := strings.Cut(src.names[i], "@")
		clips[name]++
	}
	if len(clips) != 4 {
		t.Errorf("clips held out of %d films, want all of 4: %v", len(clips), clips)
	}
	for name, n := range clips {
		if n != 10 {
			t.Errorf("%s: %d of 10 clips are held out", name, n)
		}
	}
	// Of one film, and of long ones, there are clips on both sides.
	for _, films := range []int{1, 2, 3} {
		one := &roll{}
		for i := range 30 {
			one.names, one.labels = append(one.names, fmt.Sprintf("film-%d.mp4@%d", i%films, i)), append(one.labels, 0)
		}
		if train, val, err := Split(one, .2); err != nil || len(train) == 0 || len(val) == 0 || len(train)+len(val) != 30 {
			t.Errorf("%d films: %d and %d clips, %v", films, len(train), len(val), err)
		}
	}
	// A name that ends otherwise is a clip of its own.
	if f := filmOf("me@home.mp4"); f != "me@home.mp4" {
		t.Error(f)
	}
}

func TestSplitIsStableWhenClipsAreAddedOrRemoved(t *testing.T) {
	class := func(i int) int { return i % 4 }
	before, after := rolls(1000, class), rolls(1040, class)
	_, a, err := Split(before, .2)
	if err != nil {
		t.Fatal(err)
	}
	_, b, err := Split(after, .2)
	if err != nil {
		t.Fatal(err)
	}
	moved := 0
	for _, i := range a {
		if !slices.Contains(b, i) {
			moved++
		}
	}
	// 40 clips more, of which about 8 rank among the held-out ones, whose number grows by 8.
	if moved > 10 {
		t.Errorf("%d of %d held-out clips changed sides for 4 %% more clips", moved, len(a))
	}
	slices.Reverse(before.names) // class of the i-th name from the end: 999-i has class 3-i%4
	slices.Reverse(before.labels)
	_, c, err := Split(before, .2)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range c {
		if !slices.Contains(a, 999-i) {
			t.Fatalf("%s is held out only when the clips are listed in reverse", before.names[i])
		}
	}
}

func TestSplitOfTooFewClips(t *testing.T) {
	for n := range 2 {
		_, _, err := Split(rolls(n, func(int) int { return 0 }), .2)
		if !errors.Is(err, usage.Error) || !strings.Contains(err.Error(), fmt.Sprintf("%d clip", n)) || !strings.Contains(err.Error(), "at least 2") {
			t.Errorf("%d clips: %v", n, err)
		}
	}
}
