package kernels

type embeddingArgs struct {
	Y, IDs, Table    Operand
	N, Ids, Vocab, C int
}

func (s Embedding) cuda(p *Launches) {
	p.elementwise(p.typed("embedding"), s.Rows*s.C, embeddingArgs{p.arg("y"), p.arg("ids"), p.arg("table"), s.Rows * s.C, s.Ids, s.Vocab, s.C})
}

type embeddingGradArgs struct {
	DTable, DY, IDs         Operand
	N, Ids, Vocab, C, Chunk int
}

func (s EmbeddingGrad) cuda(p *Launches) {
	n, size := s.Rows*s.Ids, s.Vocab*s.C
	splits, chunk := splitK(n, s.Vocab, 2*threads)
	partials := p.partials(p.arg("dtable"), splits, size)
	p.add(p.typed("embedding_grad"), grid2D(s.Vocab, splits), grid1D(threads), embeddingGradArgs{partials, p.arg("dy"), p.arg("ids"), n, s.Ids, s.Vocab, s.C, chunk})
	p.addPartials(p.arg("dtable"), partials, splits, splits, size)
}
