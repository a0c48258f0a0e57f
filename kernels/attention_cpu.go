package kernels

import "math"

//go:generate go run ./asm -part attention -out attention_amd64.s -stubs attention_amd64.go

// Queries are processed in blocks, with whole rows of logits: a multiple of the tiles' rows,
// and as many as keep a block's logits within L2.
const (
	queryBlock     = 48
	queryBlockStep = 12
	logitsInL2     = 1 << 16 // values
	keyBlock       = 128     // keys of a sum whose rows stay within L1
)

// attender computes attention of one sequence and head at a time, its arrays in the
// worker's scratch. Padding may hold anything: what comes of it is never read.
type attender struct {
	Attention
	tiles  tiles
	vec    *vectors
	scale  float32
	block  int // queries of a block
	keys   int // memory and tokens
	ldKeys int // keys padded to whole tiles
	ldDim  int // Dim padded to whole tiles
	zeros  []float32
}

// newAttender has blocks for a number of matrices of logits.
func newAttender(c *CPU, s Attention, matrices int) *attender {
	t := isaTiles[c.isa]
	a := &attender{Attention: s, tiles: t, vec: c.vec(), scale: float32(1 / math.Sqrt(float64(s.Dim))), keys: s.Memory + s.length()}
	a.ldKeys, a.ldDim = t.pad(a.keys), t.pad(s.Dim)
	fit := logitsInL2 / (matrices * a.ldKeys) / queryBlockStep * queryBlockStep
	a.block = min(max(fit, queryBlockStep), queryBlock, s.length())
	a.zeros = alignedFloats(max(a.ldKeys, a.ldDim))
	return a
}

// perTask is how many sequences make a task: short ones come together.
func (a *attender) perTask() int { return max(1, 256/a.length()) }

// columns copies the first n keys (part 1) or values (part 2), memory first, to be the
// columns of dst [Dim,ldKeys].
func (a *attender) columns(dst, qkv, mem []float32, part, seq, head, n int) {
	for j := range n {
		for d, v := range a.vector(qkv, mem, part, seq, head, j) {
			dst[d*a.ldKeys+j] = v
		}
	}
}

// rows copies all keys or values to be the rows of dst [keys,ldDim].
func (a *attender) rows(dst, qkv, mem []float32, part, seq, head int) {
	for j := range a.keys {
		copy(dst[j*a.ldDim:], a.vector(qkv, mem, part, seq, head, j))
	}
}

// vector is a query, key or value.
func (a *attender) vector(qkv, mem []float32, part, seq, head, j int) []float32 {
	if j < a.Memory {
		return mem[((part-1)*a.Heads+head)*a.Memory*a.Dim+j*a.Dim:][:a.Dim]
	}
	first, step := a.tokens(seq)
	return qkv[(first+(j-a.Memory)*step)*3*a.width()+part*a.width()+head*a.Dim:][:a.Dim]
}

// logits writes q_i·k_j of queries i0 to i1 and of the keys that the last of these sees to
// p [i1-i0,ldKeys], and returns the number of these keys; columns holds the keys.
func (a *attender) logits(p, qkv, columns []float32, seq, head, i0, i1 int) (keys int) {
	keys = a.seen(i1 - 1)
	q, stride := a.vectors(qkv, 3, 0, seq, head, i0)
	a.tiles.multiply(i1-i0, a.tiles.pad(keys), a.Dim, q, stride, 1, matrix{columns, a.ldKeys}, a.zeros, 0, p, a.ldKeys)
	return keys
}

// rowOf is the row of query i0+r in p [queries,ldKeys], cut to the keys that it sees. The
// others, up to keys and their padding, become 0.
func (a *attender) rowOf(p []float32, i0, r, keys int) []float32 {
	row, seen := p[r*a.ldKeys:][:a.tiles.pad(keys)], a.seen(i0+r)
	clear(row[seen:])
	return row[:seen]
}

// sumKeys writes Σ_j p_ij rows_j over keys j, of n queries i, to y [n,ldDim].
func (a *attender) sumKeys(y, p, rows []float32, n, keys int) {
	from, stride := a.zeros, 0
	for j := 0; j < keys; j += keyBlock {
		a.tiles.multiply(n, a.ldDim, min(keyBlock, keys-j), p[j:], a.ldKeys, 1, matrix{rows[j*a.ldDim:], a.ldDim}, from, stride, y, a.ldDim)
		from, stride = y, a.ldDim
	}
}

// vectors is where those of tokens i, i+1, ... start in x, whose rows hold as many
// parts, and how far apart they are.
func (a *attender) vectors(x []float32, parts, part, seq, head, i int) (at []float32, stride int) {
	first, step := a.tokens(seq)
	return x[(first+i*step)*parts*a.width()+part*a.width()+head*a.Dim:], step * parts * a.width()
}

// scatter copies rows [n,ldDim] to such places.
func (a *attender) scatter(x []float32, parts, part, seq, head, i, n int, rows []float32) {
	to, stride := a.vectors(x, parts, part, seq, head, i)
	for r := range n {
		copy(to[r*stride:][:a.Dim], rows[r*a.ldDim:])
	}
}

