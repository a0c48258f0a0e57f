package model

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"magvit/kernels"
)

// tinyPrior has two digits and a grid with no two equal axes.
func tinyPrior(kind string) Config {
	c := Defaults()
	c.Channels = 1
	c.Prior = Prior{Kind: kind, Grid: []int{2, 1, 3}, Digits: []int{3, 2}, Classes: 2, Width: 16, Blocks: 2, Heads: 2}
	return c
}

// priorRun is a Transformer on the CPU with its first weights.
type priorRun struct {
	t       *testing.T
	m       *Transformer
	be      *kernels.CPU
	params  kernels.Buffer
	grads   kernels.Buffer
	offsets []int
}

func newPriorRun(t *testing.T, c Config) *priorRun {
	t.Helper()
	m, err := NewTransformer(c)
	check(t, err)
	r := &priorRun{t: t, m: m, be: kernels.NewCPU(1)}
	t.Cleanup(func() { r.be.Close() })
	size := 0
	for _, p := range m.Declared() {
		r.offsets = append(r.offsets, size)
		size += (p.Len() + 15) / 16 * 16
	}
	values := make([]float32, size)
	for i, p := range m.Declared() {
		m.Init(3, i, values[r.offsets[i]:][:p.Len()])
		if strings.HasPrefix(p.Name, "head.") { // they start at zero, which would hide everything
			for k := range p.Len() {
				values[r.offsets[i]+k] = float32(math.Sin(float64(7 * k)))
			}
		}
	}
	r.params, err = r.be.Alloc(size)
	check(t, err)
	r.grads, err = r.be.Alloc(size)
	check(t, err)
	check(t, r.be.Write(r.params, values))
	return r
}

func (r *priorRun) compile(g *Graph, err error) *Program {
	r.t.Helper()
	check(r.t, err)
	p, err := g.Compile(r.be, r.params, r.grads, r.offsets)
	check(r.t, err)
	return p
}

func (r *priorRun) write(p *Program, name string, v []float32) {
	r.t.Helper()
	check(r.t, r.be.Write(p.Buffer(name), v))
}

func (r *priorRun) read(b kernels.Buffer) []float32 {
	r.t.Helper()
	v := make([]float32, b.Len())
	check(r.t, r.be.Read(v, b))
	return v
}

func (r *priorRun) ids(codes []int32) []float32 {
	dst := make([]float32, len(codes)*len(r.m.Config.Prior.Digits))
	r.m.TokenIDs(dst, codes)
	return dst
}

// logits of all digits for codes [N,L] and a class of each clip.
func (r *priorRun) logits(p *Program, codes []int32, classes []int) (all [][]float32) {
	length := r.m.Config.Prior.Tokens()
	of := make([]float32, len(codes))
	for i := range of {
		of[i] = float32(classes[i/length])
	}
	r.write(p, "tokens", r.ids(codes))
	r.write(p, "classes", of)
	check(r.t, p.Run())
	for d := range r.m.Config.Prior.Digits {
		all = append(all, r.read(p.Buffer(LogitsOutput(d))))
	}
	return all
}

// A prior's logits, loss and gradients are those of torch's own layers.
func TestGoldenPrior(t *testing.T) {
	text, err := os.ReadFile("../testdata/golden_prior/prior.json")
	check(t, err)
	var golden struct {
		Grid, Digits                 []int
		Classes, Width, Heads, Clips int
		LabelSmoothing               float64 `json:"label_smoothing"`
		Parameters                   map[string][]float32
		Cases                        []struct {
			Kind           string
			Tokens, Labels []int32
			Classes        []int
			Logits         [][]float32
			Loss           float64
			Grads          map[string][]float32
		}
	}
	check(t, json.Unmarshal(text, &golden))
	for _, g := range golden.Cases {
		c := tinyPrior(g.Kind)
		c.Prior = Prior{Kind: g.Kind, Grid: golden.Grid, Digits: golden.Digits, Classes: golden.Classes, Width: golden.Width, Blocks: 1, Heads: golden.Heads, LabelSmoothing: golden.LabelSmoothing}
		r := newPriorRun(t, c)
		if len(r.m.Declared()) != len(golden.Parameters) {
			t.Fatalf("%d parameters, torch has %d", len(r.m.Declared()), len(golden.Parameters))
		}
		for i, p := range r.m.Declared() {
			if len(golden.Parameters[p.Name]) != p.Len() {
				t.Fatalf("%s has %d values, torch's %d", p.Name, p.Len(), len(golden.Parameters[p.Name]))
			}
			check(t, r.be.Write(r.params.Slice(r.offsets[i], r.offsets[i]+p.Len()), golden.Parameters[p.Name]))
		}
		p := r.compile(r.m.Training(r.m.shape(golden.Clips)))
		for d := range golden.Digits {
			labels := make([]float32, len(g.Labels))
			r.m.Labels(labels, g.Labels, d)
			r.write(p, LabelInput(d), labels)
		}
		r.logits(p, g.Tokens, g.Classes)
		if loss := r.read(p.Loss())[0]; math.Abs(float64(loss)-g.Loss) > 1e-5 {
			t.Errorf("%s: loss %v, torch's %v", g.Kind, loss, g.Loss)
		}
		predictor := r.compile(r.m.Predictor(golden.Clips))
		for d, logits := range r.logits(predictor, g.Tokens, g.Classes) {
			close5(t, fmt.Sprintf("%s: logits of digit %d", g.Kind, d), logits, g.Logits[d])
		}
		for i, param := range r.m.Declared() {
			close5(t, g.Kind+": gradient of "+param.Name, r.read(r.grads.Slice(r.offsets[i], r.offsets[i]+param.Len())), g.Grads[param.Name])
		}
	}
}

