package kernels

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// describe gives a launch's kernel, grid, block and pointers: the number of an
// argument, s for the workspace, - for null.
func describe(l Launch) string {
	s := fmt.Sprintf("%s %d,%d,%d %d,%d,%d ", l.Kernel, l.Grid[0], l.Grid[1], l.Grid[2], l.Block[0], l.Block[1], l.Block[2])
	for _, o := range l.Params().Pointers {
		s += describeOperand(o)
	}
	return s
}

func describeOperand(o Operand) string {
	switch o.Memory {
	case WorkspaceMemory:
		return "s"
	case ArgMemory:
		return fmt.Sprint(o.Index)
	}
	return "-"
}

func TestGeometry(t *testing.T) {
	conv := Conv{N: 2, T: 3, H: 5, W: 7, C: 8, O: 65, KT: 3, KH: 3, KW: 3, ST: 1, SH: 1, SW: 1, DT: 1, PT: 2, PH: 1, PW: 1}
	full := conv
	full.Act, full.Residual = ELU, true
	sloped := conv
	sloped.Act = ELU
	tall := Conv{N: 4, T: 16, H: 32, W: 32, C: 64, O: 64, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}
	pixels := Attention{N: 2, T: 3, P: 40, Heads: 2, Dim: 33, Memory: 4} // 6 sequences, two tiles of queries and of channels
	frames := pixels
	frames.Over, frames.Causal = Time, true // 80 sequences
	linear := func(dim int) LinearAttention {
		return LinearAttention{F: 2, P: 600, Heads: 3, Dim: dim}
	}
	gains := Modulate{N: 2, O: 9, Taps: 27, C: 40}
	lfq := LFQ{Tokens: 300, Books: 2, Bits: 5}
	for _, c := range []struct {
		spec Spec
		want []string
	}{
		{Add{Len: 2048}, []string{"add 1,1,1 256,1,1 012"}},
		{Add{Len: 2049}, []string{"add 2,1,1 256,1,1 012"}},
		{SumSquares{Len: 8191}, []string{"sum_squares 1,1,1 256,1,1 01"}},
		{SumSquares{Len: 8192}, []string{"sum_squares 2,1,1 256,1,1 s1", "sum_values 1,1,1 256,1,1 0s"}},
		{SumSquares{Len: 1 << 23}, []string{"sum_squares 1056,1,1 256,1,1 s1", "sum_values 1,1,1 256,1,1 0s"}},
		{ReconLossGrad{Pixels: 9000, C: 3, Overshoot: 1}, []string{"sum_values 2,1,1 256,1,1 s4", "recon_loss_grad 14,1,1 256,1,1 01234s"}},
		{Shuffle{N: 1, T: 1, H: 4, W: 8, C: 64, FT: 1, FH: 2, FW: 2}, []string{"shuffle_4 1,1,1 256,1,1 01-"}},
		{Shuffle{N: 1, T: 1, H: 4, W: 8, C: 60, FT: 1, FH: 2, FW: 2, Down: true}, []string{"shuffle 4,1,1 256,1,1 01-"}},
		{SliceTime{N: 1, T: 4, Inner: 1028, From: 1, To: 4}, []string{"slice_time_wide 4,1,1 256,1,1 01"}}, // 771 times 16 bytes
		{SliceTime{N: 1, T: 4, Inner: 1026, From: 1, To: 4}, []string{"slice_time 13,1,1 256,1,1 01"}},
		{Blur{N: 1, T: 1, H: 5, W: 5, C: 96, Space: true}, []string{"blur_8 2,1,1 256,1,1 01"}},
		{conv, []string{"conv_64 4,1,1 256,1,1 0123-"}}, // 210 pixels, 65 channels
		{full, []string{"conv_64 4,1,1 256,1,1 01234"}},
		{ConvGradX{Conv: conv}, []string{"conv_grad_x_64 2,1,1 256,1,1 012--"}},
		{ConvGradX{Conv: sloped}, []string{"conv_grad_x_64 2,1,1 256,1,1 0123-"}},
		{ConvGradX{Conv: full}, []string{"conv_grad_x_64 2,1,1 256,1,1 01234"}},
		{ConvGradW{Conv: conv}, []string{"conv_grad_w_128 2,1,1 256,1,1 012"}}, // too few pixels to split
		// 65536 pixels and one tile: 264 parts would have 249 pixels, so 256 of 256.
		{ConvGradW{Conv: tall}, []string{"conv_grad_w_64 1,1,256 256,1,1 s12", "sum_rows 128,1,1 4,64,1 0s"}},
		{SumRows{Rows: 700, C: 65}, []string{"sum_rows 75,1,1 16,16,1 s1", "sum_rows 3,1,1 32,8,1 0s"}},
		{SumRows{Rows: 9, C: 32}, []string{"sum_rows 1,1,1 4,64,1 01"}},
		{LayerNorm{Rows: 9, C: 7, Eps: 1}, []string{"layer_norm_odd 1,1,1 256,1,1 0123"}},
		{RMSNormGrad{Rows: 600, C: 512, Residual: true}, []string{"rms_norm_grad 8,1,1 256,1,1 0s2345", "sum_rows 2,1,1 32,8,1 1s"}},
		{RMSNormGrad{Rows: 9, C: 520}, []string{"rms_norm_grad_x 2,1,1 256,1,1 0234-", "rms_norm_grad_gamma 1,2,1 256,1,1 123"}},
		{FramePool{F: 3, P: 5, C: 40}, []string{"frame_pool 1,3,1 256,1,1 ss12", "frame_pool_merge 3,1,1 256,1,1 0-ss"}},
		// 512 pixels of 64 channels are a chunk.
		{SqueezeExciteGrad{F: 2, P: 600, C: 64}, []string{"squeeze_excite_grad 2,2,1 256,1,1 0s2534678", "sum_rows 1,1,1 8,32,1 1s"}},
		{FramePoolGradK{F: 1, P: 5, C: 40}, []string{"frame_pool 1,1,1 256,1,1 ss23", "frame_pool_merge 1,1,1 256,1,1 ssss", "squeeze_excite_grad 1,1,1 256,1,1 -0-2-13ss"}},
		{LFQLoss{LFQ: lfq, InvTemp: 1}, []string{
			"lfq_factors 29,1,1 256,1,1 ss1",                       // 600·(2^3+2^2) values
			"matmul 1,2,2 128,1,1 sss", "sum_rows 1,1,1 8,32,1 ss", // 300 tokens in two parts
			"lfq_terms 12,1,1 256,1,1 s1s", "sum_rows 1,1,1 8,32,1 0s"}},
		{LFQLossFloored{LFQ: lfq, InvTemp: 1}, []string{
			"lfq_factors 29,1,1 256,1,1 ss1", "matmul 1,2,2 128,1,1 sss", "sum_rows 1,1,1 8,32,1 ss",
			"lfq_floored_entropies 600,1,1 256,1,1 sss", "lfq_floored_terms 12,1,1 256,1,1 ss1s", "sum_rows 1,1,1 8,32,1 0s"}},
		// Tiles of 16384 values: 64 of the mean, in nine parts, and 640 of each half.
		{LFQLossGrad{LFQ: LFQ{Tokens: 5120, Books: 1, Bits: 18}, InvTemp: 1}, []string{
			"lfq_factors 20480,1,1 256,1,1 ss2", "matmul 64,1,9 128,1,1 sss", "sum_rows 1024,1,1 32,8,1 ss", "lfq_slopes 1024,1,1 256,1,1 ss",
			"matmul 640,1,1 128,1,1 sss", "matmul 640,1,1 128,1,1 sss", "lfq_grad 360,1,1 256,1,1 012ssss"}},
		{pixels, []string{"attention 24,2,1 64,1,1 0-112"}},
		{frames, []string{"attention 160,2,1 64,1,1 0-112"}},
		{AttentionStats{Attention: pixels}, []string{"attention 24,2,1 64,1,1 01223"}},
		{AttentionBackward{Attention: pixels}, []string{
			"attention_stats 2,1,1 256,1,1 s256", "attention_grad_q 24,2,1 64,1,1 02334s", "attention_grad_kv 24,2,1 64,1,1 0233s", "attention_grad_memory 2,2,1 64,1,1 1234s"}},
		{AttentionGrad{Attention: pixels}, []string{
			"attention_rows 24,1,1 64,1,1 s1223", "attention_grad_q 24,2,1 64,1,1 01223s", "attention_grad_kv 24,2,1 64,1,1 0122s"}},
		{AttentionGradMem{Attention: pixels}, []string{"attention_rows 24,1,1 64,1,1 s1223", "attention_grad_memory 2,2,1 64,1,1 0123s"}}, // 240 queries
		{linear(8), []string{"taylor_state_8 6,2,1 256,1,1 s2", "sum_rows 19,1,1 128,2,1 ss", "taylor_apply_8 6,3,1 128,1,1 01s"}},        // 600 pixels in two parts
		{LinearAttentionGradKV{LinearAttention: linear(9)}, []string{
			"taylor_state_16 6,2,1 256,1,1 s3", "sum_rows 122,1,1 128,2,1 ss", "taylor_errors_16 6,5,1 128,1,1 s12s",
			"taylor_state_grad_16 6,2,1 256,1,1 s2s", "sum_rows 122,1,1 128,2,1 ss", "taylor_grad_kv_16 6,5,1 128,1,1 03s"}},
		{LinearAttentionGradQ{LinearAttention: linear(17)}, []string{"attention_rows 114,1,1 64,1,1 s123-", "attention_grad_q 114,1,1 64,1,1 0123-s"}},
		{ModConv{Conv: conv}, []string{"conv_64 2,1,2 256,1,1 012--"}}, // 105 pixels of two samples
		{ModConvGradX{Conv: conv}, []string{"conv_grad_x_64 1,1,2 256,1,1 012--"}},
		{ModConvGradW{Conv: conv}, []string{"conv_grad_w_128 2,1,2 256,1,1 012"}},
		{ModulateGradS{Modulate: gains}, []string{
			"modulate_stats 18,1,1 256,1,1 ss123", "modulate_grad_s 36,1,1 32,8,1 s123ss", "sum_rows 2,1,1 8,32,1 0s"}},
		{AdaptiveRMSNormGradGamma{AdaptiveRMSNorm: AdaptiveRMSNorm{N: 2, Rows: 1530, C: 3}}, []string{
			"rms_norm_grad_gamma_odd 4,1,1 256,1,1 s12", "sum_rows 2,1,1 8,32,1 0s"}}, // 2 parts of 765 rows
	} {
		p, err := LaunchesOf(c.spec, F32, "")
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
	}
}

