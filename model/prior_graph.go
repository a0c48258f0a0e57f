package model

import (
	"fmt"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// priorMemory is the number of learned keys and values per head of a Transformer.
const priorMemory = 1

// embeddingStd is the deviation of the first values of embeddings, of which three are added.
const embeddingStd = .3

// Training is the graph of a training step: tokens, classes and label.d in; loss, terms,
// logits.d and gradients out.
func (m *Transformer) Training(s Shape) (*Graph, error) { return m.training(s, false) }

// TrainingPart is Training for one of several batches of a step, see Network.
func (m *Transformer) TrainingPart(s Shape) (*Graph, error) { return m.training(s, true) }

func (m *Transformer) training(s Shape, scaled bool) (*Graph, error) {
	if err := m.Check(s); err != nil {
		return nil, err
	}
	b, p := newBuilder(m.list, m.shape(s.N)), m.Config.Prior
	b.scaled = scaled
	var loss *G.Node
	for d, logits := range m.forward(b) {
		ce := b.apply(kernels.CrossEntropy{Rows: s.N * p.Tokens(), C: p.Digits[d], Smoothing: float32(p.LabelSmoothing)}, []int{},
			logits, b.input(LabelInput(d), s.N, p.Tokens()))
		if loss == nil {
			loss = ce
		} else {
			loss = b.add(loss, ce)
		}
	}
	g, err := b.finish(Term{Name: "cross_entropy", Node: loss, Weight: 1})
	if err != nil {
		return nil, err
	}
	_, err = g.differentiate(m.list.Params)
	return g, err
}

// LabelInput is the name of the input with digit d of the codes to predict, -1 where none
// is; LogitsOutput that of the output with its logits.
func LabelInput(d int) string   { return fmt.Sprintf("label.%d", d) }
func LogitsOutput(d int) string { return fmt.Sprintf("logits.%d", d) }

// Predictor is the graph from tokens and classes of n clips to logits.d.
func (m *Transformer) Predictor(n int) (*Graph, error) {
	if err := m.Check(m.batch(n)); err != nil {
		return nil, err
	}
	b := newBuilder(m.list, m.shape(n))
	m.forward(b)
	return b.finish()
}

// forward builds the network for whole clips. Inputs are tokens [N,L,ids] and classes
// [N,L], a class or the number of classes for none.
func (m *Transformer) forward(b *builder) []*G.Node {
	p, n, length := m.Config.Prior, b.shape.N, m.Config.Prior.Tokens()
	tokens, classes := b.input("tokens", n, length, p.idsOf()), b.input("classes", n, length)
	positions := make([]float32, 0, 3*n*length)
	for range n {
		for i := range length {
			positions = append(positions, m.Position(i)...)
		}
	}
	s := kernels.Attention{N: n, T: 1, P: length, Heads: p.Heads, Dim: p.Width / p.Heads, Memory: priorMemory}
	if p.Kind == Autoregressive {
		s.T, s.P, s.Over, s.Causal = length, 1, kernels.Time, true
	}
	return m.transform(b, n, length, tokens, b.constant("positions", positions, n, length, 3), classes, func(name string, x *G.Node) *G.Node {
		return b.attend(name, x, nil, s)
	})
}

// Position is the ids of the position embeddings of token i: of its frame, row and column.
func (m *Transformer) Position(i int) []float32 {
	g := m.Config.Prior.Grid
	return []float32{float32(i / (g[1] * g[2])), float32(g[0] + i/g[2]%g[1]), float32(g[0] + g[1] + i%g[2])}
}

// transform is the network for n times length tokens; attend is self-attention.
func (m *Transformer) transform(b *builder, n, length int, tokens, positions, classes *G.Node, attend func(name string, x *G.Node) *G.Node) (logits []*G.Node) {
	p := m.Config.Prior
	embed := func(name string, ids *G.Node, k, rows int) *G.Node {
		s := kernels.Embedding{Rows: n * length, Ids: k, Vocab: rows, C: p.Width}
		return b.apply(s, []int{n, 1, 1, length, p.Width}, ids, b.param("embedding."+name, initial{std: embeddingStd}, rows, p.Width))
	}
	x := b.add(embed("tokens", tokens, p.idsOf(), p.rows()), embed("positions", positions, 3, p.Grid[0]+p.Grid[1]+p.Grid[2]))
	x = b.add(x, embed("classes", classes, 1, p.Classes+1))
	for i := range p.Blocks {
		x = b.add(x, attend(fmt.Sprintf("blocks.%d.attention", i), x))
		x = b.add(x, b.feedForward(fmt.Sprintf("blocks.%d.feed_forward", i), x, nil, 4))
	}
	x = b.rmsNorm("norm", x, nil, 0)
	for d, values := range p.Digits {
		y := b.conv(fmt.Sprintf("head.%d", d), x, values, point, convOptions{axes: noAxes, zero: true, fixedBias: true})
		logits = append(logits, b.output(LogitsOutput(d), y))
	}
	return logits
}

// Step is the graph of the next token of n clips, of an autoregressive prior. Inputs:
// tokens [N,ids], the token before; positions [N,3] and classes [N] of the next one;
// past, the number of tokens before that one; cache.i [L,N,3·width], what block i computed
// for each of them. Outputs: logits.d [N, values of digit d], and qkv.i [N,3·width], the
// next row of cache.i.
func (m *Transformer) Step(n int) (*Graph, error) {
	p := m.Config.Prior
	if p.Kind != Autoregressive {
		return nil, fmt.Errorf("model.prior.kind: %s: tokens one after the other are those of %s", p.Kind, Autoregressive)
	}
	b, length := newBuilder(m.list, m.shape(n)), p.Tokens()
	past, block := b.input("past"), 0
	s := kernels.AttentionStep{N: n, Max: length, Heads: p.Heads, Dim: p.Width / p.Heads, Memory: priorMemory}
	m.transform(b, n, 1, b.input("tokens", n, p.idsOf()), b.input("positions", n, 3), b.input("classes", n), func(name string, x *G.Node) *G.Node {
		qkv := b.output(fmt.Sprintf("qkv.%d", block), b.linear(name+".to_qkv.0", b.rmsNorm(name+".norm", x, nil, 0), 3*p.Width))
		y := b.apply(s, []int{n, 1, 1, 1, p.Width}, qkv, b.input(fmt.Sprintf("cache.%d", block), length, n, 3*p.Width),
			b.param(name+".mem_kv", initial{std: 1}, 2, s.Heads, s.Memory, s.Dim), past)
		block++
		return b.linear(name+".to_out.1", y, p.Width)
	})
	return b.finish()
}
