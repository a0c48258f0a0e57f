// Package onnx writes tokenizers as ONNX models: an encoder from clips to codes, and a decoder from codes to clips.
//
// The graph of kernels is walked, and each kernel becomes a few operators (rules.go). What depends on the size of a batch is
// computed by the model itself, from the shapes at run time. Whether a model really works for any size is not assumed: the
// graph is written for batches of other clips, frames and pixels, and an axis is free if the result is the same to the byte.
package onnx

import (
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"

	"magvit/model"
	"magvit/model/onnx/onnxpb"
)

// Opset and IR are the versions of ONNX's operators and of its file format: those of ONNX 1.12 of June 2022. The tests pass
// with onnxruntime 1.16.3 of 2023 and 1.32.0 of 2026.
const (
	Opset = 17
	IR    = 8
)

// Model is a half of a tokenizer in ONNX's form, without the values of its weights.
type Model struct {
	Name      string   // encoder or decoder
	Fixed     []string // axes whose size is that of the batch it was made for, of clips, frames and pixels; nil: none
	MinFrames int      // fewest frames, of those that the tokenizer takes, whose own graph is this one
	MinSide   int      // smallest height and width of that kind

	proto *onnxpb.ModelProto
	used  []weight
}

// Encoder makes the encoder: video float32 [N,T,C,H,W] in [0,1], and cond [N,dim_cond] where the configuration has one, to
// codes int32 [N,T',H',W'], with an axis of codebooks if there are several, and latents float32 [N,T',H',W',dims], which
// the quantizer rounds. Axes that are not free have the sizes of the batch trained.
func Encoder(t *model.Tokenizer, trained model.Shape, about map[string]string) (*Model, error) {
	return half{"encoder", t.Encoder, []string{"codes", "latents"}}.model(t, trained, about)
}

// Decoder makes the decoder: codes, and cond, to video float32 [N,T,C,H,W], clamped to [0,1].
func Decoder(t *model.Tokenizer, trained model.Shape, about map[string]string) (*Model, error) {
	return half{"decoder", t.Decoder, []string{"recon"}}.model(t, trained, about)
}

// probe is a batch shape large enough that no kernel is longer than the clip.
func probe(t *model.Tokenizer) model.Shape {
	const kernels = 32 // more than the reach of any kernel, in frames and pixels of the smallest grid
	f := t.BatchShape([5]int{1, 1, 1, 1, 1})
	side := (kernels/f.H + 1) * f.H
	return model.Shape{N: 2, T: t.Padded(kernels), H: side, W: side + f.W}
}

// axes of a batch, and how a probe changes them.
var axes = []struct {
	name   string
	change func(t *model.Tokenizer, s model.Shape) model.Shape
	fix    func(s *model.Shape, to model.Shape)
}{
	{"batch", func(_ *model.Tokenizer, s model.Shape) model.Shape { s.N++; return s }, func(s *model.Shape, to model.Shape) { s.N = to.N }},
	{"frames", func(t *model.Tokenizer, s model.Shape) model.Shape { s.T = t.Padded(s.T + 1); return s }, func(s *model.Shape, to model.Shape) { s.T = to.T }},
	{"height and width", func(t *model.Tokenizer, s model.Shape) model.Shape {
		f := t.BatchShape([5]int{1, 1, 1, 1, 1})
		s.H, s.W = s.H+2*f.H, s.W+f.W
		return s
	}, func(s *model.Shape, to model.Shape) { s.H, s.W = to.H, to.W }},
}

