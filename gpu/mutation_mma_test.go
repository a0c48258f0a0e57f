//go:build emul && linux

package gpu_test

import (
	"testing"

	"magvit/kernels"
)

const all = "Conv ConvGradX ConvGradW ModConv ModConvGradX ModConvGradW"

var mmaMutations = []mutation{
	{"no barrier in front of the product", "conv_mma.cu", "copy_wait<STAGES - 2>();", "__syncthreads();", "", all},
	{"no wait for copies", "conv_mma.cu", "step < steps; step++) {", "copy_wait<STAGES - 2>();", "", all},
	{"a wait for too few copies", "conv_mma.cu", "step < steps; step++) {", "copy_wait<STAGES - 2>();", "copy_wait<STAGES - 1>();", all},
	{"copies of two steps in one group", "conv_mma.cu", "source.copy(ring + empty);", "copy_commit();", "if (step % 2) copy_commit();", all},
	{"a stage filled while it is read", "conv_mma.cu", "int full = 0", "empty = (STAGES - 1) * STAGE", "empty = 0", all},
	{"a ring one stage too short", "conv_mma.cu", "int full = 0", "empty + STAGE == BYTES ?", "empty + 2 * STAGE >= BYTES ?", all},
	{"the last terms left out", "conv_mma.cu", "void product(", "(terms + DEPTH - 1) / DEPTH", "max(1, terms / DEPTH)", all},
	{"results over the last stage", "conv_mma.cu", "static void fill(", "__syncthreads();", "", all},
	{"results read too early", "conv_mma.cu", "{sum[i][j][e], sum[i][j][e + 1]};", "__syncthreads();", "", all},
	{"matrices of a fragment swapped", "conv_mma.cu", "Fragments(int first)", "(B ? i / 2 : i % 2) * 8", "(B ? i / 2 : i / 2) * 8", all},
	{"a register of the wrong matrix", "conv_mma.cu", "void product(", "fb[2], fb[3]", "fb[1], fb[3]", all},
	{"not transposed", "conv_mma.cu", "struct Fragments", "load_matrices<ACROSS>", "load_matrices<false>", "ConvGradW"},
	{"the second terms where the first are", "conv_mma.cu", "struct Fragments", "(base ^ k * 2)", "base", "Conv ConvGradX"},
	{"chunks across that are not swapped", "conv_mma.cu", "struct Fragments", "(base ^ r * 2) + k * R * 2", "base + r * 2 + k * R * 2", "ConvGradW"},
	{"chunks beyond their row", "conv_mma.cu", "int chunk_at(", "row / 2 % 4", "row / 2 % 8", "Conv ConvGradX"},
	{"chunks across over each other", "conv_mma.cu", "int chunk_at(", "row % 8", "(row % 8 & c)", "ConvGradW"},
	{"a tap too late", "conv_mma.cu", "int part = threadIdx.x % 4", "k = l.tap(part,", "k = l.tap(part + 1,", "Conv ConvGradX"},
	{"lines of taps too long", "conv_mma.cu", "k.w += step.w", "carry(k.w, k.h, tapW)", "carry(k.w, k.h, tapW + 1)", "Conv ConvGradX"},
	{"no zeros outside", "conv_mma.cu", "struct Gather", "any & !(outside[j] & bits)", "any", "Conv ConvGradX"},
	{"lines of taps taken for columns", "conv_mma.cu", "struct Gather", "<< (tapW + t);", "<< t;", "Conv ConvGradX"},
	{"weights of the next tap", "conv_mma.cu", "struct Gather", "l.number(Tap{}, s.KH, s.KW)", "0", "ConvGradX"},
	{"the phases' taps side by side", "conv_mma.cu", "struct Gather", "weightW = l.w.apart * channels", "weightW = channels", "ConvGradX"},
	{"a phase's pixels side by side", "conv_mma.cu", "void grad_x(", "l.number(p, s.T, s.H, s.W)", "p", "ConvGradX"},
	{"where pixels read, too late", "conv_mma.cu", "constexpr (ACROSS) source.prepare(), ", "__syncthreads();", "0;", "ConvGradW"},
	{"where pixels read, over each other", "conv_mma.cu", "struct Across", "prepared % 2 * DEPTH + threadIdx.x % 32", "threadIdx.x % 32", "ConvGradW"},
	{"no carry to the next line of pixels", "conv_mma.cu", "pixel.w += step.w", "carry(pixel.w, pixel.h, l.w.count)", "0", "ConvGradW"},
	{"no zeros outside of the pixels", "conv_mma.cu", "struct Across", "(r.source * channels + through), inside);", "(r.source * channels + through), true);", "ConvGradW"},
	{"a part's bound passed", "conv_mma.cu", "struct Across", "(i + STEP * j < end) & ", "", "ConvGradW"},
	{"a pixel of each part lost", "conv_mma.cu", "void grad_w(", "min(pixels, from + chunk)", "min(pixels, from + chunk - 1)", "ConvGradW"},
	{"parts over each other", "conv_mma.cu", "void grad_w(", ", dw += (size_t)blockIdx.z * O * taps * C", "", "ConvGradW ModConvGradW"},
	{"channels of zeros stored", "conv_mma.cu", "void grad_w(", " && c < C", "", "ConvGradW"},
	{"weights of the first sample", "conv_mma.cu", "void forward(", ", w += (size_t)sample * s.O * l.taps() * channels", "", "ModConv"},
	{"results over the first sample's", "conv_mma.cu", "void forward(", "(sample * m + q) * s.O", "q * s.O", "ModConv"},
	{"gradients of the first sample", "conv_mma.cu", "void grad_w(", "blockIdx.z / parts", "0", "ModConvGradW"},
	{"residual before the activation", "conv_mma.cu", "void forward(", "if (b) {", "if (r) {\n read(e, r, i, half & SUMMAND);\n for (int j = 0; j < V; j++) v[j] += e[j]; }\n if (b) {", "Conv"},
	{"slope of another channel", "conv_mma.cu", "void grad_x(", "read(e, at, i,", "read(e, at, i / s.C * s.C,", "ConvGradX"},
	{"a sum left out", "conv_mma.cu", "void grad_x(", "if (r)", "if (!r && at)", "ConvGradX"},
	{"columns behind the last", "conv_mma.cu", "void each(", "rows && column < columns", "rows", "Conv"},
	{"rounding towards zero", "common.cuh", "unsigned bf16(", "u + 0x7fff + (u >> 16 & 1)", "u", all},
	{"no zeros in the last chunk", "pack.cu", "void pack_rows(", "c + j < C ? load(x[j]) : 0", "load(x[j])", "Conv"},
	{"a line that begins too late", "pack.cu", "void unfold(", "* SW - PW", "* SW", "Conv ConvGradW"},
	{"taps and channels swapped", "pack.cu", "void transpose_bf16(", "* taps + k) * C + c;", "* C + c) * taps + k;", "ConvGradX"},
}

// mmaKernels is all that these Specs need.
const mmaKernels = `#include "mma.h"
#include "../conv_mma.cu"
#include "../pack.cu"
#include "../reduce.cu"
static const emul::Entry table[] = {
    KERNEL(conv_mma_64), KERNEL(conv_grad_x_mma_64), KERNEL(conv_grad_w_mma_64),
    KERNEL(conv_mma_128), KERNEL(conv_grad_x_mma_128), KERNEL(conv_grad_w_mma_128),
    KERNEL(pack_bf16), KERNEL(unfold_bf16), KERNEL(transpose_bf16), KERNEL(sum_rows),
    KERNEL(pack_bf16_half), KERNEL(unfold_bf16_half),
};
LIBRARY(table)
`

func TestMutationsInBF16AreCaught(t *testing.T) {
	catch(t, mmaMutations, kernels.BF16, products(), mmaKernels)
}
