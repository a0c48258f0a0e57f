package kernels

import "math"

//go:generate go run ./asm -part attention -out attention_amd64.s -stubs attention_amd64.go

// Queries are processed in blocks, and the keys of a block of queries in blocks too, so that the
// logits of both stay within L1. A block of keys is a multiple of the tiles' rows.
const (
	queryBlock = 64
	keyBlock   = 48
	weightRows = 12    // what the rows of vectors.weights are padded to
	lowest     = -1e30 // less than all logits
)

// attender computes attention of one sequence and head at a time. A query is a column of all of
// its matrices, a key a row, but for those that sums over queries read. What comes of columns
// that pad a block of queries, and of rows that pad a block of keys, is never read.
//
// Logits are those of exponentials to the base 2.
type attender struct {
	Attention
	tiles tiles
	vec   *vectors
	scale float32 // of a logit: log2(e)/sqrt(Dim)
	keys  int     // memory and tokens
	block int     // queries of a block, padded to whole tiles
	ldDim int     // Dim padded to whole tiles
	zeros []float32
}

func newAttender(c *CPU, s Attention) *attender {
	t := isaTiles[c.isa]
	a := &attender{Attention: s, tiles: t, vec: c.vec(), scale: float32(math.Log2E / math.Sqrt(float64(s.Dim))), keys: s.Memory + s.length()}
	a.block, a.ldDim = t.pad(min(queryBlock, s.length())), t.pad(s.Dim)
	a.zeros = alignedFloats(max(a.block, a.ldDim))
	return a
}

// perTask is how many sequences make a task: short ones come together.
func (a *attender) perTask() int { return max(1, 256/a.length()) }

func (a *attender) tasks() int { return ceilDiv(a.sequences(), a.perTask()) * a.Heads }

// each calls do for the sequences and the head of a task.
func (a *attender) each(task int, do func(seq, head int)) {
	from, to := span(task/a.Heads, a.sequences(), a.perTask())
	for seq := from; seq < to; seq++ {
		do(seq, task%a.Heads)
	}
}

// rows copies the first n keys (part 1) or values (part 2), memory first, to the rows of dst [n,Dim].
func (a *attender) rows(dst, qkv, mem []float32, part, seq, head, n int) {
	fixed := min(a.Memory, n)
	if fixed > 0 {
		copy(dst, mem[((part-1)*a.Heads+head)*a.Memory*a.Dim:][:fixed*a.Dim])
	}
	if fixed < n {
		from, stride := a.vectors(qkv, 3, part, seq, head, 0)
		for j := fixed; j < n; j++ {
			copy(dst[j*a.Dim:][:a.Dim], from[(j-fixed)*stride:])
		}
	}
}

// vectors is where those of tokens i, i+1, ... start in x, whose rows hold as many
// parts, and how far apart they are.
func (a *attender) vectors(x []float32, parts, part, seq, head, i int) (at []float32, stride int) {
	first, step := a.tokens(seq)
	return x[(first+i*step)*parts*a.width()+part*a.width()+head*a.Dim:], step * parts * a.width()
}

// logits writes rows·columns + from to p [m,ld], for m keys or values and the queries of a block.
func (a *attender) logits(p, rows, columns, from []float32, m, ld int) {
	a.tiles.multiply(m, ld, a.Dim, rows, a.Dim, 1, matrix{columns, ld}, from, 0, p, ld)
}

// hide writes v to the logits [m,ld] of keys j to j+m, stride apart, that queries from i on do not see.
func (a *attender) hide(p []float32, v float32, j, m, i, ld, stride int) {
	if !a.Causal {
		return
	}
	for r := max(0, a.seen(i)-j); r < m; r++ {
		row := p[r*stride:][:min(ld, j+r+1-a.seen(i))]
		for c := range row {
			row[c] = v
		}
	}
}

// forward has the arrays of attention's results.
type forward struct {
	*attender
	q, out []float32 // [Dim,block]: queries times scale, and results
	p      []float32 // [keyBlock,block]: logits, then their exponentials
	// [block], of each query: the greatest logit, the sum of the exponentials relative to it, and
	// what earlier ones are multiplied with.
	most, total, factor []float32
	k, v                []float32 // [keys,Dim]
}

func (a *attender) forwardSize() int {
	return (2*a.Dim+keyBlock+3)*a.block + 2*a.keys*a.Dim
}

func (a *attender) forward(scratch []float32) forward {
	f := forward{attender: a}
	f.q, f.out, f.p = carve(&scratch, a.Dim*a.block), carve(&scratch, a.Dim*a.block), carve(&scratch, keyBlock*a.block)
	f.most, f.total, f.factor = carve(&scratch, a.block), carve(&scratch, a.block), carve(&scratch, a.block)
	f.k, f.v = carve(&scratch, a.keys*a.Dim), carve(&scratch, a.keys*a.Dim)
	return f
}

