package kernels

import "math"

// AttentionStep is causal Attention of the newest token of N sequences, over the tokens
// before it, whose keys and values are cached. P is 1.
//
//	y = sum_j a_j v_j,  a = softmax_j(q·k_j/sqrt(Dim))
//
// over the memory, the first past tokens of the cache and the token itself. past is a whole
// number in [0,Max]; any other makes y NaN.
// Arguments: y [N,Heads·Dim]; qkv [N,3·Heads·Dim] of the newest token, its channels ordered
// (qkv, head, dim), cache [Max,N,3·Heads·Dim], the same of the tokens before,
// mem [2,Heads,Memory,Dim], past scalar.
type AttentionStep struct {
	N, Max     int // sequences, tokens that a cache holds
	Heads, Dim int
	Memory     int // learned keys and values of a head
}

func (s AttentionStep) Validate() error {
	if err := positive([]string{"Heads", "Memory", "Dim", "2"}, s.Heads, s.Memory, s.Dim, 2); err != nil {
		return err
	}
	return positive([]string{"N", "Max", "Heads", "Dim", "3"}, s.N, s.Max, s.Heads, s.Dim, 3)
}

func (s AttentionStep) width() int { return s.Heads * s.Dim }

func (s AttentionStep) Args() []Arg {
	return []Arg{out("y", s.N, s.width()), in("qkv", s.N, 3*s.width()), in("cache", s.Max, s.N, 3*s.width()), in("mem", 2, s.Heads, s.Memory, s.Dim), in("past")}
}

// FLOPs counts two products and a softmax with a full cache.
func (s AttentionStep) FLOPs() int64 {
	return int64(s.N*s.Heads) * int64(s.Memory+s.Max+1) * (4*int64(s.Dim) + 12)
}

func (s AttentionStep) Grads() []Grad { return nil }

// keys is the number of keys that the newest token weighs, 0 if past is out of range.
func (s AttentionStep) keys(past float32) int {
	if !(past >= 0 && past <= float32(s.Max)) {
		return 0
	}
	return s.Memory + int(past) + 1
}

// vector is the query (part 0), or the key (1) or value (2) of key j of keys: those of the
// memory first, that of the newest token last.
func (s AttentionStep) vector(qkv, cache, mem []float32, part, n, head, j, keys int) []float32 {
	at := part*s.width() + head*s.Dim
	switch {
	case part == 0 || j == keys-1:
		return qkv[n*3*s.width()+at:][:s.Dim]
	case j < s.Memory:
		return mem[(((part-1)*s.Heads+head)*s.Memory+j)*s.Dim:][:s.Dim]
	}
	return cache[((j-s.Memory)*s.N+n)*3*s.width()+at:][:s.Dim]
}

func (s AttentionStep) Define(args ...[]float32) {
	y, qkv, cache, mem := args[0], args[1], args[2], args[3]
	keys := s.keys(args[4][0])
	a := make([]float64, keys)
	for i := range y {
		n, head, d := i/s.width(), i%s.width()/s.Dim, i%s.Dim
		peak, sum, total := math.Inf(-1), 0., 0.
		for j := range a {
			a[j] = 0
			for k, q := range s.vector(qkv, cache, mem, 0, n, head, 0, keys) {
				a[j] += float64(q) * float64(s.vector(qkv, cache, mem, 1, n, head, j, keys)[k]) / math.Sqrt(float64(s.Dim))
			}
			peak = max(peak, a[j])
		}
		for j := range a {
			w := math.Exp(a[j] - peak)
			sum += w
			total += w * float64(s.vector(qkv, cache, mem, 2, n, head, j, keys)[d])
		}
		y[i] = float32(total / sum)
	}
}

// cpu goes through the cache once for all heads: the keys of a token's heads are next to each
// other, those of a head's tokens are pages apart.
func (s AttentionStep) cpu(c *CPU) []stage {
	vec, scale, most := c.vec(), float32(1/math.Sqrt(float64(s.Dim))), s.Memory+s.Max+1
	c.reserve(s.Heads * (most + 1))
	return []stage{{s.N, func(args [][]float32, n, worker int) {
		y, qkv, cache, mem := args[0][n*s.width():][:s.width()], args[1], args[2], args[3]
		keys := s.keys(args[4][0])
		clear(y)
		if keys == 0 {
			vec.affine(y, y, 1, float32(math.NaN()))
			return
		}
		a, scales, q := c.scratch[worker][:s.Heads*most], c.scratch[worker][s.Heads*most:][:s.Heads], qkv[n*3*s.width():][:s.width()]
		each := func(part int, do func(head, j int, v []float32)) {
			for j := range keys {
				if j < s.Memory {
					for head := range s.Heads {
						do(head, j, s.vector(qkv, cache, mem, part, n, head, j, keys))
					}
					continue
				}
				row := qkv[(n*3+part)*s.width():][:s.width()]
				if j < keys-1 {
					row = cache[(((j-s.Memory)*s.N+n)*3+part)*s.width():][:s.width()]
				}
				for head := range s.Heads {
					do(head, j, row[head*s.Dim:][:s.Dim])
				}
			}
		}
		each(1, func(head, j int, k []float32) { a[head*most+j] = float32(vec.dot(q[head*s.Dim:][:s.Dim], k)) })
		for head := range s.Heads {
			of := a[head*most:][:keys]
			scales[head] = float32(1 / vec.exps(of, of, vec.greatest(of), scale))
		}
		each(2, func(head, j int, v []float32) { vec.axpy(y[head*s.Dim:][:s.Dim], v, a[head*most+j]) })
		for head, scale := range scales {
			of := y[head*s.Dim:][:s.Dim]
			vec.affine(of, of, scale, 0)
		}
	}}}
}
