package kernels

import "math"

// queries is how many rows of logits a worker holds at once: no more of the
// length×length matrix exists.
const queries = 32

// attender computes attention of one sequence and head at a time, its arrays in the
// worker's scratch. Padding may hold anything: what comes of it is never read.
type attender struct {
	Attention
	tiles  tiles
	vec    *vectors
	scale  float32
	keys   int // memory and tokens
	ldKeys int // keys padded to whole tiles
	ldDim  int // Dim padded to whole tiles
	zeros  []float32
}

func newAttender(c *CPU, s Attention) *attender {
	t := isaTiles[c.isa]
	a := &attender{Attention: s, tiles: t, vec: c.vec(), scale: float32(1 / math.Sqrt(float64(s.Dim))), keys: s.Memory + s.length()}
	a.ldKeys, a.ldDim = t.pad(a.keys), t.pad(s.Dim)
	a.zeros = alignedFloats(max(a.ldKeys, a.ldDim))
	return a
}

// perTask is how many sequences make a task: short ones come together.
func (a *attender) perTask() int { return max(1, 256/a.length()) }

// columns copies keys (part 1) or values (part 2), memory first, to be the columns
// of dst [Dim,ldKeys].
func (a *attender) columns(dst, qkv, mem []float32, part, seq, head int) {
	for j := range a.keys {
		for d, v := range a.vector(qkv, mem, part, seq, head, j) {
			dst[d*a.ldKeys+j] = v
		}
	}
}

// rows copies them to be the rows of dst [keys,ldDim].
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

