package gpu

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"magvit/kernels"
)

func TestBricks(t *testing.T) {
	for _, c := range []struct {
		log, n, t, h, w, lines int
		want                   bricks // 2^ clips, frames, rows, columns
		count, taps            int
	}{
		{8, 4, 20, 128, 128, 3, bricks{0, 0, 5, 3}, 5120, 3}, // the README model's frames: 34 lines of 8
		{8, 4, 20, 128, 128, 1, bricks{0, 2, 3, 3}, 5120, 1},
		{8, 4, 5, 16, 16, 3, bricks{0, 0, 4, 4}, 20, 3}, // 18 lines of 16
		{8, 4, 5, 8, 8, 3, bricks{2, 0, 3, 3}, 5, 1},    // clips together
		{8, 1, 17, 32, 32, 7, bricks{0, 0, 5, 3}, 68, 7},
		{8, 1, 4, 9, 15, 3, bricks{0, 2, 2, 4}, 3, 1}, // over two edges
		{8, 1, 1, 1, 1000, 1, bricks{0, 0, 0, 8}, 4, 1},
		{8, 1, 1, 1, 1, 1, bricks{0, 3, 3, 2}, 1, 1},
		{6, 4, 20, 128, 128, 1, bricks{0, 2, 2, 2}, 20480, 1},
		{6, 2, 1, 10, 12, 1, bricks{1, 0, 1, 4}, 5, 1},
	} {
		b := bricksOf(c.log, c.n, c.t, c.h, c.w, c.lines)
		if got, taps := b.count(c.n, c.t, c.h, c.w), b.taps(c.lines); b != c.want || got != c.count || taps != c.taps {
			t.Errorf("2^%d of %d,%d,%d,%d: %d bricks %v for %d taps, want %d of %v for %d", c.log, c.n, c.t, c.h, c.w, got, b, taps, c.count, c.want, c.taps)
		}
	}
}

// Blocks of a wave are one on each of 132 processors.
func TestSplitBricks(t *testing.T) {
	for _, c := range []struct {
		name            string
		n, blocks       int
		parts, size     int
		waves, unfilled int
	}{
		{"64 channels, 20480 bricks", 20480, 4, 33, 621, 1, 0},
		{"128 channels", 5120, 7, 18, 285, 1, 6},
		{"256 channels", 1280, 54, 7, 183, 3, 18},
		{"512 channels", 320, 216, 3, 107, 5, 12},
		{"few bricks", 8, 4, 1, 8, 1, 128},
		{"many blocks", 640, 2000, 1, 640, 16, 112},
		{"one brick", 1, 1, 1, 1, 1, 131},
	} {
		parts, size := splitBricks(c.n, c.blocks)
		waves := ceilDiv(parts*c.blocks, processors)
		if unfilled := waves*processors - parts*c.blocks; parts != c.parts || size != c.size || waves != c.waves || unfilled != c.unfilled {
			t.Errorf("%s: %d parts of %d, %d waves, %d processors idle in the last; want %d, %d, %d, %d", c.name, parts, size, waves, unfilled, c.parts, c.size, c.waves, c.unfilled)
		}
		if (parts-1)*size >= c.n || parts*size < c.n {
			t.Errorf("%s: %d parts of %d for %d bricks", c.name, parts, size, c.n)
		}
	}
}

