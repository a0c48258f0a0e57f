package model

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Prior turns a Config into that of a Transformer: a distribution over the codes of clips
// instead of a tokenizer. It has no use for the keys of tokenizers.
type Prior struct {
	Kind           string  `yaml:"kind"`            // masked (MaskGIT) or autoregressive: a prior over codes instead of a tokenizer; "": a tokenizer
	Grid           []int   `yaml:"grid,flow"`       // codes of a clip: frames, rows and columns; []: those of the codes file
	Clip           []int   `yaml:"clip,flow"`       // frames, height and width of the clips that train.tokenizer makes the codes of; []: those of the data, or none where the data are codes
	Digits         []int   `yaml:"digits,flow"`     // numbers of values of the digits that a code is embedded and predicted by, the first one varying fastest; []: the codebook's levels, combined up to 1024 values
	Levels         []int   `yaml:"levels,flow"`     // numbers of values of further digits that a code is embedded by, the first one varying fastest; []: the codebook's levels, where digits is [] and combines them
	Classes        int     `yaml:"classes"`         // number of classes; 0: that of the codes file
	Tokenizer      string  `yaml:"tokenizer"`       // SHA-256 of the weights of the tokenizer that made the codes; "": that of the codes file
	Width          int     `yaml:"width"`           // channels
	Blocks         int     `yaml:"blocks"`          // transformer blocks
	Heads          int     `yaml:"heads"`           // attention heads, which divide width
	ClassDropout   float64 `yaml:"class_dropout"`   // probability that a clip is trained on without its class, which guidance needs
	GivenFrames    float64 `yaml:"given_frames"`    // masked: probability that only the frames after some first ones are masked, as in frame prediction
	LabelSmoothing float64 `yaml:"label_smoothing"` // part of the target that is spread over all values of a digit
}

// Kinds of a Prior.
const (
	Masked         = "masked"
	Autoregressive = "autoregressive"
)

// IsPrior reports whether the configuration is that of a Transformer.
func (c Config) IsPrior() bool { return c.Prior.Kind != "" }

// maxDigit is the largest number of values of a digit that levels are combined to.
const maxDigit = 1024

// ForCodes fills the keys that default to a property of the codes file: grid, digits and
// levels by the levels of the codebook, number of classes, tokenizer.
func (c Config) ForCodes(grid, levels []int, classes int, tokenizer string) Config {
	p := &c.Prior
	if len(p.Grid) == 0 {
		p.Grid = grid
	}
	if len(p.Digits) == 0 {
		p.Digits = combined(levels)
		if len(p.Digits) < len(levels) {
			p.Levels = levels
		}
	}
	if p.Classes == 0 {
		p.Classes = classes
	}
	if p.Tokenizer == "" {
		p.Tokenizer = tokenizer
	}
	return c
}

// combined are the levels, neighbours multiplied as long as a digit has at most maxDigit values.
func combined(levels []int) (digits []int) {
	for _, l := range levels {
		if n := len(digits); n > 0 && digits[n-1]*l <= maxDigit {
			digits[n-1] *= l
		} else {
			digits = append(digits, l)
		}
	}
	return digits
}

// CodebookSize is the number of codes that the digits make.
func (p Prior) CodebookSize() int {
	n := 1
	for _, d := range p.Digits {
		n *= d
	}
	return n
}

// idsOf is the number of ids of a token, rows that of their embeddings.
func (p Prior) idsOf() int { return len(p.Digits) + len(p.Levels) }

func (p Prior) rows() int {
	n := 1 // NoCode
	for _, values := range slices.Concat(p.Digits, p.Levels) {
		n += values
	}
	return n
}

// Tokens is the number of codes of a clip.
func (p Prior) Tokens() int { return p.Grid[0] * p.Grid[1] * p.Grid[2] }

