package torchfile

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// testdata/script.py has the module.
func TestTorchScript(t *testing.T) {
	f := open(t, "testdata/script.jit")
	s, err := f.StateDict()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]float32{
		"gains": {0, 1}, "encoder.0.conv3d.weight": {10, 11, 12, 13, 14, 15}, "encoder.0.conv3d.bias": {20, 21, 22}, "encoder.0.order": {0, 1},
		"encoder.1.conv3d.weight": {30, 31, 32}, "encoder.1.conv3d.bias": {40}, "encoder.1.order": {0, 1}, "unused.weight": {50}, "unused.bias": {60},
		"shared.conv3d.weight": {30, 31, 32}, "shared.conv3d.bias": {40}, "shared.order": {0, 1},
	}
	for _, x := range s.Tensors {
		if x.Tensor.Dtype == Int64 {
			if want[x.Name] == nil {
				t.Errorf("%s is not a tensor of the module", x.Name)
			}
			delete(want, x.Name)
			continue
		}
		got, err := x.Tensor.Float32s()
		if err != nil || !slices.Equal(got, want[x.Name]) {
			t.Errorf("%s: %v, %v; want %v", x.Name, got, err, want[x.Name])
		}
		delete(want, x.Name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestFrozenTorchScript(t *testing.T) {
	if _, err := open(t, "testdata/frozen.jit").StateDict(); err == nil || !strings.Contains(err.Error(), "a frozen one has weights as constants") {
		t.Errorf("%v", err)
	}
}

// Each layer of a traced network is of a class of its own: there may be hundreds.
func TestTorchScriptOfManyClasses(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("\x80\x02c__torch__\nNet\n)\x81}(")
	for i := range 300 {
		fmt.Fprintf(&b, "X\x03\x00\x00\x00%03dc__torch__.___torch_mangle_%d\nConv\n)\x81}b", i, i)
	}
	b.WriteString("ub.")
	f, err := read(archiveOf(t, b.String(), "constants.pkl", ""))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(f.Root.(*Opaque).State.(*Dict).Entries); got != 300 || len(f.Foreign) > 0 {
		t.Errorf("%d parts, foreign %v", got, f.Foreign)
	}
}
