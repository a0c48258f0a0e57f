package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"magvit/trainer/data"
)

// pythonWith is python3 where the modules are there; else the test is skipped.
func pythonWith(t *testing.T, modules ...string) string {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not there")
	}
	for _, m := range modules {
		if err := exec.Command(path, "-c", "import "+m).Run(); err != nil {
			t.Skipf("python3 has no module %s", m)
		}
	}
	return path
}

// python runs a program in a folder and returns what it printed.
func python(t *testing.T, interpreter, dir, program string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), interpreter, "-c", program)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("python: %v\n%s\n%s", err, program, out)
	}
	return strings.TrimSpace(string(out))
}

// blocksOf are the Python programs in a README.
func blocksOf(t *testing.T, path string) (list []string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)```python\n(.*?)```").FindAllStringSubmatch(string(raw), -1) {
		list = append(list, m[1])
	}
	return list
}

// contents are the files of a folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(raw)
	}
	return all
}

// TestPythonReadsCodes runs the programs of trainer/codes/README.md on what encode wrote, and decodes what they wrote.
func TestPythonReadsCodes(t *testing.T) {
	python3 := pythonWith(t, "numpy")
	dir, run := t.TempDir(), trainedRun(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	args := []string{"encode", "--checkpoint", run, "--data", clips(t), "--out"}
	magvit(t, append(args, in("codes.npz"))...)
	magvit(t, append(args, in("codes"), "--shard-clips", "10")...)
	magvit(t, append(args, in("tars"), "--shard-clips", "10", "--format", "tar", "--factors", "1,3")...)

	raw := arraysOf(t, in("codes.npz"))
	all := raw["codes"].Data.([]int64)
	sum := int64(0)
	for _, v := range all {
		sum += v
	}
	first := fmt.Sprint(all[:64])
	blocks := blocksOf(t, "../../trainer/codes/README.md")
	want := map[string]string{ // what each program is asked, and its answer
		"np.load(\"codes.npz\")": "print(codes.shape, codes.dtype, codes.sum(), len(names), frames[0])\n" +
			fmt.Sprintf("(24, 4, 4, 4) int32 %d 24 8", sum),
		"mmap_mode": "print([s.shape[0] for s in shards], type(shards[0]).__name__, sum(int(s.sum()) for s in shards), len(names), str(codes.ravel()).replace('\\n', ''), index['codebook'], index['bit_order'])\n" +
			fmt.Sprintf("[10, 10, 4] memmap %d 24 ", sum),
		"tarfile.open": "print(len(codes), sorted(codes)[0], next(iter(codes.values())).shape)\n10 000000_00000.codes.npy (4, 4, 4, 2)",
		"np.save":      "print('saved')\nsaved",
		"def whole": fmt.Sprintf("import numpy as np\nz = np.load('codes.npz')['codes']\nimport io, tarfile\nt = tarfile.open('tars/000000.tar')\ns = np.load(io.BytesIO(t.extractfile('000000_00000.codes.npy').read()))\nprint((whole(s, [8, 125]) == z[0]).all(), str(z[0].ravel().tolist()).replace(',', ''))\nTrue %s",
			first),
	}
	for sign, ask := range want {
		at := strings.LastIndex(ask, "\n")
		done := 0
		for _, b := range blocks {
			if !strings.Contains(b, sign) {
				continue
			}
			done++
			if got := python(t, python3, dir, b+"\n"+ask[:at]); !strings.HasPrefix(got, ask[at+1:]) {
				t.Errorf("%s: %q, want %q", sign, got, ask[at+1:])
			}
		}
		if done != 1 {
			t.Errorf("%d programs of README.md have %q, want one", done, sign)
		}
	}
	magvit(t, "decode", "--checkpoint", run, "--codes", in("samples.npy"), "--out", in("samples.npz"))
	if got := arraysOf(t, in("samples.npz"))["videos"].Shape; !reflect.DeepEqual(got, []int{2, 8, 3, 32, 32}) {
		t.Errorf("samples decoded to %v", got)
	}
}

// TestWebdatasetReadsCodes runs the program for webdataset.
func TestWebdatasetReadsCodes(t *testing.T) {
	python3 := pythonWith(t, "numpy", "webdataset")
	dir := t.TempDir()
	magvit(t, "encode", "--checkpoint", trainedRun(t), "--data", clips(t), "--out", filepath.Join(dir, "tars"), "--format", "tar", "--shard-clips", "10")
	for _, b := range blocksOf(t, "../../trainer/codes/README.md") {
		if strings.Contains(b, "webdataset") {
			got := python(t, python3, dir, strings.Replace(b, "for s in samples:", "for s in list(samples):", 1)+
				"\n    print(s['__key__'], codes.shape, codes.dtype, label, about['class'], about['frames'], about['grid'], about['codebook'], about['digit_order'][:4])")
			lines := strings.Split(got, "\n")
			if len(lines) != 24 || !strings.HasPrefix(lines[23], "000002_00003 (4, 4, 4) int32 ") || !strings.HasSuffix(lines[23], " 8 [4, 4, 4] 1000 code") {
				t.Errorf("%d samples, the last %q", len(lines), lines[len(lines)-1])
			}
			return
		}
	}
	t.Error("README.md has no program for webdataset")
}

// TestEveryFormOfCodesDecodes decodes one set from each form to the same bytes, and summarizes each alike.
func TestEveryFormOfCodesDecodes(t *testing.T) {
	dir, run := t.TempDir(), trainedRun(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	args := []string{"encode", "--checkpoint", run, "--data", clips(t), "--limit", "10", "--out"}
	magvit(t, append(args, in("a.npz"))...)
	magvit(t, append(args, in("b"), "--shard-clips", "4", "--factors", "2,2")...)
	magvit(t, append(args, in("c"), "--shard-clips", "4", "--format", "tar")...)
	var first map[string]data.Array
	var use any
	for i, path := range []string{"a.npz", "b", "c"} {
		magvit(t, "decode", "--checkpoint", run, "--codes", in(path), "--out", in("out.npz"))
		found := arraysOf(t, in("out.npz"))
		s := printed(t, "codes", in(path), "--json")
		if i == 0 {
			first, use = found, s["use"]
			u := use.(map[string]any)
			if s["clips"] != 10. || u["count"] != 640. || u["used"].(float64) < 2 || math.Abs(math.Log2(u["perplexity"].(float64))-u["entropy_bits"].(float64)) > 1e-9 {
				t.Errorf("codes: %v", s)
			}
			continue
		}
		if !reflect.DeepEqual(found, first) {
			t.Errorf("%s decodes to something else than %s", path, "a.npz")
		}
		if !reflect.DeepEqual(s["use"], use) {
			t.Errorf("%s: use %v, want %v", path, s["use"], use)
		}
	}
	if v, _ := printed(t, "codes", in("b"), "--json")["factor_use"].([]any); len(v) != 2 || v[0].(map[string]any)["size"] != 40. || v[1].(map[string]any)["size"] != 25. {
		t.Errorf("use of factors: %v", v)
	}
	text, _ := magvit(t, "codes", in("b"))
	for _, want := range []string{"clips", "4×4×4", "1000 codes, fsq", "perplexity", "bits per token of 9.97", "factor 1 used", "class linear", "first channel is digit 0"} {
		if !strings.Contains(text, want) {
			t.Errorf("codes prints no %q:\n%s", want, text)
		}
	}
	if err := data.WriteArrays(in("numbered.npz"), data.Array{Name: "codes", Shape: []int{3, 1, 1, 1}, Data: []int32{0, 1, 2}}, data.Array{Name: "labels", Shape: []int{3}, Data: []int64{7, -1, 7}}); err != nil {
		t.Fatal(err)
	}
	if text, _ := magvit(t, "codes", in("numbered.npz")); !strings.Contains(text, "label 7") || !strings.Contains(text, "2 clips, of a class without a name") {
		t.Errorf("codes of numbered classes:\n%s", text)
	}
	for want, more := range map[string][]string{
		"--shard 3/3: want I/N":     {in("d"), "--shard", "3/3"},
		"--shard: a .npz is one":    {in("d.npz"), "--shard", "0/2"},
		"add up to 3; a code has 4": {in("d"), "--factors", "1,2"},
		"want npz, npy or tar":      {in("d"), "--format", "zip"},
		"writes a folder":           {in("d.npz"), "--format", "tar"},
		"is no shard of codes":      {dir},
		"was encoded otherwise":     {in("b"), "--shard-clips", "5"},
	} {
		_, stderr, status := finish(t, program(t, append(args, more...)...))
		refused(t, stderr, status, want)
	}
}

// TestEncodeSurvivesKills kills encode again and again; what it leaves in the end is what one run writes, and so is what
// three jobs write at the same time.
func TestEncodeSurvivesKills(t *testing.T) {
	dir, run := t.TempDir(), trainedRun(t)
	args := func(out string, more ...string) *exec.Cmd {
		return program(t, append([]string{"encode", "--checkpoint", run, "--data", clips(t), "--format", "tar", "--shard-clips", "2", "--out", filepath.Join(dir, out)}, more...)...)
	}
	if _, stderr, status := finish(t, args("straight")); status != done {
		t.Fatal(stderr)
	}
	want := contents(t, filepath.Join(dir, "straight"))
	kills := 0
	for n := 0; ; n++ {
		cmd := args("killed")
		var log bytes.Buffer
		cmd.Stderr = &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		more := time.NewTicker(time.Millisecond)
		shards := func() int { m, _ := filepath.Glob(filepath.Join(dir, "killed", "*.tar")); return len(m) }
		var err error
		for before, over := shards(), false; !over; {
			select {
			case err = <-ended:
				over = true
			case <-more.C:
				if shards() > before+n%3 {
					cmd.Process.Kill()
				}
			}
		}
		more.Stop()
		if err == nil {
			break
		}
		if !strings.Contains(err.Error(), "killed") || n > 20 {
			t.Fatalf("encode: %v\n%s", err, log.String())
		}
		kills++
	}
	if got := contents(t, filepath.Join(dir, "killed")); !reflect.DeepEqual(got, want) || kills == 0 {
		t.Errorf("%d kills: %d files, want the %d of one run, the same", kills, len(got), len(want))
	}
	t.Logf("%d kills", kills)

	var jobs []*exec.Cmd
	for i := range 3 {
		cmd := args("jobs", "--shard", fmt.Sprintf("%d/3", i))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, cmd)
	}
	for _, j := range jobs {
		if err := j.Wait(); err != nil {
			t.Error(err)
		}
	}
	if got := contents(t, filepath.Join(dir, "jobs")); !reflect.DeepEqual(got, want) {
		t.Errorf("three jobs: %d files, want the %d of one run, the same", len(got), len(want))
	}
}

// TestNextTokenModelInPython runs the program of trainer/README.md for fewer steps: its loss falls, and its samples decode.
func TestNextTokenModelInPython(t *testing.T) {
	python3 := pythonWith(t, "numpy", "torch")
	dir, run := t.TempDir(), trainedRun(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	magvit(t, "encode", "--checkpoint", run, "--data", clips(t), "--out", in("codes.npz"))
	blocks := blocksOf(t, "../../trainer/README.md")
	if len(blocks) != 1 {
		t.Fatalf("%d programs in README.md, want one", len(blocks))
	}
	program := blocks[0]
	for old, new := range map[string]string{"range(3000)": "range(12)", "optimizer.step()\n": "optimizer.step(), print(f'{loss:.4f}')\n", "import numpy": "import warnings; warnings.simplefilter('ignore')\nimport numpy"} {
		if strings.Count(program, old) != 1 {
			t.Fatalf("the program has %q %d times, want once", old, strings.Count(program, old))
		}
		program = strings.Replace(program, old, new, 1)
	}
	losses := strings.Fields(python(t, python3, dir, "import torch; torch.manual_seed(1); torch.set_num_threads(1)\n"+program))
	first, last := 0., 0.
	if _, err := fmt.Sscan(losses[0]+" "+losses[len(losses)-1], &first, &last); err != nil || len(losses) != 12 || !(last < first-.5) || first < 6 {
		t.Errorf("losses %v, %v; want 12 that fall from about log 1000", losses, err)
	}
	magvit(t, "decode", "--checkpoint", run, "--codes", in("samples.npy"), "--out", in("samples.npz"))
	if got := arraysOf(t, in("samples.npz"))["videos"].Shape; !reflect.DeepEqual(got, []int{4, 8, 3, 32, 32}) {
		t.Errorf("samples decoded to %v", got)
	}
}
