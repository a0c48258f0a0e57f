package kernels

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestPixelTiles(t *testing.T) {
	for _, c := range []struct {
		log, n, t, h, w, lines int
		want                   pixelTile // 2^ clips, frames, rows, columns
		count, taps            int
	}{
		{8, 4, 20, 128, 128, 3, pixelTile{0, 0, 5, 3}, 5120, 3}, // the README model's frames: 34 lines of 8
		{8, 4, 20, 128, 128, 1, pixelTile{0, 2, 3, 3}, 5120, 1},
		{8, 4, 5, 16, 16, 3, pixelTile{0, 0, 4, 4}, 20, 3}, // 18 lines of 16
		{8, 4, 5, 8, 8, 3, pixelTile{2, 0, 3, 3}, 5, 1},    // clips together
		{8, 1, 17, 32, 32, 7, pixelTile{0, 0, 5, 3}, 68, 7},
		{8, 1, 4, 9, 15, 3, pixelTile{0, 2, 2, 4}, 3, 1}, // over two edges
		{8, 1, 1, 1, 1000, 1, pixelTile{0, 0, 0, 8}, 4, 1},
		{8, 1, 1, 1, 1, 1, pixelTile{0, 3, 3, 2}, 1, 1},
		{6, 4, 20, 128, 128, 1, pixelTile{0, 2, 2, 2}, 20480, 1},
		{6, 2, 1, 10, 12, 1, pixelTile{1, 0, 1, 4}, 5, 1},
	} {
		b := pixelTileOf(c.log, c.n, c.t, c.h, c.w, c.lines)
		if got, taps := b.count(c.n, c.t, c.h, c.w), b.sharedTaps(c.lines); b != c.want || got != c.count || taps != c.taps {
			t.Errorf("2^%d of %d,%d,%d,%d: %d tiles %v for %d taps, want %d of %v for %d", c.log, c.n, c.t, c.h, c.w, got, b, taps, c.count, c.want, c.taps)
		}
	}
}

// Blocks of a wave are one on each of 132 smCount.
func TestSplitPixelTiles(t *testing.T) {
	for _, c := range []struct {
		name            string
		n, blocks       int
		parts, size     int
		waves, unfilled int
	}{
		{"64 channels, 20480 tiles", 20480, 4, 33, 621, 1, 0},
		{"128 channels", 5120, 7, 18, 285, 1, 6},
		{"256 channels", 1280, 54, 7, 183, 3, 18},
		{"512 channels", 320, 216, 1, 320, 2, 48}, // three splits would save as much as their sum takes
		{"512 channels, long", 3200, 216, 3, 1067, 5, 12},
		{"few tiles", 8, 4, 1, 8, 1, 128},
		{"many blocks", 640, 2000, 1, 640, 16, 112},
		{"one tile", 1, 1, 1, 1, 1, 131},
	} {
		parts, size := splitPixelTiles(c.n, c.blocks, smCount)
		waves := ceilDiv(parts*c.blocks, smCount)
		if unfilled := waves*smCount - parts*c.blocks; parts != c.parts || size != c.size || waves != c.waves || unfilled != c.unfilled {
			t.Errorf("%s: %d parts of %d, %d waves, %d smCount idle in the last; want %d, %d, %d, %d", c.name, parts, size, waves, unfilled, c.parts, c.size, c.waves, c.unfilled)
		}
		if (parts-1)*size >= c.n || parts*size < c.n {
			t.Errorf("%s: %d splits of %d for %d tiles", c.name, parts, size, c.n)
		}
	}
}

