package lucidrains

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/safetensors"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/data"
	"magvit/trainer/task"
	"magvit/trainer/torchfile"
	"magvit/trainer/trainertest"
	"magvit/trainer/usage"
)

// goldenDir holds the golden values; MAGVIT_GOLDEN names another folder of them.
var goldenDir = cmp.Or(os.Getenv("MAGVIT_GOLDEN"), "../../testdata/golden")

func backend(t *testing.T) *kernels.CPU {
	be := kernels.NewCPU(0)
	t.Cleanup(func() { be.Close() })
	return be
}

// goldenCheckpoint is a .pt file of the reference and what a reader must find in it.
type goldenCheckpoint struct {
	file    string
	tensors map[string]checkpoint.Tensor // integers too
	config  config.Config                // of its constructor's arguments
	trainer bool
}

func goldenCheckpoints(t *testing.T) (all []goldenCheckpoint) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(goldenDir, "checkpoint.*.pt"))
	trainertest.Check(t, err)
	for _, file := range files {
		raw, err := os.ReadFile(strings.TrimSuffix(file, ".pt") + ".safetensors")
		trainertest.Check(t, err)
		f, err := safetensors.Deserialize(raw)
		trainertest.Check(t, err)
		g := goldenCheckpoint{file: file, tensors: map[string]checkpoint.Tensor{}}
		for _, v := range f.Tensors() {
			b := v.TensorView.Data()
			x := checkpoint.Tensor{Name: v.Name, Shape: []int{}}
			for _, d := range v.TensorView.Shape() {
				x.Shape = append(x.Shape, int(d))
			}
			for len(b) > 0 {
				switch v.TensorView.DType() {
				case safetensors.F32:
					x.Values, b = append(x.Values, math.Float32frombits(binary.LittleEndian.Uint32(b))), b[4:]
				case safetensors.I32:
					x.Values, b = append(x.Values, float32(int32(binary.LittleEndian.Uint32(b)))), b[4:]
				case safetensors.I64:
					x.Values, b = append(x.Values, float32(int64(binary.LittleEndian.Uint64(b)))), b[8:]
				default:
					t.Fatalf("%s is %v", v.Name, v.TensorView.DType())
				}
			}
			g.tensors[v.Name] = x
		}
		n := binary.LittleEndian.Uint64(raw)
		var header struct {
			Metadata struct{ Case string } `json:"__metadata__"`
		}
		var about struct{ Config map[string]any }
		trainertest.Check(t, errors.Join(json.Unmarshal(raw[8:8+n], &header), json.Unmarshal([]byte(header.Metadata.Case), &about)))
		delete(about.Config, "toy_perceptual_net")
		m, err := model.FromReference(about.Config)
		trainertest.Check(t, err)
		g.config = recipe(m)
		_, g.trainer = g.tensors["out.step"]
		all = append(all, g)
	}
	if len(all) < 2 {
		t.Fatalf("%d files checkpoint.*.pt in %s, want at least 2", len(all), goldenDir)
	}
	return all
}

// imports imports the file; a trainer file with its configuration.
func (g goldenCheckpoint) imports(t *testing.T, file string, sets ...string) (Imported, string) {
	t.Helper()
	o := ImportOptions{File: file, Out: filepath.Join(t.TempDir(), "new", "run"), Set: sets}
	if g.trainer {
		o.Config = &g.config
	}
	r, err := Import(backend(t), o)
	trainertest.Check(t, err)
	return r, o.Out
}

