package torchfile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sharded writes files and, in their folder, an index of this text and returns its path.
func sharded(t *testing.T, index string, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	files["model.safetensors.index.json"] = []byte(index)
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "model.safetensors.index.json")
}

// one is a .safetensors file of one tensor of one value.
func one(t *testing.T, name string, value []byte) []byte {
	t.Helper()
	data, err := os.ReadFile(safetensorsFile(t, `{"`+name+`":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, value))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestOpenSharded(t *testing.T) {
	path := sharded(t, `{"metadata":{"total_size":8},"weight_map":{"b":"model-00001-of-00002.safetensors","a":"model-00002-of-00002.safetensors"}}`, map[string][]byte{
		"model-00001-of-00002.safetensors": one(t, "b", []byte{0, 0, 0x40, 0x40}), "model-00002-of-00002.safetensors": one(t, "a", []byte{0, 0, 0x80, 0x3f}),
	})
	list, closeFiles, err := OpenSharded(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 {
		t.Fatalf("%d tensors, want 2", len(list))
	}
	for i, want := range []struct {
		name  string
		value float32
	}{{"a", 1}, {"b", 3}} {
		if got, err := list[i].Float32s(); err != nil || list[i].Name != want.name || !slices.Equal(got, []float32{want.value}) {
			t.Errorf("tensor %d is %s: %v, %v; want %v", i, list[i].Name, got, err, want)
		}
	}
	if err := closeFiles(); err != nil {
		t.Error(err)
	}
	if _, err := list[0].Float32s(); err == nil {
		t.Error("a tensor is read after close")
	}
}

func TestOpenShardedRefuses(t *testing.T) {
	x := one(t, "x", make([]byte, 4))
	for name, c := range map[string]struct{ index, want string }{
		"text":    {`[`, "not the index"},
		"no map":  {`{"metadata":{}}`, "want a weight_map"},
		"outside": {`{"weight_map":{"x":"../x.safetensors"}}`, "want the name of a file in the folder of the index"},
		"index":   {`{"weight_map":{"x":"model.safetensors.index.json"}}`, "want the name of a file in the folder of the index"},
		"absent":  {`{"weight_map":{"x":"x.safetensors","y":"y.safetensors"}}`, "y.safetensors: "},
		"missing": {`{"weight_map":{"x":"x.safetensors","y":"x.safetensors"}}`, "it has no y"},
		"unnamed": {`{"weight_map":{"y":"x.safetensors"}}`, `it has "x"`},
	} {
		if _, _, err := OpenSharded(sharded(t, c.index, map[string][]byte{"x.safetensors": x})); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}
