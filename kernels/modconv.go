package kernels

import "fmt"

// ModConv is a convolution without bias whose weights differ from sample to sample.
// Act works as in Conv; Residual must be unset.
// Arguments: y [N,T',H',W',O]; x [N,T,H,W,C], w [N,O,KT,KH,KW,C].
type ModConv struct{ Conv }

// ModConvGradX is the gradient of ModConv with respect to x, as ConvGradX is that
// of Conv. Act and Residual must be unset.
// Arguments: dx [N,T,H,W,C]; dy [N,T',H',W',O], w [N,O,KT,KH,KW,C].
type ModConvGradX struct{ Conv }

// ModConvGradW is the gradient of ModConv with respect to w, as ConvGradW is that
// of Conv. Act and Residual must be unset.
// Arguments: dw [N,O,KT,KH,KW,C]; dy [N,T',H',W',O], x [N,T,H,W,C].
type ModConvGradW struct{ Conv }

// sample is the convolution of one sample.
func (s Conv) sample() Conv {
	s.N = 1
	return s
}

func (s Conv) modulated() error {
	if s.Residual {
		return fmt.Errorf("Residual is set; a modulated convolution takes none")
	}
	if err := s.Validate(); err != nil {
		return err
	}
	return positive([]string{"N", "O", "KT", "KH", "KW", "C"}, s.N, s.O, s.KT, s.KH, s.KW, s.C)
}

// plain says what a gradient needs.
func (s Conv) plain() error {
	if s.Act != None {
		return fmt.Errorf("Act is %v, want 0 (None): use an activation gradient of its own", s.Act)
	}
	return s.modulated()
}

func (s Conv) weightsOfSamples() []int { return append([]int{s.N}, s.wShape()...) }

func (s ModConv) Validate() error      { return s.modulated() }
func (s ModConvGradX) Validate() error { return s.plain() }
func (s ModConvGradW) Validate() error { return s.plain() }

func (s ModConv) Args() []Arg {
	return []Arg{either(out("y", s.yShape()...)), factor(either(in("x", s.xShape()...))), factor(in("w", s.weightsOfSamples()...))}
}

func (s ModConvGradX) Args() []Arg {
	return []Arg{either(out("dx", s.xShape()...)), factor(either(in("dy", s.yShape()...))), factor(in("w", s.weightsOfSamples()...))}
}

func (s ModConvGradW) Args() []Arg {
	return []Arg{out("dw", s.weightsOfSamples()...), factor(either(in("dy", s.yShape()...))), factor(either(in("x", s.xShape()...)))}
}

func (s ModConv) Grads() []Grad {
	if s.Act != None {
		return nil
	}
	return []Grad{grad("x", ModConvGradX{s.Conv}, "dy", "w"), grad("w", ModConvGradW{s.Conv}, "dy", "x")}
}

func (s ModConv) Define(args ...[]float32) {
	part, noBias := make([][]float32, len(args)), make([]float32, s.O)
	for n := range s.N {
		sampleOf(part, args, s.N, n)
		s.sample().Define(part[0], part[1], part[2], noBias)
	}
}

func (s ModConvGradX) Grads() []Grad {
	return []Grad{grad("dy", ModConv(s), "ddx", "w"), grad("w", ModConvGradW(s), "dy", "ddx")}
}

func (s ModConvGradX) Define(args ...[]float32) { bySample(s.N, ConvGradX{s.sample()}, args) }
func (s ModConvGradW) Grads() []Grad            { return nil }

func (s ModConvGradW) Define(args ...[]float32) { bySample(s.N, ConvGradW{s.sample()}, args) }

func (s ModConv) cpu(c *CPU) []stage      { return stagesBySample(c, s.N, s.sample(), make([]float32, s.O)) }
func (s ModConvGradX) cpu(c *CPU) []stage { return stagesBySample(c, s.N, ConvGradX{s.sample()}) }
func (s ModConvGradW) cpu(c *CPU) []stage { return stagesBySample(c, s.N, ConvGradW{s.sample()}) }
