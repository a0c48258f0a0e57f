package kernels

import (
	"fmt"
	"math"
)

// Layout says which tokens of a clip attend to each other.
type Layout int

const (
	Space Layout = iota // the pixels of a frame
	Time                // the frames of a pixel
)

func (l Layout) String() string {
	switch l {
	case Space:
		return "Space"
	case Time:
		return "Time"
	}
	return fmt.Sprintf("Layout(%d)", int(l))
}

// Attention is softmax attention with learned memory: in each sequence and head
// a query weighs the values of the memory and of the sequence's tokens.
//
//	a_ij = softmax_j(q_i·k_j/sqrt(Dim)),  y_i = sum_j a_ij v_j
//
// Keys and values 0 to Memory-1 are those of mem, the same for all sequences; the
// tokens' follow. If Causal, token i sees the memory and the tokens up to i. Without
// Memory there is no argument mem.
//
// Arguments: y [N,T,P,Heads·Dim]; qkv [N,T,P,3·Heads·Dim], its channels ordered
// (qkv, head, dim), mem [2,Heads,Memory,Dim], keys then values.
type Attention struct {
	N, T, P    int // clips, frames, pixels of a frame
	Heads, Dim int
	Memory     int // learned keys and values of a head
	Over       Layout
	Causal     bool // needs Over = Time
}

func (s Attention) Validate() error {
	if s.Over != Space && s.Over != Time {
		return fmt.Errorf("Over is %d, want 0 (Space) or 1 (Time)", int(s.Over))
	}
	if s.Causal && s.Over != Time {
		return fmt.Errorf("Causal is set over Space, want Over = Time: pixels have no order")
	}
	if s.Memory != 0 {
		if err := positive([]string{"Heads", "Memory", "Dim", "2"}, s.Heads, s.Memory, s.Dim, 2); err != nil {
			return err
		}
	}
	return positive([]string{"N", "T", "P", "Heads", "Dim", "3"}, s.N, s.T, s.P, s.Heads, s.Dim, 3)
}

// width is the number of channels of the result.
func (s Attention) width() int { return s.Heads * s.Dim }

// sequences is how many there are, length their number of tokens.
func (s Attention) sequences() int { return s.N * s.T * s.P / s.length() }

func (s Attention) length() int {
	if s.Over == Time {
		return s.T
	}
	return s.P
}

// tokens says where the tokens of a sequence are: first + i·step.
func (s Attention) tokens(sequence int) (first, step int) {
	if s.Over == Time {
		return sequence/s.P*s.T*s.P + sequence%s.P, s.P
	}
	return sequence * s.P, 1
}

// seen is how many keys query i weighs.
func (s Attention) seen(i int) int {
	if s.Causal {
		return s.Memory + i + 1
	}
	return s.Memory + s.length()
}

func (s Attention) wide(arg func(string, ...int) Arg, name string, parts int) Arg {
	return arg(name, s.N, s.T, s.P, parts*s.width())
}

func (s Attention) memory(arg func(string, ...int) Arg, name string) Arg {
	a := arg(name, 2, s.Heads, s.Memory, s.Dim)
	if !a.Out {
		a.Round = RoundIfStored
	}
	return a
}

// pairs is the number of queries times that of keys, of all sequences and heads.
func (s Attention) pairs() int64 {
	return int64(s.N*s.T*s.P) * int64(s.length()+s.Memory) * int64(s.Heads)
}

func (s Attention) Args() []Arg {
	return s.withMemory(s.wide(actOut, "y", 1), s.wide(actIn, "qkv", 3))
}

// withMemory adds the argument mem, if there is memory.
func (s Attention) withMemory(args ...Arg) []Arg {
	if s.Memory > 0 {
		args = append(args, s.memory(in, "mem"))
	}
	return args
}

// mem is argument number i, nil without memory.
func (s Attention) mem(args [][]float32, i int) []float32 {
	if s.Memory == 0 {
		return nil
	}
	return args[i]
}

// FLOPs counts two products and a softmax, of unseen keys too.
func (s Attention) FLOPs() int64 { return s.pairs() * (4*int64(s.Dim) + 12) }

func (s Attention) Grads() []Grad {
	if s.Memory == 0 {
		return []Grad{grad("qkv", AttentionGrad{s}, "dy", "qkv")}
	}
	return []Grad{grad("qkv", AttentionGrad{s}, "dy", "qkv", "mem"), grad("mem", AttentionGradMem{s}, "dy", "qkv", "mem")}
}

func (s Attention) Define(args ...[]float32) {
	s.results(args[0], make([]float32, s.Heads*s.N*s.T*s.P), args[1], s.mem(args, 2))
}

