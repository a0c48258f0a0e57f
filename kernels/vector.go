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

	add    func(y, a, b []float32)
	mulAdd func(y, a, b []float32)            // y += a·b
	affine func(y, x []float32, m, a float32) // y = m·x + a
	axpy   func(y, x []float32, a float32)    // y += a·x
	adam   func(p, m, v, ema, g []float32, scale, b1, c1, b2, c2, root, eps, keep, step, rate float32)

	// adamAlone is adam at a rate of 0.
	adamAlone func(p, m, v, g []float32, scale, b1, c1, b2, c2, root, eps, keep, step float32)

	sum      func(x []float32) float64
	squares  func(x []float32, mean float32) float64 // Σ (x-mean)²
	dot      func(x, y []float32) float64
	greatest func(x []float32) float32
	exps     func(y, x []float32, most, scale float32) float64 // y = exp((x-most)·scale), and its sum

	// softmaxColumns is a step of an online softmax, see plainSoftmaxColumns; c is a multiple of
	// the columns of the narrowest tiles.
	softmaxColumns func(x, most, total, factor []float32, rows, c int)
	transposed     func(y []float32, ldy int, x []float32, ldx, rows, cols int, m float32) // y[j,i] = m·x[i,j]

	// weights is plainWeights; m is padded to a multiple of weightRows, ld one of the columns of the
	// narrowest tiles.
	weights func(p, ds, k, v, q, dy, lse, mean []float32, m, dim, ld int)
	// querySums is sums += w·x for count times weightRows rows of sums [.,16], w [.,queryBlock] and n
	// rows of x [n,16]; nil where tiles are as fast.
	querySums func(sums, w, x *float32, count, n int)

	// For each of the rows of [rows,c]; gamma, beta, g, a, b and of rowDots y and z are
	// rows of their own, all other slices but x, y, dx and dy have a value for each row.
	rowSums        func(sums []float64, x []float32, rows, c int)
	rowSquares     func(sums []float64, x, mean []float32, rows, c int)                   // Σ (x-mean)²
	rowDots        func(xy []float64, x, y []float32, rows, c int)                        // Σ x·y
	rowPairs       func(xy, xz []float64, x, y, z []float32, rows, c int)                 // Σ x·y and Σ x·z
	rowAlong       func(sums, along []float64, dy, x, gamma, mean []float32, rows, c int) // Σ g and Σ g·(x-mean), g = dy·gamma
	rowStandardise func(y, x, gamma, beta, mean, scale []float32, rows, c int)            // y = (x-mean)·scale·gamma + beta
	rowScale       func(y, x, gamma, scale []float32, rows, c int)                        // y = x·scale·gamma
	rowMul         func(y, x, g []float32, rows, c int)                                   // y = x·g
	rowSlope       func(dx, dy, x, gamma, mean, u, v, w []float32, rows, c int)           // dx = u·dy·gamma + v·(x-mean) + w
	rowMix         func(y, a, b, u, v []float32, rows, c int)                             // y = u·a + v·b

	// Sums over the rows of [rows,c]; sums has room for padded(c).
	addRows   func(sums []float64, x []float32, rows, c int)
	weighRows func(sums []float64, x, weight []float32, rows, c int)
	mulRows   func(sums []float64, a, b []float32, rows, c int)
	normRows  func(sums []float64, dy, x, mean, scale []float32, rows, c int) // of dy·((x-mean)·scale)

	gateStep  func(h, y, q, kv, a []float32) // h = sigmoid(a)·h + kv, y = q·h
	gateBack  func(carry, dq, dkv, da, dy, q, a, before []float32)
	geglu     func(y, u, g []float32)
	gegluGrad func(du, dg, dy, u, g []float32)

	quads, quadsBack   func(a, b, c, d, px []float32, stride int) // of Shuffle
	thirds, thirdsBack func(wide, deep []float32, n, f int)

	lossSum   [2]func(x, target, weight []float32, overshoot float32) float64 // by LossKind
	lossSlope [2]func(dx, x, target, weight []float32, overshoot float32)
}

// vec are the inner loops of the backend's instruction set.
func (c *CPU) vec() *vectors { return isaVectors[c.isa] }

// padded is a number of columns rounded up to whole vectors.
func padded(c int) int { return (c + 15) / 16 * 16 }

var plainVectors = vectors{
	act:  [activations]func(dst, x []float32){None: plainCopy, ELU: plainELU, SiLU: plainSiLU, LeakyReLU: plainLeaky, Sigmoid: plainSigmoid, Tanh: plainTanh, GELU: plainGELU, SoftClamp: plainSoftClamp, ReLU: plainReLU, LeakyReLU5: plainLeaky5},
	grad: [activations]func(dst, dy, s []float32){None: plainCopyGrad, ELU: plainELUGrad, SiLU: plainSiLUGrad, LeakyReLU: plainLeakyGrad, Sigmoid: plainSigmoidGrad, Tanh: plainTanhGrad, GELU: plainGELUGrad, SoftClamp: plainSoftClampGrad, ReLU: plainReLUGrad, LeakyReLU5: plainLeaky5Grad},
	add:  plainAdd, mulAdd: plainMulAdd, affine: plainAffine, axpy: plainAxpy, adam: plainAdam, adamAlone: plainAdamAlone,
	sum: plainSum, squares: plainSquares, dot: plainDot, greatest: plainGreatest, exps: plainExps,
	softmaxColumns: plainSoftmaxColumns, transposed: plainTransposed, weights: plainWeights,
	rowSums: plainRowSums, rowSquares: plainRowSquares, rowDots: plainRowDots, rowPairs: plainRowPairs, rowAlong: plainRowAlong,
	rowStandardise: plainRowStandardise, rowScale: plainRowScale, rowMul: plainRowMul, rowSlope: plainRowSlope, rowMix: plainRowMix,
	addRows: plainAddRows, weighRows: plainWeighRows, mulRows: plainMulRows, normRows: plainNormRows,
	gateStep: plainGateStep, gateBack: plainGateBack, geglu: plainGEGLU, gegluGrad: plainGEGLUGrad,
	quads: plainQuads, quadsBack: plainQuadsBack, thirds: plainThirds, thirdsBack: plainThirdsBack,
	lossSum:   [2]func(x, target, weight []float32, overshoot float32) float64{MSE: plainSquareError, L1: plainAbsoluteError},
	lossSlope: [2]func(dx, x, target, weight []float32, overshoot float32){MSE: plainSquareErrorSlope, L1: plainAbsoluteErrorSlope},
}
