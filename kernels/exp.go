package kernels

import "math"

// exp32 is exp(x) to 1e-7 relative.
//
// x = k·ln 2 + r with |r| <= ln(2)/2; exp(r) is a polynomial of degree 7
// (Cephes expf), 2^k goes straight into the exponent bits.
func exp32(x float32) float32 {
	if !(x > -87 && x < 88) {
		return float32(math.Exp(float64(x)))
	}
	p, scale := expParts(x)
	return scale*p + scale
}

// expm132 is exp(x)-1, without the loss of digits near 0.
func expm132(x float32) float32 {
	if !(x > -87 && x < 88) {
		return float32(math.Expm1(float64(x)))
	}
	p, scale := expParts(x)
	return scale*p + (scale - 1)
}

// expParts gives exp(x) as scale·(1+p), for -87 < x < 88.
func expParts(x float32) (p, scale float32) {
	const round = 3 << 22 // adding it leaves no bits for the fraction
	k := float32(x*math.Log2E+round) - round
	r := x - k*0.693359375
	r += k * 2.12194440e-4 // ln 2 in two pieces: k times the first is exact
	q := float32(1.9875691500e-4)
	q = q*r + 1.3981999507e-3
	q = q*r + 8.3334519073e-3
	q = q*r + 4.1665795894e-2
	q = q*r + 1.6666665459e-1
	q = q*r + 5.0000001201e-1
	return q*r*r + r, math.Float32frombits(uint32(int32(k)+127) << 23)
}

func sigmoid32(x float32) float32 { return 1 / (1 + exp32(-x)) }

func tanh32(x float32) float32 {
	e := expm132(2 * min(max(x, -10), 10)) // tanh(10) rounds to 1
	return e / (e + 2)
}

// normal32 is the normal distribution at x and its density, to 5e-7·(1+x²/8) relative:
// roundings of x² cost the exponential digits. With e = exp(-x²/2) and t = 1/(1+.3|x|),
// the distribution at -|x| is e·t·P(t), P fitted to 1.3e-7 for |x| < 13.
func normal32(x float32) (cdf, density float32) {
	e := exp32(-.5 * x * x)
	t := 1 / (1 + .3*max(x, -x))
	q := float32(.03603845137)
	q = q*t - .1587222031
	q = q*t + .2089787627
	q = q*t - .05610835922
	q = q*t + .1298497425
	q = q*t + .09952121977
	q = q*t + .1208171777
	q = q*t + .1196251475
	cdf = q * t * e // of -|x|
	if x > 0 {
		cdf = 1 - cdf
	}
	const root = 2.50662827463 // sqrt(2π)
	return cdf, e * (1 / root)
}
