//go:build emul && linux

package gpu_test

import (
	"io/fs"
	"maps"
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

// mutation is a mutant of a kernel, with an error that people make: in the file, the first text old
// that follows the text after becomes new. Cases of one of the kinds must fail.
type mutation struct{ name, file, after, old, new, kinds string }

var mutations = []mutation{
	{"no barrier before the product", "conv.cu", "step < steps; step++) {\n    loader", "__syncthreads();", "", "Conv ConvGradX ConvGradW"},
	{"no wait for copies", "conv.cu", "step < steps; step++) {\n    loader", "cp_async_wait<STAGES - 2>();", "", "Conv ConvGradX ConvGradW"},
	{"a wait for too few copies", "conv.cu", "step < steps; step++) {\n    loader", "cp_async_wait<STAGES - 2>();", "cp_async_wait<STAGES - 1>();", "Conv ConvGradX ConvGradW"},
	{"a stage filled while it is read", "conv.cu", "int read_stage = 0", "write_stage = (STAGES - 1) * STAGE", "write_stage = 0", "Conv ConvGradX ConvGradW"},
	{"results over the last stage", "conv.cu", "inline void epilogue(", "__syncthreads();  // the last stage, or the pass before, may still be read", "", "Conv ConvGradX"},
	{"results read too early", "conv.cu", "acc[i][4 * pass + j];", "__syncthreads();", "", "Conv ConvGradX"},
	{"chunks of a row that are not swapped", "conv.cu", "inline void multiply(", "(k0 / 4 ^ i % 2 * 2) * 4", "(k0 / 4) * 4", "Conv ConvGradX"},
	{"columns across that are not swapped", "conv.cu", "inline void multiply(", "(bt ^ k0)", "(bt + k0)", "Conv"},
	{"a tap too late", "conv.cuh", "ConvAxis fprop_axis(", "-pad", "1 - pad", "Conv ConvGradW"},
	{"no dilation", "conv.cu", "struct Im2col", "step_t = map.t.tap_step", "step_t = map.t.tap_step < 0 ? -1 : 1", "Conv ConvGradX"},
	{"taps of a run in the order of the filter", "conv.cu", "struct DgradFilter", "tap * s.SW) * s.C", "(taps_w - 1 - tap) * s.SW) * s.C", "ConvGradX"},
	{"no left edge", "conv.cu", "struct Im2col", "begin = max(0, -w)", "begin = 0", "Conv ConvGradX"},
	{"no right edge", "conv.cu", "struct Im2col", "min(map.w.taps * channels, line() - w)", "map.w.taps * channels", "Conv ConvGradX"},
	{"frames after the last", "conv.cu", "struct Im2col", "in_range(t + by_t, frames())", "t + by_t >= 0", "ConvGradX"},
	{"taps along w over the border", "conv.cu", "struct PixelLoader", "in_range(p.w * channels + j, line)", "true", "ConvGradW"},
	{"where pixels read, too late", "conv.cu", "constexpr (Loader::PIXEL_TABLE) loader.prefetch_pixels(), ", "__syncthreads();", "0;", "ConvGradW"},
	{"where pixels read, over each other", "conv.cu", "struct PixelLoader", "table[prefetched % 2 * TILE_K + i] =", "table[i] =", "ConvGradW"},
	{"wrong phase of a stride", "conv.cuh", "ConvAxis dgrad_axis(", "tap < taps && (offset + pad - tap * dilation) % stride", "false", "ConvGradX"},
	{"taps of other phases", "conv.cuh", "ConvAxis dgrad_axis(", "while (tap_stride * dilation % stride) tap_stride++;", "", "ConvGradX"},
	{"residual before the activation", "conv.cu", "inline void fprop(", "if (b)", "if (r)\n#pragma unroll\n      for (int j = 0; j < V; j++) v[j] += r[i + j];\n    if (b)", "Conv"},
	{"slope of another channel", "conv.cu", "inline void dgrad(", "read(e, saved + i)", "read(e, saved + i / s.C * s.C)", "ConvGradX"},
	{"a sum left out", "conv.cu", "inline void dgrad(", "if (r) {", "if (!r && saved) {", "ConvGradX"},
	{"a summand of another pixel", "conv.cu", "inline void dgrad(", "r + pixel * s.C + c", "r + i", "ConvGradShuffle"},
	{"slopes of pixels that stayed", "conv.cu", "inline void dgrad(", "read(e, saved + i)", "read(e, saved + pixel * s.C + c)", "ConvGradShuffle"},
	{"lines of neighbours as columns", "common.cuh", "inline int shuffled_index", "(j & ((1 << near.h) - 1))) << near.w", "(j & ((1 << near.h) - 1))) << near.h", "ConvGradShuffle"},
	{"all frames the first neighbour", "common.cuh", "inline int shuffled_index", "deep << near.t | (i & ((1 << near.t) - 1))", "deep << near.t", "ConvGradShuffle"},
	{"values for gates", "conv.cu", "inline void dgrad_geglu(", "x + i + s.C", "x + i", "ConvGradGEGLU"},
	{"parts over each other", "conv.cu", "inline void wgrad(", "dw += (size_t)blockIdx.z * s.O * weights;", "", "ConvGradW"},
	{"a term of each part lost", "conv.cu", "inline void wgrad(", "q_begin + chunk), m0", "q_begin + chunk - 1), m0", "ConvGradW"},
	{"rows after the last", "conv.cu", "inline void wgrad(", "if (row + e < weights) ", "if (row + e <= weights) ", "ConvGradW"},
	{"no barrier in sums of columns", "common.cuh", "void column_sums(", "__syncthreads();", "", "SumRows FrameGateGradG"},
	{"rows of the next group", "common.cuh", "void column_sums(", "min(rows, (g + 1) * group)", "rows", "FrameGateGradG SumRows"},
	{"a thread's last rows left out", "common.cuh", "void column_sums(", "r < end; r += step", "r + step < end; r += step", "SumRows"},
	{"sums of blocks over each other", "common.cuh", "float block_sum", "__syncthreads();  // the last call's partial sums may still be read", "", "ReconLoss LFQLoss"},
	{"sums of blocks too early", "common.cuh", "partial[threadIdx.x / 32] = v;", "__syncthreads();", "", "SumSquares ReconLoss"},
	{"a warp's last step left out", "common.cuh", "float warp_sum", "d > 0", "d > 1", "SumSquares FramePool"},
	{"a team's last step left out", "norm.cu", "float sum(float v)", "d > 0", "d > 1", "RMSNorm"},
	{"lanes of two rows", "norm.cu", "float sum(float v)", "lanes / 2", "16", "Normalize"},
	{"a piece that is not read again", "norm.cu", "void need(", "if (piece == from) return;", "if (from != ~0u) return;", "RMSNorm"},
	{"rows after the last", "norm.cu", "void sum_of_products", "row < end)", "true)", "RMSNormGradGamma"},
	{"sums of teams too early", "norm.cu", "void store_group_sums", "__syncthreads();", "", "RMSNormGradGamma LayerNormGradGamma"},
	{"the gate of another frame", "gate.cu", "inline void gate(", "g + (size_t)blockIdx.y * C + at % C", "g + at % C", "FrameGate"},
	{"a context of another frame", "gate.cu", "inline void grad(", "dctx += (size_t)blockIdx.y * C, ", "", "FramePoolGradX SqueezeExciteGradX"},
	{"lanes of two pixels", "gate.cu", "inline void pixel_dots(", "d = lanes / 2", "d = 16", "FramePool"},
	{"slopes around no mean", "gate.cu", "inline void grad(", "(s.v[r] - mean)", "s.v[r]", "FramePoolGradK SqueezeExciteGrad"},
	{"the denominator of another frame", "gate.cu", "inline void grad(", ", lse += blockIdx.y", "", "SqueezeExciteGrad"},
	{"weights before they are there", "gate.cu", "s.u[r] = a, s.v[r] = a * (s.v[r] - mean);", "__syncthreads();", "", "SqueezeExciteGrad"},
	{"logits before they are there", "gate.cu", "inline void pool(", "__syncthreads();", "", "FramePool"},
	{"rows of threads not awaited", "gate.cu", "inline void add_rows(", "half /= 2) {\n    __syncthreads();", "half /= 2) {", "FramePool SqueezeExciteGrad"},
	{"pixels of the next chunk", "gate.cu", "inline void pool(", "min(chunk, P - first)", "min(chunk, P)", "FramePool"},
	{"each chunk's own maximum", "gate.cu", "void __launch_bounds__(256) frame_pool_merge", "total += expf(stats[2 * i] - peak) * ", "total += ", "FramePool"},
	{"a residual times the gain", "gate.cu", "inline void gate(", "v[j] * gain[j] + around[j]", "(v[j] + around[j]) * gain[j]", "FrameGate"},
	{"no slope", "gate.cu", "inline void grad(", "if (kind != NONE) d[j] *= slope(kind, v[j]);", "", "SqueezeExciteGradX"},
	{"a mean left out", "norm.cu", "void layer_norm_grad_x(", "(g.v[k] - mean -", "(g.v[k] -", "LayerNormGradX"},
	{"no residual", "norm.cu", "void rms_norm_grad_x(", " + skip.v[k]", "", "RMSNormGradX"},
	{"no residual of both gradients", "norm.cu", "void rms_norm_grad(", " + skip.v[k]", "", "RMSNormGrad"},
	{"rows of the next group stored", "norm.cu", "void rms_norm_grad(", "if (row >= end) continue;", "if (row >= rows) continue;", "RMSNormGrad"},
	{"sums of gamma times gamma", "norm.cu", "void rms_norm_grad(", "      sum[k] += d.v[k] * of.v[k] * scale;\n      g[k] *= d.v[k];", "      g[k] *= d.v[k];\n      sum[k] += g[k] * of.v[k] * scale;", "RMSNormGrad"},
	{"eight values where fewer are left", "packed.cuh", "inline void packed8(", "i + 8 <= n", "i < n", "Add"},
	{"values after the last", "packed.cuh", "inline void packed8(", "min(8u, n - i)", "8u", "Add"},
	{"chunks that overlap", "reduce.cu", "void chunk_sum(", "min(n, from + chunk)", "min(n, from + chunk + 8)", "SumSquares"},
	{"sub-pixels swapped", "shuffle.cu", "void shuffle_of(", "h * FH + i) * W * FW + w * FW + j", "h * FH + j) * W * FW + w * FW + i", "Shuffle"},
	{"a line's pixels in the next", "shuffle.cu", "void shuffle_of(", "w = 0;", "", "Shuffle"},
	{"columns as they were", "shuffle.cu", "void shuffle_columns(", "v[k % F][k / F]", "v[k / 8][k % 8]", "Shuffle"},
	{"slopes of the source's place", "shuffle.cu", "void shuffle_columns(", "finish(columns[k], at)", "finish(columns[k], deep + 8 * k)", "ShuffleGrad"},
	{"an activation for its slope", "shuffle.cu", "float one(", "v * slope(kind, load(s[at]))", "activate(kind, v)", "ShuffleGrad"},
	{"frames of the wrong end", "frames.cu", "void slice_time_of(", "+ from + i % len", "+ i % len", "CropFront"},
	{"channels of the next pixel", "pad.cu", "void pad_of(", "k % groups * V", "k % groups", "Pad"},
	{"no floor", "norm.cu", "rms_scale(float squares", "fmaxf(sqrtf(squares), MIN_NORM)", "sqrtf(squares)", "RMSNorm"},
	{"bits in the wrong order", "lfq.cu", "void lfq_factors", "count - 1 - b", "b", "LFQLoss LFQLossGrad"},
	{"a tile filled while it is read", "lfq.cu", "matmul(float", "__syncthreads();  // the tiles may still be read", "", "LFQLoss LFQLossGrad"},
	{"a tile read before it is there", "lfq.cu", "ly.put(ys, vy);", "__syncthreads();", "", "LFQLoss LFQLossGrad"},
	{"terms of the next part", "lfq.cu", "matmul(float", "min(k, from + chunk)", "k", "LFQLoss"},
	{"channels of the next group", "norm_group.cu", "size_t first;", "group * width", "group", "GroupNorm GroupNormGradX"},
	{"deviations from no mean", "norm_group.cu", "void parts_of(", "load(x[at]) - mean", "load(x[at])", "GroupNorm"},
	{"means of splits that are not merged", "norm_group.cu", "void group_norm_stats(", "squares += p[2] + d * d * (count * (p[0] / all));", "squares += p[2];", "GroupNorm GroupNormGradGamma"},
	{"gains of the first sample", "norm_group.cu", "unsigned parameter(", "adaptive ? i / C / rows * C + i % C : i % C", "i % C", "GroupNorm GroupNormGradX"},
	{"the gradient along the norm left out", "norm_group.cu", "void backward(", " - h * sums[2 * g + 1] / count", "", "GroupNormGradX"},
	{"the biased variance", "channel_stats.cu", "Moments moments(", "/ (rows - 1) + eps", "/ rows + eps", "ChannelStats"},
	{"no slope of the deviation", "channel_stats.cu", "void channel_stats_grad(", "mean + along", "mean - along", "ChannelStatsGrad"},
	{"linear weights swapped", "resample.cu", "Taps taps_of(", "o % 2 ? .75f : .25f, o % 2 ? .25f : .75f", "o % 2 ? .25f : .75f, o % 2 ? .75f : .25f", "Resample"},
	{"zeros for the first position", "resample.cu", "Taps taps_of(", "2 * third : third, third", "third : third, third", "Resample"},
	{"the same pair twice", "resample.cu", "Taps taps_of(", "MEAN_OF_TWO) return {2 * o,", "MEAN_OF_TWO) return {o / 2 * 2,", "Resample"},
	{"a reader of the position left out", "resample.cu", "void resample_grad_of(", "from + 4", "from + 2", "ResampleGrad"},
	{"the rest of the mix", "blend.cu", "void blend_of(", "rest * w[e]", "s * w[e]", "Blend"},
	{"no slope of the mix", "blend.cu", "void blend_grad_mix_of(", " * sigmoid(-m[0])", "", "BlendGradMix"},
	{"phases as channels", "shuffle.cu", "void shuffle_phases_of(", "c = deep % C, m = deep / C % (FT * FH * FW)", "c = deep / (FT * FH * FW) % C, m = deep % (FT * FH * FW)", "Shuffle"},
	{"padding in front", "pad.cu", "int front_h(", "s.after ? 0 : s.PH", "s.PH", "Pad"},
	{"the first bit counts most", "lfq.cu", "void lfq_index", "low_first ? i : bits - 1 - i", "bits - 1 - i", "LFQIndex"},
	{"no offset in the slope", "lfq.cu", "void lfq_slopes", "offset > 0 ? mean[i] / q : 0", "0", "LFQLossGrad"},
	{"levels in the wrong order", "fsq_loss.cu", "float probability(", "code /= levels.count[i];", "code /= levels.count[dims - 1 - i];", "FSQLoss"},
	{"no floor of a probability", "fsq_loss.cu", "float surprise(", "fmaxf(p, MIN_PROBABILITY)", "p", "FSQLoss"},
	{"slopes around no mean value", "fsq_loss.cu", "void fsq_loss_grad(", " - centre[i])", ")", "FSQLossGrad"},
	{"codes after the last", "lfq.cu", "void lfq_terms", "i < codes && ", "", "LFQLoss"},
	{"zero counts as positive", "lfq.cu", "void lfq_index", "> 0)", ">= 0)", "LFQIndex"},
	{"the last of equally near codes", "vq.cu", "void __launch_bounds__(256) vq_index(", "if (d < best)", "if (d <= best)", "VQIndex"},
	{"a reduction without ties", "vq.cu", "void __launch_bounds__(256) vq_index(", "nearest[t + half] < nearest[t]", "false", "VQIndex"},
	{"no barrier in the nearest code", "vq.cu", "least[t] = best", "__syncthreads();", "", "VQIndex"},
	{"vectors of the first book", "vq.cu", "void vq_values(", "(size_t)(row % books) * codes", "0", "VQValues VQQuantize"},
	{"counts of another book", "vq.cu", "void vq_statistics(", "(size_t)t * books + book", "(size_t)t * books", "VQStatistics"},
	{"tokens after the batch", "vq.cu", "void vq_samples(", " && token < (float)tokens", "", "VQSamples"},
	{"an average of a step that is not applied", "vq.cu", "void vq_average(", " && isfinite(*guard)", "", "VQUpdate"},
	{"no barrier in totals", "vq.cu", "void __launch_bounds__(256) vq_total(", "__syncthreads();", "", "VQUpdate"},
	{"no smoothing", "vq.cu", "void vq_codebook(", "(total + codes * (double)eps) / (total * (count + eps))", "1 / (double)count", "VQUpdate"},
	{"the count of a dead code stays", "vq.cu", "void vq_codebook(", "m[dim] = (float)mean;", "", "VQUpdate"},
	{"codes replaced by nothing", "vq.cu", "void vq_codebook(", " || !given", "", "VQUpdate"},
	{"the mean of another bit", "bsq.cu", "void bsq_grad(", "sums[i % columns]", "sums[0]", "BSQLossGrad"},
	{"sums for means", "bsq.cu", "void bsq_means(", " / tokens", "", "BSQMeans"},
	{"given means divided by the tokens", "bsq.cu", "void bsq_grad(", "/ count", "/ tokens", "BSQStepLossGrad"},
	{"entropies of columns again and again", "bsq.cu", "void bsq_terms(", "if (i < columns) ", "", "BSQLoss"},
	{"the entropy of one side of a bit", "bsq.cu", "float bit_entropy(", " - (1 - p) * log1pf(-p)", "", "BSQLoss"},
	{"the slope of the wrong entropy", "bsq.cu", "void bsq_grad(", "dterms[1] * column - dterms[0] * t", "dterms[0] * column - dterms[1] * t", "BSQLossGrad"},
	{"rounding down", "fsq.cu", "double round", "rint(", "floor(", "FSQQuantize"},
	{"the overshoot of the wrong side", "loss.cu", "Error measure", "target >= 1 && d > 0", "target >= 1 && d < 0", "ReconLoss ReconLossGrad"},
	{"the weight of the pixel before", "loss.cu", "float next(", "++c == C", "c++ == C", "ReconLoss ReconLossGrad"},
	{"no barrier before products", "attention.cu", "fill<true>(bs", "__syncthreads();", "", "Attention AttentionGrad"},
	{"a tile filled while it is read", "attention.cu", "void products(", "__syncthreads();  // both may still be read", "", "Attention AttentionGrad AttentionGradMem"},
	{"values weighed too early", "attention.cu", "fill<false>(x, v, r0, c0, dim);", "__syncthreads();", "", "Attention AttentionGrad"},
	{"weights of another order", "attention.cu", "fill<false>(x, v, r0, c0, dim);", "weights[line(i) * ROW + k]", "weights[k * ROW + line(i)]", "Attention"},
	{"a token sees the next one", "attention.cuh", "bool sees(", "<= i);", "<= i + 1);", "Attention AttentionGrad"},
	{"keys after the last", "attention.cuh", "bool sees(", "j < s.memory + s.length &&", "", "Attention"},
	{"earlier values not shrunk", "attention.cu", "void forward(", "sum[i][j] *= rescale;", "", "Attention"},
	{"the softmax of one thread's keys", "attention.cu", "fmaxf(high, w[j]);", "d > 0", "d > 4", "Attention"},
	{"a sum without the greatest logit", "attention.cu", "void forward(", "r[i].peak + logf(total)", "logf(total)", "AttentionStats"},
	{"a mean without the last channel", "attention.cu", "void known_stats(", "c < s.dim", "c < s.dim - 1", "AttentionBackward"},
	{"statistics of the next head", "attention.cu", "void known_stats(", "rows[at] = lse[at]", "rows[at] = lse[(at + tokens) % size]", "AttentionBackward"},
	{"no mean in the gradient of queries", "attention.cu", "void grad_q(", "(da[i][j] - mean)", "da[i][j]", "AttentionGrad"},
	{"queries before the key", "attention.cu", "void key_gradients(", "(!causal || key <= query)", "(!causal || key < query)", "AttentionGrad"},
	{"a part's last query left out", "attention.cu", "void grad_memory(float", "(blockIdx.z + 1) * chunk)", "(blockIdx.z + 1) * chunk - 1)", "AttentionGradMem"},
	{"frames of the next pixel", "attention.cuh", "Rows<T> slopes(", "s.group * width", "width", "AttentionGrad"},
	{"a square counted twice", "linear_attention.cu", "static __device__ void state(", "sum[q][d] / 2", "sum[q][d]", "LinearAttention"},
	{"a pixel's values over each other", "linear_attention.cu", "p0 += STEP", "__syncthreads();", "", "LinearAttention"},
	{"features before their pixels", "linear_attention.cu", "* N + d] = x[d];", "__syncthreads();", "", "LinearAttention"},
	{"a team's sums too early", "linear_attention.cu", "if (team / half == 1)", "__syncthreads();", "", "LinearAttention LinearAttentionGradKV"},
	{"a feature's pixels of another vector", "linear_attention.cu", "phi[q] = zs", "+ second[q]]", "+ first[q]]", "LinearAttention"},
	{"a pixel of the wrong half", "linear_attention.cu", "int pixel(int k)", "k * blockDim.x", "k", "LinearAttention"},
	{"no barrier after the state", "linear_attention.cu", "rows(z, v, scale);", "__syncthreads();", "", "LinearAttention"},
	{"no error of the denominator", "linear_attention.cu", "void errors(Values& e", "e[k][D] -= e[k][d] * n[k][d] / n[k][D];", "", "LinearAttentionGradQ LinearAttentionGradKV"},
	{"half of a product's slope", "linear_attention.cu", "void slopes(", "dz[k][j] += dphi[k] * z[k][i];", "", "LinearAttentionGradQ LinearAttentionGradKV"},
	{"values for keys", "linear_attention.cu", "taylor_state_##D##SUFFIX", "at.rows(kv, 2, 1)", "at.rows(kv, 2, 0)", "LinearAttention"},
	{"the gate of the frame before", "gateloop.cu", "void backward", "dh[k] *= g;", "dh[k] *= 1 - g;", "GateLoopGrad"},
	{"no frame before the first", "gateloop.cu", "void backward", "if (t > 0) load", "if (t > 1) load", "GateLoopGrad"},
	{"a clip's frames as pixels", "gateloop.cu", "Course(unsigned i", "/ P * T * P", "/ P * P", "GateLoop"},
	{"halves swapped", "geglu.cu", "void forward(", "loads(u, x), loads(g, x + C)", "loads(g, x), loads(u, x + C)", "GEGLU"},
	{"values after the first 256", "geglu.cu", "c = lane; c < C", "c += 256", "c += 512", "GEGLU"},
	{"eights after the first", "geglu.cu", "lane * 8; c < C", "c += 256", "c += 512", "GEGLU"},
	{"the slope of the other half", "common.cuh", "void geglu_slopes(", "g[k] * normal_density(g[k])", "u[k] * normal_density(u[k])", "GEGLUGrad ConvGradGEGLU"},
	{"frames of the next clip", "shift.cu", "void token_shift(", " && t < int(frames)", "", "TokenShift"},
	{"a channel too few", "shift.cu", "void token_shift(", "i % C < stay", "i % C <= stay", "TokenShift"},
	{"the edge repeated", "pad.cu", "int pad_source", "2 * (n - 1) - i", "2 * n - 1 - i", "Pad"},
	{"one reader at the edge", "pad.cu", "struct PadReaders", "first = 0", "first = front", "PadGrad"},
	{"the far end left out", "pad.cu", "struct PadReaders", "other = front + n + i;", ";", "PadGrad"},
	{"a filter at the edge of a clip", "lap.cu", "void lap_of(", "border == 0 || ", "", "Lap"},
	{"a matrix that is not transposed", "lap.cu", "void lap_of(", "m[transposed ? j * 2 * reach : j]", "m[j]", "Lap"},
	{"values beyond the reach filtered", "lap.cu", "void lap_of(", " || i >= 2 * reach", "", "Lap"},
	{"the first values of the next row", "pad_rows.cu", "void pad_rows_of(", "c < from ? x", "true ? x", "PadRows"},
	{"rows as far apart as padded ones", "pad_rows.cu", "void pad_rows_of(", "r * from + c", "r * to + c", "PadRows"},
	{"beyond the edge", "blur.cu", "void blur_of(", "min(max(h + b, 0), H - 1)", "max(h + b, 0)", "Blur"},
	{"another axis's weights", "blur.cu", "void blur_of(", "(d ? .25f : .5f)", "(b ? .25f : .5f)", "Blur"},
	{"a window of the clip before", "window.cu", "void windows(", "k / K", "k / K / 2", "Windows"},
	{"a row beyond the window", "window.cu", "void windows_grad(", "h - o.h < SH", "h - o.h <= SH", "WindowsGrad"},
	{"the last window alone", "window.cu", "void windows_grad(", "sum += dy", "sum = dy", "WindowsGrad"},
	{"positions beyond the clip", "window.cu", "unsigned inside(", "fminf(v, (float)most)", "v", "Windows"},
	{"the slope of the other side of a hinge", "logits.cu", "float slope(", "x >= 1 ? 0 : -1", "x >= 1 ? 0 : 1", "LogitMeanGrad"},
	{"no reflection of a logit", "logits.cu", "case LOGISTIC_REAL: return (", "x < 0 ? -x : 0", "x > 0 ? x : 0", "LogitMean"},
	{"a ratio of squares", "logits.cu", "void gradient_ratio(", "sqrtf(logits::sum_squares(b", "(logits::sum_squares(b", "GradientRatio"},
	{"no floor of the ratio", "logits.cu", "void gradient_ratio(", "fmaxf(below + eps, floor)", "(below + eps)", "GradientRatio"},
	{"the side of real frames", "lecam.cu", "float beyond(", "fake ? a - x : x - a", "x - a", "LeCam"},
	{"a slope in another direction", "lecam.cu", "void lecam_grad(", "fake ? -2 : 2", "2", "LeCamGrad"},
	{"an update of a step that is not applied", "running.cu", "void running_update(", " && isfinite(*guard)", "", "RunningUpdate"},
	{"the rate of what was", "running.cu", "void running_average(", "average[i] + rate * (x[i] - average[i])", "x[i] + rate * (average[i] - x[i])", "RunningAverage"},
	{"the first batch counts most", "batch_norm.cu", "void batch_moments(", "sum = sum * decay + (", "sum = sum + (", "BatchMoments"},
	{"a biased variance", "batch_norm.cu", "void batch_moments(", "squares / (rows - 1)", "squares / rows", "BatchMoments"},
	{"the slope of another leak", "common.cuh", "float slope(int kind", "s > 0 ? 1 : LEAK_5", "s > 0 ? 1 : LEAK", "ActGrad"},
	{"half of a slope", "reduce.cu", "void sum_squares_grad(", "2 * dy", "dy", "SumSquaresGrad"},
	{"no curvature of the norm", "norm_tangent.cu", "void rms_norm_tangent_grad_x(", "3 * gx", "2 * gx", "RMSNormTangentGradX"},
	{"no floor of the tangent", "norm_tangent.cu", "Scale scale(", "norm <= 1e-12f", "norm <= 0", "RMSNormTangent"},
	{"a chunk's last row left out", "norm_tangent.cu", "void rms_norm_tangent_grad_gamma(", "r < to", "r + 1 < to", "RMSNormTangentGradGamma"},
	{"halves of the direction swapped", "geglu_tangent.cu", "void geglu_tangent(", "v[a] * activate", "v[b] * activate", "GEGLUTangent"},
	{"no second slope", "geglu_tangent.cu", "void geglu_tangent_grad(", "(2 - g * g)", "2", "GEGLUTangentGrad"},
	{"factors of the chunk before", "linear_attention_tangent.cu", "bs[threadIdx.x]);", "__syncthreads();", "", "LinearAttentionTangent"},
	{"a channel's sums too early", "linear_attention_tangent.cu", "sums[threadIdx.x] = sum;", "__syncthreads();", "", "LinearAttentionTangent"},
	{"no derivative of the denominator", "linear_attention_tangent.cu", "void __launch_bounds__(128) linear_attention_tangent(", "(p.dw - p.w * dZ / Z)", "p.dw", "LinearAttentionTangent"},
	{"queries for keys", "linear_attention_tangent.cu", "linear_attention_tangent_grad_kv(float", "stats, i, h.pixel", "stats, h.pixel, i", "LinearAttentionTangentGradKV"},
	{"a mean counted once", "linear_attention_tangent.cu", "Factors factors(", "2 * M", "M", "LinearAttentionTangentGradQ"},
	{"the gain of another sample", "modulate.cu", "void modulate(", "blockIdx.x / O", "blockIdx.x % O", "Modulate"},
	{"no floor of the power", "modulate.cu", "demodulate(const", "power < MIN_POWER", "power < 0", "Modulate ModulateGradW"},
	{"no slope of the power", "modulate.cu", "void modulate_stats", "d.slope * sum", "0", "ModulateGradW ModulateGradS"},
	{"sums of blocks not awaited", "common.cuh", "partial[threadIdx.x / 32] = v;", "__syncthreads();", "", "Modulate LFQLossFloored"},
	{"output channels mixed", "modulate.cu", "modulate_grad_s(float", "i / taps", "i % O", "ModulateGradS"},
	{"no floor in the logarithm", "lfq_floored.cu", "void floored_slopes", "s <= MAX_SURPRISE ? s - 1 : MAX_SURPRISE", "s - 1", "LFQLossFlooredGrad"},
	{"a factor filled with what lay there", "lfq_floored.cu", "void load_factor", "(n + 3) / 4 * 4", "n", "LFQLossFloored"},
	{"factors before they are there", "lfq_floored.cu", "lfq_floored_entropies(float", "__syncthreads();", "", "LFQLossFloored"},
	{"slopes before they are there", "lfq_floored.cu", "floored_slopes(gb, b", "__syncthreads();", "", "LFQLossFlooredGrad"},
	{"a bit from the wrong end", "lfq_floored.cu", "lfq_floored_grad(float", "high - 1 - bit", "bit", "LFQLossFlooredGrad"},
	{"codes after the last of the mean", "lfq_floored.cu", "void lfq_floored_terms", "if (i < codes) ", "", "LFQLossFloored"},
	{"the first sample's gain", "norm.cu", "void rms_norm(", "row / group", "row / rows", "AdaptiveRMSNorm"},
	{"not along the row", "norm.cu", "void normalize_grad", "- of.v[k] * along", "", "NormalizeGrad"},
	{"the first sample's weights", "conv.cu", "inline void fprop(", "w += (size_t)sample * s.O * map.taps() * s.C;", "", "ModConv"},
	{"slopes of the first sample", "conv.cu", "inline void dgrad_sums(", "dy += (size_t)sample * s.OT * s.OH * s.OW * s.O;", "", "ModConvGradX"},
	{"windows beyond the edge count", "pool.cu", "PoolRange pool_window(", "min(q * stride - pad + window, n)", "q * stride - pad + window", "Pool"},
	{"a window too few", "pool.cu", "PoolRange pool_windows(", "- window + stride", "- window + stride + 1", "PoolGrad"},
	{"every maximum counts", "pool.cu", "void pool_grad_of(", "open[e] = false;", "", "PoolGrad"},
	{"an edge's pixel with that of the next line", "image_gradient.cu", "void image_gradient_loss(", "int(p % W) + 1 < W", "true", "ImageGradientLoss"},
	{"the weight of the other pixel", "image_gradient.cu", "void image_gradient_loss_grad(", "weight[p - W]", "weight[p]", "ImageGradientLossGrad"},
	{"weights of a window's corner", "ssim.cu", "SSIMWindow ssim_window(", "s.window / 2 * (s.W + 1)", "0", "SSIMLoss SSIMLossGrad"},
	{"taps before they are there", "ssim.cu", "void ssim_taps(", "__syncthreads();", "", "SSIMLoss"},
	{"the covariance without its slope", "ssim.cu", "void ssim_loss_grad(", "+ (target[i] - SSIM_SHIFT) * sum2", "", "SSIMLossGrad"},
	{"windows after the last", "ssim.cu", "void ssim_loss_grad(", "min(h, down - 1)", "h", "SSIMLossGrad"},
	{"rows without a label count", "classify.cu", "float count_labels(", "label[r] >= 0", "1", "CrossEntropy"},
	{"a warp's maximum of one lane", "classify.cu", "LogSumExp log_sum_exp(", "peak = warp_max(peak);", "", "CrossEntropy CrossEntropyGrad"},
	{"a smoothed label on one class alone", "classify.cu", "void cross_entropy_grad(", " - smoothing / C", "", "CrossEntropyGrad"},
	{"an id that adds nothing is row 0", "embedding.cu", "void embed(", "if (id < 0) continue;", "if (id < 0) id = 0;", "Embedding"},
	{"matches that are still read", "embedding.cu", "void embed_grad(", "__syncthreads();  // the matches of the last pass may still be read", "", "EmbeddingGrad"},
	{"the slope of another row", "embedding.cu", "void embed_grad(", "/ Ids) * C", ") * C", "EmbeddingGrad"},
	{"the newest token left out", "attention_step.cu", "unsigned keys(", "(unsigned)past + 1", "(unsigned)past", "AttentionStep"},
	{"the cache of another sequence", "attention_step.cu", "const float* vector(", " * s.N + n)", " * s.N)", "AttentionStep"},
	{"a maximum of each thread", "attention_step.cu", "void attention_step(", "peak = block_max(peak, scratch);", "", "AttentionStep"},
	{"a length of the other image", "feature_distance.cu", "Lengths feature_lengths(", "sqrtf(warp_sum(ff)), sqrtf(warp_sum(gg))", "sqrtf(warp_sum(gg)), sqrtf(warp_sum(ff))", "FeatureDistance FeatureDistanceGrad"},
	{"pixels of the next chunk", "feature_distance.cu", "void feature_distance_of(", "min(P, from + chunk)", "min(P, from + chunk + 1)", "FeatureDistance"},
	{"a length without a slope", "feature_distance.cu", "void feature_distance_grad_of(", "e - a * (along * kf / r.f)", "e", "FeatureDistanceGrad"},
	{"NaN reaches the weights", "optimizer.cu", "void adam_w", "if (!isfinite(norm2[0])) return;", "", "AdamW"},
	{"an average that is always stored", "optimizer.cu", "void adam_w", "if (average) at.store", "at.store", "AdamW"},
	{"an average that is always added to", "optimizer.cu", "void adam_w", "if (average) emas", "emas", "AdamW"},
	{"the rate of the other moment", "optimizer.cu", "void adam_w", "(1 - rate2)", "(1 - rate1)", "AdamW"},
}

// The suite catches each mutant, in at least one order of threads.
func TestMutationsAreCaught(t *testing.T) { catch(t, mutations, kernels.F32, kerneltest.Cases(), "") }

// source is the text of the mutant's file.
func (m mutation) source(t *testing.T) string {
	t.Helper()
	text, err := fs.ReadFile(kernels.Source, m.file)
	check(t, err)
	before, rest, ok := strings.Cut(string(text), m.after)
	if !ok || !strings.Contains(rest, m.old) {
		t.Fatalf("%s: %s has no %q after %q", m.name, m.file, m.old, m.after)
	}
	return before + m.after + strings.Replace(rest, m.old, m.new, 1)
}

// catch compiles the kernels once for each mutant: those of main or, if it is empty, those
// that the cases need.
func catch(t *testing.T, mutations []mutation, p kernels.Precision, cases []kerneltest.Case, main string) {
	for _, m := range mutations { // also with -short: a text that no longer occurs would be no mutant
		m.source(t)
	}
	if testing.Short() {
		t.Skip("-short: compiles the kernels once for each mutant")
	}
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			check(t, os.CopyFS(dir, kernels.Source))
			check(t, os.WriteFile(filepath.Join(dir, m.file), []byte(m.source(t)), 0o644))
			tried := slices.DeleteFunc(slices.Clone(cases), func(c kerneltest.Case) bool { return !slices.Contains(strings.Fields(m.kinds), kind(c.Spec)) })
			if len(tried) == 0 {
				t.Fatalf("no case of %s", m.kinds)
			}
			files := strings.Fields(main)
			if main == "" {
				files = filesOf(t, m.file, tried)
			}
			lib, err := emul.CompileFiles(dir, files...)
			check(t, err)
			for _, order := range []emul.Order{emul.Forward, emul.Reverse, emul.Shuffled} {
				drv, err := emul.Load(lib, order)
				check(t, err)
				be := gpu.Emulated(drv, p)
				defer be.Close()
				for _, c := range tried {
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

// filesOf are the .cu files with a mutated one and the kernels that the cases launch in
// float32: all would take three times as long to compile.
func filesOf(t *testing.T, mutated string, cases []kerneltest.Case) []string {
	files, names := map[string]bool{}, map[string]bool{}
	if strings.HasSuffix(mutated, ".cu") {
		files[mutated] = true
	}
	for _, c := range cases {
		launches, err := kernels.LaunchesOf(c.Spec, kernels.F32, "sm_80")
		check(t, err)
		for _, l := range launches.List {
			names[l.Kernel] = true
		}
	}
	sources, err := fs.Glob(kernels.Source, "*.cu")
	check(t, err)
	for name := range names {
		found := false
		for _, source := range sources {
			text, err := fs.ReadFile(kernels.Source, source)
			check(t, err)
			if defines(string(text), name) {
				files[source], found = true, true
			}
		}
		if !found {
			t.Fatalf("no file of %v defines %s", sources, name)
		}
	}
	return slices.Sorted(maps.Keys(files))
}

// defines tells whether a source has the kernel, or a macro that makes it of the beginning
// of its name.
func defines(text, kernel string) bool {
	for i := range kernel {
		if strings.Contains(text, " "+kernel[:i+1]+"##") {
			return true
		}
	}
	return strings.Contains(text, " "+kernel+"(") || strings.Contains(text, "\n"+kernel+"(")
}