// Of each form in a step of the preset magvit2-128 with a batch of 4, where that is more
// than 100 GFLOP: how much of the time of 132 smCount is spent on products that are
// needed, of 1: the rest is tiles over edges and waves that are not full.
func TestWavesAreFull(t *testing.T) {
	for _, c := range []struct {
		conv           Conv
		waves          tileSchedule
		x              tileSchedule // of the gradient of the input
		full, back, dw float64
	}{
		{cube(4, 20, 128, 128, 64, 64, 3, 3), tileSchedule{2560, 2560, 1, 27}, tileSchedule{2560, 2560, 1, 27}, .97, .97, .84},
		{cube(4, 20, 64, 64, 128, 128, 3, 3), tileSchedule{1280, 1280, 1, 54}, tileSchedule{1280, 1280, 1, 54}, .97, .97, .92},
		{cube(4, 20, 32, 32, 256, 256, 3, 3), tileSchedule{640, 640, 1, 108}, tileSchedule{640, 640, 1, 108}, .97, .97, .95},
		{cube(4, 20, 16, 16, 512, 512, 3, 3), tileSchedule{376, 264, 2, 108}, tileSchedule{376, 264, 2, 108}, .97, .97, .82},
		{cube(4, 10, 16, 16, 512, 512, 3, 3), tileSchedule{244, 132, 4, 54}, tileSchedule{244, 132, 4, 54}, .97, .97, .82},
		{cube(4, 5, 16, 16, 512, 512, 3, 3), tileSchedule{240, 0, 3, 72}, tileSchedule{240, 0, 3, 72}, .91, .91, .82},
		{cube(4, 20, 32, 32, 256, 1364, 1, 1), tileSchedule{3520, 3520, 1, 4}, tileSchedule{640, 640, 1, 22}, .96, .94, .97},
		{cube(4, 20, 16, 16, 512, 2730, 1, 1), tileSchedule{1720, 1720, 1, 8}, tileSchedule{320, 320, 1, 43}, .92, .8, .97},
	} {
		forward, back, sum := c.conv.sm90Forms()[0], ConvGradX{Conv: c.conv}.sm90Forms()[0], ConvGradW{Conv: c.conv}.sm90Forms()[0]
		of := func(c sm90Form) tileSchedule {
			return scheduleOf(c.tiles(c.pixelTiles()), c.steps(), c.shared, smCount)
		}
		steps := func(w tileSchedule, all int) int {
			return w.whole/smCount*all + ceilDiv(w.whole%smCount+w.units-w.whole, smCount)*w.steps
		}
		// An SM does 2·128·256·64 operations in a step.
		full := func(steps int) float64 {
			return math.Round(100*float64(c.conv.FLOPs())/float64(steps*smCount)/(2*128*256*64)) / 100
		}
		tiles := sum.tiles(ceilDiv(c.conv.KT*c.conv.KH*c.conv.KW*ceilDiv(c.conv.C, sm90Side), 4))
		parts, size := splitPixelTiles(sum.pixelTiles(), tiles, smCount)
		f, b := of(forward), of(back)
		if got := [3]float64{full(steps(f, forward.steps())), full(steps(b, back.steps())), full(ceilDiv(parts*tiles, smCount) * size)}; f != c.waves || b != c.x || got != [3]float64{c.full, c.back, c.dw} {
			t.Errorf("%s: %v, back %v, %v full; want %v, %v, %v", Name(c.conv), f, b, got, c.waves, c.x, [3]float64{c.full, c.back, c.dw})
		}
	}
}

