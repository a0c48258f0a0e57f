package kernels

import (
	"slices"
	"strings"
	"testing"
)

// Launches in bfloat16: operands are packed first, then come blocks of 128 by 64 or 128.
func TestGeometryInBF16(t *testing.T) {
	conv := Conv{N: 2, T: 3, H: 5, W: 7, C: 8, O: 65, KT: 3, KH: 3, KW: 3, ST: 1, SH: 1, SW: 1, DT: 1, PT: 2, PH: 1, PW: 1}
	full := conv
	full.Act, full.Residual = ELU, true
	sloped := conv
	sloped.Act = ELU
	large := Conv{N: 4, T: 16, H: 32, W: 32, C: 64, O: 256, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}
	back := large
	back.C, back.O = large.O, large.C
	stem := Conv{N: 1, T: 2, H: 4, W: 32, C: 3, O: 64, KT: 7, KH: 7, KW: 7, ST: 1, SH: 1, SW: 1, DT: 1, PT: 6, PH: 3, PW: 3}
	for _, c := range []struct {
		spec Spec
		want []string
	}{
		// 210 chunks of x; 65 rows of 27 chunks of w; 210 pixels; two blocks of 64 channels.
		{conv, []string{"pack_bf16 1,1,1 256,1,1 s1", "pack_bf16 7,1,1 256,1,1 s2", "conv_mma_64 4,1,1 128,1,1 0ss3-"}},
		{full, []string{"pack_bf16 1,1,1 256,1,1 s1", "pack_bf16 7,1,1 256,1,1 s2", "conv_mma_64 4,1,1 128,1,1 0ss34"}},
		// 210 pixels of 9 chunks of dy; 8 rows of 27 times 9 chunks of w.
		{ConvGradX{Conv: conv}, []string{"pack_bf16 8,1,1 256,1,1 s1", "transpose_bf16 8,1,1 256,1,1 s2", "conv_grad_x_mma_64 2,1,1 128,1,1 0ss--"}},
		{ConvGradX{Conv: sloped}, []string{"pack_bf16 8,1,1 256,1,1 s1", "transpose_bf16 8,1,1 256,1,1 s2", "conv_grad_x_mma_64 2,1,1 128,1,1 0ss3-"}},
		{ConvGradX{Conv: full}, []string{"pack_bf16 8,1,1 256,1,1 s1", "transpose_bf16 8,1,1 256,1,1 s2", "conv_grad_x_mma_64 2,1,1 128,1,1 0ss34"}},
		// 216 weights of each channel; too few pixels to split.
		{ConvGradW{Conv: conv}, []string{"pack_bf16 8,1,1 256,1,1 s1", "pack_bf16 1,1,1 256,1,1 s2", "conv_grad_w_mma_128 2,1,1 128,1,1 0ss"}},
		// 512 blocks of rows: wide ones are enough.
		{large, []string{"pack_bf16 2048,1,1 256,1,1 s1", "pack_bf16 8,1,1 256,1,1 s2", "conv_mma_128 1024,1,1 128,1,1 0ss3-"}},
		{ConvGradX{Conv: back}, []string{"pack_bf16 2048,1,1 256,1,1 s1", "transpose_bf16 8,1,1 256,1,1 s2", "conv_grad_x_mma_128 1024,1,1 128,1,1 0ss--"}},
		// Two blocks: 132 parts, of 497 pixels filled up to 512, are 128.
		{ConvGradW{Conv: large}, []string{"pack_bf16 8192,1,1 256,1,1 s1", "pack_bf16 2048,1,1 256,1,1 s2", "conv_grad_w_mma_128 2,1,128 128,1,1 sss", "sum_rows 256,1,1 8,32,1 0s"}},
		// 256 pixels, 49 lines of taps, each 21 values filled up to three chunks.
		{stem, []string{"unfold_bf16 3,1,1 256,1,1 s1", "pack_bf16 37,1,1 256,1,1 s2", "conv_mma_64 2,1,1 128,1,1 0ss3-"}},
		{ConvGradW{Conv: stem}, []string{"pack_bf16 8,1,1 256,1,1 s1", "unfold_bf16 3,1,1 256,1,1 s2", "conv_grad_w_mma_64 10,1,1 128,1,1 0ss"}},
		// A block in z for each sample.
		{ModConv{Conv: conv}, []string{"pack_bf16 1,1,1 256,1,1 s1", "pack_bf16 14,1,1 256,1,1 s2", "conv_mma_64 2,1,2 128,1,1 0ss--"}},
		{ModConvGradX{Conv: conv}, []string{"pack_bf16 8,1,1 256,1,1 s1", "transpose_bf16 16,1,1 256,1,1 s2", "conv_grad_x_mma_64 1,1,2 128,1,1 0ss--"}},
		{ModConvGradW{Conv: large}, []string{"pack_bf16 8192,1,1 256,1,1 s1", "pack_bf16 2048,1,1 256,1,1 s2", "conv_grad_w_mma_128 2,1,128 128,1,1 sss", "sum_rows 256,1,1 32,8,1 0s"}},
	} {
		p, err := LaunchesOf(c.spec, BF16, "")
		if err != nil {
			t.Errorf("%s: %v", Name(c.spec), err)
			continue
		}
		var got []string
		for _, l := range p.List {
			got = append(got, describe(l))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %q\nwant %q", Name(c.spec), got, c.want)
		}
		want := 48 << 10
		if strings.HasPrefix(p.List[2].Kernel, "conv_grad_w") {
			want += 1 << 10
		}
		if last := p.List[2]; last.Shared != want {
			t.Errorf("%s: %d bytes of shared memory, want %d", Name(c.spec), last.Shared, want)
		}
	}
}

