package checkpoint

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FuzzTensors: a safetensors file gives tensors whose shapes fit their values, or an error.
func FuzzTensors(f *testing.F) {
	var b bytes.Buffer
	if err := WriteTensors(&b, []Tensor{{"a", []int{2, 2}, make([]float32, 4)}, {"b", []int{}, make([]float32, 1)}}, map[string]string{"format": "magvit"}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	for _, header := range []string{`{}`, `{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, `{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`,
		`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}`, `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`} {
		f.Add(append([]byte{byte(len(header)), 0, 0, 0, 0, 0, 0, 0}, header+"\x00\x00\x00\x00"...))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		path := filepath.Join(t.TempDir(), ModelFile)
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		tensors, err := ReadTensors(path)
		if err != nil {
			return
		}
		for name, x := range tensors {
			n := 1
			for _, d := range x.Shape {
				n *= d
			}
			if n != len(x.Values) {
				t.Errorf("%q: shape %v, %d values", name, x.Shape, len(x.Values))
			}
		}
	})
}

// FuzzState: whatever state.json holds, a checkpoint is refused or its configuration can be asked for.
func FuzzState(f *testing.F) {
	f.Add([]byte(`{"step":5,"skipped":0,"config":{"preset":"tiny"},"files":{"model.safetensors":{"bytes":1,"sha256":"x"}}}`))
	f.Add([]byte(`{"step":5,"best_psnr":null,"config":{"model":{"layers":[[[["residual"]]]]}},"files":{"model.safetensors":{"bytes":0,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		dir := t.TempDir()
		for name, content := range map[string][]byte{StateFile: raw, ModelFile: nil} {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if snap, err := Verify(dir); err == nil {
			snap.Configuration(StateFile)
		}
	})
}