// Of each form in a step of the preset magvit2-128 with a batch of 4, where that is more
// than 100 GFLOP: how much of the time of 132 processors is spent on products that are
// needed, of 1: the rest is bricks and tiles over edges and waves that are not full.
func TestWavesAreFull(t *testing.T) {
	for _, c := range []struct {
		conv           kernels.Conv
		waves          waves
		x              waves // of the gradient of the input
		full, back, dw float64
	}{
		{cube(4, 20, 128, 128, 64, 64, 3, 3), waves{2560, 2560, 1, 27}, waves{2560, 2560, 1, 27}, .97, .97, .84},
		{cube(4, 20, 64, 64, 128, 128, 3, 3), waves{1280, 1280, 1, 54}, waves{1280, 1280, 1, 54}, .97, .97, .92},
		{cube(4, 20, 32, 32, 256, 256, 3, 3), waves{640, 640, 1, 108}, waves{640, 640, 1, 108}, .97, .97, .95},
		{cube(4, 20, 16, 16, 512, 512, 3, 3), waves{376, 264, 2, 108}, waves{376, 264, 2, 108}, .97, .97, .98},
		{cube(4, 10, 16, 16, 512, 512, 3, 3), waves{244, 132, 4, 54}, waves{244, 132, 4, 54}, .97, .97, .97},
		{cube(4, 5, 16, 16, 512, 512, 3, 3), waves{240, 0, 3, 72}, waves{240, 0, 3, 72}, .91, .91, .97},
		{cube(4, 20, 32, 32, 256, 1364, 1, 1), waves{3520, 3520, 1, 4}, waves{640, 640, 1, 22}, .96, .94, .97},
		{cube(4, 20, 16, 16, 512, 2730, 1, 1), waves{1720, 1720, 1, 8}, waves{320, 320, 1, 43}, .92, .8, .97},
	} {
		forward, back, sum := tensorConvs(c.conv)[0], tensorConvs(kernels.ConvGradX{Conv: c.conv})[0], tensorConvs(kernels.ConvGradW{Conv: c.conv})[0]
		of := func(c tensorConv) waves { return wavesOf(c.tiles(c.count()), c.steps(), c.shared, processors) }
		steps := func(w waves, all int) int {
			return w.whole/processors*all + ceilDiv(w.whole%processors+w.units-w.whole, processors)*w.part
		}
		// A processor does 2·128·256·64 operations in a step.
		full := func(steps int) float64 {
			return math.Round(100*float64(c.conv.FLOPs())/float64(steps*processors)/(2*128*256*64)) / 100
		}
		tiles := sum.tiles(ceilDiv(c.conv.KT*c.conv.KH*c.conv.KW*ceilDiv(c.conv.C, side), 4))
		parts, size := splitBricks(sum.count(), tiles)
		f, b := of(forward), of(back)
		if got := [3]float64{full(steps(f, forward.steps())), full(steps(b, back.steps())), full(ceilDiv(parts*tiles, processors) * size)}; f != c.waves || b != c.x || got != [3]float64{c.full, c.back, c.dw} {
			t.Errorf("%s: %v, back %v, %v full; want %v, %v, %v", kernels.Name(c.conv), f, b, got, c.waves, c.x, [3]float64{c.full, c.back, c.dw})
		}
	}
}

func cube(n, t, h, w, c, o, kt, k int) kernels.Conv {
	return kernels.Conv{N: n, T: t, H: h, W: w, C: c, O: o, KT: kt, KH: k, KW: k, ST: 1, SH: 1, SW: 1, DT: 1, PT: kt - 1, PH: k / 2, PW: k / 2}
}

