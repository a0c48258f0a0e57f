package kernels

import "slices"

// Shared memory of a CTA, and limits of TMA copies.
const (
	sharedLimit   = 227 << 10                 // bytes of shared memory
	barrierBytes  = 3 << 10                   // of them, to align both pipelines to a kilobyte, and for a barrier
	epilogueBytes = 2 * 32 * 68 * 4           // of them, to stage results: CONSUMERS * STAGING_BYTES of conv_sm90a.cuh
	splitTile     = 2 * sm90Side << pixelsLog // values of a tile of results in the workspace
	maxHalo       = 320                       // pixels of a tile and the rows around it, for which there is memory
	maxBox        = 256
	maxStep       = 8
)

// pixelTile is a box of 2^n clips, 2^t frames, 2^h rows and 2^w columns.
type pixelTile struct{ n, t, h, w int }

func (b pixelTile) pixels() int { return 1 << (b.n + b.t + b.h + b.w) }

// sharedTaps is the number of taps of a column of the filter that can read the same block
// of pixels, each one row further.
func (b pixelTile) sharedTaps(taps int) int {
	if b.n > 0 || b.t > 0 || b.w < 3 || (1<<b.h+taps-1)<<b.w > maxHalo {
		return 1
	}
	return taps
}

// count is the number of tiles that cover the pixels.
func (b pixelTile) count(n, t, h, w int) int {
	return ceilDiv(n, 1<<b.n) * ceilDiv(t, 1<<b.t) * ceilDiv(h, 1<<b.h) * ceilDiv(w, 1<<b.w)
}

// pixelTileOf is the box of 2^log pixels of which the fewest cover all; of these one that
// copies the fewest pixels for a column of taps; of these the most compact.
func pixelTileOf(log, n, t, h, w, taps int) (best pixelTile) {
	var least [3]int
	for i := 0; i <= log; i++ {
		for j := 0; i+j <= log; j++ {
			for k := 0; i+j+k <= log; k++ {
				b := pixelTile{log - i - j - k, k, j, i}
				shared := b.sharedTaps(taps)
				cost := [3]int{b.count(n, t, h, w), b.pixels() * taps, (1<<b.t + 2) * (1<<b.h + 2) * (1<<b.w + 2) << b.n}
				if shared > 1 {
					cost[1] = (1<<b.h + shared - 1) << b.w
				}
				if best == (pixelTile{}) || slices.Compare(cost[:], least[:]) < 0 {
					best, least = b, cost
				}
			}
		}
	}
	return best
}

// box is the TMA box of a tile: 64 channels, and its size along each axis with the halo of
// shared taps and what strides skip.
func (f sm90Form) box() []uint32 {
	along := func(log, halo, stride int) uint32 { return uint32((1<<log + halo) * stride) }
	return []uint32{sm90Side, along(f.w.Log2, 0, f.w.Stride), along(f.h.Log2, f.shared-1, f.h.Stride), along(f.t.Log2, 0, f.t.Stride), 1 << f.tile.n}
}

// inputDims and outputDims are the sizes of a convolution's tensors, innermost axis first.
func (s Conv) inputDims() []int { return []int{s.C, s.W, s.H, s.T, s.N} }

func (s Conv) outputDims() []int {
	t, h, w := s.Out()
	return []int{s.O, w, h, t, s.N}
}

// pixelMap is the map of the boxes of pixels that a form reads.
func (p *Launches) pixelMap(x Operand, dims []int, f sm90Form) TensorMap {
	m := p.packedMap(x, dims)
	m.Box = f.box()
	if max(f.t.Stride, f.h.Stride, f.w.Stride) > 1 {
		m.Steps = []uint32{1, uint32(f.w.Stride), uint32(f.h.Stride), uint32(f.t.Stride), 1}
	}
	return m
}

// weightMap is the map of tiles of weights, each of one tap.
func (p *Launches) weightMap(s Conv) TensorMap {
	m := p.packedMap(p.arg("w"), []int{s.C, s.KW, s.KH, s.KT, s.O})
	m.Box = []uint32{sm90Side, 1, 1, 1, sm90Side}
	return m
}

