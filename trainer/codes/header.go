// Package codes reads and writes sets of codes, the integers that a tokenizer makes of clips, as other programs learn from
// and make them.
//
// A set is an .npz file, or a folder of shards with an index: .npy arrays, or tar archives in webdataset's form. README.md
// specifies the files. Open reads any of them; an Encoding writes a folder, a shard at a time.
package codes

import (
	"fmt"

	"magvit/trainer/data"
	"magvit/trainer/usage"
)

// Format and Version are at the start of an index.
const (
	Format  = data.CodesFormat
	Version = 1
)

// DigitOrder explains how a code is made of digits.
const DigitOrder = "code = digit[0] + levels[0]*(digit[1] + levels[1]*(digit[2] + ...))"

// Values of Header.BitOrder: which digit the first latent channel has.
const (
	FirstLowest  = "first channel is digit 0"
	FirstHighest = "first channel is the last digit"
)

// Header describes a set of codes: their shape, what a code means, and where the set comes from. Zero values are unknown.
type Header struct {
	Grid       [3]int   `json:"grid"`      // T', H', W' of a clip
	Codebooks  int      `json:"codebooks"` // codes per position
	Factors    []int    `json:"factors,omitempty"`
	Codebook   int      `json:"codebook,omitempty"` // codes of a codebook
	Levels     []int    `json:"levels,omitempty"`   // values of each digit of a code
	DigitOrder string   `json:"digit_order,omitempty"`
	BitOrder   string   `json:"bit_order,omitempty"`
	Quantizer  string   `json:"quantizer,omitempty"`
	Tokenizer  string   `json:"tokenizer_sha256,omitempty"` // SHA-256 of the weights that made the codes
	Step       int      `json:"step,omitempty"`             // of the checkpoint
	Size       [2]int   `json:"size"`                       // height and width of the frames
	Split      string   `json:"split,omitempty"`
	Source     []string `json:"source,omitempty"`
	Classes    []string `json:"classes,omitempty"`
}

// perPosition is the length of the last axis: codes, or their factors.
func (h *Header) perPosition() int { return h.Codebooks * max(len(h.Factors), 1) }

// PerClip is the number of codes of a clip.
func (h *Header) PerClip() int { return h.Grid[0] * h.Grid[1] * h.Grid[2] * h.Codebooks }

// Shape is the shape of the codes of n clips: n, T', H', W', codebooks.
func (h *Header) Shape(n int) [5]int {
	return [5]int{n, h.Grid[0], h.Grid[1], h.Grid[2], h.Codebooks}
}

// Stored is the shape of a clip's array: T', H', W', and an axis of codebooks or factors if there are several.
func (h *Header) Stored() []int {
	s := h.Grid[:]
	if n := h.perPosition(); n > 1 {
		return append(s[:3:3], n)
	}
	return s
}

// check refuses numbers that no tokenizer has.
func (h *Header) check(name string) error {
	if h.Codebook < 0 || h.Codebook > 1<<31 {
		return usage.Errorf("%s: a codebook of %d; want 1 to 2^31, or 0 where it is unknown", name, h.Codebook)
	}
	for _, list := range []struct {
		name    string
		numbers []int
	}{{"levels", h.Levels}, {"factors", h.Factors}} {
		product := 1
		for _, n := range list.numbers {
			if n < 1 || n > 1<<31/product {
				return usage.Errorf("%s: %s %v; want numbers of 1 or more, whose product is at most 2^31", name, list.name, list.numbers)
			}
			product *= n
		}
		if len(list.numbers) > 0 && h.Codebook > 0 && product != h.Codebook {
			return usage.Errorf("%s: %s %v make %d codes; the codebook has %d", name, list.name, list.numbers, product, h.Codebook)
		}
	}
	return nil
}

// setShape takes a clip's shape apart.
func (h *Header) setShape(name string, shape []int) error {
	if len(shape) != 3 && len(shape) != 4 {
		return usage.Errorf("%s: codes of a clip of shape %v; want [T',H',W'], and an axis of codebooks or factors if there are several", name, shape)
	}
	last := 1
	if len(shape) == 4 {
		last = shape[3]
	}
	n := max(len(h.Factors), 1)
	copy(h.Grid[:], shape)
	if h.Codebooks = last / n; last%n != 0 || h.PerClip() < 1 {
		return usage.Errorf("%s: codes of a clip of shape %v with %d factors; want [T',H',W'] and a last axis of a multiple of %d", name, shape, n, n)
	}
	return nil
}

// Clips is what a set holds of each clip besides its codes.
type Clips struct {
	Names      []string   `json:"names"`
	Labels     []int64    `json:"labels,omitempty"`      // class, -1 without one; nil: no clip has a label
	Frames     []int32    `json:"frames,omitempty"`      // of the clip, before padding
	FPS        []float32  `json:"fps,omitempty"`         // 0: unknown
	FrameRange [][2]int32 `json:"frame_range,omitempty"` // first frame in the source, and the last plus 1
}

// Block is some clips of a set. Codes [n,T',H',W',codebooks] are whole, not factored.
type Block struct {
	First int // number of its first clip in the set
	Codes []int32
	Clips
}

// SplitDigits returns the sizes of sub-vocabularies with the given numbers of a code's digits, the lowest digits first. Together they
// must have all digits.
func SplitDigits(levels, digits []int) (factors []int, err error) {
	at := 0
	for _, n := range digits {
		if n < 1 || at+n > len(levels) {
			return nil, usage.Errorf("factors of %v digits: want numbers of at least 1 that add up to %d, the digits of a code", digits, len(levels))
		}
		size := 1
		for _, l := range levels[at : at+n] {
			size *= l
		}
		factors, at = append(factors, size), at+n
	}
	if at != len(levels) {
		return nil, usage.Errorf("factors of %v digits: they add up to %d; a code has %d digits, of %v values", digits, at, len(levels), levels)
	}
	return factors, nil
}

// split appends the factors of codes, the lowest first.
func split(dst, codes []int32, factors []int) []int32 {
	if len(factors) == 0 {
		return append(dst, codes...)
	}
	for _, c := range codes {
		for _, f := range factors {
			dst = append(dst, c%int32(f))
			c /= int32(f)
		}
	}
	return dst
}

// join undoes split in place and returns the codes.
func join(parts []int32, factors []int) ([]int32, error) {
	n := len(factors)
	if n == 0 {
		return parts, nil
	}
	for i := range len(parts) / n {
		code, base := int64(0), int64(1)
		for k, f := range factors {
			v := parts[i*n+k]
			if v < 0 || int(v) >= f {
				return nil, fmt.Errorf("factor %d of code %d is %d; want 0 to %d", k, i, v, f-1)
			}
			code, base = code+int64(v)*base, base*int64(f)
		}
		if base > 1<<31 {
			return nil, fmt.Errorf("factors %v make more than 2^31 codes", factors)
		}
		parts[i] = int32(code)
	}
	return parts[:len(parts)/n], nil
}
