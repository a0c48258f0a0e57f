package trainer

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/nlpodyssey/safetensors"

	"magvit/trainer/usage"
)

// tensor is a named array for a safetensors file.
type tensor struct {
	name   string
	shape  []int
	values []float32
}

func (t tensor) DType() safetensors.DType { return safetensors.F32 }
func (t tensor) DataLen() uint64          { return 4 * uint64(len(t.values)) }

func (t tensor) Shape() []uint64 {
	s := make([]uint64, len(t.shape))
	for i, d := range t.shape {
		s[i] = uint64(d)
	}
	return s
}

func (t tensor) Data() []byte {
	b := make([]byte, 4*len(t.values))
	for i, v := range t.values {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(v))
	}
	return b
}

// writeTensors writes a safetensors file; the same tensors make the same bytes.
func writeTensors(w io.Writer, tensors []tensor, meta map[string]string) error {
	byName := map[string]tensor{}
	for _, t := range tensors {
		byName[t.name] = t
	}
	return safetensors.SerializeToWriter(byName, meta, w)
}

// readTensors reads a safetensors file.
func readTensors(path string) (map[string]tensor, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	file, err := safetensors.Deserialize(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: not a safetensors file: %w", path, err)
	}
	tensors := map[string]tensor{}
	for _, v := range file.Tensors() {
		if v.TensorView.DType() != safetensors.F32 {
			return nil, fmt.Errorf("%s: %s is %v, want F32", path, v.Name, v.TensorView.DType())
		}
		t := tensor{name: v.Name, values: make([]float32, v.TensorView.DataLen()/4)}
		for _, d := range v.TensorView.Shape() {
			t.shape = append(t.shape, int(d))
		}
		for i := range t.values {
			t.values[i] = math.Float32frombits(binary.LittleEndian.Uint32(v.TensorView.Data()[4*i:]))
		}
		tensors[t.name] = t
	}
	return tensors, nil
}

// fill is the arena of the tensors with this prefix. The error lists what the
// file lacks, what it holds besides, and shapes that differ.
func (t table) fill(tensors map[string]tensor, prefix string) ([]float32, error) {
	arena := make([]float32, t.len)
	var wrong []string
	known := map[string]bool{}
	for i, p := range t.params {
		name := prefix + p.Name
		known[name] = true
		switch got, ok := tensors[name]; {
		case !ok:
			wrong = append(wrong, name+" is missing")
		case !slices.Equal(got.shape, p.Shape):
			wrong = append(wrong, fmt.Sprintf("%s is %v, the model has %v", name, got.shape, p.Shape))
		default:
			copy(t.part(arena, i), got.values)
		}
	}
	var others []string
	for name := range tensors {
		if strings.HasPrefix(name, prefix) && !known[name] && !(prefix == "" && strings.HasPrefix(name, emaPrefix)) {
			others = append(others, name+" is unknown to the model")
		}
	}
	slices.Sort(others)
	if wrong = append(wrong, others...); len(wrong) > 0 {
		const most = 8
		more := ""
		if len(wrong) > most {
			more = fmt.Sprintf("; and %d more", len(wrong)-most)
		}
		return nil, usage.Errorf("tensors of another configuration: %s%s", strings.Join(wrong[:min(len(wrong), most)], "; "), more)
	}
	return arena, nil
}
