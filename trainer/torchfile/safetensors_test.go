package torchfile

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// safetensorsFile writes a file with a header of this text and some bytes.
func safetensorsFile(t *testing.T, header string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.safetensors")
	raw := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	if err := os.WriteFile(path, append(append(raw, header...), data...), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpenSafetensors(t *testing.T) {
	path := safetensorsFile(t, `{"__metadata__":{"a":"b"},"y":{"dtype":"BF16","shape":[2],"data_offsets":[4,8]},"x":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}`,
		[]byte{0, 0, 0x80, 0x3f, 0x40, 0x40, 0, 0xc0})
	list, closeFile, err := OpenSafetensors(path)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFile()
	if len(list) != 2 || list[0].Name != "x" || list[1].Dtype != BFloat16 {
		t.Fatalf("%v", list)
	}
	for i, want := range [][]float32{{1}, {3, -2}} {
		if got, err := list[i].Float32s(); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", list[i].Name, got, err, want)
		}
	}
}

// Tensors of types that are not read may be beside others.
func TestOpenSafetensorsOfOtherTypes(t *testing.T) {
	header := `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}`
	at := 4
	types := slices.Sorted(maps.Keys(unreadTypes))
	for _, name := range types {
		size := unreadTypes[name].Size()
		header += fmt.Sprintf(`,"%s":{"dtype":"%[1]s","shape":[1],"data_offsets":[%d,%d]}`, name, at, at+size)
		at += size
	}
	list, closeFile, err := OpenSafetensors(safetensorsFile(t, header+"}", make([]byte, at)))
	if err != nil {
		t.Fatal(err)
	}
	defer closeFile()
	if len(list) != len(types)+1 {
		t.Fatalf("%d tensors, want %d", len(list), len(types)+1)
	}
	for _, x := range list {
		if _, err := x.Float32s(); (err == nil) != (x.Name == "a") || err != nil && !strings.Contains(err.Error(), string(x.Dtype)) {
			t.Errorf("%s: %v", x.Name, err)
		}
	}
}

// Damage is found before a value is read.
func TestOpenSafetensorsRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		header string
		bytes  int
		want   string
	}{
		"cut":         {`{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 4, "is at bytes"},
		"longer":      {`{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 8, "in a file with 8"},
		"overlap":     {`{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"y":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 8, "overlap"},
		"shape":       {`{"x":{"dtype":"F32","shape":[3],"data_offsets":[0,4]}}`, 4, "is at bytes"},
		"negative":    {`{"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`, 4, "negative"},
		"type":        {`{"x":{"dtype":"F4","shape":[4],"data_offsets":[0,4]}}`, 4, "F4; want F32"},
		"no header":   {`{`, 0, "header"},
		"not objects": {`{"x":1}`, 0, "header"},
	} {
		if _, _, err := OpenSafetensors(safetensorsFile(t, c.header, make([]byte, c.bytes))); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
	if _, _, err := OpenSafetensors(filepath.Join(t.TempDir(), "absent")); !os.IsNotExist(err) {
		t.Errorf("a file that is not there: %v", err)
	}
}
