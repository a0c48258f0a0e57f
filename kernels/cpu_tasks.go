package kernels

// block is the usual number of values of one task of a pointwise kernel.
const block = 1 << 14

// ceilDiv is n/size rounded up: the number of tasks of size values each that n values make.
func ceilDiv(n, size int) int { return (n + size - 1) / size }

// span is the range of values of task t, of n values in tasks of size values.
func span(t, n, size int) (from, to int) { return t * size, min((t+1)*size, n) }

// rowsPerTask is the number of rows of c values in a task of about block values.
func rowsPerTask(c int) int { return max(block/c, 1) }

// pointwise splits n values into tasks; do gets a range of values.
func pointwise(n int, do func(args [][]float32, from, to int)) []stage {
	return []stage{{ceilDiv(n, block), func(args [][]float32, t, _ int) {
		from, to := span(t, n, block)
		do(args, from, to)
	}}}
}

// rowwise splits rows of c values into tasks; do gets a range of rows.
func rowwise(rows, c int, do func(args [][]float32, from, to int)) []stage {
	per := rowsPerTask(c)
	return []stage{{ceilDiv(rows, per), func(args [][]float32, t, _ int) {
		from, to := span(t, rows, per)
		do(args, from, to)
	}}}
}

// carve takes the first n values off scratch and returns them.
func carve(scratch *[]float32, n int) []float32 {
	s := (*scratch)[:n]
	*scratch = (*scratch)[n:]
	return s
}

// oddLines is a row length of at least n values, an odd multiple of 64 bytes: rows of a
// power of two would map to the same sets of a cache.
func oddLines(n int) int { return (n+31)/32*32 + 16 }
