package kernels

import (
	"fmt"
	"math"
)

// Positions of AdamW's hyper-parameters.
const (
	HyperLR       = iota
	HyperRate1    // 1-beta1: how fast the first moment follows
	HyperRate2    // 1-beta2; as a difference of float32 betas it would be off by 1e-6
	HyperEps      // added to the root of the second moment
	HyperDecay    // weight decay
	HyperCorrect1 // 1-beta1^k, k the number of this update, from 1
	HyperCorrect2 // 1-beta2^k
	HyperMaxNorm  // gradients of a greater norm are scaled down to it; 0: never
	HyperEMARate  // 1-decay of the average of parameters
	HyperScale    // the gradient counts times this: 1/(number of accumulated batches)
	HyperLen
)

// AdamW updates parameters, moments and average in place (Loshchilov and Hutter,
// "Decoupled weight decay regularization", 2019).
//
//	g <- g·Scale·min(1, MaxNorm/(sqrt(norm2)·Scale + 1e-6))
//	p <- p·(1 - LR·Decay)
//	m <- m + Rate1·(g - m),  v <- v + Rate2·(g² - v)
//	p <- p - LR/Correct1·m/(sqrt(v)/sqrt(Correct2) + Eps)
//	ema <- ema + EMARate·(p - ema)
//
// norm2 is the squared norm of the unscaled gradient of all parameters. If it is
// not finite, nothing changes. Where EMARate is 0, ema is neither read nor written, and may be p.
// Arguments: p, m, v, ema [Len], all read and written; g [Len], norm2 scalar, hyper [HyperLen].
type AdamW struct {
	Len      int
	EMAEvery int // EMARate is not 0 in one update of EMAEvery, 0: in each; of traffic alone
}

func (s AdamW) Validate() error {
	if s.EMAEvery < 0 {
		return fmt.Errorf("EMAEvery is %d, want 0 or more", s.EMAEvery)
	}
	return positive([]string{"Len"}, s.Len)
}

func (s AdamW) FLOPs() int64 { return 18 * int64(s.Len) }

func (s AdamW) Args() []Arg {
	ema := updated("ema", s.Len)
	ema.Every = s.EMAEvery
	return []Arg{updated("p", s.Len), updated("m", s.Len), updated("v", s.Len), ema,
		in("g", s.Len), in("norm2"), in("hyper", HyperLen)}
}

func (s AdamW) Grads() []Grad { return nil }

func (s AdamW) Define(args ...[]float32) {
	p, m, v, ema, g := args[0], args[1], args[2], args[3], args[4]
	norm2 := float64(args[5][0])
	if !finite(norm2) {
		return
	}
	var h [HyperLen]float64
	for i := range h {
		h[i] = float64(args[6][i])
	}
	scale := gradientScale(norm2, h[HyperScale], h[HyperMaxNorm])
	for i := range p {
		gi := float64(g[i]) * scale
		mi := float64(m[i]) + h[HyperRate1]*(gi-float64(m[i]))
		vi := float64(v[i]) + h[HyperRate2]*(gi*gi-float64(v[i]))
		pi := float64(p[i]) * (1 - h[HyperLR]*h[HyperDecay])
		pi -= h[HyperLR] / h[HyperCorrect1] * mi / (math.Sqrt(vi)/math.Sqrt(h[HyperCorrect2]) + h[HyperEps])
		p[i], m[i], v[i] = float32(pi), float32(mi), float32(vi)
		if h[HyperEMARate] != 0 {
			ema[i] += float32(h[HyperEMARate] * (pi - float64(ema[i])))
		}
	}
}

// gradientScale is the factor on the gradient: accumulation, then clipping.
func gradientScale(norm2, scale, maxNorm float64) float64 {
	if maxNorm > 0 {
		return scale * min(1, maxNorm/(math.Sqrt(norm2)*scale+1e-6))
	}
	return scale
}

func (s AdamW) cpu(c *CPU) []stage {
	vec := c.vec()
	return pointwise(s.Len, func(args [][]float32, from, to int) {
		norm2 := float64(args[5][0])
		if !finite(norm2) {
			return
		}
		var h [HyperLen]float64
		for i := range h {
			h[i] = float64(args[6][i])
		}
		p, m, v, ema, g := args[0][from:to], args[1][from:to], args[2][from:to], args[3][from:to], args[4][from:to]
		scale := float32(gradientScale(norm2, h[HyperScale], h[HyperMaxNorm]))
		b1, c1, b2, c2 := float32(1-h[HyperRate1]), float32(h[HyperRate1]), float32(1-h[HyperRate2]), float32(h[HyperRate2])
		root, eps := float32(1/math.Sqrt(h[HyperCorrect2])), float32(h[HyperEps])
		keep, step, rate := float32(1-h[HyperLR]*h[HyperDecay]), float32(h[HyperLR]/h[HyperCorrect1]), float32(h[HyperEMARate])
		if rate == 0 {
			vec.adamAlone(p, m, v, g, scale, b1, c1, b2, c2, root, eps, keep, step)
			return
		}
		vec.adam(p, m, v, ema, g, scale, b1, c1, b2, c2, root, eps, keep, step, rate)
	})
}
