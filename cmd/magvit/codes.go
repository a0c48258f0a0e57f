package main

import (
	"fmt"
	"path/filepath"

	"magvit/trainer/data"
	"magvit/trainer/task"
)

// codeFile is an .npz file of codes, as encode writes it. decode needs only the array codes; whatever else has the
// wrong type is ignored, and what has the wrong length is an error.
type codeFile struct {
	path      string
	shape     [5]int // N, T', H', W', codebooks
	codes     []int32
	frames    []int64 // of each clip; nil: as many as the codes give
	labels    []int64 // nil: none
	names     []string
	classes   []string
	codebook  int64   // size; 0: unknown
	tokenizer string  // SHA-256 of the weights that made the codes; "": unknown
	quantizer string  // kind; "": unknown
	levels    []int64 // of the digits of a code; nil: unknown
	step      int64   // of the checkpoint
	fps       []float32
}

// digitOrder explains how a code is made of digits.
const digitOrder = "code = digit[0] + levels[0]*(digit[1] + levels[1]*(digit[2] + ...))"

// origin describes the tokenizer and the clips that codes come from, as arrays of the file: with a learned codebook also its
// vectors, [codebooks,codebook size,dim].
func origin(codec *task.Codec, paths []string, split string, shape [5]int, video data.Shape) ([]data.Array, error) {
	text := func(name string, values ...string) data.Array {
		return data.Array{Name: name, Shape: []int{len(values)}, Data: values}
	}
	numbers := func(name string, values ...int) data.Array {
		list := make([]int32, len(values))
		for i, v := range values {
			list[i] = int32(v)
		}
		return data.Array{Name: name, Shape: []int{len(values)}, Data: list}
	}
	tok := codec.Tokenizer
	source := make([]string, len(paths))
	for i, p := range paths {
		source[i] = p
		if full, err := filepath.Abs(p); err == nil {
			source[i] = full
		}
	}
	list := []data.Array{
		numbers("size", video.H, video.W),
		numbers("codebook", tok.CodebookSize()),
		text("tokenizer_sha256", codec.SHA256),
		numbers("step", codec.Step),
		text("quantizer", tok.Config.Quantizer.Kind),
		numbers("levels", tok.CodebookLevels()...),
		text("digit_order", digitOrder),
		numbers("grid", shape[1:4]...),
		text("split", split),
		text("source", source...),
	}
	vectors, dim, err := codec.CodeVectors()
	if vectors != nil {
		list = append(list, data.Array{Name: "vectors", Shape: []int{shape[4], tok.CodebookSize(), dim}, Data: vectors})
	}
	return list, err
}

// maxCodes bounds the codes of a file.
const maxCodes = 1 << 28

func readCodes(path string) (f *codeFile, err error) {
	arrays, err := data.ReadArrays(path)
	if err != nil {
		return nil, err
	}
	f = &codeFile{path: path, shape: [5]int{4: 1}}
	codes, ok := arrays["codes"]
	values, whole := codes.Data.([]int64)
	switch {
	case !ok:
		return nil, usagef("%s: no array \"codes\" of whole numbers in it; magvit encode writes one", path)
	case !whole:
		return nil, usagef("%s: codes are not whole numbers; want int32", path)
	case len(codes.Shape) != 4 && len(codes.Shape) != 5:
		return nil, usagef("%s: codes of shape %v; want [N,T',H',W'], and an axis of codebooks if there are several", path, codes.Shape)
	case len(values) == 0:
		return nil, usagef("%s: codes of shape %v: there are no clips", path, codes.Shape)
	case len(values) > maxCodes:
		return nil, usagef("%s: codes of shape %v: %d codes; decode at most %d at a time", path, codes.Shape, len(values), maxCodes)
	}
	copy(f.shape[:], codes.Shape)
	n := f.shape[0]
	f.codes = make([]int32, len(values))
	for i, v := range values {
		if v < 0 || v > 1<<31-1 {
			return nil, usagef("%s: code %d at %d; want 0 to %d", path, v, i, 1<<31-1)
		}
		f.codes[i] = int32(v)
	}
	whole64 := func(name string) []int64 { v, _ := arrays[name].Data.([]int64); return v }
	text := func(name string) []string { v, _ := arrays[name].Data.([]string); return v }
	f.frames, f.labels, f.names, f.classes = whole64("frames"), whole64("labels"), text("names"), text("classes")
	for _, a := range []struct {
		name   string
		there  bool
		length int
	}{{"frames", f.frames != nil, len(f.frames)}, {"labels", f.labels != nil, len(f.labels)}, {"names", f.names != nil, len(f.names)}} {
		if a.there && a.length != n {
			return nil, usagef("%s: %d %s for %d clips", path, a.length, a.name, n)
		}
	}
	if v := whole64("codebook"); len(v) == 1 {
		f.codebook = v[0]
	}
	if v := text("tokenizer_sha256"); len(v) == 1 {
		f.tokenizer = v[0]
	}
	if v := text("quantizer"); len(v) == 1 {
		f.quantizer = v[0]
	}
	if v := whole64("step"); len(v) == 1 {
		f.step = v[0]
	}
	f.levels = whole64("levels")
	if v, _ := arrays["fps"].Data.([]float32); len(v) == n {
		f.fps = v
	}
	return f, nil
}

