package gpu

import (
	"slices"

	"magvit/kernels"
)

// Memory of a block, and what copies take.
const (
	allShared = 227 << 10            // bytes of shared memory
	ringSlack = 3 << 10              // of them, to start both rings at a kilobyte, behind a barrier
	staging   = 2 * 32 * 68 * 4      // of them, for results: CONSUMERS * STAGE of conv_sm90a.cu
	slab      = 2 * side << brickLog // values of a tile of results
	mostLines = 320                  // pixels of a brick and the lines around it, for which there is memory
	mostBox   = 256
	mostStep  = 8
)

// bricks are boxes of 2^n clips, 2^t frames, 2^h rows and 2^w columns.
type bricks struct{ n, t, h, w int }

func (b bricks) pixels() int { return 1 << (b.n + b.t + b.h + b.w) }

// taps is how many of the taps of a column of the kernel can read the same block: one
// line of the brick after the other.
func (b bricks) taps(lines int) int {
	if b.n > 0 || b.t > 0 || b.w < 3 || (1<<b.h+lines-1)<<b.w > mostLines {
		return 1
	}
	return lines
}

// count is how many cover the pixels.
func (b bricks) count(n, t, h, w int) int {
	return ceilDiv(n, 1<<b.n) * ceilDiv(t, 1<<b.t) * ceilDiv(h, 1<<b.h) * ceilDiv(w, 1<<b.w)
}

// bricksOf are boxes of 2^log pixels of which the fewest cover all; of these those whose
// blocks are the fewest copies for a column of so many taps; of these the most compact.
func bricksOf(log, n, t, h, w, lines int) (best bricks) {
	var least [3]int
	for i := 0; i <= log; i++ {
		for j := 0; i+j <= log; j++ {
			for k := 0; i+j+k <= log; k++ {
				b := bricks{log - i - j - k, k, j, i}
				taps := b.taps(lines)
				cost := [3]int{b.count(n, t, h, w), b.pixels() * lines, (1<<b.t + 2) * (1<<b.h + 2) * (1<<b.w + 2) << b.n}
				if taps > 1 {
					cost[1] = (1<<b.h + taps - 1) << b.w
				}
				if best == (bricks{}) || slices.Compare(cost[:], least[:]) < 0 {
					best, least = b, cost
				}
			}
		}
	}
	return best
}

// box is the side of a brick along each axis, with the lines that taps share and what
// strides leave out, and 64 channels.
func (c tensorConv) box() []uint32 {
	along := func(log, more, stride int) uint32 { return uint32((1<<log + more) * stride) }
	return []uint32{side, along(c.w.log, 0, c.w.stride), along(c.h.log, c.shared-1, c.h.stride), along(c.t.log, 0, c.t.stride), 1 << c.bricks.n}
}

// inputs and results are the sizes of a convolution's tensors, innermost axis first.
func inputs(s kernels.Conv) []int { return []int{s.C, s.W, s.H, s.T, s.N} }

func results(s kernels.Conv) []int {
	t, h, w := s.Out()
	return []int{s.O, w, h, t, s.N}
}

// boxes is the map of the boxes of pixels that c reads.
func (p *program) boxes(x operand, dims []int, c tensorConv) tensorMap {
	m := p.mapped(x, dims)
	m.box = c.box()
	if max(c.t.stride, c.h.stride, c.w.stride) > 1 {
		m.steps = []uint32{1, uint32(c.w.stride), uint32(c.h.stride), uint32(c.t.stride), 1}
	}
	return m
}

// weights is the map of tiles of weights, of one tap.
func (p *program) weights(s kernels.Conv) tensorMap {
	m := p.mapped(arg(2), []int{s.C, s.KW, s.KH, s.KT, s.O})
	m.box = []uint32{side, 1, 1, 1, side}
	return m
}

