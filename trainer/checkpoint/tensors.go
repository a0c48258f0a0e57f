package checkpoint

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/nlpodyssey/safetensors"
)

// Tensor is a named array of a safetensors file.
type Tensor struct {
	Name   string
	Shape  []int
	Values []float32
}

// view is a tensor as the safetensors library writes it.
type view struct{ Tensor }

func (v view) DType() safetensors.DType { return safetensors.F32 }
func (v view) DataLen() uint64          { return 4 * uint64(len(v.Values)) }

func (v view) Shape() []uint64 {
	s := make([]uint64, len(v.Tensor.Shape))
	for i, d := range v.Tensor.Shape {
		s[i] = uint64(d)
	}
	return s
}

func (v view) Data() []byte {
	b := make([]byte, 4*len(v.Values))
	for i, x := range v.Values {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(x))
	}
	return b
}

// WriteTensors writes a safetensors file; the same tensors make the same bytes.
func WriteTensors(w io.Writer, tensors []Tensor, meta map[string]string) error {
	byName := map[string]view{}
	for _, t := range tensors {
		byName[t.Name] = view{t}
	}
	return safetensors.SerializeToWriter(byName, meta, w)
}

// ReadTensors reads a safetensors file.
func ReadTensors(path string) (map[string]Tensor, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	file, err := safetensors.Deserialize(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: not a safetensors file: %w", path, err)
	}
	tensors := map[string]Tensor{}
	for _, v := range file.Tensors() {
		if v.TensorView.DType() != safetensors.F32 {
			return nil, fmt.Errorf("%s: %s is %v, want F32", path, v.Name, v.TensorView.DType())
		}
		t := Tensor{Name: v.Name, Values: make([]float32, v.TensorView.DataLen()/4)}
		for _, d := range v.TensorView.Shape() {
			t.Shape = append(t.Shape, int(d))
		}
		for i := range t.Values {
			t.Values[i] = math.Float32frombits(binary.LittleEndian.Uint32(v.TensorView.Data()[4*i:]))
		}
		tensors[t.Name] = t
	}
	return tensors, nil
}
