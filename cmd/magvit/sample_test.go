package main

import (
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/data"
	"magvit/trainer/task"
)

// A prior is trained on codes by the commands that serve tokenizers, and draws clips of a
// class, or that go on from given frames: the same ones each time.
func TestSample(t *testing.T) {
	dir, tok := t.TempDir(), trainedRun(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	magvit(t, "encode", "--checkpoint", tok, "--data", clips(t), "--split", "all", "--out", in("codes.npz"))
	trained := printed(t, "train", "--preset", "prior-demo", "--data", in("codes.npz"), "--out", in("prior"), "--steps", "2",
		"--set", "model.prior.width=16", "--set", "model.prior.blocks=1", "--set", "train.batch=2", "--json")
	look, _ := trained["prior"].(map[string]any)
	if trained["step"] != 2. || look["kind"] != "masked" || trained["val"] != nil || !(look["frame_before"].(float64) < look["uniform"].(float64)) {
		t.Errorf("train --json prints %v", trained)
	}
	if v := printed(t, "eval", "--checkpoint", in("prior"), "--data", in("codes.npz"), "--json"); v["bits_per_token"] != look["bits_per_token"] {
		t.Errorf("eval --json prints %v, training ended with %v", v, look)
	}
	draw := func(name string, args ...string) (clips, codes []int64) {
		t.Helper()
		magvit(t, append([]string{"sample", "--checkpoint", in("prior"), "--tokenizer", tok, "--steps", "3", "--out", in(name + ".npz"), "--codes", in(name + "-codes.npz")}, args...)...)
		a := arraysOf(t, in(name+"-codes.npz"))
		if got := arraysOf(t, in(name+".npz"))["videos"].Shape; got[0] != a["codes"].Shape[0] {
			t.Errorf("%s: clips of shape %v, codes of %v", name, got, a["codes"].Shape)
		}
		labels, _ := a["labels"].Data.([]int64) // absent where no clip has a class
		return labels, a["codes"].Data.([]int64)
	}
	once := func(name string, args ...string) []int64 {
		t.Helper()
		_, codes := draw(name, append([]string{"--seed", "3", "--count", "1"}, args...)...)
		return codes
	}
	labels, first := draw("turns", "--seed", "3")
	if !slices.Equal(labels, []int64{0, 1, 2, 3}) || len(first) != 4*64 {
		t.Errorf("labels %v, %d codes; want a clip of each class", labels, len(first))
	}
	if _, again := draw("again", "--seed", "3"); !slices.Equal(first, again) {
		t.Error("the same seed draws other codes")
	}
	if labels, two := draw("two", "--seed", "4", "--class", "helical", "--count", "2", "--guidance", "1", "--top-k", "50", "--top-p", "0.9"); !slices.Equal(labels, []int64{2, 2}) || slices.Equal(two, first[:128]) {
		t.Errorf("labels %v", labels)
	}
	_, on := draw("on", "--from", clips(t), "--count", "3", "--frames-given", "3", "--temperature", "0")
	all := arraysOf(t, in("codes.npz"))["codes"].Data.([]int64)
	for clip := range 3 {
		if got, want := on[clip*64:][:48], all[clip*64:][:48]; !slices.Equal(got, want) {
			t.Errorf("clip %d: the codes of the first three frames are %v, given %v", clip, got, want)
		}
	}
	v := printed(t, "sample", "--checkpoint", in("prior"), "--tokenizer", tok, "--steps", "2", "--count", "4", "--judge", clips(t), "--out", in("j.npz"), "--strips", in("j.png"), "--json")
	if raw, err := os.Open(in("j.png")); err != nil {
		t.Error(err)
	} else if strips, err := png.DecodeConfig(raw); err != nil || strips.Width != 8*(128+2)-2 || strips.Height != 4*(16+128+2) {
		t.Errorf("strips of 4 clips of 8 frames of 32x32: %+v (%v)", strips, err)
	}
	if g, _ := v["generated"].(map[string]any); v["clips"] != 4. || g["class_obeyed"].(map[string]any)["clips"] != 4. || g["held_out_originals"].(map[string]any)["clips"] != g["held_out_real_clips"].(map[string]any)["clips"] || !(g["frechet"].(float64) >= 0) || g["chance"] != .25 {
		t.Errorf("sample --judge prints %v", v)
	}
	v = printed(t, "sample", "--checkpoint", in("prior"), "--tokenizer", tok, "--steps", "2", "--from", clips(t), "--count", "3", "--judge", clips(t), "--out", in("j.npz"), "--json")
	if p, _ := v["predicted"].(map[string]any); p["clips"] != 3. || p["seen"] != 4. || p["horizon"] != 4. || !(p["constant_velocity"].(float64) > 0) || len(p["per_class"].([]any)) == 0 {
		t.Errorf("sample --from --judge prints %v", v)
	}
	// A clip of five frames is compared in the one that it has, one of two in none.
	if err := data.WriteArrays(in("short.npz"), data.Array{Name: "videos", Shape: []int{1, 5, 3, 32, 32}, Data: make([]float32, 5*3*32*32)}); err != nil {
		t.Fatal(err)
	}
	v = printed(t, "sample", "--checkpoint", in("prior"), "--tokenizer", tok, "--steps", "2", "--from", in("short.npz"), "--judge", in("short.npz"), "--out", in("j.npz"), "--json")
	if p, _ := v["predicted"].(map[string]any); p["clips"] != 1. || p["seen"] != 4. || p["horizon"] != 1. {
		t.Errorf("of a clip of five frames sample --from --judge prints %v", v)
	}
	if err := data.WriteArrays(in("still.npz"), data.Array{Name: "videos", Shape: []int{1, 2, 3, 32, 32}, Data: make([]float32, 2*3*32*32)}); err != nil {
		t.Fatal(err)
	}
	_, stderr, status := finish(t, program(t, "sample", "--checkpoint", in("prior"), "--tokenizer", tok, "--steps", "2", "--from", in("still.npz"), "--judge", in("still.npz"), "--out", in("j.npz")))
	refused(t, stderr, status, "none of 1 clip has more than the 4 frames that are given")
	magvit(t, "sample", "--checkpoint", in("prior"), "--tokenizer", tok, "--steps", "2", "--count", "2", "--out", in("j.npz"), "--codes", in("named.npz"))
	if text, _ := magvit(t, "codes", in("named.npz")); !strings.Contains(text, "class circular") {
		t.Errorf("codes of samples do not name their classes:\n%s", text)
	}
	if _, central := draw("central", "--from", clips(t), "--count", "2", "--frames-given", "3", "--candidates", "3"); !slices.Equal(central[:48], all[:48]) {
		t.Errorf("the given codes of a central forecast are %v, want %v", central[:48], all[:48])
	}
	magvit(t, "train", "--preset", "i3d-small", "--data", clips(t), "--out", in("classifier"), "--steps", "1")
	if labels, chosen := draw("chosen", "--seed", "3", "--classifier", in("classifier"), "--candidates", "2"); !slices.Equal(labels, []int64{0, 1, 2, 3}) || len(chosen) != len(first) {
		t.Errorf("labels %v, %d codes of candidates", labels, len(chosen))
	}
	if _, own := draw("own", "--seed", "3", "--candidates", "3"); !slices.Equal(own, mostProbable(t, in("prior"), 3)) {
		t.Errorf("the prior chooses %v of the candidates, want %v", own, mostProbable(t, in("prior"), 3))
	}
	if _, none := draw("none", "--seed", "3", "--class", "none", "--count", "1", "--candidates", "2"); !slices.Equal(none, once("none-once", "--class", "none")) {
		t.Error("of a clip without a class another candidate than the first is chosen")
	}
	page, err := os.ReadFile(in("prior/report.html"))
	if err != nil || !strings.Contains(string(page), "what the prior learnt") {
		t.Errorf("the report does not show the prior: %v", err)
	}
	sample := func(args ...string) []string {
		return append([]string{"sample", "--checkpoint", in("prior"), "--tokenizer", tok, "--out", in("x.npz")}, args...)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{sample("--class", "4"), "--class 4: want none, 0 to 3, linear, circular, helical, parabolic"},
		{sample("--frames-given", "2"), "--frames-given without --from"},
		{sample("--from", clips(t), "--frames-given", "4"), "--frames-given 4: want 1 to 3"},
		{sample("--top-p", "0"), "top-p 0"},
		{sample("--strips", "x.gif"), "--strips x.gif: want a name that ends in .png"},
		{sample("--codes", "x.npy"), "--codes x.npy: want a name that ends in .npz"},
		{sample("--candidates", "0"), "--candidates 0: want 1 to 1048576"},
		{sample("--candidates", "1000000000000", "--from", clips(t)), "--candidates 1000000000000: want 1 to"},
		{sample("--count", "1000000000000"), "--count 1000000000000: want 1 to 1048576"},
		{sample("--judge", in("codes.npz"), "--out", in("codes.npz")), "that is the input"},
		{sample("--judge", in("codes.npz"), "--codes", in("codes.npz")), "that is the input"},
		{sample("--classifier", tok), "not a classifier"},
		{[]string{"sample", "--checkpoint", tok, "--tokenizer", tok, "--out", in("x.npz")}, "not a prior over codes"},
		{[]string{"sample", "--checkpoint", in("prior"), "--tokenizer", in("prior"), "--out", in("x.npz")}, "not the tokenizer"},
		{[]string{"train", "--preset", "prior-demo", "--data", clips(t), "--out", in("y")}, "magvit train --tokenizer RUN makes codes of clips"},
		{[]string{"train", "--preset", "i3d-small", "--data", clips(t), "--tokenizer", tok, "--out", in("y")}, "it would not be used: the classifier is on pixels (model.classify.input); legal for one on codes: codes, fused"},
		{[]string{"train", "--preset", "tiny", "--data", clips(t), "--tokenizer", tok, "--out", in("y")}, "it would not be used: a tokenizer is trained on clips"},
		{[]string{"decode", "--checkpoint", in("prior"), "--codes", in("codes.npz"), "--out", in("x.npz")}, "a prior over codes"},
	} {
		if _, stderr, status := finish(t, program(t, c.args...)); status != badInput || !strings.Contains(stderr, c.want) {
			t.Errorf("magvit %v: exit %d, %s; want %q", c.args[0], status, stderr, c.want)
		}
	}
}

// mostProbable are the codes of a clip of each class, drawn as TestSample draws them: of the
// candidates those that the prior takes for the class with the most probability.
func mostProbable(t *testing.T, run string, candidates int) (codes []int64) {
	t.Helper()
	be := kernels.NewCPU(1)
	defer be.Close()
	prior, err := task.OpenPrior(be, run)
	if err != nil {
		t.Fatal(err)
	}
	how := task.SamplingDefaults()
	how.Seed, how.Steps = 3, 3
	for class := range 4 {
		var best []int32
		most := math.Inf(-1)
		for k := range candidates {
			drawn, err := prior.Sample(t.Context(), slices.Repeat([]int32{model.NoCode}, 64), []int{class}, 4*k+class, how)
			if err != nil {
				t.Fatal(err)
			}
			of, err := prior.LogPosterior(drawn, []int{class}, []int{4*k + class})
			if err != nil {
				t.Fatal(err)
			}
			if of[0] > most {
				best, most = drawn, of[0]
			}
		}
		for _, c := range best {
			codes = append(codes, int64(c))
		}
	}
	return codes
}
