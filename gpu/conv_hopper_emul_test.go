//go:build emul && linux

package gpu

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"magvit/kernels"
	"magvit/kernels/emul"
	"magvit/kernels/kerneltest"
)

func onHopper(drv *emul.Driver) Hopper {
	be, ok := Emulated(drv.As("sm_90"), kernels.BF16).OnHopper(kerneltest.HopperSMs)
	if !ok {
		panic("the emulator has no wgmma")
	}
	return be
}

// hopperCases are those of kerneltest, and of the suite what a device gives to the tensor cores.
func hopperCases() []kerneltest.Case {
	cs := kerneltest.Hopper()
	for _, c := range kerneltest.Cases() {
		l, err := kernels.LaunchesOf(c.Spec, kernels.BF16, "sm_90")
		if err == nil && slices.ContainsFunc(l.List, func(l kernels.Launch) bool { return strings.HasSuffix(l.Kernel, "_sm90a") }) {
			cs = append(cs, c)
		}
	}
	return cs
}

// The shapes reach each form of the kernels: one or two tiles, taps that share a block or
// not, sums in one part or several.
func TestHopperShapesReachAll(t *testing.T) {
	forms := map[string]bool{}
	for _, c := range hopperCases() {
		p, err := kernels.LaunchesOnHopper(c.Spec, kerneltest.HopperSMs)
		if err != nil {
			t.Fatal(err)
		}
		k, _, _ := strings.Cut(kernels.Name(c.Spec), "{")
		parts := strings.Contains(p.List[len(p.List)-1].Kernel, "sum")
		for _, l := range p.List {
			if !strings.HasSuffix(l.Kernel, "_sm90a") {
				continue
			}
			const axes = 3 * 11 // fields of hopper::Params before N, M, C, two_m_tiles, shared_taps
			values := l.Params().Values[axes:]
			forms[fmt.Sprintf("%s wide=%v shared=%v", k, values[3] != 0, values[4] > 1)] = true
			forms[fmt.Sprintf("%s wide=%v parts=%v", k, values[3] != 0, parts)] = true
		}
	}
	for _, wide := range []bool{false, true} {
		for _, more := range []bool{false, true} {
			for _, want := range []string{
				fmt.Sprintf("Conv wide=%v shared=%v", wide, more), fmt.Sprintf("ConvGradX wide=%v shared=%v", wide, more),
				fmt.Sprintf("Conv wide=%v parts=%v", wide, more), fmt.Sprintf("ConvGradX wide=%v parts=%v", wide, more),
				fmt.Sprintf("ConvGradW wide=%v parts=%v", wide, more && !wide),
			} {
				if !forms[want] {
					t.Errorf("no case of %s", want)
				}
			}
		}
	}
}

// The tensor cores of Hopper give what the definition says, and the same bits whatever
// the order of threads and copies.
func TestHopperMatchesDefinitions(t *testing.T) {
	be := onHopper(emul.Open(emul.Forward))
	defer be.Close()
	others := []Hopper{onHopper(emul.Open(emul.Reverse)), onHopper(emul.Open(emul.Shuffled))}
	for _, other := range others {
		defer other.Close()
	}
	runs := 2 // of other orders
	if testing.Short() {
		runs = 1
	}
	for _, c := range hopperCases() {
		args := kerneltest.Arguments(c)
		want, err := kerneltest.OutputsOf(be, c, args, 2)
		if err != nil {
			t.Fatalf("%v: %v", c, err)
		}
		if r := kerneltest.Compare(want, c, kernels.BF16); !r.OK {
			t.Errorf("%v: %v", c, r.Err)
		}
		for _, other := range others {
			got, err := kerneltest.OutputsOf(other, c, args, runs)
			if err != nil {
				t.Fatal(err)
			}
			for i := range want {
				if !slices.EqualFunc(got[i], want[i], func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) }) {
					t.Errorf("%v on %s: result %d differs from that of threads in forward order", c, other.Name(), i)
				}
			}
		}
	}
}

// hopperMutation is a mutant of conv_sm90a.cu or .cuh, with an error that people make with TMA and
// WGMMA: the first text old that follows the text after becomes new. Cases of one of the kinds must
// fail, with an error that has the text why if it is not "".
type hopperMutation struct{ name, after, old, new, kinds, why string }