// The tensor cores of Hopper get what they are made for, and no other device gets their code.
func TestWhatRunsOnHopper(t *testing.T) {
	strided := cube(4, 20, 128, 128, 64, 128, 1, 3)
	strided.SH, strided.SW = 2, 2
	sparse := cube(1, 1, 64, 1024, 64, 64, 1, 1) // strides without taps
	sparse.SW = 2
	far := strided
	far.SW = 16
	for _, c := range []struct {
		name      string
		spec      kernels.Spec
		precision kernels.Precision
		arch      string
		want      string
	}{
		{"3×3×3", cube(4, 20, 128, 128, 64, 64, 3, 3), kernels.BF16, "sm_90", "conv_sm90a"},
		{"gradient of x", kernels.ConvGradX{Conv: cube(4, 20, 64, 64, 128, 128, 3, 3)}, kernels.BF16, "sm_90", "conv_grad_x_sm90a"},
		{"gradient of w", kernels.ConvGradW{Conv: cube(4, 5, 16, 16, 512, 512, 3, 3)}, kernels.BF16, "sm_90", "conv_grad_w_sm90a"},
		{"feed-forward", cube(4, 5, 16, 16, 512, 1365, 1, 1), kernels.BF16, "sm_90", "conv_sm90a"},
		{"float32", cube(4, 20, 128, 128, 64, 64, 3, 3), kernels.F32, "sm_90", "conv"},
		{"Ampere", cube(4, 20, 128, 128, 64, 64, 3, 3), kernels.BF16, "sm_80", "conv_mma"},
		{"Blackwell", cube(4, 20, 128, 128, 64, 64, 3, 3), kernels.BF16, "sm_100", "conv_mma"},
		{"a driver that does not tell", cube(4, 20, 128, 128, 64, 64, 3, 3), kernels.BF16, "", "conv_mma"},
		{"strides", strided, kernels.BF16, "sm_90", "conv_sm90a"},
		{"strides back", kernels.ConvGradX{Conv: strided}, kernels.BF16, "sm_90", "conv_grad_x_sm90a"},
		{"strides, weights", kernels.ConvGradW{Conv: strided}, kernels.BF16, "sm_90", "conv_grad_w_sm90a"},
		{"strides of sixteen", far, kernels.BF16, "sm_90", "conv_mma"},
		{"inputs that nobody reads", kernels.ConvGradX{Conv: sparse}, kernels.BF16, "sm_90", "conv_grad_x_mma"},
		{"stem: 3 channels of 64", cube(4, 20, 128, 128, 3, 64, 7, 7), kernels.BF16, "sm_90", "conv_mma"},
		{"32 by 32 channels: a quarter", cube(4, 20, 64, 64, 32, 32, 3, 3), kernels.BF16, "sm_90", "conv_mma"},
		{"32 by 64 channels: half", cube(4, 20, 64, 64, 32, 64, 3, 3), kernels.BF16, "sm_90", "conv_sm90a"},
		{"64 pixels of 256", cube(1, 1, 8, 8, 64, 64, 3, 3), kernels.BF16, "sm_90", "conv_mma"},
		{"64 pixels of 64", kernels.ConvGradW{Conv: cube(1, 1, 8, 8, 64, 64, 3, 3)}, kernels.BF16, "sm_90", "conv_grad_w_sm90a"},
	} {
		p, err := plan(c.spec, c.precision, c.arch)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !slices.ContainsFunc(p.launches, func(l launch) bool {
			return l.kernel == c.want || strings.HasPrefix(l.kernel, c.want+"_") && c.want != "conv"
		}) {
			t.Errorf("%s: %v, want %s", c.name, names(p), c.want)
		}
	}
}

func names(p *program) (all []string) {
	for _, l := range p.launches {
		all = append(all, l.kernel)
	}
	return all
}

