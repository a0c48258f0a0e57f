package codes

import (
	"magvit/trainer/data"
	"magvit/trainer/usage"
)

// openNPZ reads an .npz file. Only the array codes is needed; whatever else has the wrong type is ignored, and what has the
// wrong length is an error.
func openNPZ(path string) (*Set, error) {
	arrays, err := data.ReadArrays(path)
	if err != nil {
		return nil, err
	}
	codes, ok := arrays["codes"]
	if !ok {
		return nil, usage.Errorf("%s: no array \"codes\" of whole numbers in it; magvit encode writes one, and magvit train --tokenizer RUN makes codes of clips", path)
	}
	numbers := func(name string) []int64 { v, _ := arrays[name].Data.([]int64); return v }
	text := func(name string) []string { v, _ := arrays[name].Data.([]string); return v }
	number := func(name string) int {
		if v := numbers(name); len(v) == 1 {
			return int(v[0])
		}
		return 0
	}
	word := func(name string) string {
		if v := text(name); len(v) == 1 {
			return v[0]
		}
		return ""
	}
	h := Header{Codebook: number("codebook"), Step: number("step"), Tokenizer: word("tokenizer_sha256"), Quantizer: word("quantizer"),
		Split: word("split"), Source: text("source"), Classes: text("classes"), DigitOrder: word("digit_order"), BitOrder: word("bit_order"),
		Levels: converted[int](numbers("levels")), Factors: converted[int](numbers("factors"))}
	if v := numbers("size"); len(v) == 2 {
		h.Size = [2]int{int(v[0]), int(v[1])}
	}
	about := Clips{Names: text("names"), Labels: numbers("labels"), Frames: converted[int32](numbers("frames"))}
	b, err := h.blockOf(path, codes, about)
	if err != nil {
		return nil, err
	}
	n := codes.Shape[0]
	if v, _ := arrays["fps"].Data.([]float32); len(v) == n {
		b.FPS = v
	}
	if v := numbers("frame_range"); len(v) == 2*n {
		for i := range n {
			b.FrameRange = append(b.FrameRange, [2]int32{int32(v[2*i]), int32(v[2*i+1])})
		}
	}
	return oneBlock(path, h, b), nil
}

// converted is nil for a nil list.
func converted[T int | int32](list []int64) (v []T) {
	if list == nil {
		return nil
	}
	v = make([]T, len(list))
	for i, x := range list {
		v[i] = T(x)
	}
	return v
}

// WriteNPZ writes a set as one .npz file, atomically. vectors are those of a learned codebook, [codebooks,codebook,dim],
// or nil.
func WriteNPZ(path string, h Header, b Block, vectors []float32) error {
	n := len(b.Names)
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
	ranges := make([]int32, 0, 2*n)
	for _, r := range b.FrameRange {
		ranges = append(ranges, r[:]...)
	}
	list := []data.Array{
		{Name: "codes", Shape: append([]int{n}, h.Stored()...), Data: split(nil, b.Codes, h.Factors)},
		text("names", b.Names...),
		{Name: "frames", Shape: []int{n}, Data: b.Frames},
	}
	if labels := b.known(); labels != nil {
		list = append(list, data.Array{Name: "labels", Shape: []int{n}, Data: labels})
		if len(h.Classes) > 0 {
			list = append(list, text("classes", h.Classes...))
		}
	}
	list = append(list,
		data.Array{Name: "fps", Shape: []int{n}, Data: b.FPS},
		data.Array{Name: "frame_range", Shape: []int{n, 2}, Data: ranges},
		numbers("size", h.Size[:]...),
		numbers("codebook", h.Codebook),
		text("tokenizer_sha256", h.Tokenizer),
		numbers("step", h.Step),
		text("quantizer", h.Quantizer),
		numbers("levels", h.Levels...),
		text("digit_order", h.DigitOrder),
	)
	if h.BitOrder != "" {
		list = append(list, text("bit_order", h.BitOrder))
	}
	if h.Factors != nil {
		list = append(list, numbers("factors", h.Factors...))
	}
	list = append(list, numbers("grid", h.Grid[:]...), text("split", h.Split), text("source", h.Source...))
	if vectors != nil {
		list = append(list, data.Array{Name: "vectors", Shape: h.vectorShape(vectors), Data: vectors})
	}
	return data.WriteArrays(path, list...)
}

// vectorShape is [codebooks,codebook,dim].
func (h *Header) vectorShape(vectors []float32) []int {
	return []int{h.Codebooks, h.Codebook, len(vectors) / (h.Codebooks * h.Codebook)}
}