// source is the mutant's file and its text.
func (m hopperMutation) source(t *testing.T) (file, text string) {
	t.Helper()
	for _, file := range []string{"conv_sm90a.cu", "conv_sm90a.cuh"} {
		text, err := fs.ReadFile(kernels.Source, file)
		if err != nil {
			t.Fatal(err)
		}
		if before, rest, ok := strings.Cut(string(text), m.after); ok && strings.Contains(rest, m.old) {
			return file, before + m.after + strings.Replace(rest, m.old, m.new, 1)
		}
	}
	t.Fatalf("%s: conv_sm90a.cu and .cuh have no %q after %q", m.name, m.old, m.after)
	return "", ""
}

var hopperMutations = []hopperMutation{
	{"a stage is never given back", "inline void mainloop", "mbarrier_arrive(r.a.empty + 8 * last_a);", "", "Conv", "hang"},
	{"a block is never given back", "inline void mainloop", "if (tap == 0) mbarrier_arrive(r.b.empty + 8 * last_b);", "", "Conv", "hang"},
	{"a block is given back with its first tap", "inline void mainloop", "if (tap == 0) mbarrier_arrive(r.b.empty + 8 * last_b)", "if (tap == 1 || r.taps == 1) mbarrier_arrive(r.b.empty + 8 * b.stage)", "Conv", ""},
	{"the last stage of a work tile is not released", "inline void mainloop", "release(k_steps);", "", "Conv", "hang"},
	{"one warp gives a stage back for all", "inline void mainloop", "warp_leader = threadIdx.x % 32 == 0", "warp_leader = threadIdx.x % 128 == 0", "Conv", "hang"},
	{"too few warps are counted", "make_pipeline", "mbarrier_init(p.empty + 8 * s, readers)", "mbarrier_init(p.empty + 8 * s, 1)", "Conv", ""},
	{"a bias from a stage before it is filled", "inline void bias_gradient", "mbarrier_wait(r.a.full + 8 * a.stage, a.phase);", "", "ConvGradWB", ""},
	{"a stage refilled while a bias reads it", "inline void bias_gradient", "if (lane == 0) mbarrier_arrive(r.a.empty + 8 * a.stage);", "", "ConvGradWB", "hang"},
	{"a bias's warp counted where there is none", "inline void wgrad", "has_bias ? a_tiles : 0", "a_tiles", "ConvGradW", "hang"},
	{"channels of a bias as another pixel has them", "inline void bias_gradient", "(chunk ^ p % 8)", "chunk", "ConvGradWB", ""},
	{"a quarter of a bias's pixels", "inline void bias_gradient", "sum[j] += __shfl_xor_sync(FULL_MASK, sum[j], 16);", "", "ConvGradWB", ""},
	{"the bias of the first channels twice", "inline void wgrad", "r, warp - 1, m0", "r, 0, m0", "ConvGradWB", ""},
	{"biases of the splits over each other", "inline void wgrad", "db + (size_t)blockIdx.y * s.M", "db", "ConvGradWB", ""},
	{"the second warpgroup waits for nobody", "inline void mainloop", "if (done == lead) mbarrier_arrive(r.order);", "", "Conv", "hang"},
	{"ahead of what the rings hold", "inline void implicit_gemm", "r.a.stages - 1, (r.b.stages - 1) * r.taps", "r.a.stages + 1, r.b.stages * r.taps + 1", "Conv", "hang"},
	{"the stage before it is filled", "inline void mainloop", "mbarrier_wait(r.a.full + 8 * a.stage, a.phase);", "", "Conv", "while a copy is writing it"},
	{"the phase of the round before", "inline void mainloop", "mbarrier_wait(r.b.full + 8 * b.stage, b.phase);", "mbarrier_wait(r.b.full + 8 * b.stage, b.phase ^ 1);", "Conv", "while a copy is writing it"},
	{"the phase stays", "struct PipelineState", "stage = 0, phase ^= 1", "stage = 0", "Conv", ""},
	{"each work tile begins with the first stage", "setmaxnreg_inc", "int k_steps = u.k_end - u.k_begin", "a = {0, 0}, b = {0, 0}; int k_steps = u.k_end - u.k_begin", "Conv", ""},
	{"filled before it is empty", "inline void implicit_gemm", "mbarrier_wait(r.a.empty + 8 * a.stage, a.phase);", "", "Conv", ""},
	{"a block filled before it is empty", "inline void implicit_gemm", "mbarrier_wait(r.b.empty + 8 * b.stage, b.phase);", "", "Conv", ""},
	{"the first round waits", "setmaxnreg_dec", "PipelineState a = {0, 1}", "PipelineState a = {0, 0}", "Conv", "hang"},
	{"given back while products read", "wgmma_commit();", "wgmma_wait<1>(acc);", "", "Conv", "while a wgmma is reading there"},
	{"products not waited for", "last_b = b.stage", "wgmma_wait<0>(acc);", "", "Conv", ""},
	{"products not committed", "wgmma<MajorA, MajorB>(acc", "wgmma_commit();", "", "Conv", ""},
	{"registers not fenced", "inline void mainloop", "wgmma_fence();", "", "Conv", "wgmma_fence"},
	{"fewer bytes than come", "inline void implicit_gemm", "mbarrier_arrive_expect_tx(full, r.b.stage_bytes);", "mbarrier_arrive_expect_tx(full, r.b.stage_bytes - A_TILE_BYTES);", "Conv ConvGradX", ""},
	{"more bytes than come", "inline void implicit_gemm", "mbarrier_arrive_expect_tx(full, r.b.stage_bytes);", "mbarrier_arrive_expect_tx(full, r.b.stage_bytes + A_TILE_BYTES);", "Conv ConvGradX", "hang"},
	{"bytes of columns that are not there", "inline void wgrad", "own_columns * A_TILE_BYTES", "r.b.stage_bytes", "ConvGradW", "hang"},
	{"each lane expects all bytes", "inline void wgrad", "if (lane == 0) {", "{", "ConvGradW", ""},
	{"columns of the first lane", "inline void wgrad", "column = column0 + lane", "column = column0", "ConvGradW", ""},
	{"the next line of pixel tiles too early", "struct TileCoord", "(h += 1 << s.h.log2) < s.h.size", "(h += 1 << s.h.log2) < s.h.size - (1 << s.h.log2)", "ConvGradW", ""},
	{"frames of pixel tiles not stepped", "struct TileCoord", "t += 1 << s.t.log2", "t += 1", "ConvGradW", ""},
	{"clips of pixel tiles not stepped", "struct TileCoord", "n += 1 << (log2 - s.t.log2 - s.h.log2 - s.w.log2)", "n++", "ConvGradW", ""},
	{"barriers that copies do not see", "mbarrier_init(r.order", "fence_proxy_async();", "", "Conv", "not fenced"},
	{"more registers than there are", "inline void implicit_gemm", "setmaxnreg_dec<40>();", "", "Conv", "registers"},
	{"the warps of a group part", "inline void implicit_gemm", "setmaxnreg_inc<232>();", "if (threadIdx.x % 64 < 32) setmaxnreg_inc<232>(); else setmaxnreg_inc<240>();", "Conv", "meet at setmaxnreg"},
	{"a tap too far", "inline int source_coord", "- a.pad", "- a.pad + 1", "Conv ConvGradW", ""},
	{"no dilation", "inline int source_coord", "tap * a.dilation", "tap", "Conv", ""},
	{"no stride", "inline void wgrad", "c.w * s.w.stride + w", "c.w + w", "ConvGradW", ""},
	{"pixel tiles without stride in the input", "inline int source_coord", "q * a.stride", "q", "Conv", ""},
	{"taps not turned round", "inline void implicit_gemm", "DGRAD ? -1 : 1", "1", "ConvGradX", ""},
	{"lines in the wrong order", "inline void mainloop", "(DGRAD ? r.taps - 1 - tap : tap)", "tap", "ConvGradX", ""},
	{"a line too far", "inline SharedStorage make_shared_storage", "128 << s.w.log2", "256 << s.w.log2", "Conv", ""},
	{"no line below", "inline void implicit_gemm", "DGRAD ? at.h + r.taps - 1 : at.h", "at.h", "ConvGradX", ""},
	{"no room for lines", "inline SharedStorage make_shared_storage", "(r.taps - 1) * r.tap_bytes", "0", "Conv", ""},
	{"weights of another phase", "inline void implicit_gemm", "s.w.first_tap + at.w", "at.w", "ConvGradX", ""},
	{"weights of another tap", "inline void implicit_gemm", "at.w * s.w.tap_step", "at.w", "ConvGradX", ""},
	{"results of another phase", "inline int pixel_index", "s.w.offset + w * s.w.spacing", "w * s.w.spacing", "ConvGradX", ""},
	{"eight rows too far apart", "inline void mainloop", "A_TILE_BYTES, 1024), i + k", "A_TILE_BYTES, 2048), i + k", "Conv", ""},
	{"columns too far apart", "inline void mainloop", "smem_descriptor(y + k * (MajorB == Major::MN ? 2048 : 32), A_TILE_BYTES", "smem_descriptor(y + k * (MajorB == Major::MN ? 2048 : 32), B_TILE_BYTES", "ConvGradW", ""},
	{"steps of the other layout", "inline void mainloop", "(MajorA == Major::MN ? 2048 : 32)", "(MajorA == Major::MN ? 32 : 2048)", "Conv ConvGradX", ""},
	{"a factor not across", "inline void implicit_gemm", "mainloop<DGRAD ? Major::MN : Major::K, Major::K, DGRAD>", "mainloop<Major::K, Major::K, DGRAD>", "ConvGradX", ""},
	{"the other factor across", "inline void wgrad", "mainloop<Major::MN, Major::MN, false>", "mainloop<Major::MN, Major::K, false>", "ConvGradW", ""},
	{"sums that start with what is there", "inline void mainloop", "i + k > 0", "true", "Conv", ""},
	{"tiles of the other warpgroup", "inline void mainloop", "r.a_tiles > 1 ? group * A_TILE_BYTES", "r.a_tiles > 1 ? (1 - group) * A_TILE_BYTES", "Conv", ""},
	{"results read before they are there", "inline void staged_rounds", "warpgroup_sync(group);", "", "Conv", ""},
	{"results over those that are still read", "inline void staged_rounds", "    warpgroup_sync(group);\n  }", "  }", "Conv", ""},
	{"results of the other warpgroup", "inline void staged_rounds", "storage.staging + group * (STAGING_BYTES / 4)", "storage.staging", "Conv", ""},
	{"pixel tiles cut too early", "inline int pixel_index", "w >= s.w.size", "w >= s.w.size - 1", "Conv", ""},
	{"bias of another channel", "inline void epilogue(", "static_cast<const float*>(o.b_or_s) + m + k)", "static_cast<const float*>(o.b_or_s) + m)", "Conv", ""},
	{"a half residual read as it is not", "void prefetch(const EpilogueParams", "o.half & 4", "o.half & 1", "Conv ConvGradX", ""},
	{"the residual of the round before", "inline void epilogue(", "if (!DGRAD) prefetch(round + 1, i);", "if (!DGRAD) prefetch(round, i);", "Conv", ""},
	{"halves of a word changed", "struct RawVector", "i % 2 ? w", "i % 2 == 0 ? w", "Conv ConvGradX", ""},
	{"the slope first", "inline void apply_epilogue", "(v[i] + r[i]) * slope(K, b_or_s[i])", "v[i] * slope(K, b_or_s[i]) + r[i]", "ConvGradX", ""},
	{"gates of other channels", "inline void implicit_gemm", "s.M / 2 + m / 2", "s.M / 2 + m", "ConvGEGLU", ""},
	{"gates over values in a tile", "inline void implicit_gemm", "tile + A_TILE_BYTES / 2", "tile", "ConvGEGLU", ""},
	{"channels of the tile taken for those of u", "inline void epilogue_geglu", "m / 2 + k, C)", "m + k, C)", "ConvGEGLU", ""},
	{"gates that are staged elsewhere", "inline void epilogue_geglu", "load_staged(g, staging, p, k + 32)", "load_staged(g, staging, p, k)", "ConvGEGLU", ""},
	{"the bias of u for g", "inline void finish_geglu8", "load_parameters(bg, b + C)", "load_parameters(bg, b)", "ConvGEGLU", ""},
	{"channels after the last", "inline void finish_geglu8", "if (channel + j >= C) continue;", "", "ConvGEGLU", ""},
	{"splits of u for g", "inline void splitk_reduce_geglu", "add_splits(g, workspace + 32", "add_splits(g, workspace", "ConvGEGLU", ""},
	{"values for gates", "void prefetch(const EpilogueParams", "at.y + M, o.half & 2", "at.y, o.half & 2", "ConvGradGEGLU", ""},
	{"values for gates, one by one", "inline void epilogue1", "i + M, o.half & 2", "i, o.half & 2", "ConvGradGEGLU", ""},
	{"gradients of gates over those of values", "inline void finish", "write(i + M, b_or_s)", "write(i, b_or_s)", "ConvGradGEGLU", ""},
	{"pixels half as far apart", "inline int channel_index", "GEGLU ? 2 * M : M", "M", "ConvGradGEGLU", ""},
	{"pixels that stay", "inline Place place", "SHUFFLE ? ", "false ? ", "ConvGradShuffle", ""},
	{"a summand of another pixel", "void prefetch(const EpilogueParams", "o.r, at.r", "o.r, at.y", "ConvGradShuffle", ""},
	{"a summand of another pixel, one by one", "inline void epilogue1", "o.r, at.r", "o.r, at.y", "ConvGradShuffle", ""},
	{"the splits of a channel for eight", "inline void splitk_reduce", "{at.y + j, at.r + j}", "{at.y, at.r}", "ConvGradX ConvGradShuffle", ""},
	{"the last channels lost", "inline void epilogue(", "k < 64; k += 32", "k < 32; k += 32", "Conv", ""},
	{"the last channels of weights lost", "inline void wgrad", "c >= s.C", "c >= s.C - 2", "ConvGradW", ""},
	{"one channel too many", "inline void wgrad", "if (c + 1 < s.C)", "", "ConvGradW", ""},
	{"pairs of odd channels", "inline void wgrad", "s.C % 2 == 0 && ", "", "ConvGradW", ""},
	{"parts over each other", "inline void wgrad", "dw += (size_t)blockIdx.y * s.M * k * s.C;", "", "ConvGradW", ""},
	{"a pixel tile of each split lost", "inline void wgrad", "min(k_begin + s.split_steps, pixel_tiles)", "max(k_begin + 1, min(k_begin + s.split_steps, pixel_tiles) - 1)", "ConvGradW", ""},
	{"a part of the sum twice", "inline WorkTile work_tile", "i % s.splits * s.split_steps", "0", "Conv", ""},
	{"a part left out", "inline void add_splits", "i < splits", "i < splits - 1", "Conv ConvGradX ConvGEGLU", ""},
	{"the workspace of the other warpgroup", "inline void implicit_gemm", "u.slot * 2 + group", "u.slot * 2 + 1 - group", "Conv", ""},
	{"results of the next pixel", "inline void stage_accumulators(", "lane % 4 * 2 + i % 2", "lane % 4 * 2 + 1 - i % 2", "Conv", ""},
}

