package kernels

type fillArgs struct {
	Y     Operand
	N     int
	Value float32
}

type codeCountsArgs struct {
	Counts, Idx Operand
	Tokens      int
	Codes       float32
}

func (s CodeCounts) cuda(p *Launches) {
	p.elementwise8("fill", s.Codes, fillArgs{p.arg("counts"), s.Codes, 0})
	p.elementwise("code_counts", s.Tokens, codeCountsArgs{p.arg("counts"), p.arg("idx"), s.Tokens, float32(s.Codes)})
}