// run writes the results of a sequence and head to y, whose rows are stride apart, and the natural
// logarithms of the sums of their exponentials to lse, step apart.
func (f *forward) run(y []float32, stride int, lse []float32, step int, qkv, mem []float32, seq, head int) {
	f.rows(f.k, qkv, mem, 1, seq, head, f.keys)
	f.rows(f.v, qkv, mem, 2, seq, head, f.keys)
	for i := 0; i < f.length(); i += f.block {
		n := min(f.block, f.length()-i)
		ld := f.tiles.pad(n)
		f.add(qkv, seq, head, i, n, ld)
		for r := range n {
			if lse != nil {
				lse[(i+r)*step] = float32((float64(f.most[r]) + math.Log2(float64(f.total[r]))) * math.Ln2)
			}
			f.total[r] = 1 / f.total[r]
		}
		f.vec.rowMul(f.out, f.out, f.total, f.Dim, ld)
		f.vec.transposed(y[i*stride:], stride, f.out, ld, f.Dim, n, 1)
	}
}

// add is the online softmax of n queries from i on. out becomes their results times total.
func (f *forward) add(qkv []float32, seq, head, i, n, ld int) {
	q, stride := f.vectors(qkv, 3, 0, seq, head, i)
	f.vec.transposed(f.q, ld, q, stride, n, f.Dim, f.scale)
	for r := range ld {
		f.most[r], f.total[r] = lowest, 0
	}
	from, ldFrom := f.zeros, 0
	for j, seen := 0, f.seen(i+n-1); j < seen; j += keyBlock {
		m := min(keyBlock, seen-j)
		f.logits(f.p, f.k[j*f.Dim:], f.q, f.zeros, m, ld)
		f.hide(f.p, lowest, j, m, i, ld, ld)
		f.vec.softmaxColumns(f.p, f.most, f.total, f.factor, m, ld)
		f.hide(f.p, 0, j, m, i, ld, ld)
		if j > 0 {
			f.vec.rowMul(f.out, f.out, f.factor, f.Dim, ld)
		}
		f.tiles.multiply(f.Dim, ld, m, f.v[j*f.Dim:], 1, f.Dim, matrix{f.p, ld}, from, ldFrom, f.out, ld)
		from, ldFrom = f.out, ld
	}
}

// backward has the arrays of attention's gradients.
type backward struct {
	*attender
	wanted        int       // first keys and values whose gradients are asked for
	q, dy, dq     []float32 // [Dim,block]: queries times scale, gradients of results and of queries
	p, ds         []float32 // [keyBlock,queryBlock]: logits, then softmax weights; gradients of logits
	lse, mean     []float32 // [block]: what logits, and gradients of weights, start from
	qRows, dyRows []float32 // [block,ldDim]: as q and dy
	dk, dv        []float32 // [wanted,ldDim]
	k, v          []float32 // [wanted,Dim], and rows that pad the last block
}

func (a *attender) backwardSize(wanted int) int {
	return (3*a.Dim+2+2*a.ldDim)*a.block + 2*keyBlock*queryBlock + 2*wanted*a.ldDim + 2*(wanted+weightRows)*a.Dim
}

func (a *attender) backward(scratch []float32, wanted int) backward {
	b := backward{attender: a, wanted: wanted}
	columns, rows, ks := a.Dim*a.block, a.block*a.ldDim, (wanted+weightRows)*a.Dim
	b.q, b.dy, b.dq = carve(&scratch, columns), carve(&scratch, columns), carve(&scratch, columns)
	b.p, b.ds = carve(&scratch, keyBlock*queryBlock), carve(&scratch, keyBlock*queryBlock)
	b.lse, b.mean = carve(&scratch, a.block), carve(&scratch, a.block)
	b.qRows, b.dyRows = carve(&scratch, rows), carve(&scratch, rows)
	b.dk, b.dv = carve(&scratch, wanted*a.ldDim), carve(&scratch, wanted*a.ldDim)
	b.k, b.v = carve(&scratch, ks), carve(&scratch, ks)
	return b
}

