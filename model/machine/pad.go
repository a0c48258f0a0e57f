package machine

import (
	"slices"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// Tensor cores read channels in chunks of 8 bfloat16 values. Where a number of channels is no
// multiple of that, every convolution that reads them first packs a copy with whole chunks. The
// largest such values are those between the two convolutions of a feed-forward network (1365
// channels of 512, and twice as many in front of GEGLU): padHidden gives them channels of zeros,
// by rows of zeros in weights and biases, and cuts the gradients of these off. No result changes.
const chunk = 8

// hidden is the values of a feed-forward network that GEGLU ties together: 1 or 2 times c
// channels, by node.
type hidden struct {
	c      int
	widths map[*G.Node]int
}

// padded is c in whole chunks.
func (h *hidden) padded() int { return (h.c + chunk - 1) / chunk * chunk }

// hiddens are those of a program whose channels are no whole chunks.
func hiddens(prog []instr) (all []*hidden) {
	at := func(x *G.Node, c int) *hidden {
		i := slices.IndexFunc(all, func(h *hidden) bool { return h.widths[x] > 0 })
		if i < 0 {
			i, all = len(all), append(all, &hidden{c, map[*G.Node]int{}})
		}
		all[i].widths[x] = 2
		return all[i]
	}
	for _, in := range prog {
		switch s := in.spec.(type) {
		case kernels.GEGLU:
			if s.C%chunk != 0 {
				at(in.args[1], s.C).widths[in.args[0]] = 1
			}
		case kernels.GEGLUGrad:
			if s.C%chunk != 0 {
				h := at(in.args[2], s.C)
				h.widths[in.args[0]], h.widths[in.args[1]] = 2, 1
			}
		case kernels.ConvGEGLU:
			if s.O/2%chunk != 0 {
				at(in.args[1], s.O/2).widths[in.args[0]] = 1
			}
		case kernels.ConvGradGEGLU:
			if s.C%chunk != 0 {
				at(in.args[3], s.C).widths[in.args[0]] = 2
			}
		}
	}
	return all
}

// padHidden pads the hidden values of feed-forward networks that nothing else reads.
func padHidden(prog []instr, keep map[*G.Node]bool, bound map[*G.Node]kernels.Buffer) []instr {
	for _, h := range hiddens(prog) {
		if h.inside(prog, keep, bound) {
			prog = h.pad(prog)
		}
	}
	return prog
}

// inside reports whether all that makes and reads the values can be padded.
func (h *hidden) inside(prog []instr, keep map[*G.Node]bool, bound map[*G.Node]kernels.Buffer) bool {
	for n := range h.widths {
		if keep[n] || bound[n] != nil {
			return false
		}
	}
	for _, in := range prog {
		n := 0
		for _, a := range in.args {
			if h.widths[a] > 0 {
				n++
			}
		}
		if want := h.wider(in).values; n > 0 && n != want {
			return false
		}
	}
	return true
}

// wider is an instruction with padded values.
type wider struct {
	spec   kernels.Spec
	values int                     // arguments that are hidden values; 0: it cannot be padded
	rows   map[int]kernels.PadRows // how to pad others, by position; results are cut off by the inverse
}

func (h *hidden) wider(in instr) wider {
	c, to := h.c, h.padded()
	is := func(position, width int) bool { return h.widths[in.args[position]] == width }
	switch s := in.spec.(type) {
	case kernels.GEGLU:
		if is(0, 1) {
			s.C = to
			return wider{s, 2, nil}
		}
	case kernels.GEGLUGrad:
		if is(0, 2) {
			s.C = to
			return wider{s, 3, nil}
		}
	case kernels.ConvGEGLU:
		if is(0, 1) && is(1, 2) {
			rows := h.weights(s.Conv, true)
			s.O = 2 * to
			return wider{s, 2, map[int]kernels.PadRows{3: rows, 4: {Rows: 2, From: c, To: to}}}
		}
	case kernels.ConvGradGEGLU:
		if is(0, 2) && is(3, 2) {
			s.C = to
			return wider{s, 2, map[int]kernels.PadRows{2: {Rows: s.O, From: c, To: to}}}
		}
	case kernels.Conv:
		conv, first := h.conv(s, is(0, 2), is(1, 1))
		if conv == s || first && (s.Act != kernels.None || s.Residual) {
			break
		}
		rows := map[int]kernels.PadRows{2: h.weights(s, first)}
		if first {
			rows[3] = kernels.PadRows{Rows: 2, From: c, To: to}
		}
		return wider{conv, 1, rows}
	case kernels.ConvGradX:
		conv, first := h.conv(s.Conv, is(1, 2), is(0, 1))
		if conv == s.Conv || !first && (s.Act != kernels.None || s.Residual) {
			break
		}
		return wider{kernels.ConvGradX{Conv: conv}, 1, map[int]kernels.PadRows{2: h.weights(s.Conv, first)}}
	case kernels.ConvGradW:
		conv, first := h.conv(s.Conv, is(1, 2), is(2, 1))
		if conv == s.Conv {
			break
		}
		return wider{kernels.ConvGradW{Conv: conv}, 1, map[int]kernels.PadRows{0: h.weights(s.Conv, first)}}
	case kernels.SumRows:
		if is(1, 2) && s.C == 2*c {
			s.C = 2 * to
			return wider{s, 1, map[int]kernels.PadRows{0: {Rows: 2, From: c, To: to}}}
		}
	}
	return wider{}
}

// conv is the padded first or second convolution of a network, s itself if it is neither.
func (h *hidden) conv(s kernels.Conv, first, second bool) (kernels.Conv, bool) {
	if s.KT*s.KH*s.KW > 1 || first == second {
		return s, false
	}
	if first {
		s.O = 2 * h.padded()
	} else {
		s.C = h.padded()
	}
	return s, first
}

// weights is how to pad those of a convolution: rows for u and for the gates of GEGLU, or the end
// of each row.
func (h *hidden) weights(s kernels.Conv, first bool) kernels.PadRows {
	if first {
		return kernels.PadRows{Rows: 2, From: h.c * s.C, To: h.padded() * s.C}
	}
	return kernels.PadRows{Rows: s.O, From: h.c, To: h.padded()}
}

// pad is the program with padded values. Gradients of parameters are cut off when all gradients
// of the same dy are there, so that these can still be fused.
func (h *hidden) pad(prog []instr) (out []instr) {
	last := map[*G.Node]int{} // read
	for i, in := range prog {
		for _, n := range in.sources() {
			last[n] = i
		}
	}
	instead := map[*G.Node]*G.Node{}
	for n := range h.widths {
		instead[n] = Input(G.NewGraph(), "padded", size(n)/h.c*h.padded())
	}
	after := map[int][]instr{}
	for i, in := range prog {
		if w := h.wider(in); w.spec != nil {
			in.spec, in.args = w.spec, slices.Clone(in.args)
			for j, n := range in.args {
				rows, padded := w.rows[j]
				switch {
				case padded && j == 0:
					whole := Input(G.NewGraph(), "padded", rows.Rows*rows.To)
					cut := kernels.PadRows{Rows: rows.Rows, From: rows.To, To: rows.From}
					end := last[prog[i].args[1]]
					after[end] = append(after[end], instr{cut, []*G.Node{n, whole}})
					in.args[j] = whole
				case padded && instead[n] == nil:
					instead[n] = Input(G.NewGraph(), "padded", rows.Rows*rows.To)
					out = append(out, instr{rows, []*G.Node{instead[n], n}})
					in.args[j] = instead[n]
				case instead[n] != nil:
					in.args[j] = instead[n]
				}
			}
		}
		out = append(append(out, in), after[i]...)
	}
	return out
}

// roundWeights gives convolutions and their gradients weights that are rounded once. It does so
// for those with whole chunks of channels that are read more than once.
func roundWeights(prog []instr, bound map[*G.Node]kernels.Buffer) (out []instr) {
	weights := func(in instr) (position int) { // 0: none
		var c kernels.Conv
		position = 2
		switch s := in.spec.(type) {
		case kernels.Conv:
			c = s
		case kernels.ConvGEGLU:
			c, position = s.Conv, 3
		case kernels.ConvGradX:
			c = s.Conv
		case kernels.ConvGradGEGLU:
			c = s.Conv
		}
		if c.C == 0 || c.C%chunk != 0 || bound[in.args[position]] == nil {
			return 0
		}
		return position
	}
	uses := map[*G.Node]int{}
	for _, in := range prog {
		if k := weights(in); k > 0 {
			uses[in.args[k]]++
		}
	}
	rounded := map[*G.Node]*G.Node{}
	for _, in := range prog {
		if k := weights(in); k > 0 && uses[in.args[k]] > 1 {
			w := in.args[k]
			if rounded[w] == nil {
				n := size(w)
				rounded[w] = Input(G.NewGraph(), "rounded", n)
				out = append(out, instr{kernels.PadRows{Rows: 1, From: n, To: n}, []*G.Node{rounded[w], w}})
			}
			in.args = slices.Clone(in.args)
			in.args[k] = rounded[w]
		}
		out = append(out, in)
	}
	return out
}
