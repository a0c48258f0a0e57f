package data

import (
	"reflect"
	"testing"
)

// A copy of a batch shares no memory with it, whatever fields a batch has.
func TestCloneSharesNoMemory(t *testing.T) {
	var b Batch
	b.resize(Shape{N: 2, T: 2, H: 2, W: 2, C: 3})
	from, to := reflect.ValueOf(b), reflect.ValueOf(*b.Clone())
	for i := range from.NumField() {
		name, x, y := from.Type().Field(i).Name, from.Field(i), to.Field(i)
		if x.Kind() != reflect.Slice {
			continue
		}
		if x.Len() == 0 || x.Len() != y.Len() {
			t.Errorf("%s: %d elements, %d in the copy", name, x.Len(), y.Len())
		} else if x.Pointer() == y.Pointer() {
			t.Errorf("%s is shared", name)
		}
	}
}
