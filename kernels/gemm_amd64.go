package kernels

var isaTiles = map[ISA]tiles{
	Generic: genericTiles,
	AVX2: {
		{16, []int{6, 4, 2, 1}, []tileFunc{tile6x16AVX2, tile4x16AVX2, tile2x16AVX2, tile1x16AVX2}},
		{8, []int{6, 4, 2, 1}, []tileFunc{tile6x8AVX2, tile4x8AVX2, tile2x8AVX2, tile1x8AVX2}},
	},
	AVX512: {
		{32, []int{12, 8, 4, 2, 1}, []tileFunc{tile12x32AVX512, tile8x32AVX512, tile4x32AVX512, tile2x32AVX512, tile1x32AVX512}},
		{16, []int{12, 8, 4, 2, 1}, []tileFunc{tile12x16AVX512, tile8x16AVX512, tile4x16AVX512, tile2x16AVX512, tile1x16AVX512}},
	},
}

// bf16Tiles are those of AVX512_BF16.
var bf16Tiles = tiles{
	{32, []int{12, 8, 4, 2, 1}, []tileFunc{tile12x32BF16, tile8x32BF16, tile4x32BF16, tile2x32BF16, tile1x32BF16}},
	{16, []int{12, 8, 4, 2, 1}, []tileFunc{tile12x16BF16, tile8x16BF16, tile4x16BF16, tile2x16BF16, tile1x16BF16}},
}

// peakBF16Loop is peakLoop for products of bfloat16.
func peakBF16Loop(n int) int {
	peakBF16(n)
	return 2 * 12 * 32
}