// validatePrior checks the keys of a Transformer.
func (c Config) validatePrior() error {
	p := c.Prior
	if !c.IsPrior() {
		return nil
	}
	errs := []error{
		oneOf("prior.kind", p.Kind, Masked, Autoregressive),
		between("prior.classes", p.Classes, 0, 1<<16), between("prior.width", p.Width, 1, 8192),
		between("prior.blocks", p.Blocks, 1, 64), between("prior.heads", p.Heads, 1, 256),
		inRange("prior.class_dropout", p.ClassDropout, 0, 1), inRange("prior.given_frames", p.GivenFrames, 0, 1),
		inRange("prior.label_smoothing", p.LabelSmoothing, 0, .99),
	}
	if len(p.Grid) != 0 && len(p.Grid) != 3 {
		errs = append(errs, fmt.Errorf("model.prior.grid: %v: want three numbers, frames, rows and columns of codes, or []", p.Grid))
	}
	if len(p.Clip) != 0 && len(p.Clip) != 3 {
		errs = append(errs, fmt.Errorf("model.prior.clip: %v: want three numbers, frames, height and width of a clip, or []", p.Clip))
	}
	for i, n := range p.Clip {
		errs = append(errs, between(fmt.Sprintf("prior.clip[%d]", i), n, 1, 1<<16))
	}
	for i, n := range p.Grid {
		errs = append(errs, between(fmt.Sprintf("prior.grid[%d]", i), n, 1, 4096))
	}
	size := 1
	for i, n := range p.Digits {
		errs = append(errs, between(fmt.Sprintf("prior.digits[%d]", i), n, 2, 1<<16))
		if size *= max(n, 1); size > 1<<24 {
			errs = append(errs, fmt.Errorf("model.prior.digits: %v: want at most 2^24 codes", p.Digits))
			break
		}
	}
	levels := 1
	for i, n := range p.Levels {
		errs = append(errs, between(fmt.Sprintf("prior.levels[%d]", i), n, 2, 1<<16))
		levels = min(levels*max(n, 1), 1<<24)
	}
	for _, d := range []struct {
		key string
		bad bool
		why string
	}{
		{"prior.levels", len(p.Levels) > 0 && len(p.Digits) > 0 && levels != p.CodebookSize(), fmt.Sprintf("%v: want numbers whose product is that of digits, %d, or []", p.Levels, p.CodebookSize())},
		{"prior.heads", p.Heads > 0 && p.Width%p.Heads != 0, fmt.Sprintf("%d: want a divisor of width %d", p.Heads, p.Width)},
		{"classify.network", c.Classifies(), "is set with model.prior.kind: a network is one of them"},
		{"compat", c.Compat != "", "is set with model.prior.kind: that is a tokenizer's"},
		{"layers", len(c.Layers) > 0, "is set with model.prior.kind: these are a tokenizer's"},
		{"channels", c.Channels != 1 && len(p.Clip) == 0, fmt.Sprintf("%d: want 1 with model.prior.kind: a code is one number", c.Channels)},
		{"quantizer.levels", len(c.Quantizer.Levels) > 0, "is set with model.prior.kind: the quantizer is the tokenizer's"},
	} {
		if d.bad {
			errs = append(errs, fmt.Errorf("model.%s: %s", d.key, d.why))
		}
	}
	return errors.Join(errs...)
}

// Transformer is a prior: a distribution over the codes of a clip.
//
//	tokens    [N, L, ids]       a code's digits and levels, or one id for a code that is
//	          masked or, in front of the first one, not there; L = frames·rows·columns
//	  + learned embeddings of the token's frame, row and column, and of the class
//	  blocks of pre-norm: x + attention(norm(x)), x + GEGLU MLP(norm(x))
//	  norm, a linear layer for each digit
//	logits.d  [N, L, values of digit d]
//
// masked: attention is over all tokens, and the logits of a masked token are those of its
// code. autoregressive: attention is causal in the order frame, row, column, the tokens
// are those before, and the logits are those of the next code. Digits are independent of
// each other given the tokens.
//
// Sources: Chang et al. 2022 (MaskGIT), Yu et al. 2023 (MAGVIT; the factorised prediction
// of codes as in MAGVIT-v2), Shazeer 2020 (GEGLU). Attention has one learned key and value
// in each head, as attend_space has four.
type Transformer struct {
	Config Config
	list   *Tokenizer // the parameters
}

