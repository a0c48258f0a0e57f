//go:build emul && linux

package gpu_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"magvit/gpu"
	"magvit/kernels"
	"magvit/kernels/emul"
	"magvit/kernels/kerneltest"
)

// mutations are errors that people make in kernels: the text old, which stands once in
// the file behind the text after, becomes new. Cases of one of the kinds must fail.
var mutations = []struct{ name, file, after, old, new, kinds string }{
	{"no barrier before the product", "conv.cu", "load<AlongB>(bs", "__syncthreads();", "", "Conv ConvGradX ConvGradW"},
	{"no barrier behind the product", "conv.cu", "sum[i][j] += ax", "__syncthreads();", "", "Conv ConvGradX ConvGradW"},
	{"a tap too late", "conv.cuh", "struct Inputs", "p.t * s.ST - s.PT,", "p.t * s.ST - s.PT + 1,", "Conv ConvGradW"},
	{"no dilation", "conv.cuh", "struct Inputs", "k.t * s.DT", "k.t", "Conv ConvGradW"},
	{"no right edge", "conv.cuh", "struct Inputs", " || w >= s.W", "", "Conv ConvGradW"},
	{"wrong phase of a stride", "conv.cuh", "struct Outputs", " || h % s.SH", "", "ConvGradX"},
	{"frames behind the last", "conv.cuh", "struct Outputs", "t >= s.OT || ", "", "ConvGradX"},
	{"axes of the weights swapped", "conv.cu", "struct Weights", "k % O * taps + k / O", "k / O * O + k % O", "ConvGradX"},
	{"residual before the activation", "conv.cu", "void __launch_bounds__(256, 2) conv(", "v = activate(kind, b ? v + b[o] : v);", "v = activate(kind, v + b[o] + (r ? r[q * s.O + o] : 0));", "Conv"},
	{"slope of another channel", "conv.cu", "conv_grad_x(float", "at[p * s.C + c]", "at[p * s.C]", "ConvGradX"},
	{"parts over each other", "conv.cu", "conv_grad_w(float", "dw += (size_t)blockIdx.z * s.O * k;", "", "ConvGradW"},
	{"a term of each part lost", "conv.cu", "conv_grad_w(float", "min(q, from + chunk)", "min(q, from + chunk - 1)", "ConvGradW"},
	{"no bound on rows of a tile", "conv.cu", "inline void each", " && m0 + i < m", "", "Conv"},
	{"no barrier in sums of columns", "common.cuh", "void column_sums", "__syncthreads();", "", "SumRows FrameGateGradG"},
	{"sums of blocks over each other", "common.cuh", "float block_sum", "__syncthreads();  // part may still be read", "", "ReconLoss LFQLoss"},
	{"sums of blocks too early", "common.cuh", "part[threadIdx.x / 32] = v;", "__syncthreads();", "", "SumSquares ReconLoss"},
	{"a warp's last step left out", "common.cuh", "float warp_sum", "d > 0", "d > 1", "RMSNorm"},
	{"a value behind the last", "pointwise.cu", "void add(", "i < n", "i <= n", "Add"},
	{"sub-pixels swapped", "shuffle.cu", "unsigned deep", "* FH + i) * FW + j", "* FW + j) * FH + i", "Shuffle"},
	{"frames of the wrong end", "frames.cu", "void crop_front", "+ pad + i % clip", "+ i % clip", "CropFront"},
	{"no barrier behind the products", "gate.cu", "void frame_slopes", "__syncthreads();", "", "FramePoolGradX"},
	{"the gate of another frame", "gate.cu", "void frame_gate", "i / (P * C) * C", "i / (P * C + 1) * C", "FrameGate"},
	{"a mean left out", "norm.cu", "layer_norm_grad_x(float", "gamma[c] - mean -", "gamma[c] -", "LayerNormGradX"},
	{"no floor", "norm.cu", "rms_scale(float squares", "fmaxf(sqrtf(squares), MIN_NORM)", "sqrtf(squares)", "RMSNorm"},
	{"bits in the wrong order", "lfq.cu", "void lfq_factors", "count - 1 - b", "b", "LFQLoss LFQLossGrad"},
	{"no barrier behind a tile", "lfq.cu", "xs[ty][l] * ys[l][tx]", "__syncthreads();", "", "LFQLoss LFQLossGrad"},
	{"codes behind the last", "lfq.cu", "void lfq_terms", "i < codes && ", "", "LFQLoss"},
	{"zero counts as positive", "lfq.cu", "void lfq_index", "> 0)", ">= 0)", "LFQIndex"},
	{"rounding down", "fsq.cu", "double round", "rint(", "floor(", "FSQQuantize"},
	{"the overshoot of the wrong side", "loss.cu", "Error measure", "target >= 1 && d > 0", "target >= 1 && d < 0", "ReconLoss ReconLossGrad"},
	{"NaN reaches the weights", "optimizer.cu", "void adam_w", " || !isfinite(norm2[0])", "", "AdamW"},
	{"the rate of the other moment", "optimizer.cu", "float vi", "(1 - h[RATE2])", "(1 - h[RATE1])", "AdamW"},
}

// The suite catches each of these errors, in at least one order of threads.
func TestMutationsAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles the kernels once for each error")
	}
	all := kerneltest.Cases()
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			check(t, os.CopyFS(dir, kernels.Source))
			path := filepath.Join(dir, m.file)
			text, err := fs.ReadFile(kernels.Source, m.file)
			check(t, err)
			before, behind, ok := strings.Cut(string(text), m.after)
			if !ok || !strings.Contains(behind, m.old) {
				t.Fatalf("%s has no %q behind %q", m.file, m.old, m.after)
			}
			check(t, os.WriteFile(path, []byte(before+m.after+strings.Replace(behind, m.old, m.new, 1)), 0o644))
			lib, err := emul.Compile(dir, "")
			check(t, err)
			for _, order := range []emul.Order{emul.Forward, emul.Reverse, emul.Shuffled} {
				drv, err := emul.Load(lib, order)
				check(t, err)
				be := gpu.Emulated(drv, kernels.F32)
				defer be.Close()
				for _, c := range all {
					if !slices.Contains(strings.Fields(m.kinds), kind(c.Spec)) {
						continue
					}
					if r, err := kerneltest.Check(be, c); err != nil || !r.OK {
						t.Logf("caught with threads %v by %v", order, c)
						return
					}
				}
			}
			t.Error("not caught")
		})
	}
}
