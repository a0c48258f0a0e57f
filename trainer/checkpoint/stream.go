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

// streamed is a parameter whose values are read when they are written.
type streamed struct {
	shape []int
	len   int
	read  func() []byte
}

func (s streamed) DType() safetensors.DType { return safetensors.F32 }
func (s streamed) DataLen() uint64          { return 4 * uint64(s.len) }
func (s streamed) Shape() []uint64          { return view{Tensor{Shape: s.shape}}.Shape() }
func (s streamed) Data() []byte             { return s.read() }

// SaveWeights writes a checkpoint of weights alone, as WriteLean does, and makes it the latest.
// read fills dst, of memory that is used again, with the values of parameter i; it is called
// once for each, so that no more than the largest is in memory.
func (s *Store) SaveWeights(l Layout, snap Snapshot, read func(i int, dst []float32) error) error {
	dir := filepath.Join(s.Dir, StepName(snap.Step))
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	var failed error
	var values []float32
	var data []byte
	views := map[string]streamed{}
	for i, p := range l.Params {
		views[p.Name] = streamed{p.Shape, p.Len(), func() []byte {
			if n := p.Len(); len(values) < n {
				values, data = make([]float32, n), make([]byte, 4*n)
			}
			own := values[:p.Len()]
			if failed == nil {
				failed = read(i, own)
			}
			for k, v := range own {
				if f := float64(v); failed == nil && (math.IsNaN(f) || math.IsInf(f, 0)) {
					failed = fmt.Errorf("%s[%d] = %v: not finite", p.Name, k, v)
				}
				binary.LittleEndian.PutUint32(data[4*k:], math.Float32bits(v))
			}
			return data[:4*len(own)]
		}}
	}
	d, err := s.put(filepath.Join(dir, ModelFile), func(w io.Writer) error {
		err := safetensors.SerializeToWriter(views, map[string]string{"format": "magvit", "step": strconv.Itoa(snap.Step)}, w)
		if failed != nil {
			return failed
		}
		return err
	})
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