// softmax writes the weights of queries i0 to i1 to p [i1-i0,ldKeys], zero where a
// query does not see; columns holds the keys.
func (a *attender) softmax(p, qkv, columns []float32, seq, head, i0, i1 int) {
	q, stride := a.vectors(qkv, 3, 0, seq, head, i0)
	a.tiles.multiply(i1-i0, a.ldKeys, a.Dim, q, stride, 1, matrix{columns, a.ldKeys}, a.zeros, 0, p, a.ldKeys)
	for i := i0; i < i1; i++ {
		row := p[(i-i0)*a.ldKeys:][:a.ldKeys]
		clear(row[a.seen(i):a.keys])
		row = row[:a.seen(i)]
		sum := a.vec.exps(row, row, a.vec.greatest(row), a.scale)
		a.vec.affine(row, row, float32(1/sum), 0)
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
	a := newAttender(c, s)
	c.reserve(s.Dim*a.ldKeys + a.keys*a.ldDim + queries*(a.ldKeys+a.ldDim))
	return []stage{{a.tasks(), func(args [][]float32, task, worker int) {
		rest := c.scratch[worker]
		k, v := carve(&rest, s.Dim*a.ldKeys), carve(&rest, a.keys*a.ldDim)
		p, y := carve(&rest, queries*a.ldKeys), carve(&rest, queries*a.ldDim)
		a.each(task, func(seq, head int) {
			a.columns(k, args[1], s.mem(args, 2), 1, seq, head)
			a.rows(v, args[1], s.mem(args, 2), 2, seq, head)
			for i := 0; i < a.length(); i += queries {
				n := min(queries, a.length()-i)
				a.softmax(p, args[1], k, seq, head, i, i+n)
				a.tiles.multiply(n, a.ldDim, a.keys, p, a.ldKeys, 1, matrix{v, a.ldDim}, a.zeros, 0, y, a.ldDim)
				a.scatter(args[0], 1, 0, seq, head, i, n, y)
			}
		})
	}}}
}

// attenderGrad has the arrays of the backward pass of one sequence and head.
type attenderGrad struct {
	*attender
	k, v   []float32 // columns
	rowsK  []float32 // rows
	p, ds  []float32 // [queries,ldKeys]: weights, gradients of logits
	q, dy  []float32 // [queries,ldDim]
	dq     []float32 // [queries,ldDim]
	dk, dv []float32 // [wanted,ldDim]
}

func (a *attender) reserveGrad(c *CPU, wanted int) {
	c.reserve(2*a.Dim*a.ldKeys + (a.keys+3*queries+2*wanted)*a.ldDim + 2*queries*a.ldKeys)
}

func (a *attender) grad(scratch []float32, wanted int) attenderGrad {
	return attenderGrad{
		attender: a,
		k:        carve(&scratch, a.Dim*a.ldKeys), v: carve(&scratch, a.Dim*a.ldKeys),
		rowsK: carve(&scratch, a.keys*a.ldDim),
		p:     carve(&scratch, queries*a.ldKeys), ds: carve(&scratch, queries*a.ldKeys),
		q: carve(&scratch, queries*a.ldDim), dy: carve(&scratch, queries*a.ldDim), dq: carve(&scratch, queries*a.ldDim),
		dk: carve(&scratch, wanted*a.ldDim), dv: carve(&scratch, wanted*a.ldDim),
	}
}

// run adds to dk and dv the gradients of the first wanted keys and values, and
// writes those of the queries to dqkv unless that is nil.
func (g *attenderGrad) run(dqkv, dy, qkv, mem []float32, seq, head, wanted int) {
	t := g.tiles
	g.columns(g.k, qkv, mem, 1, seq, head)
	g.columns(g.v, qkv, mem, 2, seq, head)
	if dqkv != nil {
		g.rows(g.rowsK, qkv, mem, 1, seq, head)
	}
	for i := 0; i < g.length(); i += queries {
		n := min(queries, g.length()-i)
		g.softmax(g.p, qkv, g.k, seq, head, i, i+n)
		at, stride := g.vectors(dy, 1, 0, seq, head, i)
		t.multiply(n, g.ldKeys, g.Dim, at, stride, 1, matrix{g.v, g.ldKeys}, g.zeros, 0, g.ds, g.ldKeys)
		for r := range n {
			copy(g.dy[r*g.ldDim:][:g.Dim], at[r*stride:])
			g.slopes(g.ds[r*g.ldKeys:][:g.keys], g.p[r*g.ldKeys:][:g.keys])
		}
		at, stride = g.vectors(qkv, 3, 0, seq, head, i)
		for r := range n {
			copy(g.q[r*g.ldDim:][:g.Dim], at[r*stride:])
		}
		t.multiply(wanted, g.ldDim, n, g.ds, 1, g.ldKeys, matrix{g.q, g.ldDim}, g.dk, g.ldDim, g.dk, g.ldDim)
		t.multiply(wanted, g.ldDim, n, g.p, 1, g.ldKeys, matrix{g.dy, g.ldDim}, g.dv, g.ldDim, g.dv, g.ldDim)
		if dqkv != nil {
			t.multiply(n, g.ldDim, g.keys, g.ds, g.ldKeys, 1, matrix{g.rowsK, g.ldDim}, g.zeros, 0, g.dq, g.ldDim)
			g.scatter(dqkv, 3, 0, seq, head, i, n, g.dq)
		}
	}
}

// slopes turns a row of da into ds.
func (g *attenderGrad) slopes(ds, p []float32) {
	g.vec.softmaxSlope(ds, p, float32(g.vec.dot(p, ds)), g.scale)
}

func (s AttentionGrad) cpu(c *CPU) []stage {
	a := newAttender(c, s.Attention)
	a.reserveGrad(c, a.keys)
	return []stage{{a.tasks(), func(args [][]float32, task, worker int) {
		g := a.grad(c.scratch[worker], a.keys)
		a.each(task, func(seq, head int) {
			clear(g.dk)
			clear(g.dv)
			g.run(args[0], args[1], args[2], s.mem(args, 3), seq, head, a.keys)
			a.scatter(args[0], 3, 1, seq, head, 0, a.length(), g.dk[a.Memory*a.ldDim:])
			a.scatter(args[0], 3, 2, seq, head, 0, a.length(), g.dv[a.Memory*a.ldDim:])
		})
	}}}
}

func (s AttentionGradMem) cpu(c *CPU) []stage {
	a := newAttender(c, s.Attention)
	a.reserveGrad(c, s.Memory)
	size := s.Memory * s.Dim // of the keys, or values, of a head
	parts := make([]float32, a.tasks()*2*size)
	return []stage{
		{a.tasks(), func(args [][]float32, task, worker int) {
			g := a.grad(c.scratch[worker], s.Memory)
			clear(g.dk)
			clear(g.dv)
			a.each(task, func(seq, head int) { g.run(nil, args[1], args[2], args[3], seq, head, s.Memory) })
			part := parts[task*2*size:][:2*size]
			for m := range s.Memory {
				copy(part[m*s.Dim:][:s.Dim], g.dk[m*a.ldDim:])
				copy(part[size+m*s.Dim:][:s.Dim], g.dv[m*a.ldDim:])
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
