package machine

import (
	"cmp"
	"math/rand"
	"slices"
	"testing"
)

// A large value at the end of a network of smaller ones, of which three are needed at once: with the
// largest first the one in front of it finds no place among them.
func TestArrangeByBreadth(t *testing.T) {
	all := []*life{
		{size: 10, from: 0, to: 2}, {size: 10, from: 1, to: 2}, {size: 10, from: 2, to: 4},
		{size: 10, from: 3, to: 4}, {size: 10, from: 4, to: 5}, {size: 11, from: 5, to: 6},
	}
	if got := arrange(all, 7); got != 31 {
		t.Errorf("an arena of %d, want 31", got)
	}
}

// Lives that meet have places apart, in an arena of the size that was said and no larger than with
// the largest first.
func TestArrange(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	equal := 0
	for range 200 {
		var all []*life
		for range 1 + r.Intn(30) {
			from := r.Intn(20)
			all = append(all, &life{size: 1 + r.Intn(20), from: from, to: min(from+r.Intn(6), 19)})
		}
		bySize := slices.Clone(all)
		slices.SortStableFunc(bySize, func(a, b *life) int { return cmp.Compare(b.size, a.size) })
		most := arrangeIn(bySize)
		arena, end := arrange(all, 20), 0
		for i, a := range all {
			for _, b := range all[:i] {
				if a.from <= b.to && b.from <= a.to && a.off < b.off+b.size && b.off < a.off+a.size {
					t.Fatalf("%+v and %+v overlap", *a, *b)
				}
			}
			end = max(end, a.off+a.size)
		}
		if arena != end || arena > most {
			t.Fatalf("an arena of %d for values up to %d, %d with the largest first", arena, end, most)
		}
		if arena == most {
			equal++
		}
	}
	if equal == 0 || equal == 200 {
		t.Errorf("the largest first was as good %d times of 200, want some", equal)
	}
}