// packedMap packs a tensor, innermost axis first, and returns a map of it without a box.
// The map has whole chunks of channels as the packed tensor does: copies then need not
// cut off within 16 bytes.
func (p *Launches) packedMap(x Operand, dims []int) TensorMap {
	rows := 1
	for _, d := range dims[1:] {
		rows *= d
	}
	m := TensorMap{Operand: p.packRows(x, rows, dims[0]), BF16: true, Swizzle: Swizzle128}
	channels := uint64(ceilDiv(dims[0], chunkLen) * chunkLen)
	m.Dims = []uint64{channels}
	for i, bytes := 1, 2*channels; i < len(dims); i++ {
		m.Dims, m.Strides = append(m.Dims, uint64(dims[i])), append(m.Strides, bytes)
		bytes *= uint64(dims[i])
	}
	return m
}

// pipeline is a ring of stages in shared memory with two barriers each.
type pipeline struct{ stages, bytes int }

func (l pipeline) size() int { return l.stages * (l.bytes + 16) }

// fitPipeline has as many stages as there is memory for, at most most.
func fitPipeline(free, bytes, most int) pipeline {
	return pipeline{min(most, free/(bytes+16)), bytes}
}

// pipelines are those of tiles of the first factor and of blocks of the second one.
type pipelines struct{ a, b pipeline }

// size is the shared memory of a CTA.
func (l pipelines) size(epilogue int) int { return barrierBytes + epilogue + l.a.size() + l.b.size() }

// pixelPipelines leave room for the epilogue. A stage of tiles is one step, a stage of
// blocks as many as taps share it.
func pixelPipelines(f sm90Form) pipelines {
	const free = sharedLimit - barrierBytes - epilogueBytes
	block := 4*sm90Tile + (f.shared-1)<<f.w.Log2*2*sm90Side
	a, b := sm90Tile, pipeline{2, 2 * block}
	if f.wide {
		a, b = 2*sm90Tile, pipeline{3, block}
	}
	if f.wide && f.shared == 1 {
		b.stages = 4
	}
	return pipelines{fitPipeline(free-b.size(), a, min(6, b.stages*f.shared)), b}
}

// sumPipelines are those of the gradient of the weights.
func sumPipelines(wide bool) pipelines {
	if wide {
		return pipelines{pipeline{4, 2 * sm90Tile}, pipeline{4, 4 * sm90Tile}}
	}
	return pipelines{pipeline{3, sm90Tile}, pipeline{3, 8 * sm90Tile}}
}

// tileSchedule is how persistent CTAs divide tiles of results: each of the first whole tiles
// is one work tile, each other one is split over K into splits work tiles of steps steps.
type tileSchedule struct{ units, whole, splits, steps int }

// What split-K costs in addition, in steps of a CTA, which take about 0.6 µs each on an H100
// (computed): a kernel is launched, and of each split 128 KB are written and read again, by all
// at 3 TB/s.
const splitLaunch, perSplit = 5, .15

// scheduleOf splits the sums of the tiles that do not fill a wave of SMs, where that saves
// a twentieth of the time.
func scheduleOf(tiles, steps, shared, sms int) tileSchedule {
	best := tileSchedule{tiles, tiles, 1, steps}
	least := .95 * float64(ceilDiv(tiles, sms)*steps)
	whole := tiles / sms * sms
	for n := 2; n <= steps/shared && n <= 16 && whole < tiles; n++ {
		part := ceilDiv(ceilDiv(steps, n), shared) * shared
		splits := ceilDiv(steps, part)
		units := (tiles - whole) * splits
		cost := float64(whole/sms*steps+ceilDiv(units, sms)*part) + splitLaunch + perSplit*float64(units)
		if splits > 1 && cost < least {
			best, least = tileSchedule{whole + units, whole, splits, part}, cost
		}
	}
	return best
}

// splitPixelTiles divides a sum over n tiles of pixels, one step each, among CTAs, one on each
// SM, so that their waves and the sum of the splits take the least time. No split but the last
// has fewer than 8 tiles.
func splitPixelTiles(n, ctas, sms int) (splits, size int) {
	least := 0.
	for k := 1; k <= max(1, min(n/8, 6*sms/ctas)); k++ {
		part := ceilDiv(n, k)
		cost := float64(ceilDiv(ctas*k, sms) * part)
		if k > 1 {
			cost += splitLaunch + perSplit*float64(ctas*k)
		}
		if k == 1 || cost < .95*least {
			least, size = cost, part
		}
	}
	return ceilDiv(n, size), size
}
