package kernels

import "fmt"

// ConvKernels says which kernels a CPU in float32 may run convolutions by.
type ConvKernels int

const (
	// AutoKernels takes for each Spec the kernels that a cost model says are the fastest:
	// direct sums, Fourier transforms, or Winograd's minimal filtering, whose squared relative
	// error is up to 5e-12.
	AutoKernels ConvKernels = iota
	// ExactKernels takes direct sums, whose squared relative error is below 1e-12.
	ExactKernels
	// winograd2 and winograd4 take F(2×2,3×3) and F(4×4,3×3) wherever they are possible.
	winograd2
	winograd4
	// fourierOnly takes Fourier transforms wherever they are possible.
	fourierOnly
)

func (k ConvKernels) String() string {
	if k == ExactKernels {
		return "exact"
	}
	return "auto"
}

// ParseConvKernels is the inverse of String.
func ParseConvKernels(s string) (ConvKernels, error) {
	for _, k := range []ConvKernels{AutoKernels, ExactKernels} {
		if s == k.String() {
			return k, nil
		}
	}
	return 0, fmt.Errorf("kernels %q: want auto or exact", s)
}

// UseConvKernels chooses the kernels of the Specs that are prepared from then on.
func (c *CPU) UseConvKernels(k ConvKernels) { c.conv = k }

// FormOf is the algorithm by which the backend runs a convolution or a gradient of one,
// in words; empty for other Specs.
func (c *CPU) FormOf(s Spec) string {
	if _, ok := convOf(s); !ok {
		return ""
	}
	if f := c.winograd(s); f != nil {
		return fmt.Sprintf("winograd F(%d×%d,3×3)", f.m, f.m)
	}
	if h, w, ok := c.fourier(s); ok {
		return fmt.Sprintf("fourier %d×%d", h.l, w.l)
	}
	if c.directIn(s) == BF16 {
		return "direct in bf16"
	}
	return "direct"
}

// Work is the operations of direct sums in float32 that take as long as the backend's kernel of a
// Spec: by the cost models of Winograd's filtering, of Fourier transforms and of bfloat16, or FLOPs.
func (c *CPU) Work(spec Spec) int64 {
	s, ok := convOf(spec)
	if !ok {
		return spec.FLOPs()
	}
	if f := c.winograd(spec); f != nil {
		if s.O < 16 {
			s.O = isaTiles[c.isa].pad(s.O)
		}
		_, gradW := spec.(ConvGradW)
		return int64(2 * s.winogradCost(f.m, gradW))
	}
	if height, width, ok := c.fourier(spec); ok {
		return int64(2 * fourierRate * s.fourierCost(height, width))
	}
	if c.directIn(spec) == BF16 {
		return int64(c.productCost() * float64(spec.FLOPs()))
	}
	return spec.FLOPs()
}

// convOf is the convolution of a Spec that is one, or a gradient of one.
func convOf(s Spec) (Conv, bool) {
	switch s := s.(type) {
	case Conv:
		return s, true
	case ConvGradX:
		return s.Conv, true
	case ConvGradW:
		return s.Conv, true
	}
	return Conv{}, false
}

// winograd is the form of Winograd's filtering to run a convolution or a gradient of one
// by; nil: direct sums.
func (c *CPU) winograd(spec Spec) *winogradForm {
	s, ok := convOf(spec)
	if !ok || c.conv == ExactKernels || s.KH != 3 || s.KW != 3 || s.ST != 1 || s.SH != 1 || s.SW != 1 || s.C < 32 || s.C%16 != 0 {
		return nil
	}
	if s.O < 32 || s.O%16 != 0 {
		// Few output channels are a panel that is not full, without what follows a sum.
		if _, forward := spec.(Conv); !forward || s.O >= 16 || s.Act != None || s.Residual {
			return nil
		}
		s.O = isaTiles[c.isa].pad(s.O)
	}
	forms := isaWinograd[c.isa]
	switch c.conv {
	case winograd2:
		return &forms[0]
	case winograd4:
		return &forms[1]
	}
	_, gradW := spec.(ConvGradW)
	best, least := (*winogradForm)(nil), c.directCost(s, gradW)
	for i := range forms {
		if cost := s.winogradCost(forms[i].m, gradW); cost < least {
			best, least = &forms[i], cost
		}
	}
	return best
}

