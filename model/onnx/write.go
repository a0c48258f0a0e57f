package onnx

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/proto"

	"magvit/model/onnx/onnxpb"
)

// maxInline is the most bytes of weights in a file: protobuf's messages end at 2 GiB. More are in a second file.
const maxInline = 2_000_000_000

// align is where values of a second file start: a multiple of a page, so that they can be mapped.
const align = 4096

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// Write writes NAME.onnx into a folder, and NAME.onnx.data where the weights are more than 2 GB. values are those of a
// parameter by its index.
func (m *Model) Write(dir string, values func(i int) ([]float32, error)) error {
	return m.write(dir, values, maxInline)
}

func (m *Model) write(dir string, values func(i int) ([]float32, error), inline int) (err error) {
	path := filepath.Join(dir, m.Name+".onnx")
	full := proto.Clone(m.proto).(*onnxpb.ModelProto)
	total := 0
	for _, w := range m.used {
		total += 4 * size(w.shape)
	}
	var second *external
	if total > inline {
		f, err := os.Create(path + ".data")
		if err != nil {
			return err
		}
		second = &external{name: filepath.Base(path) + ".data", to: bufio.NewWriterSize(f, 1<<20)}
		defer func() { err = errors.Join(err, second.to.Flush(), f.Close()) }()
	}
	for _, w := range m.used {
		from := w.fixed
		if from == nil {
			if from, err = values(w.index); err != nil {
				return err
			}
		}
		if len(from) != size(w.shape) {
			return fmt.Errorf("onnx: %s: %d values, want %v", w.name, len(from), w.shape)
		}
		t := &onnxpb.TensorProto{Name: proto.String(w.name), DataType: proto.Int32(int32(onnxpb.TensorProto_FLOAT)), Dims: wide(w.shape)}
		raw := make([]byte, 0, 4*len(from))
		for i := range from {
			at := i
			if w.from != nil {
				at = w.from(i)
			}
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(from[at]))
		}
		if second == nil {
			t.RawData = raw
		} else if err := second.add(t, raw); err != nil {
			return err
		}
		full.Graph.Initializer = append(full.Graph.Initializer, t)
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(full)
	if err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o644)
}

// external is a file with the values of weights.
type external struct {
	name string
	to   *bufio.Writer
	at   int
}

func (e *external) add(t *onnxpb.TensorProto, raw []byte) error {
	gap := (align - e.at%align) % align
	if _, err := e.to.Write(make([]byte, gap)); err != nil {
		return err
	}
	e.at += gap
	t.DataLocation = onnxpb.TensorProto_EXTERNAL.Enum()
	for _, p := range [][2]string{{"location", e.name}, {"offset", fmt.Sprint(e.at)}, {"length", fmt.Sprint(len(raw))}} {
		t.ExternalData = append(t.ExternalData, &onnxpb.StringStringEntryProto{Key: proto.String(p[0]), Value: proto.String(p[1])})
	}
	e.at += len(raw)
	_, err := e.to.Write(raw)
	return err
}