func TestImportGolden(t *testing.T) {
	for _, g := range goldenCheckpoints(t) {
		t.Run(filepath.Base(g.file), func(t *testing.T) {
			r, run := g.imports(t, g.file)
			tok, err := model.New(g.config.Model)
			trainertest.Check(t, err)
			params := map[string]model.Param{}
			for _, p := range tok.Params {
				params[p.Name] = p
			}
			dir := filepath.Join(run, "checkpoints", r.Checkpoint)
			ours, err := checkpoint.ReadTensors(filepath.Join(dir, checkpoint.ModelFile))
			trainertest.Check(t, err)
			moments, err := checkpoint.ReadTensors(filepath.Join(dir, checkpoint.OptimizerFile))
			trainertest.Check(t, err)
			compared := map[string]int{}
			discriminators := 0
			for name, want := range g.tensors {
				prefix, key, _ := strings.Cut(name, ".")
				in, at := ours, key
				switch prefix {
				case "state":
				case "ema":
					at = checkpoint.AveragePrefix + key
				case "opt":
					if strings.HasPrefix(key, "step.") {
						if int(want.Values[0]) != r.Updates {
							t.Errorf("%s: %v, imported %d", name, want.Values[0], r.Updates)
						}
						continue
					}
					in = moments
					_, key, _ = strings.Cut(key, ".")
				default:
					continue
				}
				if discriminator(key) {
					if prefix == "state" {
						discriminators++
					}
					continue
				}
				if key == maskName {
					continue
				}
				got, p := in[at], params[key]
				if got.Name == "" || !slices.Equal(want.Shape, p.Reference) || !slices.Equal(got.Shape, p.Shape) {
					t.Errorf("%s %v: imported %v, the parameter is %v", name, want.Shape, got.Shape, p.Reference)
					continue
				}
				back := make([]float32, len(got.Values))
				p.ToReference(back, got.Values)
				if !slices.Equal(back, want.Values) {
					t.Errorf("%s: other values", name)
				}
				compared[prefix]++
			}
			if compared["state"] != len(tok.Params) || r.Tensors != len(tok.Params) {
				t.Errorf("%d tensors compared, %d imported, %d parameters", compared["state"], r.Tensors, len(tok.Params))
			}
			if r.Discriminators != discriminators || discriminators == 0 {
				t.Errorf("%d tensors of discriminators left out, there are %d", r.Discriminators, discriminators)
			}
			if g.trainer && (compared["ema"] != len(tok.Params) || compared["opt"] < len(tok.Params) || !r.Average || r.Step != int(g.tensors["out.step"].Values[0])) {
				t.Errorf("%v compared, %+v", compared, r)
			}
			checkCodes(t, g)
		})
	}
}

// checkCodes compares the codes that the imported weights, not their average, give.
func checkCodes(t *testing.T, g goldenCheckpoint) {
	_, run := g.imports(t, g.file, "train.ema.decay=0")
	codec, err := task.OpenCodec(backend(t), run)
	trainertest.Check(t, err)
	in, want := g.tensors["in.video"], g.tensors["codes"]
	n, c, frames, h, w := in.Shape[0], in.Shape[1], in.Shape[2], in.Shape[3], in.Shape[4]
	video := make([]float32, len(in.Values))
	for i := range n {
		for k := range c {
			for p := range frames * h * w {
				video[(i*frames*h*w+p)*c+k] = in.Values[(i*c+k)*frames*h*w+p]
			}
		}
	}
	codes, err := codec.Encode(video, data.Shape{N: n, T: frames, H: h, W: w, C: c})
	trainertest.Check(t, err)
	for i, v := range want.Values {
		if len(codes) != len(want.Values) || float32(codes[i]) != v {
			t.Fatalf("code %d of %d is not %v, or not of %d", i, len(codes), v, len(want.Values))
		}
	}
}

// tensorsOf lists a reference file's tensors with name, type and shape.
func tensorsOf(t *testing.T, path string) (names []string) {
	t.Helper()
	f, err := torchfile.Open(path, torchfile.Limits{})
	trainertest.Check(t, err)
	defer f.Close()
	src, err := openReference(f)
	trainertest.Check(t, err)
	list := func(prefix string, state []torchfile.NamedTensor) {
		for _, n := range state {
			names = append(names, fmt.Sprint(prefix, n.Name, n.Dtype, n.Shape))
		}
	}
	if src.tokenizer != nil {
		list("", src.tokenizer.State)
		return names
	}
	list("model ", src.trainer.Model)
	list("average ", src.trainer.Average)
	for _, o := range []*torchfile.Optimizer{src.trainer.Optimizer, src.trainer.Discriminator} {
		for _, g := range o.Groups {
			names = append(names, fmt.Sprint("group of ", len(g.Params)))
		}
	}
	for _, e := range src.trainer.Rest.Entries {
		names = append(names, fmt.Sprint("part ", e.Key))
	}
	return names
}