// fits checks that the codes are of the checkpoint's tokenizer, or, with another allowed, of its kind.
func (f *codeFile) fits(codec *task.Codec, another bool) error {
	tok := codec.Tokenizer
	size, books, kind := tok.CodebookSize(), tok.Config.Quantizer.Codebooks, tok.Config.Quantizer.Kind
	switch {
	case f.codebook != 0 && f.codebook != int64(size):
		return usagef("%s: made with a codebook of %d; the checkpoint's has %d: they do not match", f.path, f.codebook, size)
	case f.shape[4] != books:
		return usagef("%s: codes of %d codebooks; the checkpoint has %d", f.path, f.shape[4], books)
	case f.quantizer != "" && f.quantizer != kind:
		return usagef("%s: codes of the quantizer %s; the checkpoint's is %s", f.path, f.quantizer, kind)
	case f.levels != nil && !sameLevels(f.levels, tok.CodebookLevels()):
		return usagef("%s: codes of the levels %v; the checkpoint's are %v", f.path, f.levels, tok.CodebookLevels())
	case f.tokenizer != "" && f.tokenizer != codec.SHA256 && !another:
		return usagef("%s: codes of another tokenizer (weights %.12s, step %d); the checkpoint has weights %.12s, step %d, to which these codes mean something else; --other-tokenizer decodes them all the same",
			f.path, f.tokenizer, f.step, codec.SHA256, codec.Step)
	}
	for i, v := range f.codes {
		if int(v) >= size {
			return usagef("%s: code %d at %d; the checkpoint's codebook has %d", f.path, v, i, size)
		}
	}
	t := codec.VideoShape(f.shape).T
	for i, n := range f.frames {
		if n < 1 || n > int64(t) {
			return usagef("%s: frames[%d] is %d; codes of shape %v are of clips of 1 to %d", f.path, i, n, f.shape, t)
		}
	}
	return nil
}

// commonRate is the frame rate of the clips, 0 if it is unknown or they differ.
func (f *codeFile) commonRate() float64 {
	for _, r := range f.fps {
		if r != f.fps[0] || !(r > 0 && r <= 1000) {
			return 0
		}
	}
	if len(f.fps) == 0 {
		return 0
	}
	return float64(f.fps[0])
}

func sameLevels(a []int64, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i, v := range a {
		if v != int64(b[i]) {
			return false
		}
	}
	return true
}

// clip is the metadata of clip i, without pixels.
func (f *codeFile) clip(i, frames int) data.OutputClip {
	c := data.OutputClip{Name: fmt.Sprintf("%06d", i), Label: -1, Frames: frames}
	if f.names != nil {
		c.Name = f.names[i]
	}
	if f.labels != nil {
		c.Label = int(f.labels[i])
	}
	if f.frames != nil {
		c.Frames = int(f.frames[i])
	}
	return c
}