// close5 compares to five digits of the largest value.
func close5(t *testing.T, what string, got, want []float32) {
	t.Helper()
	most := 0.
	for _, v := range want {
		most = max(most, math.Abs(float64(v)))
	}
	for i := range want {
		if !(math.Abs(float64(got[i])-float64(want[i])) <= 1e-5*most) {
			t.Errorf("%s: value %d is %v, want %v", what, i, got[i], want[i])
			return
		}
	}
}

// Logits depend on what they may: of a causal prior on tokens up to their own (the codes
// before), of a masked one on all tokens; on the class; never on another clip.
func TestPriorsDependOnWhatTheySee(t *testing.T) {
	for _, kind := range []string{Masked, Autoregressive} {
		r := newPriorRun(t, tinyPrior(kind))
		p := r.compile(r.m.Predictor(2))
		length := r.m.Config.Prior.Tokens()
		codes := []int32{0, 1, 2, 3, 4, 5, 5, 4, 3, 2, 1, 0}
		before := r.logits(p, codes, []int{0, 1})
		// changed are the tokens of which a logit of digit d differs.
		changed := func(after [][]float32, d int) (list []int) {
			n := r.m.Config.Prior.Digits[d]
			for i := range 2 * length {
				if !slices.Equal(after[d][i*n:][:n], before[d][i*n:][:n]) {
					list = append(list, i)
				}
			}
			return list
		}
		for token := range length {
			other := slices.Clone(codes)
			other[token] = (codes[token] + 1) % 6
			after := r.logits(p, other, []int{0, 1})
			for d := range 2 {
				want := []int{0, 1, 2, 3, 4, 5}
				if kind == Autoregressive {
					want = want[token:]
				}
				if got := changed(after, d); !slices.Equal(got, want) {
					t.Errorf("%s: token %d changes digit %d of tokens %v, want %v", kind, token, d, got, want)
				}
			}
		}
		if got := changed(r.logits(p, codes, []int{0, 2}), 0); !slices.Equal(got, []int{6, 7, 8, 9, 10, 11}) {
			t.Errorf("%s: the class of the second clip changes tokens %v", kind, got)
		}
	}
}

// Tokens one after the other, from a cache, have the logits of the whole sequence, and
// each costs the same.
func TestPriorStepsMatchTheWholeSequence(t *testing.T) {
	r := newPriorRun(t, tinyPrior(Autoregressive))
	const n, width = 2, 16
	length := r.m.Config.Prior.Tokens()
	codes := []int32{NoCode, 1, 2, 3, 4, 5, NoCode, 4, 3, 2, 1, 0}
	classes := []int{1, 2}
	whole, step := r.compile(r.m.Predictor(n)), r.compile(r.m.Step(n))
	want := r.logits(whole, codes, classes)
	if all, one := whole.Plan.Stats().FLOPs(), step.Plan.Stats().FLOPs(); one*int64(length) > 3*all/2 {
		t.Errorf("%d steps of %d FLOPs each; the whole sequence has %d", length, one, all)
	}
	r.write(step, "classes", []float32{1, 2})
	for i := range length {
		r.write(step, "tokens", r.ids([]int32{codes[i], codes[length+i]}))
		r.write(step, "positions", slices.Concat(r.m.Position(i), r.m.Position(i)))
		r.write(step, "past", []float32{float32(i)})
		check(t, step.Run())
		for block := range r.m.Config.Prior.Blocks {
			row := n * 3 * width
			check(t, r.be.Write(step.Buffer(fmt.Sprintf("cache.%d", block)).Slice(i*row, (i+1)*row), r.read(step.Buffer(fmt.Sprintf("qkv.%d", block)))))
		}
		for d, values := range r.m.Config.Prior.Digits {
			got := r.read(step.Buffer(LogitsOutput(d)))
			for clip := range n {
				close5(t, fmt.Sprintf("token %d of clip %d, digit %d", i, clip, d), got[clip*values:][:values], want[d][(clip*length+i)*values:][:values])
			}
		}
	}
	if _, err := newPriorRun(t, tinyPrior(Masked)).m.Step(1); err == nil || !strings.Contains(err.Error(), "autoregressive") {
		t.Errorf("steps of a masked prior: %v", err)
	}
}