// TestExchangeRoundTrip: what was imported and exported has the names, types, shapes
// and order of the reference's own file, and imports to the same bytes.
func TestExchangeRoundTrip(t *testing.T) {
	for _, g := range goldenCheckpoints(t) {
		t.Run(filepath.Base(g.file), func(t *testing.T) {
			form := ToLucidrains
			if g.trainer {
				form = ToLucidrainsTrainer
			}
			r, run := g.imports(t, g.file)
			out := filepath.Join(t.TempDir(), "new", "out.pt")
			_, err := Export(run, out, form)
			trainertest.Check(t, err)
			if got, want := tensorsOf(t, out), tensorsOf(t, g.file); !slices.Equal(got, want) {
				t.Errorf("exported\n%q\nthe reference's own file holds\n%q", got, want)
			}
			_, again := g.imports(t, out)
			for _, file := range []string{config.FileName, filepath.Join("checkpoints", r.Checkpoint, checkpoint.ModelFile), filepath.Join("checkpoints", r.Checkpoint, checkpoint.OptimizerFile)} {
				a, errA := os.ReadFile(filepath.Join(run, file))
				b, errB := os.ReadFile(filepath.Join(again, file))
				trainertest.Check(t, errors.Join(errA, errB))
				if !bytes.Equal(a, b) {
					t.Errorf("%s differs after export and import", file)
				}
			}
		})
	}
}

// TestImportedRunGoesOn: training resumes, at the next step.
func TestImportedRunGoesOn(t *testing.T) {
	for _, g := range goldenCheckpoints(t) {
		side := g.config.Model.ImageSize
		if len(g.config.Model.Layers) > 2 || side%8 != 0 {
			continue // one of each kind will do
		}
		t.Run(filepath.Base(g.file), func(t *testing.T) {
			r, run := g.imports(t, g.file, "data.frames=2", "train.batch=2", "data.val_share=.25")
			cfg, err := config.Load(filepath.Join(run, config.FileName))
			trainertest.Check(t, err)
			cfg.Train.Steps = r.Step + 2
			after, err := trainer.Run(t.Context(), trainer.Options{Config: cfg, Source: trainertest.Squares{Clips: 8, Frames: 2, Side: side}, Out: run, Backend: backend(t)})
			trainertest.Check(t, err)
			if after.Step != r.Step+2 {
				t.Errorf("at step %d after two from %d", after.Step, r.Step)
			}
			snap, err := checkpoint.Verify(filepath.Join(run, "checkpoints", after.Checkpoint))
			trainertest.Check(t, err)
			if got := snap.Step - snap.Skipped; got != r.Updates+2 {
				t.Errorf("%d updates after two from %d", got, r.Updates)
			}
		})
	}
}