// Values are encoded in the order of the kernel's parameters.
func TestParams(t *testing.T) {
	p, err := LaunchesOf(Affine{Len: 7, Mul: 2, Add: -1}, F32, "")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.List[0].Params().Values, []uint32{7, math.Float32bits(2), math.Float32bits(-1)}; !slices.Equal(got, want) {
		t.Errorf("affine gets %v, want %v", got, want)
	}
	p, err = LaunchesOf(Conv{N: 1, T: 2, H: 3, W: 4, C: 5, O: 6, KT: 2, KH: 1, KW: 3, ST: 1, SH: 2, SW: 1, DT: 1, PT: 1, PW: 1, Act: SiLU}, F32, "")
	if err != nil {
		t.Fatal(err)
	}
	want := []uint32{1, 2, 3, 4, 5, 2, 2, 4, 6, 2, 1, 3, 1, 2, 1, 1, 1, 0, 1, 2} // ConvSize, then kind
	if got := p.List[0].Params().Values; !slices.Equal(got, want) {
		t.Errorf("conv gets %v, want %v", got, want)
	}
}

// What is reserved in the workspace does not overlap.
func TestWorkspace(t *testing.T) {
	p := &Launches{}
	a, b := p.workspace(33), p.workspace(1)
	if a.Index != 0 || b.Index < 33 || p.Workspace < b.Index+1 {
		t.Errorf("33 values at %d, one at %d, %d in all", a.Index, b.Index, p.Workspace)
	}
}

