package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"magvit/trainer/torchfile"
)

// eval --metrics and compare of what reconstruct wrote give one PSNR, that of eval, and the same metrics.
func TestCompareIsEval(t *testing.T) {
	dir, run := t.TempDir(), trainedRun(t)
	seen := filepath.Join(dir, "seen.npz")
	magvit(t, "reconstruct", "--checkpoint", run, "--data", clips(t), "--out", seen)
	evaluated := printed(t, "eval", "--checkpoint", run, "--data", clips(t), "--split", "all", "--metrics", "sharpness,psnr,gradient", "--json")
	compared := printed(t, "compare", clips(t), seen, "--metrics", "psnr,gradient,sharpness", "--json")
	a, b := evaluated["quality"].(map[string]any)["metrics"].([]any), compared["metrics"].([]any)
	if len(a) != 3 || len(b) != 3 || compared["clips"] != 24. || compared["frames"] != 24.*8 {
		t.Fatalf("%v\n%v", evaluated["quality"], compared)
	}
	for i, name := range []string{"psnr", "gradient", "sharpness"} {
		x, y := a[i].(map[string]any), b[i].(map[string]any)
		if x["name"] != name || y["name"] != name || math.Abs(x["value"].(float64)-y["value"].(float64)) > 1e-4 {
			t.Errorf("%s: %v of eval, %v of compare", name, x, y)
		}
		if low, v, high := y["low"].(float64), y["value"].(float64), y["high"].(float64); !(low < v && v < high) {
			t.Errorf("%s: %v in the interval %v to %v", name, v, low, high)
		}
	}
	if got, want := a[0].(map[string]any)["value"].(float64), evaluated["psnr"].(float64); math.Abs(got-want) > 1e-9 {
		t.Errorf("PSNR %v, and %v of the same evaluation", got, want)
	}
	text, _ := magvit(t, "compare", clips(t), clips(t))
	if !strings.Contains(text, "120.0000") || !strings.Contains(text, "sharpness") {
		t.Errorf("a set compared with itself:\n%s", text)
	}
}

// lpipsFiles are random weights of LPIPS by their public names, in the two files of their projects: VGG16's features and the heads.
func lpipsFiles(t *testing.T) string {
	t.Helper()
	file := func(name string, tensors map[string][]int) string {
		root := torchfile.NewDict()
		for _, key := range slices.Sorted(maps.Keys(tensors)) {
			n, fan := 1, 1
			for i, d := range tensors[key] {
				if n *= d; i > 0 {
					fan *= d
				}
			}
			values := make([]float32, n)
			for i := range values { // weights about 0, biases and heads above
				values[i] = float32(i*2654435761%1000)/1000 - .5
				if strings.HasSuffix(key, "bias") || fan < 1000 {
					values[i] += .5
				}
				values[i] *= 3 / float32(math.Sqrt(float64(fan)))
			}
			tensor, err := torchfile.FromFloat32(tensors[key], values)
			if err != nil {
				t.Fatal(err)
			}
			root.Set(key, tensor)
		}
		path := filepath.Join(t.TempDir(), name)
		f, err := os.Create(path)
		if err == nil {
			err = errors.Join(torchfile.Write(f, root), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	vgg, heads := map[string][]int{"classifier.6.bias": {1000}}, map[string][]int{}
	layer, in := 0, 3
	for block, v := range [][2]int{{2, 64}, {2, 128}, {3, 256}, {3, 512}, {3, 512}} {
		for range v[0] {
			vgg[fmt.Sprintf("features.%d.weight", layer)], vgg[fmt.Sprintf("features.%d.bias", layer)] = []int{v[1], in, 3, 3}, []int{v[1]}
			layer, in = layer+2, v[1]
		}
		heads[fmt.Sprintf("lin%d.model.1.weight", block)] = []int{1, v[1], 1, 1}
		layer++
	}
	return file("vgg16.pth", vgg) + "," + file("vgg.pth", heads)
}

// With weights from files, eval and compare give the same LPIPS with an interval, twice the same.
func TestLPIPSByFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: makes 15 million weights")
	}
	dir, run, weights := t.TempDir(), trainedRun(t), lpipsFiles(t)
	small, seen := filepath.Join(dir, "small.npz"), filepath.Join(dir, "seen.npz")
	magvit(t, "synth", "--clips", "2", "--size", "32", "--frames", "4", "--out", small)
	magvit(t, "reconstruct", "--checkpoint", run, "--data", small, "--out", seen)
	flags := []string{"--metrics", "psnr,ssim,lpips,frechet-pixels", "--lpips-weights", weights, "--json"}
	evaluated := printed(t, append([]string{"eval", "--checkpoint", run, "--data", small, "--split", "all"}, flags...)...)["quality"]
	compared := printed(t, append([]string{"compare", small, seen}, flags...)...)
	again := printed(t, append([]string{"compare", small, seen}, flags...)...)
	if !reflect.DeepEqual(compared, again) {
		t.Errorf("%v, then %v", compared, again)
	}
	a, b := evaluated.(map[string]any)["metrics"].([]any), compared["metrics"].([]any)
	if len(a) != 4 || len(b) != 4 {
		t.Fatalf("%v\n%v", a, b)
	}
	for i, name := range []string{"psnr", "ssim", "lpips", "frechet-pixels"} {
		x, y := a[i].(map[string]any), b[i].(map[string]any)
		if x["name"] != name || math.Abs(x["value"].(float64)-y["value"].(float64)) > 1e-4*(1+math.Abs(y["value"].(float64))) {
			t.Errorf("%s: %v of eval, %v of compare", name, x, y)
		}
	}
	lpips := b[2].(map[string]any)
	if low, v, high := lpips["low"].(float64), lpips["value"].(float64), lpips["high"].(float64); !(0 < low && low < v && v < high) {
		t.Errorf("LPIPS %v in the interval %v to %v", v, low, high)
	}
}

func TestCompareRefuses(t *testing.T) {
	other := filepath.Join(t.TempDir(), "other.npz")
	magvit(t, "synth", "--clips", "24", "--size", "16", "--frames", "8", "--out", other)
	for want, args := range map[string][]string{
		"RECONSTRUCTIONS is missing":                                       {clips(t)},
		"--by chance: want name or order":                                  {clips(t), clips(t), "--by", "chance"},
		`"vmaf": want some of psnr`:                                        {clips(t), clips(t), "--metrics", "vmaf"},
		"--metrics fvd needs --fvd-weights: rgb_imagenet.pt":               {clips(t), clips(t), "--metrics", "fvd"},
		"--fvd-frames 15: want 16 or 17":                                   {clips(t), clips(t), "--fvd-frames", "15"},
		"--fvd-frames: --metrics does not name fvd":                        {clips(t), clips(t), "--fvd-frames", "17"},
		"--metrics fid needs --fid-weights: the state_dict of pytorch-fid": {clips(t), clips(t), "--metrics", "psnr,fid"},
		"--lpips-weights: --metrics does not name lpips":                   {clips(t), clips(t), "--lpips-weights", "w.pt"},
		"8 frames of 32×32 pixels":                                         {clips(t), other},
	} {
		_, stderr, status := finish(t, program(t, append([]string{"compare"}, args...)...))
		if status != badInput || !strings.Contains(stderr, want) {
			t.Errorf("compare %v: exit %d, %s; want %q", args, status, stderr, want)
		}
	}
}