// NewTransformer checks the configuration and lists the parameters. Keys that default to
// properties of the codes must have been filled (ForCodes).
func NewTransformer(c Config) (*Transformer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	switch p := c.Prior; {
	case !c.IsPrior():
		return nil, errors.New(`model.prior.kind: "": the configuration is not that of a prior`)
	case len(p.Grid) == 0 || len(p.Digits) == 0:
		return nil, errors.New("model.prior: grid and digits must be decided before the network is made")
	}
	m := &Transformer{c, &Tokenizer{Config: c, index: map[string]int{}}}
	b := newBuilder(m.list, m.shape(1))
	b.declare = true
	m.forward(b)
	return m, b.err
}

// shape is that of a batch of n clips.
func (m *Transformer) shape(n int) Shape {
	g := m.Config.Prior.Grid
	return Shape{n, g[0], g[1], g[2]}
}

func (m *Transformer) Declared() []Param                      { return m.list.Params }
func (m *Transformer) Updates() []Update                      { return nil }
func (m *Transformer) NumParams() int                         { return m.list.NumParams() }
func (m *Transformer) Init(seed uint64, i int, dst []float32) { m.list.Init(seed, i, dst) }

func (m *Transformer) Padded(int) int { return m.batch(1).T }

// batch is the shape of a batch of n clips that is trained on: of codes, or of the clips
// whose codes are made on the way.
func (m *Transformer) batch(n int) Shape {
	if c := m.Config.Prior.Clip; len(c) > 0 {
		return Shape{n, c[0], c[1], c[2]}
	}
	return m.shape(n)
}

// Check reports whether a batch holds codes of this grid, or clips of which they are made.
func (m *Transformer) Check(s Shape) error {
	if s.N < 1 {
		return fmt.Errorf("model: a batch of %d clips: want at least one", s.N)
	}
	if c := m.Config.Prior.Clip; s != m.batch(s.N) && len(c) > 0 {
		return fmt.Errorf("model: clips of %d×%d×%d (frames × height × width): the codes of this prior are of clips of %v", s.T, s.H, s.W, c)
	}
	if s != m.batch(s.N) {
		return fmt.Errorf("model: codes of %d×%d×%d (frames × rows × columns): this prior takes %v", s.T, s.H, s.W, m.Config.Prior.Grid)
	}
	if float64(s.N)*float64(m.Config.Prior.Tokens())*float64(m.Config.Prior.Width) > math.MaxInt32 {
		return fmt.Errorf("model: a batch of %d clips has more than 2^31 values; use a smaller batch", s.N)
	}
	return nil
}

// NoCode is the code of a token that is masked, or in front of the first one.
const NoCode = -1

// TokenIDs writes the ids of codes to dst: of each the digits, then the levels.
func (m *Transformer) TokenIDs(dst []float32, codes []int32) {
	p := m.Config.Prior
	per, none := p.idsOf(), 0
	for _, n := range p.Digits {
		none += n
	}
	for i, code := range codes {
		ids := dst[i*per:][:per]
		if code == NoCode {
			for d := range ids {
				ids[d] = -1
			}
			ids[0] = float32(none)
			continue
		}
		writeIDs(ids, p.Digits, 0, int(code))
		writeIDs(ids[len(p.Digits):], p.Levels, none+1, int(code))
	}
}

// writeIDs writes the ids of a code's digits, of which the first values are rows from on.
func writeIDs(ids []float32, digits []int, from, code int) {
	for d, n := range digits {
		ids[d] = float32(from + code%n)
		code, from = code/n, from+n
	}
}

// Labels writes digit d of codes to dst, and -1 for NoCode.
func (m *Transformer) Labels(dst []float32, codes []int32, d int) {
	divisor := 1
	for _, n := range m.Config.Prior.Digits[:d] {
		divisor *= n
	}
	for i, code := range codes {
		dst[i] = -1
		if code != NoCode {
			dst[i] = float32(int(code) / divisor % m.Config.Prior.Digits[d])
		}
	}
}