func TestImportRefuses(t *testing.T) {
	all := goldenCheckpoints(t)
	pick := func(ok func(goldenCheckpoint) bool) goldenCheckpoint {
		i := slices.IndexFunc(all, ok)
		if i < 0 {
			t.Skipf("%s holds no such checkpoint", goldenDir)
		}
		return all[i]
	}
	lfq := pick(func(g goldenCheckpoint) bool { return !g.trainer && g.config.Model.Quantizer.Kind == "lfq" })
	file := pick(func(g goldenCheckpoint) bool { return g.trainer })
	f, err := torchfile.Open(lfq.file, torchfile.Limits{})
	trainertest.Check(t, err)
	defer f.Close()
	tokenizer, err := f.Tokenizer()
	trainertest.Check(t, err)
	be := backend(t)
	args, err := referenceArguments(lfq.config.Model)
	trainertest.Check(t, err)
	with := func(key string, value any) *torchfile.Dict {
		d := torchfile.NewDict()
		d.Entries = slices.Clone(args.Entries)
		return d.Set(key, value)
	}
	float := func(shape []int, values ...float32) *torchfile.Tensor {
		x, err := torchfile.FromFloat32(shape, append(values, make([]float32, product(shape)-len(values))...))
		trainertest.Check(t, err)
		return x
	}
	ints := func(values ...int64) *torchfile.Tensor {
		x, err := torchfile.FromInt64([]int{len(values)}, values)
		trainertest.Check(t, err)
		return x
	}
	// replaced is the file's tensors with some replaced, taken out (nil) or added.
	replaced := func(by map[string]*torchfile.Tensor) (state []torchfile.NamedTensor) {
		for _, n := range tokenizer.State {
			if x, ok := by[n.Name]; !ok {
				state = append(state, n)
			} else if delete(by, n.Name); x != nil {
				state = append(state, torchfile.NamedTensor{Name: n.Name, Tensor: x})
			}
		}
		for name, x := range by {
			state = append(state, torchfile.NamedTensor{Name: name, Tensor: x})
		}
		return state
	}
	written := func(args *torchfile.Dict, by map[string]*torchfile.Tensor) string {
		path := filepath.Join(t.TempDir(), "changed.pt")
		trainertest.Check(t, checkpoint.WriteFile(path, func(w io.Writer) error { return torchfile.WriteTokenizer(w, replaced(by), referenceVersion, args) }))
		return path
	}
	type tensors = map[string]*torchfile.Tensor
	plainConfig := config.Defaults()
	wide := file.config
	wide.Model.InitDim++
	text := filepath.Join(t.TempDir(), "text.pt")
	trainertest.Check(t, os.WriteFile(text, []byte("not a checkpoint"), 0o666))
	whole, err := os.ReadFile(lfq.file)
	trainertest.Check(t, err)
	cut := filepath.Join(t.TempDir(), "cut.pt")
	trainertest.Check(t, os.WriteFile(cut, whole[:len(whole)/2], 0o666))
	const bias = "conv_in.conv.bias"
	var reversed []int64
	for n := 1; n < lfq.config.Model.Quantizer.CodebookSize; n *= 2 {
		reversed = append(reversed, int64(n))
	}
	width := []int{lfq.config.Model.InitDim}
	nan := float32(math.NaN())
	layers := func(n int, l any) torchfile.Tuple { return slices.Repeat(torchfile.Tuple{l}, n) }
	for name, c := range map[string]struct {
		o    ImportOptions
		want []string
	}{
		"no file":            {ImportOptions{File: "nowhere.pt"}, []string{"nowhere.pt", "no such file"}},
		"not an archive":     {ImportOptions{File: text}, []string{"text.pt", "zip"}},
		"cut off":            {ImportOptions{File: cut}, []string{"cut.pt"}},
		"unknown":            {ImportOptions{File: written(args, tensors{"conv_mid.weight": float([]int{2})})}, []string{"conv_mid.weight", "unknown"}},
		"missing, misshaped": {ImportOptions{File: written(args, tensors{bias: nil, "conv_out.conv.bias": float([]int{7})})}, []string{bias + " is missing", "conv_out.conv.bias is [7]"}},
		"whole numbers":      {ImportOptions{File: written(args, tensors{bias: ints(make([]int64, width[0])...)})}, []string{bias, "int64"}},
		"not finite":         {ImportOptions{File: written(args, tensors{bias: float(width, 1, nan)})}, []string{bias, "[1] = NaN"}},
		"no mask":            {ImportOptions{File: written(args, tensors{maskName: nil})}, []string{maskName + " is missing"}},
		"other mask":         {ImportOptions{File: written(args, tensors{maskName: ints(reversed...)})}, []string{maskName + " holds [1 2"}},
		"short mask":         {ImportOptions{File: written(args, tensors{maskName: ints(1)})}, []string{maskName + " is [1]"}},
		"unknown argument":   {ImportOptions{File: written(with("colour", "red"), tensors{})}, []string{"colour", "--config"}},
		"layers as a word":   {ImportOptions{File: written(with("layers", "residual"), tensors{})}, []string{"layers", "list"}},
		"too many units":     {ImportOptions{File: written(with("layers", layers(60, torchfile.Tuple{"consecutive_residual", int64(32)})), tensors{})}, []string{"1920 residual units"}},
		"no pixel left":      {ImportOptions{File: written(with("layers", layers(64, "compress_space")), tensors{})}, []string{"64 layers"}},
		"no frame left":      {ImportOptions{File: written(with("layers", layers(60, "compress_time")), tensors{})}, []string{"60 times compress_time"}},
		"other arguments":    {ImportOptions{File: written(with("init_dim", int64(4096)), tensors{})}, []string{bias, "[4096]", "conv_in.conv.weight"}},
		"no configuration":   {ImportOptions{File: file.file}, []string{"trainer file", "--config"}},
		"not lucidrains":     {ImportOptions{File: file.file, Config: &plainConfig}, []string{"model.compat", "lucidrains"}},
		"of another width":   {ImportOptions{File: file.file, Config: &wide}, []string{"156 tensors", bias, "and 151 more", "--config"}},
		"unknown key":        {ImportOptions{File: lfq.file, Set: []string{"train.stepz=1"}}, []string{"stepz"}},
	} {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			c.o.Out = filepath.Join(parent, "run")
			_, err := Import(be, c.o)
			trainertest.Refused(t, err, c.want...)
			if !errors.Is(err, usage.Error) {
				t.Errorf("%v is not the user's", err)
			}
			if left, _ := os.ReadDir(parent); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	t.Run("folder in use", func(t *testing.T) {
		out := t.TempDir()
		trainertest.Check(t, os.WriteFile(filepath.Join(out, "mine"), nil, 0o666))
		_, err := Import(be, ImportOptions{File: lfq.file, Out: out})
		trainertest.Refused(t, err, "not empty")
	})
}

// TestImportOddTrainer: other types are converted; steps that changed nothing, an
// average that never began and other settings of the optimizer are noted; a
// discriminator may have no moments.
func TestImportOddTrainer(t *testing.T) {
	all := goldenCheckpoints(t)
	i := slices.IndexFunc(all, func(g goldenCheckpoint) bool { return g.trainer })
	if i < 0 {
		t.Skipf("%s holds no trainer file", goldenDir)
	}
	g := all[i]
	f, err := torchfile.Open(g.file, torchfile.Limits{})
	trainertest.Check(t, err)
	defer f.Close()
	tr, err := f.Trainer()
	trainertest.Check(t, err)
	updates := int(tr.Optimizer.Moments[0].Step)
	tr.Step, tr.AverageInitted = int64(updates+4), false
	tr.Discriminator.Moments = nil // it has not begun to train
	at := slices.IndexFunc(tr.Model, func(n torchfile.NamedTensor) bool { return n.Name == "conv_in.conv.bias" })
	double := binary.LittleEndian.AppendUint64(nil, math.Float64bits(.25))
	tr.Model[at].Tensor, err = torchfile.NewTensor(torchfile.Float64, tr.Model[at].Shape, bytes.Repeat(double, tr.Model[at].Len()))
	trainertest.Check(t, err)
	path := filepath.Join(t.TempDir(), "odd.pt")
	trainertest.Check(t, checkpoint.WriteFile(path, func(w io.Writer) error { return torchfile.WriteTrainer(w, tr) }))
	r, run := g.imports(t, path, "train.weight_decay=.5")
	if r.Step != updates+4 || r.Updates != updates || r.Average {
		t.Errorf("%+v", r)
	}
	notes := strings.Join(r.Notes, "\n")
	for _, want := range []string{"not float32 and have been converted: 1", "never updated: the weights stand in", "train.weight_decay is 0.5"} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes lack %q:\n%s", want, notes)
		}
	}
	dir := filepath.Join(run, "checkpoints", r.Checkpoint)
	snap, err := checkpoint.Verify(dir)
	trainertest.Check(t, err)
	if snap.Step != updates+4 || snap.Skipped != 4 {
		t.Errorf("step %d, skipped %d", snap.Step, snap.Skipped)
	}
	got, err := checkpoint.ReadTensors(filepath.Join(dir, checkpoint.ModelFile))
	trainertest.Check(t, err)
	for _, name := range []string{"conv_in.conv.bias", "ema.conv_in.conv.bias"} {
		if got[name].Values[0] != .25 {
			t.Errorf("%s = %v, want 0.25", name, got[name].Values[0])
		}
	}
}

