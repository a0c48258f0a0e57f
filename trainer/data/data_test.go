package data

import (
	"reflect"
	"testing"
)

// A copy of a batch is equal to it and shares no memory with it, whatever fields a batch has, also if it is made in the memory of a larger or a smaller one.
func TestCopySharesNoMemory(t *testing.T) {
	filled := func(n int) *Batch {
		b := &Batch{Number: n}
		b.resize(Shape{N: n, T: 2, H: 2, W: 2, C: 3})
		b.Video[len(b.Video)-1], b.Weight[n], b.HasPoints[0], b.Names[0] = float32(n), 1, true, "a"
		return b
	}
	b := filled(2)
	for _, c := range []*Batch{{}, filled(1), filled(3)} {
		memory := reflect.ValueOf(c.Video).Pointer()
		fits := cap(c.Video) >= len(b.Video)
		b.CopyTo(c)
		if fits && reflect.ValueOf(c.Video).Pointer() != memory {
			t.Error("memory that suffices was not used")
		}
		for _, c := range []*Batch{c, b.Clone()} {
			if !reflect.DeepEqual(b, c) {
				t.Errorf("the copy of %+v is %+v", b, c)
			}
			from, to := reflect.ValueOf(*b), reflect.ValueOf(*c)
			for i := range from.NumField() {
				name, x, y := from.Type().Field(i).Name, from.Field(i), to.Field(i)
				if x.Kind() != reflect.Slice {
					continue
				}
				if x.Len() == 0 {
					t.Errorf("%s: no elements", name)
				} else if x.Pointer() == y.Pointer() {
					t.Errorf("%s is shared", name)
				}
			}
		}
	}
}
