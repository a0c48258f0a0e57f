package task

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"magvit/kernels"
	"magvit/kernels/philox"
	"magvit/model"
	"magvit/trainer/usage"
)

// Sampling says how codes are drawn from a prior.
type Sampling struct {
	Seed        uint64
	Steps       int     // masked: passes in which the codes of a clip are drawn
	Temperature float64 // divides the logits; 0: the most likely code, always
	TopK        int     // only this number of the most likely values of a digit; 0: all
	TopP        float64 // only the most likely values of a digit, of this probability together; 1: all
	Guidance    float64 // logits are (1+Guidance)·with class - Guidance·without; 0: with class alone
}

// SamplingDefaults are 12 steps as published for MAGVIT, and the distribution as it is.
func SamplingDefaults() Sampling { return Sampling{Steps: 12, Temperature: 1, TopP: 1} }

// Validate names the first value that is not legal, and what would be.
func (s Sampling) Validate() error {
	switch {
	case s.Steps < 1:
		return usage.Errorf("steps %d: want 1 or more", s.Steps)
	case !(s.Temperature >= 0 && s.Temperature <= 100):
		return usage.Errorf("temperature %v: want 0 to 100", s.Temperature)
	case s.TopK < 0:
		return usage.Errorf("top-k %d: want 1 or more, or 0 for all values", s.TopK)
	case !(s.TopP > 0 && s.TopP <= 1):
		return usage.Errorf("top-p %v: want above 0, at most 1", s.TopP)
	case !(s.Guidance >= 0 && s.Guidance <= 100):
		return usage.Errorf("guidance %v: want 0 to 100", s.Guidance)
	}
	return nil
}

// choiceTemperature is that of the noise that is added to confidences, in the first pass, as
// in MaskGIT.
const choiceTemperature = 4.5

// Sample draws the codes of clips that are NoCode in given [N,L]; first is the number of the
// first clip. classes [N] are the classes, or the number of classes for none. A clip's codes
// depend on the seed, its number, its class and its given codes, not on the clips it is
// drawn with.
func (p *Prior) Sample(ctx context.Context, given []int32, classes []int, first int, s Sampling) ([]int32, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	for _, c := range classes {
		if c < 0 || c > p.settings().Classes {
			return nil, usage.Errorf("class %d: want 0 to %d, or none", c, p.settings().Classes-1)
		}
	}
	if p.settings().Kind == model.Autoregressive {
		return p.sampleInOrder(ctx, given, classes, first, s)
	}
	return p.sampleMasked(ctx, given, classes, first, s)
}

// guided returns the classes of the rows of a batch: the clips' and, with guidance, again
// as many without class.
func (p *Prior) guided(classes []int, s Sampling) []int {
	if s.Guidance == 0 {
		return classes
	}
	none := slices.Repeat([]int{p.settings().Classes}, len(classes))
	return slices.Concat(classes, none)
}

// scores are the logits of a batch's clips, by digit: those of the class, which decide the
// values that top-k and top-p leave, and those that values are drawn by.
//
// Why values are left out by the logits of the class: values that are as unlikely with the
// class as without it have logits of hardly trained weights. Their difference is noise, which
// guidance multiplies, and which would bring some of them among the most likely values.
type scores struct{ class, drawn [][]float32 }

// guide turns the logits of guided classes into scores.
func guide(logits [][]float32, s Sampling) scores {
	if s.Guidance == 0 {
		return scores{logits, logits}
	}
	to := scores{make([][]float32, len(logits)), make([][]float32, len(logits))}
	for d, l := range logits {
		half := len(l) / 2
		to.class[d], to.drawn[d] = l[:half], make([]float32, half)
		for i := range half {
			to.drawn[d][i] = l[i] + float32(s.Guidance)*(l[i]-l[half+i])
		}
	}
	return to
}

// sampleMasked is MaskGIT's decoding: each pass draws all masked codes, and masks those of
// the least confidence again, fewer by the cosine schedule.
func (p *Prior) sampleMasked(ctx context.Context, given []int32, classes []int, first int, s Sampling) ([]int32, error) {
	length := p.settings().Tokens()
	tokens := slices.Clone(given)
	of := p.guided(classes, s)
	rows := make([]float32, 0, len(of)*length)
	for _, c := range of {
		rows = append(rows, slices.Repeat([]float32{float32(c)}, length)...)
	}
	for pass := range s.Steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !slices.Contains(tokens, model.NoCode) { // each pass draws one of each clip at least
			break
		}
		logits, err := p.logits(slices.Repeat(tokens, len(of)/len(classes)), rows)
		if err != nil {
			return nil, err
		}
		scores := guide(logits, s)
		done := float64(pass+1) / float64(s.Steps)
		for n := range classes {
			r := philox.New(s.Seed, "sample", uint64(first+n), uint64(pass))
			clip := tokens[n*length:][:length]
			hidden := 0
			for _, c := range given[n*length:][:length] {
				if c == model.NoCode {
					hidden++
				}
			}
			keep := int(math.Cos(math.Pi/2*done) * float64(hidden)) // masked after this pass
			if pass == s.Steps-1 {
				keep = 0
			}
			p.unmask(clip, scores, n*length, keep, choiceTemperature*(1-done), s, r)
		}
	}
	return tokens, nil
}