// mapped rounds a tensor to bfloat16, innermost axis first and filled up to whole chunks
// of channels, and gives a map of it without a box. The map has whole chunks too: copies
// then need not cut off within 16 bytes.
func (p *program) mapped(x operand, dims []int) tensorMap {
	rows := 1
	for _, d := range dims[1:] {
		rows *= d
	}
	m := tensorMap{operand: p.pack(x, rows, dims[0]), values: bf16Values, swizzle: swizzle128}
	channels := uint64(ceilDiv(dims[0], chunk) * chunk)
	m.dims = []uint64{channels}
	for i, bytes := 1, 2*channels; i < len(dims); i++ {
		m.dims, m.strides = append(m.dims, uint64(dims[i])), append(m.strides, bytes)
		bytes *= uint64(dims[i])
	}
	return m
}

// ring is stages in shared memory with two barriers each.
type ring struct{ stages, bytes int }

func (r ring) size() int { return r.stages * (r.bytes + 16) }

// fit is a ring of as many stages as there is memory for, but not more than most.
func fit(free, bytes, most int) ring { return ring{min(most, free/(bytes+16)), bytes} }

// rings are those of tiles of the first factor and of blocks of the second one.
type rings struct{ a, b ring }

// size is all shared memory of a block.
func (r rings) size(staging int) int { return ringSlack + staging + r.a.size() + r.b.size() }

// ringsOfBricks leave room for results. A stage of tiles is a step, one of blocks as many
// as taps share it.
func ringsOfBricks(c tensorConv) rings {
	const free = allShared - ringSlack - staging
	block := 4*tile + (c.shared-1)<<c.w.log*2*side
	a, b := tile, ring{2, 2 * block}
	if c.wide {
		a, b = 2*tile, ring{3, block}
	}
	if c.wide && c.shared == 1 {
		b.stages = 4
	}
	return rings{fit(free-b.size(), a, min(6, b.stages*c.shared)), b}
}

// ringsOfSum are those of the gradient of weights.
func ringsOfSum(wide bool) rings {
	if wide {
		return rings{ring{4, 2 * tile}, ring{4, 4 * tile}}
	}
	return rings{ring{3, tile}, ring{3, 8 * tile}}
}

// waves is how tiles of results are divided among blocks that stay: units are tiles, the
// first of them whole, each of the others in so many parts of `part` steps.
type waves struct{ units, whole, parts, part int }

// wavesOf splits the sums of those tiles that do not fill a wave, where that saves a
// twentieth. What a unit that is a part costs more, in steps of a block, about 0.6 µs each
// on an H100 (computed): 128 KB are written and read again, by all at 3 TB/s, and a kernel
// is started.
func wavesOf(tiles, steps, shared, processors int) waves {
	const launch, more = 5, .15
	best := waves{tiles, tiles, 1, steps}
	least := .95 * float64(ceilDiv(tiles, processors)*steps)
	whole := tiles / processors * processors
	for n := 2; n <= steps/shared && n <= 16 && whole < tiles; n++ {
		part := ceilDiv(ceilDiv(steps, n), shared) * shared
		parts := ceilDiv(steps, part)
		units := (tiles - whole) * parts
		cost := float64(whole/processors*steps+ceilDiv(units, processors)*part) + launch + more*float64(units)
		if parts > 1 && cost < least {
			best, least = waves{whole + units, whole, parts, part}, cost
		}
	}
	return best
}

// splitBricks divides a sum over bricks among blocks so that waves of them, one block
// on each processor, are full: the fewest parts that fill nine tenths of six waves or
// fewer. No part but the last has fewer than 8 bricks.
func splitBricks(n, blocks int) (parts, size int) {
	most, best := max(1, n/8), 0.
	for waves := 1; waves <= 6 && best < .9; waves++ {
		k := min(most, max(1, waves*processors/blocks))
		full := float64(k*blocks) / float64(ceilDiv(k*blocks, processors)*processors)
		if waves == 1 || full > best+.02 {
			best, parts = full, k
		}
	}
	size = ceilDiv(n, parts)
	return ceilDiv(n, size), size
}
