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
	{"copies of two steps in one group", "conv_mma.cu", "b.copy(at + ROWS * DEPTH);", "copy_commit();", "if (step % 2) copy_commit();", all},
	{"a stage filled while it is read", "conv_mma.cu", "void product(", "fill(step + STAGES - 1);", "fill(step + STAGES);", all},
	{"a ring one stage too short", "conv_mma.cu", "auto fill", "step % STAGES", "step % (STAGES - 1)", all},
	{"the last terms left out", "conv_mma.cu", "void product(", "(terms + DEPTH - 1) / DEPTH", "max(1, terms / DEPTH)", all},
	{"results over the last stage", "conv_mma.cu", "half < 2; half++) {", "__syncthreads();", "", all},
	{"results read too early", "conv_mma.cu", "= sum[i][j][e];", "__syncthreads();", "", all},
	{"rows of a fragment swapped", "conv_mma.cu", "void fragment(", "r += (B ? i / 2 : i % 2) * 8, k += (B ? i % 2 : i / 2) * 8", "r += (B ? i / 2 : i / 2) * 8, k += (B ? i % 2 : i % 2) * 8", all},
	{"a register of the wrong matrix", "conv_mma.cu", "void multiply(", "fb[2], fb[3]", "fb[1], fb[3]", all},
	{"not transposed", "conv_mma.cu", "void fragment(", "load_matrices<true>", "load_matrices<false>", "ConvGradW"},
	{"chunks read where they are not", "conv_mma.cu", "load_matrices<false>(", "chunk_at<DEPTH / 8>(r + j, k / 8)", "((r + j) * 4 + k / 8) * 8", "Conv ConvGradX"},
	{"chunks beyond their row", "conv_mma.cu", "int chunk_at(", "row / 2 % 4", "row / 2 % 8", "Conv ConvGradX"},
	{"chunks across over each other", "conv_mma.cu", "int chunk_at(", "row % 8", "(row % 8 & c)", "ConvGradW"},
	{"a tap too late", "conv_mma.cu", "struct Gather", "tap(threadIdx.x % 4,", "tap(threadIdx.x % 4 + 1,", "Conv ConvGradX"},
	{"no carry to the next line of taps", "conv_mma.cu", "k.w += step.w", ", carry(k.w, k.h, map.s.KW)", "", "Conv ConvGradX"},
	{"no carry to the next line of pixels", "conv_mma.cu", "p.w += step.w", ", carry(p.w, p.h, W)", "", "ConvGradW"},
	{"no zeros outside", "conv_mma.cu", "struct Gather", "any && i >= 0);", "true);", "Conv ConvGradX"},
	{"no zeros outside of the pixels", "conv_mma.cu", "struct Across", "any && q < end && i >= 0);", "true);", "ConvGradW"},
	{"a part's bound passed", "conv_mma.cu", "struct Across", "q < end && ", "", "ConvGradW"},
	{"a pixel of each part lost", "conv_mma.cu", "void grad_w(", "min(pixels, from + chunk)", "min(pixels, from + chunk - 1)", "ConvGradW"},
	{"parts over each other", "conv_mma.cu", "void grad_w(", ", dw += (size_t)blockIdx.z * O * taps * C", "", "ConvGradW ModConvGradW"},
	{"channels of zeros stored", "conv_mma.cu", "void grad_w(", " && c < C", "", "ConvGradW"},
	{"weights of the first sample", "conv_mma.cu", "void forward(", ", w += (size_t)blockIdx.z * s.O * k", "", "ModConv"},
	{"gradients of the first sample", "conv_mma.cu", "void grad_w(", "blockIdx.z / parts", "0", "ModConvGradW"},
	{"residual before the activation", "conv_mma.cu", "void forward(", "b ? v + b[o] : v", "(b ? v + b[o] : v) + (r ? r[q * s.O + o] : 0)", "Conv"},
	{"slope of another channel", "conv_mma.cu", "void grad_x(", "at[l]", "at[p * s.C]", "ConvGradX"},
	{"a sum left out", "conv_mma.cu", "void grad_x(", "if (r) v += r[l];", "", "ConvGradX"},
	{"rounding towards zero", "common.cuh", "unsigned bf16(", "u + 0x7fff + (u >> 16 & 1)", "u", all},
	{"no zeros in the last chunk", "pack.cu", "void pack_bf16(", "c + j < C ? x[j] : 0", "x[j]", "Conv"},
	{"a line that begins too late", "pack.cu", "void unfold_bf16(", "* SW - PW", "* SW", "Conv ConvGradW"},
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
};
LIBRARY(table)
`

func TestMutationsInBF16AreCaught(t *testing.T) {
	catch(t, mmaMutations, kernels.BF16, products(), mmaKernels)
}
