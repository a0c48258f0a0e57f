package kernels

import (
	"unsafe"
)

// winogradTiling cuts frames into tiles of m×m pixels, and these into blocks. A block
// holds the same tiles of all frames of their clips, so that a tap in time is a shift of rows
// and a frame is transformed once. Where frames are computed each on its own, each of
// them counts as a clip.
type winogradTiling struct {
	frames, h, w int // of a clip
	side         int // of a tile, in pixels
	rows, cols   int // tiles of a frame
	all          int // tiles of a frame of each clip
	block        int // of them, in a block; the last one may have fewer
}

const (
	// winogradRows is about how many rows a block of single frames has: V and M of 64
	// channels are half of an L2 of a MiB. winogradWideRows is that where U is read from
	// beyond L2, as it is once a block.
	winogradRows, winogradWideRows = 24, 48
	// winogradClipRows is that of several frames: more, since frames with fewer taps in
	// time are products of their own.
	winogradClipRows = 72
	// winogradWide is how many values of U are too many for L2.
	winogradWide = 1 << 18
)

func newWinogradTiling(m, clips int, result [3]int, alike bool, rows, tasks int) winogradTiling {
	g := winogradTiling{frames: result[0], h: result[1], w: result[2], side: m}
	if alike {
		clips, g.frames = clips*g.frames, 1
	}
	g.rows, g.cols = ceilDiv(g.h, m), ceilDiv(g.w, m)
	g.all = clips * g.rows * g.cols
	g.block = max(1, min(g.all, rows/g.frames))
	for g.block > 4 && ceilDiv(g.all, g.block) < tasks {
		g.block = (g.block + 1) / 2
	}
	g.block = ceilDiv(g.all, ceilDiv(g.all, g.block))
	if g.block > 4 {
		g.block = min(g.all, (g.block+3)/4*4)
	}
	return g
}

func (g *winogradTiling) blocks() int { return ceilDiv(g.all, g.block) }

// span are the tiles [s0,s0+s) of a block.
func (g *winogradTiling) span(block int) (s0, s int) {
	s0 = block * g.block
	return s0, min(g.block, g.all-s0)
}

// place is where tile q is: its clip, and its first pixel.
func (g *winogradTiling) place(q int) (clip, h, w int) {
	clip, q = q/(g.rows*g.cols), q%(g.rows*g.cols)
	return clip, q / g.cols * g.side, q % g.cols * g.side
}

// winogradPixels lists the pixels of a square of side² from (top,left) of a frame of
// h·w·c values; outside replaces those beyond the frame.
func winogradPixels(list *[36]*float32, side int, frame []float32, h, w, c, top, left int, outside []float32) {
	frame = frame[:h*w*c]
	if top >= 0 && left >= 0 && top+side <= h && left+side <= w {
		first := unsafe.Pointer(&frame[(top*w+left)*c])
		for i := range side {
			for j := range side {
				list[i*side+j] = (*float32)(unsafe.Add(first, 4*(i*w+j)*c))
			}
		}
		return
	}
	for i := range side {
		for j := range side {
			if r, l := top+i, left+j; uint(r) < uint(h) && uint(l) < uint(w) {
				list[i*side+j] = &frame[(r*w+l)*c]
			} else {
				list[i*side+j] = &outside[0]
			}
		}
	}
}