// each calls do for the sequences and the head of a task.
func (a *attender) each(task int, do func(seq, head int)) {
	from, to := span(task/a.Heads, a.sequences(), a.perTask())
	for seq := from; seq < to; seq++ {
		do(seq, task%a.Heads)
	}
}

func (a *attender) tasks() int { return ceilDiv(a.sequences(), a.perTask()) * a.Heads }

func (s Attention) cpu(c *CPU) []stage {
	a := newAttender(c, s, 1)
	c.reserve(s.Dim*a.ldKeys + a.keys*a.ldDim + a.block*(a.ldKeys+a.ldDim))
	return []stage{{a.tasks(), func(args [][]float32, task, worker int) {
		rest := c.scratch[worker]
		k, v := carve(&rest, s.Dim*a.ldKeys), carve(&rest, a.keys*a.ldDim)
		p, y := carve(&rest, a.block*a.ldKeys), carve(&rest, a.block*a.ldDim)
		var sums [queryBlock]float32
		a.each(task, func(seq, head int) {
			a.columns(k, args[1], s.mem(args, 2), 1, seq, head, a.keys)
			a.rows(v, args[1], s.mem(args, 2), 2, seq, head)
			for i := 0; i < a.length(); i += a.block {
				n := min(a.block, a.length()-i)
				a.weighted(y, p, args[1], k, v, sums[:], seq, head, i, n)
				a.scatter(args[0], 1, 0, seq, head, i, n, y)
			}
		})
	}}}
}

// weighted writes the results of n queries from i on to y [n,ldDim]: the exponentials of their
// logits to p [n,ldKeys], the sums of these to sums, which only the results are divided by.
func (a *attender) weighted(y, p, qkv, k, v, sums []float32, seq, head, i, n int) {
	keys := a.logits(p, qkv, k, seq, head, i, i+n)
	for r := range n {
		sums[r] = a.vec.expRow(a.rowOf(p, i, r, keys), a.scale)
	}
	a.sumKeys(y, p, v, n, keys)
	for r := range n {
		row := y[r*a.ldDim:][:a.Dim]
		a.vec.affine(row, row, 1/sums[r], 0)
	}
}

// attenderGrad has the arrays of the backward pass of one sequence and head.
type attenderGrad struct {
	*attender
	wanted int       // first keys and values whose gradients are asked for
	ld     int       // wanted padded to whole tiles
	k, v   []float32 // columns
	rows2  []float32 // rows of the keys, or of the values if only the memory is wanted
	p, ds  []float32 // [block,ldKeys]: exponentials of logits, gradients of logits
	dy     []float32 // [block,ldDim]: gradients divided by the sums of the exponentials
	dq     []float32 // [block,ldDim]: gradients of queries, or results
	dk, dv []float32 // columns [Dim,ld]
}

func (a *attender) reserveGrad(c *CPU, wanted int) {
	c.reserve(2*a.Dim*(a.ldKeys+a.tiles.pad(wanted)) + (a.keys+2*a.block)*a.ldDim + 2*a.block*a.ldKeys)
}

func (a *attender) grad(scratch []float32, wanted int) attenderGrad {
	ld := a.tiles.pad(wanted)
	return attenderGrad{
		attender: a, wanted: wanted, ld: ld,
		k: carve(&scratch, a.Dim*a.ldKeys), v: carve(&scratch, a.Dim*a.ldKeys),
		rows2: carve(&scratch, a.keys*a.ldDim),
		p:     carve(&scratch, a.block*a.ldKeys), ds: carve(&scratch, a.block*a.ldKeys),
		dy: carve(&scratch, a.block*a.ldDim), dq: carve(&scratch, a.block*a.ldDim),
		dk: carve(&scratch, a.Dim*ld), dv: carve(&scratch, a.Dim*ld),
	}
}

// start copies the columns of all keys and of the wanted values.
func (g *attenderGrad) start(qkv, mem []float32, seq, head int) {
	g.columns(g.k, qkv, mem, 1, seq, head, g.keys)
	g.columns(g.v, qkv, mem, 2, seq, head, g.wanted)
}

// slopes writes to ds [n,ldKeys] the products of dy_i, of n queries from i on, with the
// wanted values that they see.
func (g *attenderGrad) slopes(dy []float32, keys, seq, head, i, n int) {
	at, stride := g.vectors(dy, 1, 0, seq, head, i)
	g.tiles.multiply(n, g.tiles.pad(keys), g.Dim, at, stride, 1, matrix{g.v, g.ldKeys}, g.zeros, 0, g.ds, g.ldKeys)
}