// add adds the gradients of the wanted keys and values of a sequence and head to dk, times log2(e), and dv,
// and writes those of the queries to dqkv, unless it is nil. y and lse are as of forward.
func (b *backward) add(dqkv, dy, qkv, mem, y []float32, strideY int, lse []float32, step, seq, head int) {
	b.rows(b.k, qkv, mem, 1, seq, head, b.wanted)
	b.rows(b.v, qkv, mem, 2, seq, head, b.wanted)
	for i := 0; i < b.length(); i += b.block {
		n := min(b.block, b.length()-i)
		ld := b.tiles.pad(n)
		b.queries(dy, qkv, y[i*strideY:], strideY, lse[i*step:], step, seq, head, i, n, ld)
		clear(b.dq[:b.Dim*ld])
		for j, seen := 0, min(b.wanted, b.seen(i+n-1)); j < seen; j += keyBlock {
			m := min(keyBlock, seen-j)
			b.vec.weights(b.p, b.ds, b.k[j*b.Dim:], b.v[j*b.Dim:], b.q, b.dy, b.lse, b.mean, m, b.Dim, ld)
			b.hide(b.p, 0, j, m, i, ld, queryBlock)
			b.hide(b.ds, 0, j, m, i, ld, queryBlock)
			b.sumQueries(b.dk[j*b.ldDim:], b.ds, b.qRows, m, n)
			b.sumQueries(b.dv[j*b.ldDim:], b.p, b.dyRows, m, n)
			if dqkv != nil {
				b.tiles.multiply(b.Dim, ld, m, b.k[j*b.Dim:], 1, b.Dim, matrix{b.ds, queryBlock}, b.dq, ld, b.dq, ld)
			}
		}
		if dqkv != nil {
			to, stride := b.vectors(dqkv, 3, 0, seq, head, i)
			b.vec.transposed(to, stride, b.dq, ld, b.Dim, n, b.scale*math.Ln2)
		}
	}
}

// queries copies n queries from i on, the gradients of their results, and what their logits and
// the gradients of their weights start from.
func (b *backward) queries(dy, qkv, y []float32, strideY int, lse []float32, step, seq, head, i, n, ld int) {
	q, strideQ := b.vectors(qkv, 3, 0, seq, head, i)
	g, strideG := b.vectors(dy, 1, 0, seq, head, i)
	b.vec.transposed(b.q, ld, q, strideQ, n, b.Dim, b.scale)
	b.vec.transposed(b.dy, ld, g, strideG, n, b.Dim, 1)
	for r := range n {
		b.lse[r] = -math.Log2E * lse[r*step]
		b.mean[r] = -float32(b.vec.dot(g[r*strideG:][:b.Dim], y[r*strideY:]))
		copy(b.dyRows[r*b.ldDim:][:b.Dim], g[r*strideG:])
		b.vec.affine(b.qRows[r*b.ldDim:][:b.Dim], q[r*strideQ:], b.scale, 0)
	}
}

// sumQueries adds Σ_i w_ji rows_i over n queries i to sums [m,ldDim].
func (b *backward) sumQueries(sums, w, rows []float32, m, n int) {
	whole := 0
	if b.ldDim == 16 && b.vec.querySums != nil && m >= weightRows {
		whole = m / weightRows * weightRows
		b.vec.querySums(&sums[0], &w[0], &rows[0], whole/weightRows, n)
	}
	if whole < m {
		sums, w = sums[whole*b.ldDim:], w[whole*queryBlock:]
		b.tiles.multiply(m-whole, b.ldDim, n, w, queryBlock, 1, matrix{rows, b.ldDim}, sums, b.ldDim, sums, b.ldDim)
	}
}

// writeTokens writes the gradients of the tokens' keys and values to dqkv.
func (b *backward) writeTokens(dqkv []float32, seq, head int) {
	dk, stride := b.vectors(dqkv, 3, 1, seq, head, 0)
	dv, _ := b.vectors(dqkv, 3, 2, seq, head, 0)
	for j := range b.length() {
		at := (b.Memory + j) * b.ldDim
		b.vec.affine(dk[j*stride:][:b.Dim], b.dk[at:], math.Ln2, 0)
		copy(dv[j*stride:][:b.Dim], b.dv[at:])
	}
}

// writeMemory writes the gradients of the memory's keys and values to part [2,Memory,Dim].
func (b *backward) writeMemory(part []float32) {
	for j := range b.Memory {
		b.vec.affine(part[j*b.Dim:][:b.Dim], b.dk[j*b.ldDim:], math.Ln2, 0)
		copy(part[(b.Memory+j)*b.Dim:][:b.Dim], b.dv[j*b.ldDim:])
	}
}

func (s Attention) cpu(c *CPU) []stage {
	return s.resultStages(c, func([][]float32) (lse []float32) { return nil }, 1)
}

func (s AttentionStats) cpu(c *CPU) []stage {
	return s.resultStages(c, func(args [][]float32) []float32 { return args[1] }, 2)
}

// resultStages are the stages of the results, with qkv as argument number at.
func (s Attention) resultStages(c *CPU, lse func(args [][]float32) []float32, at int) []stage {
	a := newAttender(c, s)
	c.reserve(a.forwardSize())
	return []stage{{a.tasks(), func(args [][]float32, task, worker int) {
		f := a.forward(c.scratch[worker])
		a.each(task, func(seq, head int) {
			y, stride := a.vectors(args[0], 1, 0, seq, head, 0)
			sums, step := a.statistics(lse(args), seq, head)
			f.run(y, stride, sums, step, args[at], s.mem(args, at+1), seq, head)
		})
	}}}
}

