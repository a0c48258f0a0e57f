package checkpoint

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/nlpodyssey/safetensors"
)

// streamed is a tensor whose values are read when they are written.
type streamed struct {
	shape []int
	len   int
	data  func() []byte
}

func (s streamed) DType() safetensors.DType { return safetensors.F32 }
func (s streamed) DataLen() uint64          { return 4 * uint64(s.len) }
func (s streamed) Shape() []uint64          { return view{Tensor{Shape: s.shape}}.Shape() }
func (s streamed) Data() []byte             { return s.data() }

// stream writes tensors that are read one at a time, so that no more than the largest is in memory.
type stream struct {
	tensors map[string]streamed
	values  []float32 // of the tensor that is being written
	data    []byte
	err     error // the first one
}

// add is a tensor of n values, which read copies to dst.
func (s *stream) add(name string, shape []int, n int, read func(dst []float32) error) {
	if s.tensors == nil {
		s.tensors = map[string]streamed{}
	}
	s.tensors[name] = streamed{shape, n, func() []byte {
		if len(s.values) < n {
			s.values, s.data = make([]float32, n), make([]byte, 4*n)
		}
		values := s.values[:n]
		if s.err == nil {
			s.err = read(values)
		}
		for k, v := range values {
			if f := float64(v); s.err == nil && (math.IsNaN(f) || math.IsInf(f, 0)) {
				s.err = fmt.Errorf("%s[%d] = %v: not finite", name, k, v)
			}
			binary.LittleEndian.PutUint32(s.data[4*k:], math.Float32bits(v))
		}
		return s.data[:4*n]
	}}
}

// write writes a safetensors file of the tensors.
func (s *stream) write(w io.Writer, step int) error {
	err := safetensors.SerializeToWriter(s.tensors, map[string]string{"format": "magvit", "step": strconv.Itoa(step)}, w)
	if s.err != nil {
		return s.err
	}
	return err
}

// SaveWeights writes a checkpoint of weights alone, as WriteLean does, and makes it the latest.
// read fills dst, of memory that is used again, with the values of parameter i; it is called
// once for each, so that no more than the largest is in memory.
func (s *Store) SaveWeights(l Layout, snap Snapshot, read func(i int, dst []float32) error) error {
	dir := filepath.Join(s.Dir, StepName(snap.Step))
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	var weights stream
	for i, p := range l.Params {
		weights.add(p.Name, p.Shape, p.Len(), func(dst []float32) error { return read(i, dst) })
	}
	d, err := s.put(filepath.Join(dir, ModelFile), func(w io.Writer) error { return weights.write(w, snap.Step) })
	if err != nil {
		return err
	}
	snap.Files = map[string]Digest{ModelFile: d}
	if err := s.putState(dir, snap); err != nil {
		return err
	}
	if _, err := Verify(dir); err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	return s.Point("latest", StepName(snap.Step))
}