// What a launch of conv_sm90a.cu gets: geometry, maps, fields of hopper::Size.
func TestHopperLaunches(t *testing.T) {
	narrow := cube(2, 3, 16, 32, 120, 64, 2, 3)
	narrow.Act, narrow.Residual = kernels.ELU, true
	odd := cube(1, 1, 32, 16, 128, 64, 1, 1)
	odd.KW, odd.PW, odd.SW = 3, 1, 2
	const pack = "pack_bf16 "
	const size = "[3 0 2 1 1 1 0 1 3 1 0 16 4 3 1 1 1 0 1 16 1 0 32 4 3 1 1 1 0 1 32 1 0 2 64 120 0 3 6 2 36 0 6 6 1 0]"
	for _, c := range []struct {
		spec kernels.Spec
		want []string
	}{
		{narrow, []string{ // 12 bricks, 6 pairs in 6 parts; 18 lines of 16
			pack + "180,1,1 256,1,1 0 [] s1 [46080 15 120]",
			pack + "68,1,1 256,1,1 0 [] s2 [17280 15 120]",
			"conv_sm90a 36,1,1 384,1,1 217216 [s 120,32,16,3,2 240,7680,122880,368640 64,16,18,1,1; s 120,3,3,2,64 240,720,2160,4320 64,1,1,1,64] 034s " + size,
			"conv_sum_sm90a 96,1,1 256,1,1 0 [] 034s " + size}},
		{kernels.ConvGradX{Conv: odd}, []string{ // phases of columns: 8 of taps 0 and 2, 8 of tap 1
			pack + "8,1,1 256,1,1 0 [] s1 [2048 8 64]",
			pack + "12,1,1 256,1,1 0 [] s2 [3072 16 128]",
			"conv_grad_x_sm90a 1,1,1 384,1,1 217216 [s 64,8,32,1,1 128,1024,32768,32768 64,8,32,1,1; s 128,3,1,1,64 256,768,768,768 64,1,1,1,64] 0nnn " +
				"[1 0 1 1 0 1 0 1 1 1 0 32 5 1 1 0 1 0 1 32 1 0 8 3 1 1 0 1 1 1 16 2 0 1 128 64 1 1 4 4 1 1 1 1 0 0]",
			"conv_grad_x_sm90a 1,1,1 384,1,1 217216 [s 64,8,32,1,1 128,1024,32768,32768 64,8,32,1,1; s 128,3,1,1,64 256,768,768,768 64,1,1,1,64] 0nnn " +
				"[1 0 1 1 0 1 0 1 1 1 0 32 5 1 1 0 1 0 1 32 1 0 8 3 2 1 1 1 0 2 16 2 1 1 128 64 1 1 4 4 1 1 1 2 0 0]"}},
		{kernels.ConvGradW{Conv: cube(1, 2, 64, 64, 64, 64, 1, 3)}, []string{ // 128 bricks in 16 parts of 8
			pack + "256,1,1 256,1,1 0 [] s1 [65536 8 64]",
			pack + "256,1,1 256,1,1 0 [] s2 [65536 8 64]",
			"conv_grad_w_sm90a 2,16,1 384,1,1 224352 [s 64,64,64,2,1 128,8192,524288,1048576 64,4,8,2,1; s 64,64,64,2,1 128,8192,524288,1048576 64,4,8,2,1] s " +
				"[2 1 1 1 0 1 0 1 2 1 0 64 3 3 1 1 1 0 1 64 1 0 64 2 3 1 1 1 0 1 64 1 0 1 64 64 0 1 3 3 0 0 0 8]",
			"sum_rows 144,1,1 32,8,1 0 [] 0s [16 36864 16]"}},
	} {
		p, err := plan(c.spec, kernels.BF16, hopper)
		if err != nil {
			t.Errorf("%s: %v", kernels.Name(c.spec), err)
			continue
		}
		var got []string
		for _, l := range p.launches {
			got = append(got, tell(l))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", kernels.Name(c.spec), strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// Maps have the channels that pack fills up, so that no copy ends within 16 bytes.
func TestMapsHaveWholeChunks(t *testing.T) {
	s := cube(1, 2, 16, 16, 66, 70, 1, 3)
	for _, c := range []struct {
		spec kernels.Spec
		want [2]uint64 // channels of the first and the second map
	}{
		{s, [2]uint64{72, 72}}, {kernels.ConvGradX{Conv: s}, [2]uint64{72, 72}}, {kernels.ConvGradW{Conv: s}, [2]uint64{72, 72}},
		{cube(1, 2, 16, 16, 64, 70, 1, 3), [2]uint64{64, 64}},
	} {
		p := &program{}
		p.tensorCores(c.spec, processors, func([]tensorConv) bool { return true })
		for i, m := range p.launches[slices.IndexFunc(p.launches, func(l launch) bool { return l.maps != nil })].maps {
			if m.dims[0] != c.want[i] || m.strides[0] != 2*c.want[i] {
				t.Errorf("%s: map %d has %d channels, rows of %d bytes; want %d channels", kernels.Name(c.spec), i, m.dims[0], m.strides[0], c.want[i])
			}
		}
	}
}

// tell is a launch as text: kernel, grid, block, shared memory, maps as where they
// lead, sizes, strides and box, pointers, values.
func tell(l launch) string {
	list := func(v any) string { return strings.ReplaceAll(strings.Trim(fmt.Sprint(v), "[]"), " ", ",") }
	to := func(o operand) string {
		switch {
		case o.arg == inScratch:
			return "s"
		case o == null:
			return "n"
		}
		return fmt.Sprint(o.arg)
	}
	var maps []string
	for _, m := range l.maps {
		maps = append(maps, fmt.Sprintf("%s %s %s %s", to(m.operand), list(m.dims), list(m.strides), list(m.box)))
	}
	pointers := ""
	for _, o := range l.pointers {
		pointers += to(o)
	}
	return fmt.Sprintf("%s %s %s %d [%s] %s %v", l.kernel, list(l.grid), list(l.block), l.shared, strings.Join(maps, "; "), pointers, l.values)
}