// statistics is where those of a sequence and head start in lse, and how far apart they are.
func (a *attender) statistics(lse []float32, seq, head int) (at []float32, stride int) {
	first, step := a.tokens(seq)
	if lse == nil {
		return nil, step
	}
	return lse[head*a.N*a.T*a.P+first:], step
}

// alone is a backward pass that computes the results first.
type alone struct {
	backward
	forward forward
	y, lse  []float32 // [length,Dim] and [length]
}

func (a *attender) alone(scratch []float32, wanted int) alone {
	y, lse := carve(&scratch, a.length()*a.Dim), carve(&scratch, a.length())
	f := a.forward(carve(&scratch, a.forwardSize()))
	return alone{backward: a.backward(scratch, wanted), forward: f, y: y, lse: lse}
}

// run is add of the results of a sequence and head.
func (b *alone) run(dqkv, dy, qkv, mem []float32, seq, head int) {
	b.forward.run(b.y, b.Dim, b.lse, 1, qkv, mem, seq, head)
	b.add(dqkv, dy, qkv, mem, b.y, b.Dim, b.lse, 1, seq, head)
}

func (a *attender) aloneSize(wanted int) int {
	return a.length()*(a.Dim+1) + a.forwardSize() + a.backwardSize(wanted)
}

func (s AttentionGrad) cpu(c *CPU) []stage {
	a := newAttender(c, s.Attention)
	c.reserve(a.aloneSize(a.keys))
	return []stage{{a.tasks(), func(args [][]float32, task, worker int) {
		b := a.alone(c.scratch[worker], a.keys)
		a.each(task, func(seq, head int) {
			clear(b.dk)
			clear(b.dv)
			b.run(args[0], args[1], args[2], s.mem(args, 3), seq, head)
			b.writeTokens(args[0], seq, head)
		})
	}}}
}

func (s AttentionGradMem) cpu(c *CPU) []stage {
	a := newAttender(c, s.Attention)
	c.reserve(a.aloneSize(s.Memory))
	parts := make([]float32, a.tasks()*2*s.Memory*s.Dim)
	return []stage{{a.tasks(), func(args [][]float32, task, worker int) {
		b := a.alone(c.scratch[worker], s.Memory)
		clear(b.dk)
		clear(b.dv)
		a.each(task, func(seq, head int) { b.run(nil, args[1], args[2], args[3], seq, head) })
		b.writeMemory(parts[task*2*s.Memory*s.Dim:])
	}}, a.sumMemory(parts, 0)}
}

func (s AttentionBackward) cpu(c *CPU) []stage {
	a := newAttender(c, s.Attention)
	c.reserve(a.backwardSize(a.keys))
	size, in := 2*s.Memory*s.Dim, 1+min(s.Memory, 1) // the first argument that is read
	parts := make([]float32, a.tasks()*size)
	stages := []stage{{a.tasks(), func(args [][]float32, task, worker int) {
		b := a.backward(c.scratch[worker], a.keys)
		dy, qkv, mem, y, lse := args[in], args[in+1], s.mem(args, in+2), args[len(args)-2], args[len(args)-1]
		clear(b.dk)
		clear(b.dv)
		a.each(task, func(seq, head int) {
			clear(b.dk[s.Memory*a.ldDim:]) // of the tokens; those of the memory are sums over the sequences
			clear(b.dv[s.Memory*a.ldDim:])
			from, stride := a.vectors(y, 1, 0, seq, head, 0)
			sums, step := a.statistics(lse, seq, head)
			b.add(args[0], dy, qkv, mem, from, stride, sums, step, seq, head)
			b.writeTokens(args[0], seq, head)
		})
		b.writeMemory(parts[task*size:])
	}}}
	if s.Memory > 0 {
		stages = append(stages, a.sumMemory(parts, 1))
	}
	return stages
}

// sumMemory adds the tasks' parts [2,Memory,Dim] to the gradient of the memory, argument number at.
func (a *attender) sumMemory(parts []float32, at int) stage {
	size := a.Memory * a.Dim // of the keys, or values, of a head
	return stage{2 * a.Heads, func(args [][]float32, task, _ int) {
		kv, head := task/a.Heads, task%a.Heads
		for i := range size {
			sum := 0.
			for t := head; t < a.tasks(); t += a.Heads {
				sum += float64(parts[(2*t+kv)*size+i])
			}
			args[at][task*size+i] = float32(sum)
		}
	}}
}
