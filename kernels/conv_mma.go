package kernels

import "fmt"

// Tiles of conv_mma.cu, which computes convolutions on tensor cores, of operands that are
// packed in bfloat16 first.
const (
	mmaRows    = 128 // ROWS: pixels of a CTA, or weights of a channel
	mmaThreads = 128
	mmaShared  = 48 << 10 // bytes of shared memory of the pipeline
	mmaTable   = 1 << 10  // bytes of a table of the gradient of the weights
	chunkLen   = 8        // bfloat16 values in 16 bytes
)

type convMMAArgs struct {
	convArgs
	Half int // a bit for each of y, _, r that is stored in bfloat16
}

func (p *Launches) convMMA(s Conv, samples int, a convArgs) {
	var in Conv
	a.X, in = p.packInput(s, samples, a.X)
	a.W = p.packRows(a.W, samples*in.O*in.KT*in.KH*in.KW, in.C)
	a.S = in.paddedSize()
	width := mmaWidth(s.pixels()*samples, s.O)
	p.mma("conv_mma", width, s.pixels(), s.O, samples, 0, convMMAArgs{a, p.bf16Bits(a.Y, Operand{}, a.R)})
}

type convGradXMMAArgs struct {
	convGradXArgs
	Half int // a bit for each of dx, s, r that is stored in bfloat16
}

func (p *Launches) convGradXMMA(s Conv, samples int, a convGradXArgs) {
	a.DY, a.W, a.S = p.packGradX(s, samples, a.DY, a.W)
	p.gradXMMA("conv_grad_x_mma", s, samples, convGradXMMAArgs{a, p.bf16Bits(a.DX, a.Saved, a.R)})
}

// packGradX packs what a gradient of the input reads. Channels of dy are padded, those of dx
// are not.
func (p *Launches) packGradX(s Conv, samples int, dy, w Operand) (packedDY, packedW Operand, size convSize) {
	taps, chunks := s.KT*s.KH*s.KW, ceilDiv(s.O, chunkLen)
	packedDY = p.packRows(dy, samples*s.pixels(), s.O)
	n := samples * s.C * taps * chunks
	packedW = p.packed(n)
	p.elementwise(p.packKernel("transpose_bf16", w), n, transposeArgs{packedW, w, n, chunks, s.O, taps, s.C})
	size = s.cudaSize()
	size.O = chunks * chunkLen
	return packedDY, packedW, size
}

// gradXMMA adds a kernel of the gradient of the input.
func (p *Launches) gradXMMA(kernel string, s Conv, samples int, args any) {
	pixels := s.phasePixels()
	p.mma(kernel, mmaWidth(pixels*s.strides()*samples, s.C), pixels, s.C, samples*s.strides(), 0, args)
}

type convGradWMMAArgs struct {
	DW, DY, X           Operand
	S                   convSize
	O, C, Chunk, Splits int
}

func (p *Launches) convGradWMMA(s Conv, samples int) {
	pixels := s.pixels()
	dy := p.packRows(p.arg("dy"), samples*pixels, s.O)
	x, s := p.packInput(s, samples, p.arg("x"))
	taps, width, slots := s.KT*s.KH*s.KW, s.gradWWidth(), wave
	if width == 64 {
		slots = wave / 2 * 3
	}
	weights := taps * ceilDiv(s.C, chunkLen) * chunkLen
	splits, size := splitPixels(pixels, ceilDiv(weights, mmaRows)*ceilDiv(s.O, width)*samples, slots)
	n := s.O * taps * s.C
	dw := p.arg("dw")
	partials := p.partials(dw, splits, samples*n)
	size4 := s.paddedSize()
	size4.O = ceilDiv(s.O, chunkLen) * chunkLen
	p.mma("conv_grad_w_mma", width, weights, s.O, samples*splits, mmaTable, convGradWMMAArgs{partials, dy, x, size4, s.O, s.C, size, splits})
	p.addPartials(dw, partials, splits, samples*splits, n)
}

// bf16Bits has a bit for each of the operands that is stored in bfloat16.
func (p *Launches) bf16Bits(operands ...Operand) (bits int) {
	for i, o := range operands {
		if p.isBF16(o) {
			bits |= 1 << i
		}
	}
	return bits
}

// splitPixels divides a sum over n pixels among CTAs, tiles of which cover all results, so
// that waves of slots CTAs are full. No split but the last has fewer than 256 pixels.
func splitPixels(n, tiles, slots int) (splits, size int) {
	size = ceilDiv(ceilDiv(n, fullWaves(slots, tiles, max(1, n/256))), 32) * 32
	return ceilDiv(n, size), size
}

// mmaWidth is the number of columns of CTAs for m by n results: the one whose waves take
// less time. Three narrow CTAs share an SM, two wide ones, of twice the products; a narrow
// one loads half as much again for each, which is taken to cost a tenth.
func mmaWidth(m, n int) int {
	rows := ceilDiv(m, mmaRows)
	if ceilDiv(rows*ceilDiv(n, 64), wave/2*3)*33 < ceilDiv(rows*ceilDiv(n, 128), wave)*40 {
		return 64
	}
	return 128
}

// mma adds a kernel of conv_mma.cu for m by n results of each of depth samples or splits,
// in CTAs of width columns.
func (p *Launches) mma(kernel string, width, m, n, depth, table int, args any) {
	p.gemm(kernel, mmaRows, width, mmaThreads, m, n, depth, args).Shared = mmaShared + table
}

// gemm adds the kernel of that width for m by n results of each of depth samples or splits,
// in CTAs of rows by width.
func (p *Launches) gemm(kernel string, rows, width, threads, m, n, depth int, args any) *Launch {
	grid := grid3D(ceilDiv(m, rows)*ceilDiv(n, width), 1, depth)
	return p.add(fmt.Sprintf("%s_%d", kernel, width), grid, grid1D(threads), args)
}

// paddedSize is cudaSize with the input channels padded to whole chunks.
func (s Conv) paddedSize() convSize {
	c := s.cudaSize()
	c.C = ceilDiv(s.C, chunkLen) * chunkLen
	return c
}
