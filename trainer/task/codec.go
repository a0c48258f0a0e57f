package task

import (
	"errors"
	"fmt"

	"magvit/kernels"
	"magvit/model"
	"magvit/model/machine"
	"magvit/trainer/checkpoint"
	"magvit/trainer/data"
	"magvit/trainer/usage"
)

// Codec turns clips into integer codes and codes into clips.
//
// Reconstructions always go through the codes: they are
// what a file of the codes gives. A clip's codes and values do not depend on
// what else is in the batch. It is used by one goroutine at a time.
type Codec struct {
	Trained
	Tokenizer *model.Tokenizer

	Stopped func() error // asked between kernels, where they run one by one; its error ends Encode and Decode. nil: never

	be       kernels.Backend
	part     networkPart
	offsets  []int
	params   kernels.Buffer
	encoders map[model.Shape]*model.Program
	decoders map[model.Shape]*model.Program
	values   []float32 // codes as the backend stores them
}

func newCodec(be kernels.Backend, tok *model.Tokenizer, of Trained, params kernels.Buffer) *Codec {
	return &Codec{Trained: of, Tokenizer: tok, be: be, offsets: checkpoint.NewLayout(tok).Offsets, params: params,
		encoders: map[model.Shape]*model.Program{}, decoders: map[model.Shape]*model.Program{}}
}

// networkPart is the part of a tokenizer whose weights are read.
type networkPart int

const (
	wholeNetwork networkPart = iota
	encoderOnly
	decoderOnly
)

// of reports which parameters of a network the part uses, by their index. Buffers always are.
func (part networkPart) of(net model.Network) (func(i int) bool, error) {
	tok, ok := net.(*model.Tokenizer)
	if !ok || part == wholeNetwork {
		return func(int) bool { return true }, nil
	}
	graph := tok.Encoder
	if part == decoderOnly {
		graph = tok.Decoder
	}
	g, err := graph(tok.SmallestBatch())
	if err != nil {
		return nil, err
	}
	return func(i int) bool { return g.Params[i] != nil || tok.Params[i].Buffer }, nil
}

// OpenCodec reads a tokenizer's checkpoint as Open does.
func OpenCodec(be kernels.Backend, path string) (*Codec, error) {
	return openCodec(be, path, wholeNetwork, false)
}

// OpenEncoder is OpenCodec for Encode alone: weights that only the decoder uses are not in
// memory.
func OpenEncoder(be kernels.Backend, path string) (*Codec, error) {
	return openCodec(be, path, encoderOnly, false)
}

// OpenDecoder is OpenCodec for Decode alone.
func OpenDecoder(be kernels.Backend, path string) (*Codec, error) {
	return openCodec(be, path, decoderOnly, false)
}

// OffloadEncoder is OpenEncoder with weights that stay in the file: those of a kernel are in
// memory while it runs, and each Encode reads all of them. Codes are the same.
func OffloadEncoder(be kernels.Backend, path string) (*Codec, error) {
	return openCodec(be, path, encoderOnly, true)
}

// OffloadDecoder is OpenDecoder with weights that stay in the file, as those of OffloadEncoder do.
func OffloadDecoder(be kernels.Backend, path string) (*Codec, error) {
	return openCodec(be, path, decoderOnly, true)
}

func openCodec(be kernels.Backend, path string, part networkPart, offload bool) (*Codec, error) {
	o, params, hash, err := openWeights(be, path, part, offload)
	if err != nil {
		return nil, err
	}
	tok, ok := o.Net.(*model.Tokenizer)
	if o.Config.Model.IsPrior() {
		return nil, usage.Errorf("checkpoint %s: a prior over codes (%s), not the tokenizer that made them; magvit sample uses both", path, o.Config.Model.Prior.Kind)
	}
	if !ok {
		return nil, usage.Errorf("checkpoint %s: a classifier (%s on %s), which makes no codes; magvit eval says how well it tells classes", path, o.Config.Model.Classify.Network, o.Config.Model.Classify.Input)
	}
	of := trained(o)
	of.SHA256 = hash
	c := newCodec(be, tok, of, params)
	c.part = part
	return c, nil
}