func TestPriorDigits(t *testing.T) {
	c := tinyPrior(Masked)
	c.Prior.Grid, c.Prior.Digits = nil, nil
	c = c.ForCodes([]int{4, 8, 8}, []int{8, 5, 5, 5, 300, 4, 3000}, 4, "sum")
	if p := c.Prior; !slices.Equal(p.Digits, []int{1000, 300, 4, 3000}) {
		t.Errorf("digits %v", p.Digits)
	}
	if p := c.Prior; !slices.Equal(p.Levels, []int{8, 5, 5, 5, 300, 4, 3000}) {
		t.Errorf("levels %v", p.Levels)
	}
	if p := c.Prior; p.Classes != 2 || p.Tokenizer != "sum" || p.Tokens() != 256 {
		t.Errorf("%+v", p)
	}
	m, err := NewTransformer(tinyPrior(Masked))
	check(t, err)
	ids, labels := make([]float32, 6), make([]float32, 3)
	m.TokenIDs(ids, []int32{5, NoCode, 1})
	if want := []float32{2, 4, 5, -1, 1, 3}; !slices.Equal(ids, want) {
		t.Errorf("ids %v, want %v", ids, want)
	}
	embedded := tinyPrior(Masked)
	embedded.Prior.Digits, embedded.Prior.Levels = []int{6}, []int{3, 2}
	m2, err := NewTransformer(embedded)
	check(t, err)
	ids = make([]float32, 9)
	m2.TokenIDs(ids, []int32{5, NoCode, 1}) // of a code, of no code, then three and two levels
	if want := []float32{5, 9, 11, 6, -1, -1, 1, 8, 10}; !slices.Equal(ids, want) {
		t.Errorf("ids with levels %v, want %v", ids, want)
	}
	for d, want := range [][]float32{{2, -1, 1}, {1, -1, 0}} {
		if m.Labels(labels, []int32{5, NoCode, 1}, d); !slices.Equal(labels, want) {
			t.Errorf("digit %d: %v, want %v", d, labels, want)
		}
	}
}

func TestPriorRefusals(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Prior.Kind = "other" }, `model.prior.kind: "other"`},
		{func(c *Config) { c.Prior.Heads = 3 }, "model.prior.heads: 3: want a divisor of width 16"},
		{func(c *Config) { c.Prior.Grid = []int{1, 2} }, "model.prior.grid: [1 2]"},
		{func(c *Config) { c.Prior.Grid = nil }, "grid and digits must be decided"},
		{func(c *Config) { c.Prior.Digits = []int{1 << 16, 1 << 16} }, "at most 2^24 codes"},
		{func(c *Config) { c.Prior.Levels = []int{3, 3} }, "model.prior.levels: [3 3]: want numbers whose product is that of digits, 6"},
		{func(c *Config) { c.Prior.ClassDropout = 2 }, "model.prior.class_dropout: 2"},
		{func(c *Config) { c.Channels = 3 }, "model.channels: 3: want 1"},
		{func(c *Config) { c.Classify.Network = "i3d" }, "model.classify.network"},
		{func(c *Config) { c.Layers = []Layer{{Name: Residual}} }, "model.layers"},
	} {
		cfg := tinyPrior(Masked)
		c.change(&cfg)
		if _, err := NewTransformer(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	m, err := NewTransformer(tinyPrior(Masked))
	check(t, err)
	if err := m.Check(Shape{1, 2, 2, 3}); err == nil || !strings.Contains(err.Error(), "this prior takes [2 1 3]") {
		t.Error(err)
	}
	if _, err := New(tinyPrior(Masked)); err == nil || !strings.Contains(err.Error(), "not a tokenizer") {
		t.Error(err)
	}
}
