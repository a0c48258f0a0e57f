//go:build emul && linux

package gpu_test

import (
	"slices"
	"testing"

	"magvit/kernels"
	"magvit/kernels/kerneltest"
)

const attentions = "Attention AttentionGrad AttentionGradMem AttentionStats AttentionBackward"

var attentionMutations = []mutation{
	{"a tile read too early", "attention_mma.cu", "fill(vs, keys(kv, memory, s, p, 1), k0, s.dim);", "__syncthreads();", "", "Attention"},
	{"a tile filled while it is read", "attention_mma.cu", "softmax;\n  for", "__syncthreads();  // both may still be read", "", "Attention"},
	{"queries read too early", "attention_mma.cu", "fill(ds, v, k0, s.dim);", "__syncthreads();", "", "AttentionGrad"},
	{"statistics read too early", "attention_mma.cu", "rows.mean(q0 + i) : 0;\n    }", "__syncthreads();", "", "AttentionGrad"},
	{"matrices of the left operand swapped", "attention_mma.cu", "Left(const bfloat* tile)", "i % 2 * 8) * PITCH + 16 * k + i / 2 * 8", "i / 2 * 8) * PITCH + 16 * k + i % 2 * 8", attentions},
	{"a register of the wrong keys", "attention_mma.cu", "void logits(", "x.r[k], b[2], b[3]", "x.r[k], b[1], b[3]", attentions},
	{"values not transposed", "attention_mma.cu", "void add_weighted(", "ldmatrix_x4<true>", "ldmatrix_x4<false>", "Attention AttentionGrad"},
	{"weights of the wrong row", "attention_mma.cu", "void add_weighted(", "pair(w[0][2], w[0][3]), pair(w[1][0], w[1][1])", "pair(w[1][0], w[1][1]), pair(w[0][2], w[0][3])", "Attention"},
	{"rows summed over half of their lanes", "attention_mma.cu", "float row_sum(", "__shfl_xor_sync(FULL_MASK, v, 2)", "0", attentions},
	{"the softmax of one lane's keys", "attention_mma.cu", "float row_max(", "fmaxf(v, __shfl_xor_sync(FULL_MASK, v, 2))", "v", "Attention"},
	{"earlier values not shrunk", "attention_mma.cu", "void forward(", "sum[n][e] *= rescale[e / 2];", ";", "Attention"},
	{"earlier weights not shrunk", "attention_mma.cu", "void grad_q(", "mean[0] *= rescale[0], ", "", "AttentionGrad"},
	{"sums of the wrong queries", "attention_mma.cu", "void forward(", "int query = first + row_of(2 * i);", "int query = first + row_of(i);", "AttentionStats"},
	{"one tile of keys not loaded", "attention_mma.cu", "void grad_q(", "end > SPAN || known", "end > SPAN", "AttentionBackward"},
	{"known statistics of one query", "attention_mma.cu", "void grad_q(", "of.mean(query)", "of.mean(first)", "AttentionBackward"},
	{"a slope without its mean", "attention_mma.cu", "void grad_q(", "(da[n][e] - mean[e / 2])", "da[n][e]", "AttentionGrad"},
	{"keys see queries before them", "attention_mma.cu", "void key_gradients(", "key <= q0 + i", "key < q0 + i", "AttentionGrad"},
	{"queries beyond the part", "attention_mma.cu", "void key_gradients(", "rows.peak(q0 + i) : INFINITY", "rows.peak(q0 + i) : 0", attentions},
	{"a warp's keys for all", "attention_mma.cu", "void grad_kv(", "p.from + warp_first();", "p.from;", "AttentionGrad"},
	{"a part's last query left out", "attention_mma.cu", "void grad_memory(", "(blockIdx.z + 1) * chunk)", "(blockIdx.z + 1) * chunk - 1)", "AttentionGradMem"},
	{"no zeros after the last channel", "attention_mma.cu", "void fill(", "c + j < dim ? v(r, c + j, dim) : 0", "v(r, min(c + j, dim - 1), dim)", attentions},
	{"tokens as if there were no memory", "attention_mma.cu", "void fill(", "(r - v.first) * v.pitch", "r * v.pitch", attentions},
}

// attentionKernels is the files with all that these Specs need.
const attentionKernels = "attention.cu attention_mma.cu reduce.cu"

func TestMutationsOfHalfAttentionAreCaught(t *testing.T) {
	var cases []kerneltest.Case
	for _, c := range kerneltest.Cases() {
		switch c.Spec.(type) {
		case kernels.Attention, kernels.AttentionGrad, kernels.AttentionGradMem, kernels.AttentionStats, kernels.AttentionBackward:
			c.Spec = kernels.StoreAllBF16(c.Spec)
		default:
			continue
		}
		cases = append(cases, c)
	}
	slices.Reverse(cases) // large ones find more
	catch(t, attentionMutations, kernels.BF16, cases, attentionKernels)
}