func TestSplitK(t *testing.T) {
	for _, c := range [][5]int{ // n, tiles, least, parts, size
		{1, 1, 256, 1, 16}, {511, 1, 256, 1, 512}, {512, 1, 256, 2, 256}, {1 << 20, 300, 256, 1, 1 << 20}, {1 << 20, 100, 256, 3, 349536},
	} {
		if splits, size := splitK(c[0], c[1], c[2]); splits != c[3] || size != c[4] || splits*size < c[0] {
			t.Errorf("splitK(%d, %d, %d) = %d splits of %d, want %d of %d", c[0], c[1], c[2], splits, size, c[3], c[4])
		}
	}
}

// unknown is a Spec without CUDA kernels.
type unknown struct{ Add }

func (unknown) cuda(*Launches) {}

func TestLaunchesOfRefuses(t *testing.T) {
	for _, c := range []struct {
		spec Spec
		want string
	}{
		{Add{Len: 1 << 31}, "2147483648 values, want at most 2^31-1"},
		{Add{}, "Len is 0"},
		{LFQLoss{LFQ: LFQ{Tokens: 1, Books: 70000, Bits: 1}, InvTemp: 1}, "kernel matmul needs a grid of [1 70000 1] CTAs"},
		{unknown{Add{Len: 1}}, "no GPU kernel"},
	} {
		if _, err := LaunchesOf(c.spec, F32, ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", Name(c.spec), err, c.want)
		}
	}
}