func (h half) model(t *model.Tokenizer, trained model.Shape, about map[string]string) (*Model, error) {
	base := probe(t)
	text := func(s model.Shape) (string, error) {
		g, _, err := h.convert(t, s)
		if err != nil {
			return "", err
		}
		return g.text()
	}
	want, err := text(base)
	if err != nil {
		return nil, err
	}
	m := &Model{Name: h.name, MinFrames: t.Padded(1), MinSide: t.BatchShape([5]int{1, 1, 1, 1, 1}).H}
	for _, a := range axes {
		if found, err := text(a.change(t, base)); err != nil || found != want {
			m.Fixed = append(m.Fixed, a.name)
		}
	}
	for _, a := range axes {
		for _, name := range m.Fixed {
			if name == a.name {
				a.fix(&base, trained)
			}
		}
	}
	if err := t.Check(base); err != nil {
		return nil, fmt.Errorf("onnx: the %s is for %v of one size only, and that of training is none: %w", h.name, m.Fixed, err)
	}
	g, outputs, err := h.convert(t, base)
	if err != nil {
		return nil, err
	}
	if want, err = g.text(); err != nil {
		return nil, err
	}
	// A short clip may need another graph: padding of another kind, a convolution that sees no frame.
	for s := base; m.MinFrames < base.T && !m.fixed("frames"); m.MinFrames = t.Padded(m.MinFrames + 1) {
		s.T = m.MinFrames
		if found, err := text(s); err == nil && found == want {
			break
		}
	}
	for s, f := base, m.MinSide; m.MinSide < base.H && !m.fixed("height and width"); m.MinSide += f {
		s.H, s.W = m.MinSide, m.MinSide
		if found, err := text(s); err == nil && found == want {
			break
		}
	}
	m.used = g.used
	m.proto = &onnxpb.ModelProto{IrVersion: proto.Int64(IR), ProducerName: proto.String("magvit"), OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(Opset)}},
		Graph: &onnxpb.GraphProto{Name: proto.String(h.name), Node: g.nodes, Initializer: g.consts}}
	built, err := h.graph(base)
	if err != nil {
		return nil, err
	}
	for _, name := range inputs {
		if built.Inputs[name] != nil {
			m.proto.Graph.Input = append(m.proto.Graph.Input, m.info(t, base, name))
		}
	}
	for _, name := range outputs {
		m.proto.Graph.Output = append(m.proto.Graph.Output, m.info(t, base, name))
	}
	m.describe(t, about)
	return m, nil
}

func (m *Model) fixed(axis string) bool {
	for _, f := range m.Fixed {
		if f == axis {
			return true
		}
	}
	return false
}

// info is the type and shape of an input or output for batches like s; free axes have names.
func (m *Model) info(t *model.Tokenizer, s model.Shape, name string) *onnxpb.ValueInfoProto {
	dim := func(axis, free string, n int) *onnxpb.TensorShapeProto_Dimension {
		if axis == "" || m.fixed(axis) {
			return &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(n)}}
		}
		return &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: free}}
	}
	const space = "height and width"
	c := t.CodeShape(s)
	batch := dim("batch", "batch", s.N)
	grid := []*onnxpb.TensorShapeProto_Dimension{batch, dim("frames", "code_frames", c[1]), dim(space, "code_height", c[2]), dim(space, "code_width", c[3])}
	kind := onnxpb.TensorProto_FLOAT
	var dims []*onnxpb.TensorShapeProto_Dimension
	switch name {
	case "video":
		dims = []*onnxpb.TensorShapeProto_Dimension{batch, dim("frames", "frames", s.T), dim("", "", t.Config.Channels), dim(space, "height", s.H), dim(space, "width", s.W)}
	case "codes":
		kind, dims = onnxpb.TensorProto_INT32, grid
		if c[4] > 1 {
			dims = append(dims, dim("", "", c[4]))
		}
	case "latents":
		dims = append(grid, dim("", "", t.LatentDims()))
	case "cond":
		dims = []*onnxpb.TensorShapeProto_Dimension{batch, dim("", "", t.Config.DimCond)}
	}
	return &onnxpb.ValueInfoProto{Name: &name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(kind)), Shape: &onnxpb.TensorShapeProto{Dim: dims}}}}}
}

// describe adds what a program needs to know of the codes, as metadata.
func (m *Model) describe(t *model.Tokenizer, about map[string]string) {
	f := t.BatchShape([5]int{1, 1, 1, 1, 1})
	frames := fmt.Sprintf("a multiple of %d", t.Padded(2))
	if first := t.BatchShape([5]int{1, 2, 1, 1, 1}).T - f.T; t.Padded(1) == 1 {
		frames = fmt.Sprintf("1 + a multiple of %d", first)
	}
	list := map[string]string{
		"frames": frames, "min_frames": strconv.Itoa(m.MinFrames), "side": fmt.Sprintf("a multiple of %d", f.H), "min_side": strconv.Itoa(m.MinSide),
		"codebook": strconv.Itoa(t.CodebookSize()), "levels": fmt.Sprint(t.CodebookLevels()), "quantizer": t.Config.Quantizer.Kind,
	}
	for k, v := range about {
		list[k] = v
	}
	for _, k := range sortedKeys(list) {
		m.proto.MetadataProps = append(m.proto.MetadataProps, &onnxpb.StringStringEntryProto{Key: proto.String(k), Value: proto.String(list[k])})
	}
}