// SetPieces goes through clips in pieces of frames, see model.Tokenizer.SetPieces.
func (c *Codec) SetPieces(frames int) error {
	if err := c.Tokenizer.SetPieces(model.Pieces{Frames: frames}); err != nil {
		return usage.Wrap(err)
	}
	clear(c.encoders)
	clear(c.decoders)
	return nil
}

func (c *Codec) Describe() []any {
	d := c.Config.Data
	codes := c.Tokenizer.CodeShape(model.Shape{N: 1, T: d.Frames, H: d.Height, W: d.Width})
	return []any{"codes_per_clip", codes[1] * codes[2] * codes[3] * codes[4], "codebook", c.Tokenizer.CodebookSize()}
}

func (c *Codec) Feed(p *model.Program, b *data.Batch) error {
	return c.be.Write(p.Buffer("weight"), b.Weight)
}

// Counts are the weights of the pixels; of SSIM and of coarse image gradients also those near an edge, which they leave out. Entropies are means over the codes, which padding has too; that of the
// codebook is of each batch alone, as it is no mean.
func (c *Codec) Counts(b *data.Batch) map[string]float64 {
	sum := 0.
	for _, w := range b.Weight {
		sum += float64(w)
	}
	return map[string]float64{"recon": sum, "gradient": sum, "ssim": sum}
}

// padded returns the shape of a batch once each clip is long enough for the network.
func (c *Codec) padded(s data.Shape) (model.Shape, error) {
	if s.C != c.Tokenizer.Config.Channels {
		return model.Shape{}, usage.Errorf("clips with %d channels: this tokenizer takes %d", s.C, c.Tokenizer.Config.Channels)
	}
	p := model.Shape{N: s.N, T: c.Tokenizer.Padded(s.T), H: s.H, W: s.W}
	if err := c.Tokenizer.Check(p); err != nil {
		return p, usage.Wrap(err)
	}
	return p, nil
}

// CodeShape returns the shape of the codes of a batch: N, T', H', W', codebooks.
func (c *Codec) CodeShape(s data.Shape) ([5]int, error) {
	p, err := c.padded(s)
	return c.Tokenizer.CodeShape(p), err
}

// VideoShape returns the shape of the longest clips that have codes of this shape.
func (c *Codec) VideoShape(codes [5]int) data.Shape {
	s := c.Tokenizer.BatchShape(codes)
	return data.Shape{N: s.N, T: s.T, H: s.H, W: s.W, C: c.Tokenizer.Config.Channels}
}

// Encode turns clips [N,T,H,W,C] in [0,1] into codes [N,T',H',W',codebooks], each
// in [0, CodebookSize). Clips of a length that the network does not take repeat
// their last frame.
func (c *Codec) Encode(video []float32, s data.Shape) ([]int32, error) {
	if c.part == decoderOnly {
		return nil, errors.New("encode: a codec that was opened for decoding alone")
	}
	p, err := c.padded(s)
	if err != nil {
		return nil, err
	}
	if len(video) != s.Values() {
		return nil, usage.Errorf("encode: %d values for clips %v", len(video), s)
	}
	prog, err := c.program(c.encoders, p, c.Tokenizer.Encoder)
	if err != nil {
		return nil, err
	}
	if err := c.be.Write(prog.Buffer("video"), stretch(video, s, p.T)); err != nil {
		return nil, err
	}
	if err := c.run(prog); err != nil {
		return nil, err
	}
	c.values = sized(c.values, prog.Buffer("codes").Len())
	if err := c.be.Read(c.values, prog.Buffer("codes")); err != nil {
		return nil, err
	}
	codes := make([]int32, len(c.values))
	for i, v := range c.values {
		if !(v >= 0 && v < float32(c.Tokenizer.CodebookSize())) {
			return nil, fmt.Errorf("encode: code %v at %d is not in [0,%d): the weights are damaged", v, i, c.Tokenizer.CodebookSize())
		}
		codes[i] = int32(v)
	}
	return codes, nil
}