func cube(n, t, h, w, c, o, kt, k int) Conv {
	return Conv{N: n, T: t, H: h, W: w, C: c, O: o, KT: kt, KH: k, KW: k, ST: 1, SH: 1, SW: 1, DT: 1, PT: kt - 1, PH: k / 2, PW: k / 2}
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
		spec      Spec
		precision Precision
		arch      string
		want      string
	}{
		{"3×3×3", cube(4, 20, 128, 128, 64, 64, 3, 3), BF16, "sm_90", "conv_sm90a"},
		{"gradient of x", ConvGradX{Conv: cube(4, 20, 64, 64, 128, 128, 3, 3)}, BF16, "sm_90", "conv_grad_x_sm90a"},
		{"gradient of w", ConvGradW{Conv: cube(4, 5, 16, 16, 512, 512, 3, 3)}, BF16, "sm_90", "conv_grad_w_sm90a"},
		{"feed-forward", cube(4, 5, 16, 16, 512, 1365, 1, 1), BF16, "sm_90", "conv_sm90a"},
		{"float32", cube(4, 20, 128, 128, 64, 64, 3, 3), F32, "sm_90", "conv_64"},
		{"Ampere", cube(4, 20, 128, 128, 64, 64, 3, 3), BF16, "sm_80", "conv_mma"},
		{"Blackwell", cube(4, 20, 128, 128, 64, 64, 3, 3), BF16, "sm_100", "conv_mma"},
		{"a driver without an architecture", cube(4, 20, 128, 128, 64, 64, 3, 3), BF16, "", "conv_mma"},
		{"strides", strided, BF16, "sm_90", "conv_sm90a"},
		{"strides back", ConvGradX{Conv: strided}, BF16, "sm_90", "conv_grad_x_sm90a"},
		{"strides, weights", ConvGradW{Conv: strided}, BF16, "sm_90", "conv_grad_w_sm90a"},
		{"strides of sixteen", far, BF16, "sm_90", "conv_mma"},
		{"inputs that nobody reads", ConvGradX{Conv: sparse}, BF16, "sm_90", "conv_grad_x_mma"},
		{"stem: 3 channels of 64", cube(4, 20, 128, 128, 3, 64, 7, 7), BF16, "sm_90", "conv_mma"},
		{"32 by 32 channels: a quarter", cube(4, 20, 64, 64, 32, 32, 3, 3), BF16, "sm_90", "conv_mma"},
		{"32 by 64 channels: half", cube(4, 20, 64, 64, 32, 64, 3, 3), BF16, "sm_90", "conv_sm90a"},
		{"64 pixels of 256", cube(1, 1, 8, 8, 64, 64, 3, 3), BF16, "sm_90", "conv_mma"},
		{"64 pixels of 64", ConvGradW{Conv: cube(1, 1, 8, 8, 64, 64, 3, 3)}, BF16, "sm_90", "conv_grad_w_sm90a"},
	} {
		p, err := LaunchesOf(c.spec, c.precision, c.arch)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !slices.ContainsFunc(p.List, func(l Launch) bool {
			return l.Kernel == c.want || strings.HasPrefix(l.Kernel, c.want+"_") && c.want != "conv"
		}) {
			t.Errorf("%s: %v, want %s", c.name, names(p), c.want)
		}
	}
}

func names(p *Launches) (all []string) {
	for _, l := range p.List {
		all = append(all, l.Kernel)
	}
	return all
}

