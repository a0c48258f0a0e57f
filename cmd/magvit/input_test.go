package main

import (
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"magvit/trainer/data"
)

// npz writes an .npz file of one array and returns its path.
func npz(t *testing.T, name string, value float32, shape ...int) string {
	t.Helper()
	n := 1
	for _, d := range shape {
		n *= d
	}
	path := filepath.Join(t.TempDir(), "made.npz")
	if err := data.WriteArrays(path, data.Array{Name: name, Shape: shape, Data: slices.Repeat([]float32{value}, n)}); err != nil {
		t.Fatal(err)
	}
	return path
}

// file writes a file and returns its path.
func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func truncated(t *testing.T, path string) string {
	t.Helper()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return file(t, "cut.npz", string(whole[:len(whole)/2]))
}

func codesFile(t *testing.T, arrays ...data.Array) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "codes.npz")
	if err := data.WriteArrays(path, arrays...); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBadInput(t *testing.T) {
	good, run := clips(t), trainedRun(t)
	other := t.TempDir() // a run directory is locked by one training at a time
	if err := os.CopyFS(other, os.DirFS(run)); err != nil {
		t.Fatal(err)
	}
	nan := float32(math.NaN())
	train := func(more ...string) []string {
		return append([]string{"train", "--preset", "tiny", "--steps", "2", "--out", "run"}, more...)
	}
	set := func(assignment string) []string { return train("--data", good, "--set", assignment) }
	decodes := func(path string) []string {
		return []string{"decode", "--checkpoint", run, "--codes", path, "--out", "x.npz"}
	}
	for name, c := range map[string]struct {
		args []string
		want []string // words of the message
	}{
		"missing file":        {train("--data", "nowhere.npz"), []string{"nowhere.npz", "no such file"}},
		"pattern of nothing":  {train("--data", "*.mp4"), []string{"*.mp4", "matches no file"}},
		"empty folder":        {train("--data", t.TempDir()), []string{"no clips", ".npz"}},
		"control characters":  {train("--data", "a\x1b[2J\xff.mp4"), []string{"a\\x1b[2J\ufffd.mp4"}},
		"an endless name":     {train("--data", strings.Repeat("a", 20000)), []string{"aaa…"}},
		"unknown kind":        {train("--data", file(t, "notes.doc", "x")), []string{"notes.doc", ".npz", "videos"}},
		"truncated npz":       {train("--data", truncated(t, good)), []string{"cut.npz", "cut off"}},
		"npz without videos":  {train("--data", npz(t, "frames", .5, 4, 8, 3, 32, 32)), []string{"videos", "frames"}},
		"wrong rank":          {train("--data", npz(t, "videos", .5, 8, 32, 32)), []string{"axes", "[N,T,3,H,W]"}},
		"colours second":      {train("--data", npz(t, "videos", .5, 4, 3, 8, 32, 32)), []string{"[N,3,T,H,W]", "transpose"}},
		"colours last":        {train("--data", npz(t, "videos", .5, 4, 8, 32, 32, 3)), []string{"channels last", "transpose"}},
		"NaN":                 {train("--data", npz(t, "videos", nan, 4, 8, 3, 32, 32)), []string{"NaN"}},
		"0 to 255 floats":     {train("--data", npz(t, "videos", 255, 4, 8, 3, 32, 32)), []string{"255", "0 to 1"}},
		"one clip":            {train("--data", npz(t, "videos", .5, 1, 8, 3, 32, 32)), []string{"at least 2"}},
		"no clips in array":   {train("--data", npz(t, "videos", .5, 0, 8, 3, 32, 32)), []string{"no clips"}},
		"unknown key":         {[]string{"train", "--config", file(t, "my.yaml", "preset: tiny\ntrain:\n  stepz: 3\n"), "--data", good, "--out", "run"}, []string{"my.yaml:3", "stepz", "steps"}},
		"not YAML":            {[]string{"train", "--config", file(t, "my.yaml", "a: [1"), "--data", good, "--out", "run"}, []string{"my.yaml", "YAML"}},
		"no configuration":    {[]string{"train", "--config", "none.yaml", "--data", good, "--out", "run"}, []string{"none.yaml", "no such file"}},
		"layers do not fit":   {set("model.layers=[compress_space, compress_space, compress_space, compress_space]"), []string{"image_size", "multiple of 64"}},
		"unknown layer":       {set("model.layers=[residul]"), []string{"residul", "compress_space"}},
		"frames do not fit":   {train("--data", npz(t, "videos", .5, 4, 8, 3, 30, 30)), []string{"30", "multiples of 8"}},
		"negative rate":       {set("train.lr=-1"), []string{"train.lr", "-1"}},
		"rate not a number":   {set("train.lr=.nan"), []string{"train.lr"}},
		"no batch":            {set("train.batch=0"), []string{"train.batch", "1 to"}},
		"absurd batch":        {set("train.batch=1000000000"), []string{"train.batch", "1 to"}},
		"absurd width":        {set("model.init_dim=1000000"), []string{"model.init_dim", "4096"}},
		"unknown key to set":  {set("train.stepz=1"), []string{"stepz", "steps"}},
		"no value to set":     {set("train.steps"), []string{"key=value"}},
		"negative steps":      {train("--data", good, "--steps", "-1"), []string{"--steps", "-1"}},
		"steps not a number":  {train("--data", good, "--steps", "many"), []string{"--steps \"many\": want a whole number"}},
		"steps as 1e3":        {train("--data", good, "--steps", "1e3"), []string{"--steps \"1e3\": want a whole number"}},
		"minutes as a time":   {train("--data", good, "--minutes", "1h"), []string{"--minutes \"1h\": want a number"}},
		"a negative seed":     {train("--data", good, "--seed", "-1"), []string{"--seed \"-1\": want a whole number, not negative"}},
		"not a duration":      {[]string{"bench", "data", "--data", good, "--step", "5"}, []string{"--step \"5\": want a duration, such as"}},
		"neither true":        {train("--data", good, "--strict=maybe"), []string{"--strict \"maybe\": want true or false"}},
		"flag without value":  {train("--data"), []string{"a value is missing after --data"}},
		"empty out":           {train("--data", good, "--out", ""), []string{"--out is empty"}},
		"out to stdout":       {[]string{"encode", "--checkpoint", run, "--data", good, "--out", "-"}, []string{"nothing is written to stdout"}},
		"empty argument":      {[]string{"export", "--to", "lean", "--checkpoint", run, ""}, []string{"an argument is empty", "the path to write to"}},
		"help of nothing":     {[]string{"help", "trian"}, []string{"trian", "train"}},
		"nothing's help":      {[]string{"trian", "--help"}, []string{"trian", "train"}},
		"codes for clips":     {train("--data", codesFile(t, data.Array{Name: "codes", Shape: []int{1, 1, 1, 1}, Data: []int32{1}})), []string{"magvit decode makes clips"}},
		"no minutes":          {train("--data", good, "--minutes", "0"), []string{"--minutes"}},
		"unknown preset":      {[]string{"train", "--preset", "tinny", "--data", good, "--out", "run"}, []string{"tinny", "tiny"}},
		"out below a file":    {train("--data", good, "--out", filepath.Join(good, "run")), []string{"is a file"}},
		"another run's place": {train("--data", good, "--out", run, "--resume", "never"), []string{"not empty", "--resume"}},
		"another config":      {train("--data", good, "--out", other, "--steps", "9", "--set", "model.init_dim=16"), []string{"model.init_dim", "16", "24"}},
		"resume from nothing": {train("--data", good, "--resume", "nowhere"), []string{"nowhere"}},
		"gpu":                 {train("--data", good, "--device", "gpu"), []string{"no GPU code", "cpu"}},
		"unknown device":      {train("--data", good, "--device", "tpu"), []string{"tpu", "cpu"}},
		"unknown flag":        {train("--dta", good), []string{"--dta", "--help"}},
		"no data":             {train(), []string{"--data is missing"}},
		"unknown command":     {[]string{"trian"}, []string{"trian", "train"}},
		"argument too many":   {train("--data", good, "extra"), []string{"extra"}},
		"no checkpoint":       {[]string{"eval", "--checkpoint", "nowhere", "--data", good}, []string{"nowhere"}},
		"no run":              {[]string{"eval", "--checkpoint", t.TempDir(), "--data", good}, []string{"no checkpoint there"}},
		"unknown split":       {[]string{"eval", "--checkpoint", run, "--data", good, "--split", "held"}, []string{"held", "val"}},
		"no test clips":       {[]string{"eval", "--checkpoint", run, "--data", good, "--split", "test"}, []string{"no clip is named so", "test/"}},
		"eval one clip":       {[]string{"eval", "--checkpoint", run, "--data", npz(t, "videos", .5, 1, 8, 3, 32, 32)}, []string{"at least 2"}},
		"encode to text":      {[]string{"encode", "--checkpoint", run, "--data", good, "--out", "codes.txt"}, []string{"codes.txt", ".npz"}},
		"encode NaN":          {[]string{"encode", "--checkpoint", run, "--data", npz(t, "videos", nan, 4, 8, 3, 32, 32), "--out", "codes.npz"}, []string{"NaN"}},
		"reconstruct to text": {[]string{"reconstruct", "--checkpoint", run, "--data", good, "--out", "seen.txt"}, []string{"seen.txt", ".mp4"}},
		"no codes":            {decodes(good), []string{"codes", "encode"}},
		"code too large":      {decodes(codesFile(t, data.Array{Name: "codes", Shape: []int{1, 1, 1, 1}, Data: []int32{1000}})), []string{"1000"}},
		"negative code":       {decodes(codesFile(t, data.Array{Name: "codes", Shape: []int{1, 1, 1, 1}, Data: []int32{-1}})), []string{"-1"}},
		"codes of rank 2":     {decodes(codesFile(t, data.Array{Name: "codes", Shape: []int{1, 1}, Data: []int32{1}})), []string{"[N,T',H',W']"}},
		"float codes":         {decodes(codesFile(t, data.Array{Name: "codes", Shape: []int{1, 1, 1, 1}, Data: []float32{1}})), []string{"whole numbers"}},
		"foreign codes": {decodes(codesFile(t, data.Array{Name: "codes", Shape: []int{1, 1, 1, 1}, Data: []int32{1}},
			data.Array{Name: "codebook", Shape: []int{1}, Data: []int32{64}})), []string{"64", "1000"}},
		"negative clips":  {[]string{"synth", "--clips", "-5", "--out", "x.npz"}, []string{"-5"}},
		"no pixels":       {[]string{"synth", "--size", "0", "--out", "x.npz"}, []string{"size"}},
		"synth to text":   {[]string{"synth", "--out", "x.txt"}, []string{"x.txt", ".npz"}},
		"no report":       {[]string{"report", t.TempDir()}, []string{"no run directory"}},
		"inspect nothing": {[]string{"inspect"}, []string{"--data is missing"}},
		"filter":          {[]string{"bench", "--filter", "["}, []string{"--filter"}},
		"filter nothing":  {[]string{"bench", "--filter", "Attend9"}, []string{"Attend9"}},
		"bench peak":      {[]string{"bench", "step", "--preset", "tiny", "--plan", "--peak", "790,0,3"}, []string{"--peak 790,0,3", "\"0\""}},
		"bench size":      {[]string{"bench", "step", "--preset", "prior-demo", "--size", "64"}, []string{"--size", "prior-demo reads codes"}},
		"bench preset":    {[]string{"bench", "step", "--preset", "none"}, []string{"none", "tiny"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := program(t, c.args...)
			_, stderr, status := finish(t, cmd)
			refused(t, stderr, status, c.want...)
			if left, err := os.ReadDir(cmd.Dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// refused holds a message and an exit status to what bad input must give.
func refused(t *testing.T, stderr string, status int, want ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	message, ok := strings.CutPrefix(lines[len(lines)-1], "magvit: ")
	if status != badInput || !ok || strings.Contains(stderr, "goroutine ") {
		t.Errorf("exit %d, want %d and a last line \"magvit: …\":\n%s", status, badInput, stderr)
	}
	for _, w := range want {
		if !strings.Contains(message, w) {
			t.Errorf("the message lacks %q: %s", w, message)
		}
	}
}

// frameFolders is a folder of six clips, each a folder of PNG, and one damaged GIF.
func frameFolders(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for i := range 6 {
		clip := filepath.Join(dir, "clip"+string(rune('a'+i)))
		if err := os.Mkdir(clip, 0o777); err != nil {
			t.Fatal(err)
		}
		for f := range 4 {
			img := image.NewGray(image.Rect(0, 0, 32, 32))
			img.Pix[33*(4*i+f)] = 255
			w, err := os.Create(filepath.Join(clip, "00"+string(rune('0'+f))+".png"))
			if err != nil {
				t.Fatal(err)
			}
			if err := png.Encode(w, img); err != nil {
				t.Fatal(err)
			}
			w.Close()
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "broken.gif"), []byte("GIF89a, or so it says"), 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCorruptVideoAmongGoodOnes(t *testing.T) {
	dir := frameFolders(t)
	out := filepath.Join(t.TempDir(), "run")
	args := []string{"train", "--preset", "tiny", "--data", dir, "--out", out, "--steps", "3", "--set", "train.eval_clips=0"}
	_, stderr := magvit(t, args...)
	if !strings.Contains(stderr, "broken.gif") {
		t.Errorf("training does not name the broken clip:\n%s", stderr)
	}
	_, stderr = magvit(t, "encode", "--checkpoint", out, "--data", dir, "--out", "codes.npz")
	if !strings.Contains(stderr, "broken.gif") || !strings.Contains(stderr, "1 of 7 clips could not be read") {
		t.Errorf("encode does not count the broken clip:\n%s", stderr)
	}
	for _, args := range [][]string{
		append(args, "--strict", "--out", filepath.Join(t.TempDir(), "strict")),
		{"encode", "--checkpoint", out, "--data", dir, "--out", "codes.npz", "--strict"},
	} {
		cmd := program(t, args...)
		_, stderr, status := finish(t, cmd)
		refused(t, stderr, status, "broken.gif")
		if left, _ := os.ReadDir(cmd.Dir); len(left) > 0 {
			t.Errorf("%s --strict left %v behind", args[0], left)
		}
	}
}

func TestDamagedCheckpoint(t *testing.T) {
	run := copyOf(t, trainedRun(t))
	checkpoint := func(step, name string) string { return filepath.Join(run, "checkpoints", step, name) }
	// One bit of the newest is flipped, the one before it is cut off.
	path := checkpoint("step-000006", "model.safetensors")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(checkpoint("step-000004", "optimizer.safetensors"), 1000); err != nil {
		t.Fatal(err)
	}
	named := func(stderr string) {
		t.Helper()
		for _, words := range []string{"step-000006", "damaged", "step-000004", "truncated"} {
			if !strings.Contains(stderr, words) {
				t.Errorf("the log lacks %q:\n%s", words, stderr)
			}
		}
	}
	_, stderr := magvit(t, "eval", "--checkpoint", run, "--data", clips(t))
	named(stderr)
	if !strings.Contains(stderr, "step=3") && !strings.Contains(stderr, "step=2") {
		t.Errorf("eval does not say which checkpoint it took:\n%s", stderr)
	}
	_, stderr, status := finish(t, program(t, "eval", "--checkpoint", filepath.Join(run, "checkpoints", "step-000006"), "--data", clips(t)))
	refused(t, stderr, status, "step-000006", "damaged")
	_, stderr = magvit(t, "train", "--preset", "tiny", "--data", clips(t), "--out", run, "--steps", "6",
		"--set", "train.save_every=2", "--set", "train.log_every=1", "--set", "train.eval_every=3")
	named(stderr)

	// With none left there is nothing to go on from.
	steps, err := filepath.Glob(checkpoint("step-*", "state.json"))
	if err != nil || len(steps) == 0 {
		t.Fatal(steps, err)
	}
	for _, s := range steps {
		if err := os.Truncate(s, 10); err != nil {
			t.Fatal(err)
		}
	}
	_, stderr, status = finish(t, program(t, "eval", "--checkpoint", run, "--data", clips(t)))
	refused(t, stderr, status, "none verifies")
	_, stderr, status = finish(t, program(t, "train", "--preset", "tiny", "--data", clips(t), "--out", run, "--steps", "8"))
	refused(t, stderr, status, "verifies")
}

func TestDiskFull(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("magvit-test", dir, "tmpfs", 0, "size=6m"); err != nil {
		t.Skipf("a small disk cannot be mounted here: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	run := filepath.Join(dir, "run")
	_, stderr, status := finish(t, program(t, "train", "--preset", "tiny", "--data", clips(t), "--out", run, "--steps", "20",
		"--set", "train.save_every=1", "--set", "train.keep_last=0", "--set", "train.samples=0"))
	refused(t, stderr, status, "disk full", "older checkpoints are intact")
	left, err := filepath.Glob(filepath.Join(run, "checkpoints", "*", ".tmp*"))
	more, _ := filepath.Glob(filepath.Join(run, "checkpoints", ".tmp*"))
	if err != nil || len(left)+len(more) > 0 {
		t.Errorf("left behind: %v %v %v", left, more, err)
	}
	magvit(t, "eval", "--checkpoint", run, "--data", clips(t)) // the newest one is whole
}