// addKV adds what n queries from i on give to the gradients of keys and values; sums are those
// of their exponentials.
func (g *attenderGrad) addKV(dy, qkv []float32, sums []float32, keys, seq, head, i, n int) {
	from, stride := g.vectors(dy, 1, 0, seq, head, i)
	for r := range n {
		g.vec.affine(g.dy[r*g.ldDim:][:g.Dim], from[r*stride:], 1/sums[r], 0)
	}
	q, stride := g.vectors(qkv, 3, 0, seq, head, i)
	columns := g.tiles.pad(keys)
	g.tiles.multiply(g.Dim, columns, n, q, 1, stride, matrix{g.ds, g.ldKeys}, g.dk, g.ld, g.dk, g.ld)
	g.tiles.multiply(g.Dim, columns, n, g.dy, 1, g.ldDim, matrix{g.p, g.ldKeys}, g.dv, g.ld, g.dv, g.ld)
}

// writeColumns copies columns [Dim,ld] of the tokens' keys (part 1) or values (part 2) to dqkv.
func (g *attenderGrad) writeColumns(dqkv, columns []float32, part, seq, head int) {
	for j := range g.length() {
		for d, to := 0, g.vector(dqkv, nil, part, seq, head, g.Memory+j); d < len(to); d++ {
			to[d] = columns[d*g.ld+g.Memory+j]
		}
	}
}

// all writes the gradients of queries to dqkv, and those of all keys and values to dk and dv.
func (g *attenderGrad) all(dqkv, dy, qkv, mem []float32, seq, head int) {
	clear(g.dk)
	clear(g.dv)
	g.start(qkv, mem, seq, head)
	g.rows(g.rows2, qkv, mem, 1, seq, head)
	var sums [queryBlock]float32
	for i := 0; i < g.length(); i += g.block {
		n := min(g.block, g.length()-i)
		keys := g.logits(g.p, qkv, g.k, seq, head, i, i+n)
		g.slopes(dy, keys, seq, head, i, n)
		for r := range n {
			p, ds := g.rowOf(g.p, i, r, keys), g.rowOf(g.ds, i, r, keys)
			sum, dot := g.vec.expRowDot(p, ds, g.scale)
			g.vec.softmaxSlope(ds, p, dot/sum, g.scale/sum)
			sums[r] = sum
		}
		g.addKV(dy, qkv, sums[:], keys, seq, head, i, n)
		g.sumKeys(g.dq, g.ds, g.rows2, n, keys)
		g.scatter(dqkv, 3, 0, seq, head, i, n, g.dq)
	}
}

// memory adds the gradients of the memory's keys and values to dk and dv. The sum over all
// keys that their slopes need is dy_i·y_i, so that most keys' slopes are never computed.
func (g *attenderGrad) memory(dy, qkv, mem []float32, seq, head int) {
	g.start(qkv, mem, seq, head)
	g.rows(g.rows2, qkv, mem, 2, seq, head)
	var sums [queryBlock]float32
	for i := 0; i < g.length(); i += g.block {
		n := min(g.block, g.length()-i)
		g.weighted(g.dq, g.p, qkv, g.k, g.rows2, sums[:], seq, head, i, n)
		g.slopes(dy, g.Memory, seq, head, i, n)
		at, stride := g.vectors(dy, 1, 0, seq, head, i)
		for r := range n {
			mean := g.vec.dot(g.dq[r*g.ldDim:][:g.Dim], at[r*stride:])
			g.vec.softmaxSlope(g.ds[r*g.ldKeys:][:g.Memory], g.p[r*g.ldKeys:], float32(mean), g.scale/sums[r])
		}
		g.addKV(dy, qkv, sums[:], g.Memory, seq, head, i, n)
	}
}

func (s AttentionGrad) cpu(c *CPU) []stage {
	a := newAttender(c, s.Attention, 2)
	a.reserveGrad(c, a.keys)
	return []stage{{a.tasks(), func(args [][]float32, task, worker int) {
		g := a.grad(c.scratch[worker], a.keys)
		a.each(task, func(seq, head int) {
			g.all(args[0], args[1], args[2], s.mem(args, 3), seq, head)
			g.writeColumns(args[0], g.dk, 1, seq, head)
			g.writeColumns(args[0], g.dv, 2, seq, head)
		})
	}}}
}

func (s AttentionGradMem) cpu(c *CPU) []stage {
	a := newAttender(c, s.Attention, 2)
	a.reserveGrad(c, s.Memory)
	size := s.Memory * s.Dim // of the keys, or values, of a head
	parts := make([]float32, a.tasks()*2*size)
	return []stage{
		{a.tasks(), func(args [][]float32, task, worker int) {
			g := a.grad(c.scratch[worker], s.Memory)
			clear(g.dk)
			clear(g.dv)
			a.each(task, func(seq, head int) { g.memory(args[1], args[2], args[3], seq, head) })
			part := parts[task*2*size:][:2*size]
			for i := range size {
				at := i%s.Dim*g.ld + i/s.Dim
				part[i], part[size+i] = g.dk[at], g.dv[at]
			}
		}},
		{2 * s.Heads, func(args [][]float32, task, _ int) {
			kv, head := task/s.Heads, task%s.Heads
			for i := range size {
				sum := 0.
				for t := head; t < a.tasks(); t += s.Heads {
					sum += float64(parts[(2*t+kv)*size+i])
				}
				args[0][task*size+i] = float32(sum)
			}
		}},
	}
}