// The cost model counts multiply-adds. A value of the transform domain costs as much as the
// multiply-adds below to transform, mostly because these values leave L1, and one of the weights
// to pack for direct sums; measured with AVX-512 on a Zen 5 for 48 to 512 channels.
const (
	winogradPixelCost  = 30 // of V, M and Y
	winogradWeightCost = 20 // of U
	winogradGradCost   = 10 // of M, from which gradients of weights are made once a block
	directWeightCost   = 15

	// Of the 9 gradients of a pair of channels and a frame of the kernel, whatever the size of the picture: they, and M, leave
	// the caches. Measured with 96 to 512 channels on 4×4 to 16×16 pixels of 1 to 8 clips: the choice is within 22 % of the
	// fastest kernel, 2 % in the mean.
	winogradGradsCost = 300
)

// tapsInTime is how many pairs of a result frame and a tap on a frame of the input a clip
// has.
func (s Conv) tapsInTime() int {
	n := 0
	t, _, _ := s.Out()
	for i := range s.KT {
		first := i*s.DT - s.PT // frame that result frame 0 reads
		n += max(0, min(t, s.T-first)-max(0, -first))
	}
	return n
}

// directCost is that of direct sums. Gathered rows have the frames, too, that are not there.
func (c *CPU) directCost(s Conv, gradW bool) float64 {
	frames, h, w := s.Out()
	taps, pack := s.tapsInTime(), 0
	if !gradW {
		pack = directWeightCost * s.KT
		if !inLines(c.tilesIn(c.prec), h, w) {
			taps = frames * s.KT
		}
	}
	return (c.productCost()*float64(s.N*taps*h*w) + float64(pack)) * float64(9*s.C*s.O)
}

// productCost is the time of a multiply-add of direct sums relative to one in float32: half
// of it in bfloat16, and the operands are rounded first.
func (c *CPU) productCost() float64 {
	if c.prec == BF16 {
		return .55
	}
	return 1
}

// pointChannels is how many channels the sum of a pixel's product has at least that is faster
// in bfloat16 than in float32: to round its operands takes as long as fewer of them.
const pointChannels = 128

// directIn is what direct sums of a convolution or a gradient of one are computed in.
func (c *CPU) directIn(spec Spec) Precision {
	s, _ := convOf(spec)
	if source := s.outputs(); c.prec == F32 || c.conv == ExactKernels || !source.plain() {
		return c.prec
	}
	sum := s.C
	switch spec.(type) {
	case ConvGradX:
		sum = s.O
	case ConvGradW:
		sum = min(s.C, s.O)
	}
	if sum < pointChannels {
		return F32
	}
	return c.prec
}

// PrecisionFor is what the products of a Spec are computed in: where the backend is in BF16 and
// float32 is as fast, by the cost models or as few channels are added up, in float32. With exact
// kernels it is the backend's precision.
func (c *CPU) PrecisionFor(s Spec) Precision {
	switch k := s.(type) {
	case ConvGEGLU:
		s = k.Conv
	case ConvGradGEGLU:
		return c.directIn(ConvGradX(k))
	case ConvGradShuffle:
		return c.directIn(k.gradX())
	case ConvGradWB:
		s = ConvGradW(k)
	case ModConv:
		s = k.sample()
	case ModConvGradX:
		s = ConvGradX{k.sample()}
	case ModConvGradW:
		s = ConvGradW{k.sample()}
	}
	if _, ok := convOf(s); !ok {
		return c.prec
	}
	if _, _, fourier := c.fourier(s); fourier || c.winograd(s) != nil {
		return F32
	}
	return c.directIn(s)
}

// winogradCost is that of F(m×m,3×3): the products, the transforms of all tiles, and
// those of weights.
func (s Conv) winogradCost(m int, gradW bool) float64 {
	t, h, w := s.Out()
	planes, tiles := (m+2)*(m+2), s.N*ceilDiv(h, m)*ceilDiv(w, m)
	groups := 1
	if !gradW {
		groups = ceilDiv(planes*s.KT*s.C*s.O, maxWinogradU) // each transforms the source
	}
	cost := float64(planes*tiles) * (float64(s.tapsInTime())*float64(s.C*s.O) + winogradPixelCost*float64(groups*s.T*s.C+t*s.O))
	weights := float64(planes*s.KT) * float64(s.C*s.O)
	if gradW {
		return cost + winogradGradCost*weights*float64(ceilDiv(tiles*t, winogradGradRows)) + winogradGradsCost*float64(s.KT*s.C*s.O)
	}
	return cost + winogradWeightCost*weights
}
