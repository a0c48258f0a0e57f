//go:build emul && linux

package gpu_test

import (
	"testing"

	"magvit/kernels"
)

const all = "Conv ConvGradX ConvGradW ModConv ModConvGradX ModConvGradW"

var mmaMutations = []mutation{
	{"no barrier in front of the product", "conv_mma.cu", "cp_async_wait<STAGES - 2>();", "__syncthreads();", "", all},
	{"no wait for copies", "conv_mma.cu", "step < k_steps; step++) {", "cp_async_wait<STAGES - 2>();", "", all},
	{"a wait for too few copies", "conv_mma.cu", "step < k_steps; step++) {", "cp_async_wait<STAGES - 2>();", "cp_async_wait<STAGES - 1>();", all},
	{"copies of two steps in one group", "conv_mma.cu", "loader.load_stage(smem + write_stage);", "cp_async_commit();", "if (step % 2) cp_async_commit();", all},
	{"a stage filled while it is read", "conv_mma.cu", "int read_stage = 0", "write_stage = (STAGES - 1) * STAGE_BYTES", "write_stage = 0", all},
	{"a ring one stage too short", "conv_mma.cu", "int read_stage = 0", "write_stage + STAGE_BYTES == BYTES ?", "write_stage + 2 * STAGE_BYTES >= BYTES ?", all},
	{"the last terms left out", "conv_mma.cu", "void mainloop(", "(k + TILE_K - 1) / TILE_K", "max(1, k / TILE_K)", all},
	{"results over the last stage", "conv_mma.cu", "static void store(", "__syncthreads();", "", all},
	{"results read too early", "conv_mma.cu", "{acc[i][j][e], acc[i][j][e + 1]};", "__syncthreads();", "", all},
	{"matrices of a fragment swapped", "conv_mma.cu", "Fragment(int first)", "(B ? i / 2 : i % 2) * 8", "(B ? i / 2 : i / 2) * 8", all},
	{"a register of the wrong matrix", "conv_mma.cu", "void mainloop(", "fb[2], fb[3]", "fb[1], fb[3]", all},
	{"not transposed", "conv_mma.cu", "struct Fragment {", "ldmatrix_x4<MN_MAJOR>", "ldmatrix_x4<false>", "ConvGradW"},
	{"the second terms where the first are", "conv_mma.cu", "struct Fragment {", "(base ^ k * 2)", "base", "Conv ConvGradX"},
	{"chunks across that are not swapped", "conv_mma.cu", "struct Fragment {", "(base ^ r * 2) + k * R * 2", "base + r * 2 + k * R * 2", "ConvGradW"},
	{"chunks beyond their row", "conv_mma.cu", "int swizzle(", "row / 2 % 4", "row / 2 % 8", "Conv ConvGradX"},
	{"chunks across over each other", "conv_mma.cu", "int swizzle(", "row % 8", "(row % 8 & c)", "ConvGradW"},
	{"a tap too late", "conv_mma.cu", "int chunk = threadIdx.x % 4", "k = map.tap(chunk,", "k = map.tap(chunk + 1,", "Conv ConvGradX"},
	{"lines of taps too long", "conv_mma.cu", "k.w += step.w", "carry(k.w, k.h, taps_w)", "carry(k.w, k.h, taps_w + 1)", "Conv ConvGradX"},
	{"no zeros outside", "conv_mma.cu", "struct KMajorLoader", "any & !(outside[j] & tap_bits)", "any", "Conv ConvGradX"},
	{"lines of taps taken for columns", "conv_mma.cu", "struct KMajorLoader", "<< (taps_w + t);", "<< t;", "Conv ConvGradX"},
	{"weights of the next tap", "conv_mma.cu", "struct KMajorLoader", "map.filter_index(Tap{}, s.KH, s.KW)", "0", "ConvGradX"},
	{"the phases' taps side by side", "conv_mma.cu", "struct KMajorLoader", "filter_w = map.w.tap_stride * channels", "filter_w = channels", "ConvGradX"},
	{"a phase's pixels side by side", "conv_mma.cu", "void dgrad_sums(", "map.pixel_index(p, s.T, s.H, s.W)", "p", "ConvGradX"},
	{"where pixels read, too late", "conv_mma.cu", "constexpr (MN_MAJOR) loader.prefetch_pixels(), ", "__syncthreads();", "0;", "ConvGradW"},
	{"where pixels read, over each other", "conv_mma.cu", "struct MNMajorLoader", "prefetched % 2 * TILE_K + threadIdx.x % 32", "threadIdx.x % 32", "ConvGradW"},
	{"no carry to the next line of pixels", "conv_mma.cu", "pixel.w += step.w", "carry(pixel.w, pixel.h, map.w.count)", "0", "ConvGradW"},
	{"no zeros outside of the pixels", "conv_mma.cu", "struct MNMajorLoader", "(p.index * channels + tap_offset), inside);", "(p.index * channels + tap_offset), true);", "ConvGradW"},
	{"a part's bound passed", "conv_mma.cu", "struct MNMajorLoader", "(i + STEP * j < q_end) & ", "", "ConvGradW"},
	{"a pixel of each part lost", "conv_mma.cu", "void wgrad(", "min(pixels, q_begin + chunk)", "min(pixels, q_begin + chunk - 1)", "ConvGradW"},
	{"parts over each other", "conv_mma.cu", "void wgrad(", ", dw += (size_t)blockIdx.z * O * taps * C", "", "ConvGradW ModConvGradW"},
	{"channels of zeros stored", "conv_mma.cu", "void wgrad(", " && c < C", "", "ConvGradW"},
	{"weights of the first sample", "conv_mma.cu", "void fprop(", ", w += (size_t)sample * s.O * map.taps() * channels", "", "ModConv"},
	{"results over the first sample's", "conv_mma.cu", "void fprop(", "(sample * m + q) * s.O", "q * s.O", "ModConv"},
	{"gradients of the first sample", "conv_mma.cu", "void wgrad(", "blockIdx.z / splits", "0", "ModConvGradW"},
	{"residual before the activation", "conv_mma.cu", "void fprop(", "if (b) {", "if (r) {\n read(e, r, i, half & HALF_R);\n for (int j = 0; j < V; j++) v[j] += e[j]; }\n if (b) {", "Conv"},
	{"slope of another channel", "conv_mma.cu", "void dgrad(", "read(e, saved, i,", "read(e, saved, i / s.C * s.C,", "ConvGradX"},
	{"a sum left out", "conv_mma.cu", "void dgrad(", "if (r)", "if (!r && saved)", "ConvGradX"},
	{"a summand of another pixel", "conv_mma.cu", "void dgrad(", "r, pixel * s.C + c", "r, i", "ConvGradShuffle"},
	{"slopes of pixels that stayed", "conv_mma.cu", "void dgrad(", "read(e, saved, i,", "read(e, saved, pixel * s.C + c,", "ConvGradShuffle"},
	{"values for gates", "conv_mma.cu", "void load_stage(char* stage) {\n    bool any", "j >= N / 64 ? gates : 0", "false ? gates : 0", "ConvGEGLU"},
	{"all columns channels of u", "conv_mma.cu", "void fprop_geglu(", "n0 /= 2;", "", "ConvGEGLU"},
	{"gates of other columns", "conv_mma.cu", "void epilogue_geglu(", "tile + row * PITCH + C + column", "tile + row * PITCH + column", "ConvGEGLU"},
	{"a gate without bias", "conv_mma.cu", "void fprop_geglu(", ", g[j] += bg[j]", "", "ConvGEGLU"},
	{"gradients of gates over those of values", "conv_mma.cu", "void dgrad_geglu(", "write(dx, i + s.C, u,", "write(dx, i, u,", "ConvGradGEGLU"},
	{"pixels half as far apart", "conv_mma.cu", "void dgrad_geglu(", "pixel * 2 * s.C", "pixel * s.C", "ConvGradGEGLU"},
	{"columns after the last", "conv_mma.cu", "void epilogue(", "rows && column < columns", "rows", "Conv"},
	{"rounding towards zero", "common.cuh", "unsigned bf16_bits(", "u + 0x7fff + (u >> 16 & 1)", "u", all},
	{"no zeros in the last chunk", "pack.cu", "void pack_rows(", "c + j < C ? load(x[j]) : 0", "load(x[j])", "Conv"},
	{"a line that begins too late", "pack.cu", "void unfold(", "* SW - PW", "* SW", "Conv ConvGradW"},
	{"sums of unrounded rows", "reduce.cu", "void __launch_bounds__(256) sum_rows_rounded", "value = load(as<bfloat>(value));", "value += 0;", "ConvGradWB"},
	{"taps and channels swapped", "pack.cu", "inline void transpose(", "* taps + k) * C + c;", "* C + c) * taps + k;", "ConvGradX"},
}

// mmaKernels is the files with all that these Specs need.
const mmaKernels = "conv_mma.cu pack.cu reduce.cu"

func TestMutationsInBF16AreCaught(t *testing.T) {
	catch(t, mmaMutations, kernels.BF16, products(), mmaKernels)
}