// results writes y and lse.
func (s Attention) results(y, lse, qkv, mem []float32) {
	for seq := range s.sequences() {
		for h := range s.Heads {
			for i, logits := range s.logits(qkv, mem, seq, h) {
				l := logSumExp(logits)
				first, step := s.tokens(seq)
				lse[s.statistic(h, first+i*step)] = float32(l)
				for d := range s.Dim {
					sum := 0.
					for j, v := range logits {
						sum += math.Exp(v-l) * float64(*s.at(qkv, mem, 2, seq, h, j, d))
					}
					y[(first+i*step)*s.width()+h*s.Dim+d] = float32(sum)
				}
			}
		}
	}
}

// statistic is the index of a token's value in lse.
func (s Attention) statistic(head, token int) int { return head*s.N*s.T*s.P + token }

// at is the index of coordinate d of a query (part 0), key (1) or value (2); j
// counts the memory first, which has no queries.
func (s Attention) at(qkv, mem []float32, part, seq, head, j, d int) *float32 {
	if j < s.Memory {
		return &mem[(((part-1)*s.Heads+head)*s.Memory+j)*s.Dim+d]
	}
	first, step := s.tokens(seq)
	return &qkv[(first+(j-s.Memory)*step)*3*s.width()+part*s.width()+head*s.Dim+d]
}

// logits are q_i·k_j/sqrt(Dim) of a sequence and head; of query i only the keys that it sees.
func (s Attention) logits(qkv, mem []float32, seq, head int) [][]float64 {
	logits := make([][]float64, s.length())
	for i := range logits {
		logits[i] = make([]float64, s.seen(i))
		for j := range logits[i] {
			for d := range s.Dim {
				logits[i][j] += float64(*s.at(qkv, mem, 0, seq, head, s.Memory+i, d)) * float64(*s.at(qkv, mem, 1, seq, head, j, d))
			}
			logits[i][j] /= math.Sqrt(float64(s.Dim))
		}
	}
	return logits
}

// AttentionStats is Attention that also gives the logarithm of the softmax's denominator, which
// AttentionBackward reads.
//
//	lse_i = log sum_j exp(q_i·k_j/sqrt(Dim))
//
// Arguments: y [N,T,P,Heads·Dim], lse [Heads,N,T,P]; qkv [N,T,P,3·Heads·Dim], mem [2,Heads,Memory,Dim].
type AttentionStats struct{ Attention }

func (s AttentionStats) Args() []Arg {
	return s.withMemory(s.wide(actOut, "y", 1), s.perQuery(out), s.wide(actIn, "qkv", 3))
}

// perQuery is the argument lse.
func (s Attention) perQuery(arg func(string, ...int) Arg) Arg {
	return arg("lse", s.Heads, s.N, s.T, s.P)
}

func (s AttentionStats) Grads() []Grad { return nil }

func (s AttentionStats) Define(args ...[]float32) {
	s.results(args[0], args[1], args[2], s.mem(args, 3))
}

// AttentionGrad is the gradient of Attention with respect to qkv. With da_ij =
// dy_i·v_j,
//
//	ds_ij = a_ij (da_ij - sum_l a_il da_il)/sqrt(Dim)
//	dq_i = sum_j ds_ij k_j,  dk_j = sum_i ds_ij q_i,  dv_j = sum_i a_ij dy_i
//
// Arguments: dqkv [N,T,P,3·Heads·Dim]; dy [N,T,P,Heads·Dim], qkv like dqkv,
// mem [2,Heads,Memory,Dim].
type AttentionGrad struct{ Attention }

func (s AttentionGrad) Args() []Arg {
	return s.withMemory(s.wide(actOut, "dqkv", 3), s.wide(actIn, "dy", 1), s.wide(actIn, "qkv", 3))
}

// FLOPs counts five products and a softmax.
func (s AttentionGrad) FLOPs() int64 { return s.pairs() * (10*int64(s.Dim) + 16) }

func (s AttentionGrad) Grads() []Grad { return nil }

func (s AttentionGrad) Define(args ...[]float32) {
	s.gradients(args[0], nil, args[1], args[2], s.mem(args, 3), nil, nil)
}

// AttentionGradMem is the gradient of Attention with respect to mem, the formulas
// those of AttentionGrad for the keys of the memory, added up over the sequences.
// Arguments: dmem [2,Heads,Memory,Dim]; dy [N,T,P,Heads·Dim],
// qkv [N,T,P,3·Heads·Dim], mem like dmem.
type AttentionGradMem struct{ Attention }

