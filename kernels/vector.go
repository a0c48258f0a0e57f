package kernels

//go:generate go run ./asm -part vectors -out vector_simd_amd64.s -stubs vector_simd_amd64.go

// vectors are the inner loops of an instruction set over values of any number. The
// slices of a call have the length of the first; loops do not check it. A result may
// be one of the sources. Sums are float64.
//
// A value's result does not depend on its place, nor a sum on anything but the values
// and their order. Instruction sets differ by roundings.
type vectors struct {
	act  [activations]func(dst, x []float32)     // Act; nil: in plain Go by applySlice
	grad [activations]func(dst, dy, s []float32) // ActGrad

	add, mul func(y, a, b []float32)
	affine   func(y, x []float32, m, a float32)    // y = m·x + a
	axpy     func(y, x []float32, a float32)       // y += a·x
	mix      func(y, a, b []float32, u, v float32) // y = u·a + v·b
	adam     func(p, m, v, ema, g []float32, scale, b1, c1, b2, c2, root, eps, keep, step, rate float32)

	sum          func(x []float32) float64
	squares      func(x []float32, mean float32) float64                         // Σ (x-mean)²
	dot          func(x, y []float32) float64                                    // Σ x·y
	dots         func(x, y, z []float32) (xy, xz float64)                        // Σ x·y and Σ x·z
	along        func(dy, gamma, x []float32, mean float32) (sum, along float64) // Σ g and Σ g·(x-mean), g = dy·gamma
	standardise  func(y, x, gamma, beta []float32, mean, scale float32)
	scaled       func(y, x, gamma []float32, scale float32)              // y = x·scale·gamma
	normSlope    func(dx, dy, gamma, x []float32, mean, u, v, w float32) // dx = u·dy·gamma + v·(x-mean) + w
	greatest     func(x []float32) float32
	exps         func(y, x []float32, most, scale float32) float64 // y = exp((x-most)·scale), and its sum
	softmaxSlope func(ds, p []float32, mean, scale float32)        // ds = p·(ds-mean)·scale

	// Sums over the rows of [rows,c]; sums has room for padded(c).
	addRows   func(sums []float64, x []float32, rows, c int)
	weighRows func(sums []float64, x, weights []float32, rows, c int)
	mulRows   func(sums []float64, a, b []float32, rows, c int)
	normRows  func(sums []float64, dy, x []float32, rows, c int, mean, scale float32) // of dy·((x-mean)·scale)

	gateStep  func(h, y, q, kv, a []float32) // h = sigmoid(a)·h + kv, y = q·h
	gateBack  func(carry, dq, dkv, da, dy, q, a, before []float32)
	geglu     func(y, u, g []float32)
	gegluGrad func(du, dg, dy, u, g []float32)

	lossSum   [2]func(x, target, weight []float32, overshoot float32) float64 // by LossKind
	lossSlope [2]func(dx, x, target, weight []float32, overshoot float32)
}

// vec are the inner loops of the backend's instruction set.
func (c *CPU) vec() *vectors { return isaVectors[c.isa] }

// padded is a number of columns rounded up to whole vectors.
func padded(c int) int { return (c + 15) / 16 * 16 }

var plainVectors = vectors{
	act:  [activations]func(dst, x []float32){None: plainCopy, ELU: plainELU, SiLU: plainSiLU, LeakyReLU: plainLeaky, Sigmoid: plainSigmoid, Tanh: plainTanh, GELU: plainGELU, SoftClamp: plainSoftClamp},
	grad: [activations]func(dst, dy, s []float32){None: plainCopyGrad, ELU: plainELUGrad, SiLU: plainSiLUGrad, LeakyReLU: plainLeakyGrad, Sigmoid: plainSigmoidGrad, Tanh: plainTanhGrad, GELU: plainGELUGrad, SoftClamp: plainSoftClampGrad},
	add:  plainAdd, mul: plainMul, affine: plainAffine, axpy: plainAxpy, mix: plainMix, adam: plainAdam,
	sum: plainSum, squares: plainSquares, dot: plainDot, dots: plainDots, along: plainAlong,
	standardise: plainStandardise, scaled: plainScaled, normSlope: plainNormSlope,
	greatest: plainGreatest, exps: plainExps, softmaxSlope: plainSoftmaxSlope,
	addRows: plainAddRows, weighRows: plainWeighRows, mulRows: plainMulRows, normRows: plainNormRows,
	gateStep: plainGateStep, gateBack: plainGateBack, geglu: plainGEGLU, gegluGrad: plainGEGLUGrad,
	lossSum:   [2]func(x, target, weight []float32, overshoot float32) float64{MSE: plainSquareError, L1: plainAbsoluteError},
	lossSlope: [2]func(dx, x, target, weight []float32, overshoot float32){MSE: plainSquareErrorSlope, L1: plainAbsoluteErrorSlope},
}