// unmask draws the masked codes of a clip, whose scores begin at a row, and leaves those of
// the least confidence masked.
func (p *Prior) unmask(clip []int32, of scores, row, masked int, noise float64, s Sampling, r *philox.Stream) {
	type drawn struct {
		at         int
		code       int32
		confidence float64
	}
	var all []drawn
	for i, c := range clip {
		if c != model.NoCode {
			continue
		}
		code, logp := p.draw(of, row+i, s, r)
		gumbel := -math.Log(-math.Log(max(r.Float64(), 1e-12)))
		all = append(all, drawn{i, code, logp + noise*gumbel})
	}
	slices.SortStableFunc(all, func(a, b drawn) int {
		switch {
		case a.confidence > b.confidence:
			return -1
		case a.confidence < b.confidence:
			return 1
		}
		return 0
	})
	for _, d := range all[:max(len(all)-masked, min(len(all), 1))] {
		clip[d.at] = d.code
	}
}

// sampleInOrder draws one code after the other. The keys and values of those before are
// cached, so that each costs one token.
func (p *Prior) sampleInOrder(ctx context.Context, given []int32, classes []int, first int, s Sampling) ([]int32, error) {
	length, of := p.settings().Tokens(), p.guided(classes, s)
	steps, err := p.newTokens(len(of))
	if err != nil {
		return nil, err
	}
	tokens, before := slices.Clone(given), slices.Repeat([]int32{model.NoCode}, len(of))
	for i := range length {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		logits, err := steps.next(before, of)
		if err != nil {
			return nil, err
		}
		scores := guide(logits, s)
		for n := range classes {
			at := n*length + i
			if tokens[at] == model.NoCode {
				tokens[at], _ = p.draw(scores, n, s, philox.New(s.Seed, "sample", uint64(first+n), uint64(i)))
			}
			before[n] = tokens[at]
			if len(of) > len(classes) {
				before[len(classes)+n] = tokens[at]
			}
		}
	}
	return tokens, nil
}

// tokens computes the logits of one token after the other, from a cache.
type tokens struct {
	p      *Prior
	prog   *model.Program
	append kernels.Kernel // copies a row to the cache
	n, at  int
}

func (p *Prior) newTokens(n int) (*tokens, error) {
	g, err := p.Network.Step(n)
	if err != nil {
		return nil, err
	}
	t := &tokens{p: p, n: n}
	if t.prog, err = g.Compile(p.be, p.params, nil, p.offsets); err != nil {
		return nil, err
	}
	t.append, err = p.be.Prepare(kernels.Affine{Len: 3 * p.settings().Width * n, Mul: 1})
	return t, err
}

// next returns the logits of the next token of each clip, given the one before.
func (t *tokens) next(before []int32, classes []int) ([][]float32, error) {
	of, positions := make([]float32, t.n), []float32(nil)
	for n := range of {
		of[n] = float32(classes[n])
		positions = append(positions, t.p.Network.Position(t.at)...)
	}
	if err := t.p.write(t.prog, before, of); err != nil {
		return nil, err
	}
	for name, values := range map[string][]float32{"positions": positions, "past": {float32(t.at)}} {
		if err := t.p.be.Write(t.prog.Buffer(name), values); err != nil {
			return nil, err
		}
	}
	if err := t.prog.Run(); err != nil {
		return nil, err
	}
	row := 3 * t.p.settings().Width * t.n
	for b := range t.p.settings().Blocks {
		t.append.Run(t.prog.Buffer(fmt.Sprintf("cache.%d", b)).Slice(t.at*row, (t.at+1)*row), t.prog.Buffer(fmt.Sprintf("qkv.%d", b)))
	}
	t.at++
	return t.p.readLogits(t.prog)
}

// draw draws a code by the scores of a row, and returns the logarithm of its probability
// before values are left out.
func (p *Prior) draw(of scores, row int, s Sampling, r *philox.Stream) (code int32, logp float64) {
	base := int32(1)
	for d, values := range p.settings().Digits {
		v, l := drawDigit(of.class[d][row*values:][:values], of.drawn[d][row*values:][:values], s, r.Float64())
		code, base, logp = code+base*int32(v), base*int32(values), logp+l
	}
	return code, logp
}

// drawDigit draws a value by a uniform number u in [0,1): by logits, among the values that
// top-k and top-p leave of those of the class.
func drawDigit(class, logits []float32, s Sampling, u float64) (value int, logp float64) {
	scale, values := 1., mostLikely(class, s)
	if s.Temperature > 0 {
		scale = 1 / s.Temperature
	}
	all := logSumExp(logits, scale)
	chance := func(v int) float64 { return math.Exp(float64(logits[v])*scale - all) }
	if s.Temperature == 0 {
		value = slices.MaxFunc(values, func(a, b int) int { return cmp.Compare(logits[a], logits[b]) })
		return value, math.Log(chance(value))
	}
	total := 0.
	for _, v := range values {
		total += chance(v)
	}
	rest := u * total
	for _, value = range values {
		if rest -= chance(value); rest < 0 {
			break
		}
	}
	return value, math.Log(chance(value))
}

// mostLikely are the values that top-k and top-p leave, the most likely first.
func mostLikely(logits []float32, s Sampling) []int {
	order := make([]int, len(logits))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(logits[b], logits[a]) })
	if s.TopK > 0 {
		order = order[:min(s.TopK, len(order))]
	}
	if s.TopP == 1 || s.Temperature == 0 {
		return order
	}
	scale := 1 / s.Temperature
	all := logSumExp(logits, scale)
	kept, total := 0, 0.
	for kept < len(order) && (kept == 0 || total < s.TopP) {
		total += math.Exp(float64(logits[order[kept]])*scale - all)
		kept++
	}
	return order[:kept]
}
