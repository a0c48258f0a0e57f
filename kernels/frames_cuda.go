package kernels

type padFrontArgs struct {
	Y, X         Operand
	N, Pad, Clip int
}

func (s PadFront) cuda(p *Launches) {
	kernel, size := p.frames("pad_front", s.Inner)
	n := s.N * (s.P + s.T) * size
	p.elementwise(kernel, n, padFrontArgs{p.arg("y"), p.arg("x"), n, s.P * size, s.T * size})
}

func (s CropFront) cuda(p *Launches) {
	kernel, size := p.frames("crop_front", s.Inner)
	n := s.N * s.T * size
	p.elementwise(kernel, n, padFrontArgs{p.arg("y"), p.arg("x"), n, s.P * size, s.T * size})
}

type concatTimeArgs struct {
	Y, A, B   Operand
	N, LA, LB int
}

func (s ConcatTime) cuda(p *Launches) {
	kernel, size := p.frames("concat_time", s.Inner)
	n := s.N * (s.TA + s.TB) * size
	p.elementwise(kernel, n, concatTimeArgs{p.arg("y"), p.arg("a"), p.arg("b"), n, s.TA * size, s.TB * size})
}

type sliceTimeArgs struct {
	Y, X               Operand
	N, Clip, From, Len int
}

func (s SliceTime) cuda(p *Launches) {
	kernel, size := p.frames("slice_time", s.Inner)
	n := s.N * (s.To - s.From) * size
	p.elementwise(kernel, n, sliceTimeArgs{p.arg("y"), p.arg("x"), n, s.T * size, s.From * size, (s.To - s.From) * size})
}

type sliceTimeGradArgs struct {
	DX, DY             Operand
	N, Clip, From, Len int
}

func (s SliceTimeGrad) cuda(p *Launches) {
	kernel, size := p.frames("slice_time_grad", s.Inner)
	n := s.N * s.T * size
	p.elementwise(kernel, n, sliceTimeGradArgs{p.arg("dx"), p.arg("dy"), n, s.T * size, s.From * size, (s.To - s.From) * size})
}

// frames is the kernel that moves whole frames of inner values, and the size of a frame in
// what it moves: 16 bytes at once where these never hold values of two frames, else
// single values.
func (p *Launches) frames(kernel string, inner int) (name string, size int) {
	wide := 4
	if p.bf16 {
		wide = 8
	}
	if inner%wide == 0 {
		return kernel + "_wide", inner / wide
	}
	return p.typed(kernel), inner
}