// CodeVectors returns the vectors of a learned codebook, [codebooks,codebook size,dim], and
// their size; nil for quantizers without one, whose codes are their digits.
func (c *Codec) CodeVectors() (vectors []float32, dim int, err error) {
	i, ok := c.Tokenizer.Codebook()
	if !ok {
		return nil, 0, nil
	}
	p := c.Tokenizer.Params[i]
	from := c.params.Slice(c.offsets[i], c.offsets[i]+p.Len())
	if o, ok := from.(machine.Offloaded); ok {
		if from, err = c.be.Alloc(p.Len()); err != nil {
			return nil, 0, err
		}
		if err := o.ReadTo(from); err != nil {
			return nil, 0, err
		}
	}
	vectors = make([]float32, p.Len())
	return vectors, p.Shape[2], c.be.Read(vectors, from)
}

// EncodeWithLatents is Encode that also returns the input of the quantizer, latents
// [N,T',H',W',dims].
func (c *Codec) EncodeWithLatents(video []float32, s data.Shape) (codes []int32, latents []float32, err error) {
	if codes, err = c.Encode(video, s); err != nil {
		return nil, nil, err
	}
	p, err := c.padded(s)
	if err != nil {
		return nil, nil, err
	}
	from := c.encoders[p].Buffer("latents")
	latents = make([]float32, from.Len())
	return codes, latents, c.be.Read(latents, from)
}

// Decode turns codes into clips [N,T,H,W,C] of shape s, not clamped to [0,1].
func (c *Codec) Decode(codes []int32, s data.Shape) ([]float32, error) {
	if c.part == encoderOnly {
		return nil, errors.New("decode: a codec that was opened for encoding alone")
	}
	p, err := c.padded(s)
	if err != nil {
		return nil, err
	}
	want := c.Tokenizer.CodeShape(p)
	if n := want[0] * want[1] * want[2] * want[3] * want[4]; len(codes) != n {
		return nil, usage.Errorf("decode: %d codes for clips %v, want %d, %v", len(codes), s, n, want)
	}
	prog, err := c.program(c.decoders, p, c.Tokenizer.Decoder)
	if err != nil {
		return nil, err
	}
	c.values = sized(c.values, len(codes))
	for i, v := range codes {
		if v < 0 || int(v) >= c.Tokenizer.CodebookSize() {
			return nil, usage.Errorf("decode: code %d at %d is not in [0,%d)", v, i, c.Tokenizer.CodebookSize())
		}
		c.values[i] = float32(v)
	}
	if err := c.be.Write(prog.Buffer("codes"), c.values); err != nil {
		return nil, err
	}
	if err := c.run(prog); err != nil {
		return nil, err
	}
	video := make([]float32, prog.Buffer("recon").Len())
	if err := c.be.Read(video, prog.Buffer("recon")); err != nil {
		return nil, err
	}
	return shorten(video, s, p.T), nil
}

func (c *Codec) run(p *model.Program) error {
	if c.Stopped == nil {
		return p.Run()
	}
	return p.RunUnless(c.Stopped)
}

// program compiles a graph for a batch shape once.
func (c *Codec) program(known map[model.Shape]*model.Program, s model.Shape, graph func(model.Shape) (*model.Graph, error)) (*model.Program, error) {
	if p := known[s]; p != nil {
		return p, nil
	}
	g, err := graph(s)
	if err != nil {
		return nil, err
	}
	p, err := g.Compile(c.be, c.params, nil, c.offsets)
	if err != nil {
		return nil, err
	}
	known[s] = p
	return p, nil
}

// stretch repeats the last frame of each clip up to a number of frames.
func stretch(video []float32, s data.Shape, frames int) []float32 {
	if frames == s.T {
		return video
	}
	frame := s.H * s.W * s.C
	out := make([]float32, 0, s.N*frames*frame)
	for n := range s.N {
		clip := video[n*s.T*frame:][:s.T*frame]
		out = append(out, clip...)
		for range frames - s.T {
			out = append(out, clip[len(clip)-frame:]...)
		}
	}
	return out
}

// shorten undoes stretch.
func shorten(video []float32, s data.Shape, frames int) []float32 {
	if frames == s.T {
		return video
	}
	frame := s.H * s.W * s.C
	out := make([]float32, 0, s.Values())
	for n := range s.N {
		out = append(out, video[n*frames*frame:][:s.T*frame]...)
	}
	return out
}

func sized(b []float32, n int) []float32 {
	if cap(b) < n {
		return make([]float32, n)
	}
	return b[:n]
}