func (s AttentionGradMem) Validate() error {
	if s.Memory < 1 {
		return fmt.Errorf("Memory is %d, want at least 1", s.Memory)
	}
	return s.Attention.Validate()
}

func (s AttentionGradMem) Args() []Arg {
	return []Arg{s.memory(out, "dmem"), s.wide(actIn, "dy", 1), s.wide(actIn, "qkv", 3), s.memory(in, "mem")}
}

// FLOPs counts two products and a softmax of all pairs, three of the memory's.
func (s AttentionGradMem) FLOPs() int64 {
	return s.pairs()*(4*int64(s.Dim)+16) + 4*int64(s.N*s.T*s.P)*int64(s.Memory*s.width())
}

func (s AttentionGradMem) Grads() []Grad { return nil }

func (s AttentionGradMem) Define(args ...[]float32) {
	s.gradients(nil, args[0], args[1], args[2], args[3], nil, nil)
}

// AttentionBackward is AttentionGrad and AttentionGradMem at once. y and lse are the results of
// AttentionStats, by which the softmax and the mean of its slopes need no pass of their own:
//
//	a_ij = exp(q_i·k_j/sqrt(Dim) - lse_i),  sum_l a_il da_il = dy_i·y_i
//
// Arguments: dqkv [N,T,P,3·Heads·Dim], dmem [2,Heads,Memory,Dim]; dy [N,T,P,Heads·Dim], qkv like
// dqkv, mem like dmem, y like dy, lse [Heads,N,T,P]. Without Memory there are no dmem and mem.
type AttentionBackward struct{ Attention }

func (s AttentionBackward) Args() []Arg {
	args := []Arg{s.wide(actOut, "dqkv", 3)}
	if s.Memory > 0 {
		args = append(args, s.memory(out, "dmem"))
	}
	args = s.withMemory(append(args, s.wide(actIn, "dy", 1), s.wide(actIn, "qkv", 3))...)
	return append(args, s.wide(actIn, "y", 1), s.perQuery(in))
}

// FLOPs counts five products and an exponential.
func (s AttentionBackward) FLOPs() int64 { return s.pairs() * (10*int64(s.Dim) + 14) }

func (s AttentionBackward) Grads() []Grad { return nil }

func (s AttentionBackward) Define(args ...[]float32) {
	if s.Memory == 0 {
		s.gradients(args[0], nil, args[1], args[2], nil, args[3], args[4])
		return
	}
	s.gradients(args[0], args[1], args[2], args[3], args[4], args[5], args[6])
}

// gradients writes dqkv and dmem, unless they are nil, with sums in float64. Without the results
// y and lse it computes them.
func (s Attention) gradients(dqkv, dmem, dy, qkv, mem, y, lse []float32) {
	sums, memSums := make([]float64, len(qkv)), make([]float64, len(mem))
	to := func(part, seq, head, j, d int) *float64 { // as at
		if j < s.Memory {
			return &memSums[(((part-1)*s.Heads+head)*s.Memory+j)*s.Dim+d]
		}
		first, step := s.tokens(seq)
		return &sums[(first+(j-s.Memory)*step)*3*s.width()+part*s.width()+head*s.Dim+d]
	}
	for seq := range s.sequences() {
		first, step := s.tokens(seq)
		for h := range s.Heads {
			for i, a := range s.logits(qkv, mem, seq, h) {
				at := (first+i*step)*s.width() + h*s.Dim
				g, l := dy[at:][:s.Dim], 0.
				if y == nil {
					l = logSumExp(a)
				} else {
					l = float64(lse[s.statistic(h, first+i*step)])
				}
				da, mean := make([]float64, len(a)), 0.
				for j := range a {
					a[j] = math.Exp(a[j] - l)
					for d, v := range g {
						da[j] += float64(v) * float64(*s.at(qkv, mem, 2, seq, h, j, d))
					}
					mean += a[j] * da[j]
				}
				if y != nil {
					mean = 0
					for d, v := range g {
						mean += float64(v) * float64(y[at+d])
					}
				}
				for j := range a {
					ds := a[j] * (da[j] - mean) / math.Sqrt(float64(s.Dim))
					for d, v := range g {
						*to(0, seq, h, s.Memory+i, d) += ds * float64(*s.at(qkv, mem, 1, seq, h, j, d))
						*to(1, seq, h, j, d) += ds * float64(*s.at(qkv, mem, 0, seq, h, s.Memory+i, d))
						*to(2, seq, h, j, d) += a[j] * float64(v)
					}
				}
			}
		}
	}
	for i := range dqkv {
		dqkv[i] = float32(sums[i])
	}
	for i := range dmem {
		dmem[i] = float32(memSums[i])
	}
}