// What a launch of conv_sm90a.cu gets: geometry, maps, fields of hopper::Params.
func TestHopperLaunches(t *testing.T) {
	narrow := cube(2, 3, 16, 32, 120, 64, 2, 3)
	narrow.Act, narrow.Residual = ELU, true
	odd := cube(1, 1, 32, 16, 128, 64, 1, 1)
	odd.KW, odd.PW, odd.SW = 3, 1, 2
	const pack = "pack_bf16 "
	const size = "[3 0 2 1 1 1 0 1 3 1 0 16 4 3 1 1 1 0 1 16 1 0 32 4 3 1 1 1 0 1 32 1 0 2 64 120 0 3 6 2 36 0 6 6 1 0]"
	for _, c := range []struct {
		spec Spec
		want []string
	}{
		{narrow, []string{ // 12 tiles, 6 pairs in 6 splits; 18 lines of 16
			pack + "180,1,1 256,1,1 0 [] s1 [46080 15 120]",
			pack + "68,1,1 256,1,1 0 [] s2 [17280 15 120]",
			"conv_sm90a 36,1,1 384,1,1 217216 [s 120,32,16,3,2 240,7680,122880,368640 64,16,18,1,1; s 120,3,3,2,64 240,720,2160,4320 64,1,1,1,64] 034s " + size,
			"conv_sum_sm90a 96,1,1 256,1,1 0 [] 034s " + size}},
		{ConvGradX{Conv: odd}, []string{ // phases of columns: 8 of taps 0 and 2, 8 of tap 1
			pack + "8,1,1 256,1,1 0 [] s1 [2048 8 64]",
			pack + "12,1,1 256,1,1 0 [] s2 [3072 16 128]",
			"conv_grad_x_sm90a 1,1,1 384,1,1 217216 [s 64,8,32,1,1 128,1024,32768,32768 64,8,32,1,1; s 128,3,1,1,64 256,768,768,768 64,1,1,1,64] 0--- " +
				"[1 0 1 1 0 1 0 1 1 1 0 32 5 1 1 0 1 0 1 32 1 0 8 3 1 1 0 1 1 1 16 2 0 1 128 64 1 1 4 4 1 1 1 1 0 0]",
			"conv_grad_x_sm90a 1,1,1 384,1,1 217216 [s 64,8,32,1,1 128,1024,32768,32768 64,8,32,1,1; s 128,3,1,1,64 256,768,768,768 64,1,1,1,64] 0--- " +
				"[1 0 1 1 0 1 0 1 1 1 0 32 5 1 1 0 1 0 1 32 1 0 8 3 2 1 1 1 0 2 16 2 1 1 128 64 1 1 4 4 1 1 1 2 0 0]"}},
		{ConvGradW{Conv: cube(1, 2, 64, 64, 64, 64, 1, 3)}, []string{ // 128 tiles in 15 splits of 9
			pack + "256,1,1 256,1,1 0 [] s1 [65536 8 64]",
			pack + "256,1,1 256,1,1 0 [] s2 [65536 8 64]",
			"conv_grad_w_sm90a 2,15,1 384,1,1 224352 [s 64,64,64,2,1 128,8192,524288,1048576 64,4,8,2,1; s 64,64,64,2,1 128,8192,524288,1048576 64,4,8,2,1] s- " +
				"[2 1 1 1 0 1 0 1 2 1 0 64 3 3 1 1 1 0 1 64 1 0 64 2 3 1 1 1 0 1 64 1 0 1 64 64 0 1 3 3 0 0 0 9]",
			"sum_rows 144,1,1 32,8,1 0 [] 0s [15 36864 15]"}},
	} {
		p, err := LaunchesOf(c.spec, BF16, hopper)
		if err != nil {
			t.Errorf("%s: %v", Name(c.spec), err)
			continue
		}
		var got []string
		for _, l := range p.List {
			got = append(got, launchText(l))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", Name(c.spec), strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// Maps have the channels that pack fills up, so that no copy is cut off within 16 bytes.
func TestMapsHaveWholeChunks(t *testing.T) {
	s := cube(1, 2, 16, 16, 66, 70, 1, 3)
	for _, c := range []struct {
		spec Spec
		want [2]uint64 // channels of the first and the second map
	}{
		{s, [2]uint64{72, 72}}, {ConvGradX{Conv: s}, [2]uint64{72, 72}}, {ConvGradW{Conv: s}, [2]uint64{72, 72}},
		{cube(1, 2, 16, 16, 64, 70, 1, 3), [2]uint64{64, 64}},
	} {
		p, err := launchesOf(c.spec, &Launches{precision: BF16, arch: hopper, smCount: smCount, always: true})
		if err != nil {
			t.Fatal(err)
		}
		maps := p.List[slices.IndexFunc(p.List, func(l Launch) bool { return l.Params().Maps != nil })].Params().Maps
		for i, m := range maps {
			if m.Dims[0] != c.want[i] || m.Strides[0] != 2*c.want[i] {
				t.Errorf("%s: map %d has %d channels, rows of %d bytes; want %d channels", Name(c.spec), i, m.Dims[0], m.Strides[0], c.want[i])
			}
		}
	}
}

// launchText is a launch as text: kernel, grid, block, shared memory, maps as where they
// lead, sizes, strides and box, pointers, values.
func launchText(l Launch) string {
	list := func(v any) string { return strings.ReplaceAll(strings.Trim(fmt.Sprint(v), "[]"), " ", ",") }
	params := l.Params()
	var maps []string
	for _, m := range params.Maps {
		maps = append(maps, fmt.Sprintf("%s %s %s %s", describeOperand(m.Operand), list(m.Dims), list(m.Strides), list(m.Box)))
	}
	pointers := ""
	for _, o := range params.Pointers {
		pointers += describeOperand(o)
	}
	return fmt.Sprintf("%s %s %s %d [%s] %s %v", l.Kernel, list(l.Grid), list(l.Block), l.Shared, strings.Join(maps, "; "), pointers, params.Values)
}
