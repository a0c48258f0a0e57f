package kernels

import "math"

const (
	// maxFourierFrames is about how many frames of the input a tile holds: two vectors.
	maxFourierFrames = 32
	// maxFourierLines bounds the values of Z, so that it stays in L2.
	maxFourierLines = 128 << 10
	// fourierRate is the time of an operation of the transforms and products relative to one
	// of direct sums; measured with AVX-512 on a Cascade Lake.
	fourierRate = 1.5
	// fourierGather is the multiply-adds of the time to copy a value of the input.
	fourierGather = 40
)

// fourier is the sizes of tiles for a convolution, or the gradient of one's weights, by
// Fourier transforms; false: another algorithm.
func (c *CPU) fourier(spec Spec) (height, width fourierAxis, ok bool) {
	s, isConv := convOf(spec)
	if _, gradX := spec.(ConvGradX); !isConv || gradX || c.conv == ExactKernels || s.KH < 5 || s.KW < 5 || s.C > 8 ||
		s.ST != 1 || s.SH != 1 || s.SW != 1 || s.DT != 1 || s.O%16 != 0 {
		return height, width, false
	}
	least := c.productCost() * float64(s.pixels()) * float64(s.taps()*s.O)
	if c.conv == fourierOnly {
		least = math.Inf(1)
	}
	// Lengths are even: m and k are not both even or odd.
	for m := 1 + s.KH%2; m <= maxFourierFrames; m += 2 {
		for n := 1 + s.KW%2; n <= maxFourierFrames; n += 2 {
			a, b := fourierAxis{s.KH, m, m + s.KH - 1}, fourierAxis{s.KW, n, n + s.KW - 1}
			if cost := fourierRate * s.fourierCost(a, b); cost < least {
				height, width, least, ok = a, b, cost, true
			}
		}
	}
	return height, width, ok
}

// fourierCost is the multiply-adds of a convolution by tiles of the given axes; those of
// the gradient of the weights are about as many. Too large tiles have an infinite cost.
func (s Conv) fourierCost(height, width fourierAxis) float64 {
	t, h, w := s.Out()
	perUnit, columns := s.fourierFrames()
	lh, mh, lw, mw, bins := float64(height.l), float64(height.m), float64(width.l), float64(width.m), float64(width.bins())
	if lines := 2 * width.bins() * height.m * oddLines(perUnit*32); lines > maxFourierLines {
		return math.Inf(1)
	}
	units := float64(s.N * ceilDiv(t, perUnit) * ceilDiv(h, height.m) * ceilDiv(w, width.m))
	frame := float64(s.C * columns)
	in := lh*lw*frame*(2*bins+fourierGather) + bins*3*lh*2*lh*frame
	out := float64(s.O*perUnit) * (bins*2*mh*2*lh + mh*mw*2*bins)
	products := float64(s.O*perUnit) * lh * bins * 2 * 2 * float64(s.C*s.KT)
	return units * (in + out + products)
}
