package main

import (
	"math"
	"path/filepath"
	"strings"
	"testing"
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