// Waves of blocks are full, of 264 wide ones or 396 narrow ones, and columns of zeros few.
func TestWavesInBF16(t *testing.T) {
	for _, c := range []struct{ pixels, channels, want int }{
		{20480, 512, 128}, // 640 blocks in three waves; narrow ones would fill four
		{10240, 512, 64},  // 640 blocks in two waves, instead of 320 in two
		{5120, 512, 64},
		{81920, 1364, 128}, // many waves
		{2 * 16833, 66, 128},
		{1 << 20, 192, 64}, // no wide block that is half empty
	} {
		if got := mmaWidth(c.pixels, c.channels); got != c.want {
			t.Errorf("%d pixels of %d channels: blocks of %d columns, want %d", c.pixels, c.channels, got, c.want)
		}
	}
	// Of float32: waves of 264 CTAs, wide or narrow.
	for _, c := range []struct{ pixels, channels, want int }{
		{20480, 512, 128}, // 640 in three waves
		{5120, 512, 128},  // 160 in one wave; narrow ones would fill two
		{10240, 256, 128},
		{2560, 512, 64}, // 160 narrow ones in one wave
		{1 << 20, 64, 64},
		{1 << 20, 192, 64}, // no wide CTA that is half empty
	} {
		if got := simtWidth(c.pixels, c.channels, 1); got != c.want {
			t.Errorf("float32, %d pixels of %d channels: CTAs of %d columns, want %d", c.pixels, c.channels, got, c.want)
		}
	}
	for _, c := range []struct{ pixels, tiles, slots, parts, size int }{
		{327680, 27, 264, 9, 36416}, // 243 of 264 blocks
		{20480, 432, 264, 3, 6848},  // 1296 blocks in five waves
		{81920, 14, 396, 28, 2944},  // 392 of 396 blocks
		{300, 1, 396, 1, 320},       // too few pixels
	} {
		if parts, size := splitPixels(c.pixels, c.tiles, c.slots); parts != c.parts || size != c.size {
			t.Errorf("%d pixels, %d tiles: %d parts of %d, want %d of %d", c.pixels, c.tiles, parts, size, c.parts, c.size)
		}
	}
}

// What the kernels count: channels of packed operands, pixels of one sample; after
// that the activation, and which arguments are half.
func TestSizesInBF16(t *testing.T) {
	s := Conv{N: 3, T: 2, H: 3, W: 9, C: 3, O: 20, KT: 2, KH: 1, KW: 5, ST: 1, SH: 2, SW: 2, DT: 1, PT: 1, PW: 1}
	for _, c := range []struct {
		spec Spec
		want []uint32
	}{
		// 5 taps of 3 channels: 15 values, 16 with zeros; 4 pixels of a line, already moved by the stride.
		{s, []uint32{3, 2, 3, 4, 16, 2, 2, 4, 20, 2, 1, 1, 1, 2, 1, 1, 1, 0, 0, 0, 0}},
		{ModConv{Conv: s}, []uint32{1, 2, 3, 4, 16, 2, 2, 4, 20, 2, 1, 1, 1, 2, 1, 1, 1, 0, 0, 0, 0}},
		{ConvGradX{Conv: s}, []uint32{3, 2, 3, 9, 3, 2, 2, 4, 24, 2, 1, 5, 1, 2, 2, 1, 1, 0, 1, 0, 0}},
		// After the sizes: true channels, then pixels and number of splits.
		{ConvGradW{Conv: s}, []uint32{3, 2, 3, 4, 16, 2, 2, 4, 24, 2, 1, 1, 1, 2, 1, 1, 1, 0, 0, 20, 15, 64, 1}},
	} {
		p, err := LaunchesOf(c.spec, BF16, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := p.List[2].Params().Values; !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %v\nwant %v", Name(c.spec), got, c.want)
		}
	}
}
