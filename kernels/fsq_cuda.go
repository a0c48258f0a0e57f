package kernels

type fsqLevels struct{ Count [8]int }

type fsqQuantizeArgs struct {
	Q, Z    Operand
	N, Dims int
	Levels  fsqLevels
}

func (s FSQQuantize) cuda(p *Launches) {
	n := s.Tokens * s.Books * s.Dims
	p.elementwise("fsq_quantize", n, fsqQuantizeArgs{p.arg("q"), p.arg("z"), n, s.Dims, fsqLevels{s.Levels}})
}

type fsqGradArgs struct {
	DZ, DQ, Z Operand
	N, Dims   int
	Levels    fsqLevels
}

func (s FSQGrad) cuda(p *Launches) {
	n := s.Tokens * s.Books * s.Dims
	p.elementwise("fsq_grad", n, fsqGradArgs{p.arg("dz"), p.arg("dq"), p.arg("z"), n, s.Dims, fsqLevels{s.Levels}})
}

type fsqIndexArgs struct {
	Idx, Z      Operand
	Codes, Dims int
	Levels      fsqLevels
}

func (s FSQIndex) cuda(p *Launches) {
	n := s.Tokens * s.Books
	p.elementwise("fsq_index", n, fsqIndexArgs{p.arg("idx"), p.arg("z"), n, s.Dims, fsqLevels{s.Levels}})
}

type fsqValuesArgs struct {
	Q, Idx      Operand
	Codes, Dims int
	Levels      fsqLevels
}

func (s FSQValues) cuda(p *Launches) {
	n := s.Tokens * s.Books
	p.elementwise("fsq_values", n, fsqValuesArgs{p.arg("q"), p.arg("idx"), n, s.Dims, fsqLevels{s.Levels}})
}
