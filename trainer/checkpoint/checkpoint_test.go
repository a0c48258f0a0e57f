package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestBadTensorFiles(t *testing.T) {
	var good bytes.Buffer
	if err := WriteTensors(&good, []Tensor{{"a", []int{2}, []float32{1, 2}}, {"b", nil, []float32{3}}}, nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	write := func(b []byte) {
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write(good.Bytes())
	m, err := ReadTensors(path)
	if err != nil || !slices.Equal(m["a"].Values, []float32{1, 2}) || !slices.Equal(m["b"].Values, []float32{3}) || len(m["b"].Shape) != 0 {
		t.Fatalf("read %v, %v", m, err)
	}
	head := binary.LittleEndian.Uint64(good.Bytes())
	for name, change := range map[string]func([]byte) []byte{
		"empty":            func(b []byte) []byte { return nil },
		"header too large": func(b []byte) []byte { b[7] = 0x7f; return b },
		"header cut":       func(b []byte) []byte { return b[:head/2] },
		"values cut":       func(b []byte) []byte { return b[:len(b)-1] },
		"bad JSON":         func(b []byte) []byte { b[8] = '!'; return b },
		"overlap":          func(b []byte) []byte { return bytes.Replace(b, []byte("[8,12]"), []byte("[4,12]"), 1) },
		"wrong shape":      func(b []byte) []byte { return bytes.Replace(b, []byte("[2]"), []byte("[3]"), 1) },
		"wrong type":       func(b []byte) []byte { return bytes.Replace(b, []byte(`"F32"`), []byte(`"F99"`), 1) },
	} {
		b := change(bytes.Clone(good.Bytes()))
		if bytes.Equal(b, good.Bytes()) {
			t.Fatalf("%s: nothing was changed", name)
		}
		write(b)
		if _, err := ReadTensors(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want one that names the file", name, err)
		}
	}
}

func TestPruneKeepsTheBest(t *testing.T) {
	s := NewStore(t.TempDir())
	for step := 1; step <= 5; step++ {
		dir := filepath.Join(s.Dir, StepName(step))
		if err := errors.Join(os.Mkdir(dir, 0o777), os.WriteFile(filepath.Join(dir, StateFile), []byte("{}"), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		keep, best int
		want       []int
	}{{0, 2, []int{1, 2, 3, 4, 5}}, {9, 2, []int{1, 2, 3, 4, 5}}, {2, 2, []int{2, 4, 5}}, {1, 5, []int{5}}} {
		if err := s.Prune(c.keep, c.best); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Steps(); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("prune(%d, %d) leaves %v, %v; want %v", c.keep, c.best, got, err, c.want)
		}
	}
}
