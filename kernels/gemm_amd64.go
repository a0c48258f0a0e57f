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
