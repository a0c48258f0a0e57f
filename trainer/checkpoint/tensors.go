package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"github.com/nlpodyssey/safetensors"

	"magvit/trainer/torchfile"
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
	tensors := map[string]Tensor{}
	err := withTensors(path, func(list []torchfile.NamedTensor) error {
		for _, x := range list {
			values, err := x.Float32s()
			if err != nil {
				return fmt.Errorf("%s: %w", x.Name, err)
			}
			tensors[x.Name] = Tensor{Name: x.Name, Shape: x.Shape, Values: values}
		}
		return nil
	})
	return tensors, err
}

// withTensors calls do with the tensors of a safetensors file, all of float32, which is open
// until it returns.
func withTensors(path string, do func(list []torchfile.NamedTensor) error) error {
	list, closeFile, err := torchfile.OpenSafetensors(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer closeFile()
	for _, x := range list {
		if x.Dtype != torchfile.Float32 {
			return fmt.Errorf("%s: %s is %v, want float32", path, x.Name, x.Dtype)
		}
	}
	if err := do(list); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