// TestImportWeightsAsPeopleHaveThem wraps the tensors of a tokenizer file as other programs do. All of them are the same weights.
func TestImportWeightsAsPeopleHaveThem(t *testing.T) {
	g := goldenCheckpoints(t)[0]
	f, err := torchfile.Open(g.file, torchfile.Limits{})
	trainertest.Check(t, err)
	defer f.Close()
	root := f.Root.(*torchfile.Dict)
	state := root.Entries[0].Value.(*torchfile.Dict)
	if root.Entries[0].Key != "model_state_dict" {
		t.Fatalf("the file begins with %v", root.Entries[0].Key)
	}
	renamed := func(prefix, infix string) *torchfile.Dict {
		d := torchfile.NewDict()
		for _, e := range state.Entries {
			first, rest, _ := strings.Cut(e.Key.(string), ".")
			d.Set(prefix+first+"."+infix+rest, e.Value)
		}
		return d
	}
	tokenizer := func(s *torchfile.Dict) *torchfile.Dict {
		d := torchfile.NewDict()
		for _, e := range root.Entries {
			d.Set(e.Key, e.Value)
		}
		return d.Set("model_state_dict", s)
	}
	vgg, err := torchfile.FromFloat32([]int{2}, []float32{1, 2})
	trainertest.Check(t, err)
	lightning := renamed("tokenizer.", "")
	lightning.Set("loss.vgg.weight", vgg)
	_, want := g.imports(t, g.file)
	weights := func(run string) []float32 {
		o, err := checkpoint.Open(run)
		trainertest.Check(t, err)
		w, err := o.Weights()
		trainertest.Check(t, err)
		return w
	}
	dir := t.TempDir()
	halves := torchfile.NewDict()
	for _, e := range state.Entries { // bfloat16 by truncation: 2^-7 of a value below 4
		x := e.Value.(*torchfile.Tensor)
		if values, err := x.Float32s(); err == nil {
			data := make([]byte, 0, 2*len(values))
			for _, v := range values {
				data = binary.LittleEndian.AppendUint16(data, uint16(math.Float32bits(v)>>16))
			}
			x, err = torchfile.NewTensor(torchfile.BFloat16, x.Shape, data)
			trainertest.Check(t, err)
		}
		halves.Set(e.Key, x)
	}
	for name, c := range map[string]struct {
		root   *torchfile.Dict
		config bool
		near   float64
	}{
		"torch.compile":          {tokenizer(renamed("_orig_mod.", "")), false, 0},
		"DataParallel":           {tokenizer(renamed("module.", "")), false, 0},
		"both":                   {tokenizer(renamed("module._orig_mod.", "")), false, 0},
		"a compiled part":        {tokenizer(renamed("", "_orig_mod.")), false, 0},
		"bare":                   {state, true, 0},
		"bare and compiled":      {renamed("_orig_mod.", ""), true, 0},
		"Lightning":              {torchfile.NewDict().Set("epoch", int64(1)).Set("state_dict", lightning), true, 0},
		"without arguments":      {torchfile.NewDict().Set("model_state_dict", state).Set("epoch", int64(3)), true, 0},
		"another program's":      {torchfile.NewDict().Set("model", renamed("module.", "")).Set("step", int64(3)), true, 0},
		"bfloat16":               {halves, true, .03},
		"Lightning and compiled": {torchfile.NewDict().Set("state_dict", renamed("vae._orig_mod.", "")), true, 0},
	} {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "_")+".pt")
		file, err := os.Create(path)
		trainertest.Check(t, err)
		trainertest.Check(t, errors.Join(torchfile.Write(file, c.root), file.Close()))
		o := ImportOptions{File: path, Out: filepath.Join(dir, name)}
		if c.config {
			_, err := Import(backend(t), o)
			trainertest.Refused(t, err, "state_dict", "--config")
			o.Config = &g.config
		}
		_, err = Import(backend(t), o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, far := weights(o.Out), 0.
		for i, v := range weights(want) {
			far = max(far, math.Abs(float64(got[i]-v)))
		}
		if far > c.near {
			t.Errorf("%s: a weight differs by %v", name, far)
		}
	}
	path := filepath.Join(dir, "model.safetensors")
	var list []checkpoint.Tensor
	for _, e := range state.Entries {
		x := e.Value.(*torchfile.Tensor)
		values, err := x.Float32s()
		if err == nil {
			list = append(list, checkpoint.Tensor{Name: "module." + e.Key.(string), Shape: x.Shape, Values: values})
		}
	}
	file, err := os.Create(path)
	trainertest.Check(t, err)
	trainertest.Check(t, errors.Join(checkpoint.WriteTensors(file, list, nil), file.Close()))
	_, err = Import(backend(t), ImportOptions{File: path, Out: filepath.Join(dir, "safetensors"), Config: &g.config})
	trainertest.Check(t, err)
	if !slices.Equal(weights(filepath.Join(dir, "safetensors")), weights(want)) {
		t.Error("a .safetensors file gives other weights")
	}
}