// Each mutant is caught, in at least one order of threads.
func TestHopperMutationsAreCaught(t *testing.T) {
	for _, m := range hopperMutations { // also with -short: a text that no longer occurs would be no mutant
		m.source(t)
	}
	if testing.Short() {
		t.Skip("-short: compiles the kernels once for each mutant")
	}
	all := hopperCases()
	for _, m := range hopperMutations {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.CopyFS(dir, kernels.Source); err != nil {
				t.Fatal(err)
			}
			file, text := m.source(t)
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			lib, err := emul.CompileFiles(dir, "conv_sm90a.cu", "pack.cu", "reduce.cu")
			if err != nil {
				t.Fatal(err)
			}
			var first error
			for _, order := range []emul.Order{emul.Forward, emul.Reverse, emul.Shuffled} {
				drv, err := emul.Load(lib, order)
				if err != nil {
					t.Fatal(err)
				}
				be := onHopper(drv)
				defer be.Close()
				for _, c := range all {
					if name, _, _ := strings.Cut(kernels.Name(c.Spec), "{"); !slices.Contains(strings.Fields(m.kinds), name) {
						continue
					}
					r, err := kerneltest.Check(be, c)
					if err == nil {
						err = r.Err
					}
					if err != nil && strings.Contains(err.Error(), m.why) {
						t.Logf("caught with threads %v: %v", order, err)
						return
					}
					if first == nil {
						first = err
					}
				}
			}
			t.Errorf("not caught as %q; first error: %v", m.why, first)
		})
	}
}
