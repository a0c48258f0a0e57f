package published

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"magvit/kernels"
	"magvit/trainer/checkpoint"
	"magvit/trainer/data"
	"magvit/trainer/task"
	"magvit/trainer/torchfile"
	"magvit/trainer/trainertest"
	"magvit/trainer/usage"
)

// goldenCase is a checkpoint file and what the projects' own code made of it.
type goldenCase struct {
	Name, Network, Kind, File string
	Config                    struct {
		Version string
		Levels  []int
	}
	State     map[string][]any // key to shape, type, sum, sum of absolute values, first, last
	Tolerance map[string][]*float64

	dir     string
	tensors map[string]*torchfile.Tensor
}

// goldenCases are those of the files in testdata; MAGVIT_GOLDEN_PUBLISHED names another folder.
func goldenCases(t *testing.T) (cases []goldenCase) {
	t.Helper()
	return casesIn(t, cmp.Or(os.Getenv("MAGVIT_GOLDEN_PUBLISHED"), testdata))
}

const testdata = "../../testdata/golden_published"

// caseOf is the case of a checkpoint file in testdata.
func caseOf(t *testing.T, file string) goldenCase {
	t.Helper()
	for _, c := range casesIn(t, testdata) {
		if c.File == file {
			return c
		}
	}
	t.Fatalf("no case of %s", file)
	return goldenCase{}
}

func casesIn(t *testing.T, dir string) (cases []goldenCase) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "checkpoint.*.safetensors"))
	trainertest.Check(t, err)
	for _, path := range files {
		text := caseText(t, path)
		if text == "" {
			continue // a checkpoint's tensors alone
		}
		c := goldenCase{dir: dir, tensors: map[string]*torchfile.Tensor{}}
		trainertest.Check(t, json.Unmarshal([]byte(text), &c))
		list, closeFile, err := torchfile.OpenSafetensors(path)
		trainertest.Check(t, err)
		t.Cleanup(func() { closeFile() })
		for _, x := range list {
			c.tensors[x.Name] = x.Tensor
		}
		cases = append(cases, c)
	}
	if len(cases) == 0 {
		t.Fatalf("no checkpoints in %s", dir)
	}
	return cases
}

// caseText is the JSON object of the case in a golden file, "" for none.
func caseText(t *testing.T, path string) string {
	t.Helper()
	metadata, err := torchfile.SafetensorsMetadata(path)
	trainertest.Check(t, err)
	return metadata["case"]
}

func (c goldenCase) family() string {
	return strings.TrimRight(strings.TrimSuffix(strings.TrimSuffix(c.Network, "-video"), "-image"), "-.01")
}

func (c goldenCase) options(t *testing.T) ImportOptions {
	return ImportOptions{File: filepath.Join(c.dir, c.File), Out: filepath.Join(t.TempDir(), "run"), Family: c.family(), Version: c.Config.Version, Levels: c.Config.Levels}
}

// TestGoldenCheckpoints imports every checkpoint file with plain and with averaged weights
// and compares codes and clips; exported, the file has the same values under the same keys.
func TestGoldenCheckpoints(t *testing.T) {
	be := kernels.NewCPU(0)
	defer be.Close()
	for _, c := range goldenCases(t) {
		for _, weights := range []string{Plain, Averaged} {
			if c.tensors[weights+".codes"] == nil {
				continue
			}
			t.Run(c.Name+" "+weights, func(t *testing.T) {
				o := c.options(t)
				o.Weights = weights
				r, err := Import(o)
				trainertest.Check(t, err)
				if r.Weights != weights || r.Family != c.family() {
					t.Errorf("imported %+v", r)
				}
				c.compare(t, be, o.Out, weights)
				for _, name := range []string{"theirs.ckpt", "theirs.safetensors"} {
					c.roundTrip(t, o, r, filepath.Join(t.TempDir(), name), weights)
				}
			})
		}
	}
}

// compare encodes and decodes the case's clip with the run.
func (c goldenCase) compare(t *testing.T, be kernels.Backend, run, weights string) {
	t.Helper()
	codec, err := task.OpenCodec(be, run)
	trainertest.Check(t, err)
	x := c.tensors["in.video"]
	if x == nil {
		x = c.tensors["in.image"]
	}
	shape := x.Shape
	s := data.Shape{N: shape[0], T: 1, H: shape[len(shape)-2], W: shape[len(shape)-1], C: 3}
	if len(shape) == 5 {
		s.T = shape[2]
	}
	want, err := c.tensors[weights+".codes"].Int64s()
	trainertest.Check(t, err)
	codes, err := codec.Encode(c.channelsLast(t, x, s), s)
	trainertest.Check(t, err)
	if len(codes) != len(want) {
		t.Fatalf("%d codes, want %d", len(codes), len(want))
	}
	for i, v := range want {
		if int64(codes[i]) != v {
			t.Fatalf("code %d is %d, want %d", i, codes[i], v)
		}
	}
	got, err := codec.Decode(codes, s)
	trainertest.Check(t, err)
	limit := *c.Tolerance[weights+".out.recon"][0]
	for i, v := range c.channelsLast(t, c.tensors[weights+".out.recon"], s) {
		if d := math.Abs(float64(min(max(got[i], 0), 1)) - float64(min(max(v, 0), 1))); d > limit {
			t.Fatalf("value %d is %v, want %v", i, got[i], v)
		}
	}
}

// channelsLast are a tensor's values, of [-1,1] with channels second, in [0,1] with channels last.
func (c goldenCase) channelsLast(t *testing.T, x *torchfile.Tensor, s data.Shape) []float32 {
	t.Helper()
	values, err := x.Float32s()
	trainertest.Check(t, err)
	out := make([]float32, len(values))
	pixels := s.T * s.H * s.W
	for n := range s.N {
		for k := range s.C {
			for p := range pixels {
				out[(n*pixels+p)*s.C+k] = float32(math.FMA(.5, float64(values[(n*s.C+k)*pixels+p]), .5))
			}
		}
	}
	return out
}

// roundTrip exports the run, compares names, shapes, types and sums of the tensors with those
// that the case lists, and imports the file again: the model's file must be the same bytes.
func (c goldenCase) roundTrip(t *testing.T, o ImportOptions, r Imported, path, weights string) {
	t.Helper()
	if _, err := Export(o.Out, path, c.family()); err != nil {
		t.Fatal(err)
	}
	f, err := open(path)
	trainertest.Check(t, err)
	defer f.close()
	for key, want := range c.State {
		if !strings.HasPrefix(key, "encoder.") && !strings.HasPrefix(key, "decoder.") {
			continue
		}
		got := f.tensors[key]
		if got == nil {
			t.Errorf("%s is not exported", key)
			continue
		}
		if weights == Averaged {
			want = c.State[averageName(key)]
		}
		values, err := got.Float32s()
		trainertest.Check(t, err)
		sum := 0.
		for _, v := range values {
			sum += float64(v)
		}
		n := len(values)
		if !slices.EqualFunc(want[0].([]any), got.Shape, func(a any, b int) bool { return a == float64(b) }) || want[1] != string(got.Dtype) ||
			math.Abs(sum-want[2].(float64)) > 1e-9*math.Abs(want[3].(float64)) || float64(values[0]) != want[4] || float64(values[n-1]) != want[5] {
			t.Errorf("%s: %v %s, sum %v, %v to %v: want %v", key, got.Shape, got.Dtype, sum, values[0], values[n-1], want)
		}
	}
	again := ImportOptions{File: path, Out: filepath.Join(t.TempDir(), "again"), Family: o.Family, Version: o.Version, Levels: o.Levels}
	back, err := Import(again)
	trainertest.Check(t, err)
	if back.Tensors != r.Tensors || back.Parameters != r.Parameters {
		t.Errorf("imported again: %+v, want %+v", back, r)
	}
	file := filepath.Join("checkpoints", checkpoint.StepName(0), checkpoint.ModelFile)
	first, err := os.ReadFile(filepath.Join(o.Out, file))
	trainertest.Check(t, err)
	second, err := os.ReadFile(filepath.Join(again.Out, file))
	trainertest.Check(t, err)
	if !bytes.Equal(first, second) {
		t.Errorf("%s: the weights imported again differ", path)
	}
}

// What an import cannot know or use is an error that says what to do.
func TestImportRefuses(t *testing.T) {
	for _, c := range goldenCases(t) {
		o := c.options(t)
		refused := func(change func(o *ImportOptions), want ...string) {
			t.Helper()
			o := o
			change(&o)
			_, err := Import(o)
			trainertest.Refused(t, err, want...)
			if _, err := os.Stat(o.Out); err == nil {
				t.Errorf("%s: a refused import left %s", c.Name, o.Out)
			}
		}
		if c.family() == "vidtok" {
			refused(func(o *ImportOptions) { o.Version = "" }, "--version 1.0 or --version 1.1")
			refused(func(o *ImportOptions) { o.Family = "open-magvit2" }, "--from vidtok")
			refused(func(o *ImportOptions) { o.Levels = []int{8} }, "digits")
		}
		if c.tensors["ema.codes"] == nil {
			refused(func(o *ImportOptions) { o.Weights = Averaged }, "--weights plain")
		}
	}
}

// wrapped writes the tensors of a case's file once more, changed.
func wrapped(t *testing.T, c goldenCase, name func(string) string, change func(key string, x *torchfile.Tensor) *torchfile.Tensor) string {
	t.Helper()
	f, err := open(filepath.Join(c.dir, c.File))
	trainertest.Check(t, err)
	defer f.close()
	dict := torchfile.NewDict()
	for key, x := range f.tensors {
		dict.Set(name(key), change(key, x))
	}
	var b bytes.Buffer
	trainertest.Check(t, torchfile.Write(&b, torchfile.NewDict().Set("epoch", int64(3)).Set("state_dict", dict).Set("optimizer_states", torchfile.NewDict())))
	path := filepath.Join(t.TempDir(), "wrapped.ckpt")
	trainertest.Check(t, os.WriteFile(path, b.Bytes(), 0o666))
	return path
}

// Prefixes of DDP, torch.compile and of a larger module, and half precision.
func TestImportOfWrappedNames(t *testing.T) {
	c := caseOf(t, "checkpoint.om_image.ckpt")
	same := func(_ string, x *torchfile.Tensor) *torchfile.Tensor { return x }
	for name, prefix := range map[string]string{"DDP": "module.", "compile": "_orig_mod.", "larger module": "tokenizer.", "both": "module._orig_mod."} {
		o := c.options(t)
		o.File = wrapped(t, c, func(key string) string { return prefix + key }, same)
		r, err := Import(o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !slices.Contains(r.LeftOut, "optimizer_states") {
			t.Errorf("%s: left out %v", name, r.LeftOut)
		}
	}
	o := c.options(t)
	o.File = wrapped(t, c, func(key string) string { return key }, func(_ string, x *torchfile.Tensor) *torchfile.Tensor {
		raw, err := x.Bytes()
		trainertest.Check(t, err)
		var half []byte
		for i := 2; i < len(raw); i += 4 {
			half = append(half, raw[i], raw[i+1])
		}
		y, err := torchfile.NewTensor(torchfile.BFloat16, x.Shape, half)
		trainertest.Check(t, err)
		return y
	})
	r, err := Import(o)
	trainertest.Check(t, err)
	if !strings.Contains(strings.Join(r.Notes, " "), "converted") {
		t.Errorf("notes %v", r.Notes)
	}
	o = c.options(t)
	o.File = wrapped(t, c, func(key string) string { return "other_" + key }, same)
	_, err = Import(o)
	trainertest.Refused(t, err, "no known family", "other_encoder", "--from lucidrains")
	o = c.options(t)
	o.File = wrapped(t, c, func(key string) string { return strings.Replace(key, "norm_out", "norm_last", 1) }, same)
	_, err = Import(o)
	trainertest.Refused(t, err, "tensors do not fit", "is missing")
	_, err = Import(ImportOptions{File: "absent.ckpt", Out: o.Out, Family: c.family()})
	trainertest.Refused(t, err, "absent.ckpt")
	if !errors.Is(err, usage.Error) {
		t.Errorf("%v is not the user's", err)
	}
}

func TestDescribe(t *testing.T) {
	for _, c := range goldenCases(t) {
		d, err := Describe(filepath.Join(c.dir, c.File))
		trainertest.Check(t, err)
		if d.Family != c.family() || d.Network == nil || d.Tensors == 0 || d.Average != (c.tensors["ema.codes"] != nil) {
			t.Errorf("%s: %+v", c.Name, d)
		}
	}
}

// Files that cannot be imported say what is wrong, and inspect says the same.
func TestFilesThatDoNotFit(t *testing.T) {
	c := caseOf(t, "checkpoint.om_image.ckpt")
	only := func(t *testing.T, change func(d *torchfile.Dict)) string {
		f, err := open(filepath.Join(c.dir, c.File))
		trainertest.Check(t, err)
		defer f.close()
		dict := torchfile.NewDict()
		for name, x := range f.tensors {
			if !strings.HasPrefix(name, averages) {
				dict.Set(name, x)
			}
		}
		change(dict)
		var b bytes.Buffer
		trainertest.Check(t, torchfile.Write(&b, dict))
		path := filepath.Join(t.TempDir(), "file.ckpt")
		trainertest.Check(t, os.WriteFile(path, b.Bytes(), 0o666))
		return path
	}
	without := func(name string) func(d *torchfile.Dict) {
		return func(d *torchfile.Dict) {
			d.Entries = slices.DeleteFunc(slices.Clone(d.Entries), func(e torchfile.Entry) bool { return e.Key == name })
		}
	}
	for want, path := range map[string]string{
		"encoder.norm_out.bias is of int64, want float32": only(t, func(d *torchfile.Dict) {
			x, err := torchfile.FromInt64([]int{32}, make([]int64, 32))
			trainertest.Check(t, err)
			d.Set("encoder.norm_out.bias", x)
		}),
		"decoder.conv_out.bias is missing":               only(t, without("decoder.conv_out.bias")),
		"encoder.down.1.block.0.conv1.weight is missing": only(t, without("encoder.down.1.block.0.conv1.weight")),
		"encoder.more is unknown": only(t, func(d *torchfile.Dict) {
			x, err := torchfile.FromFloat32([]int{1}, []float32{1})
			trainertest.Check(t, err)
			d.Set("encoder.more", x)
		}),
		"averages alone (model_ema.*)": only(t, func(d *torchfile.Dict) {
			for i, e := range d.Entries {
				d.Entries[i].Key = averageName(e.Key.(string))
			}
		}),
	} {
		o := c.options(t)
		o.File, o.Weights = path, Plain
		_, err := Import(o)
		trainertest.Refused(t, err, "file.ckpt", want)
		d, err := Describe(path)
		trainertest.Check(t, err)
		if !strings.Contains(d.Mismatch+d.Unknown, want) {
			t.Errorf("described as %+v, want %q", d, want)
		}
	}
	o := c.options(t)
	o.File = only(t, func(d *torchfile.Dict) {
		x, err := torchfile.FromFloat32([]int{32}, slices.Repeat([]float32{float32(math.Inf(1))}, 32))
		trainertest.Check(t, err)
		d.Set("decoder.norm_out.bias", x)
	})
	_, err := Import(o)
	trainertest.Refused(t, err, "file.ckpt: decoder.norm_out.bias: it holds +Inf")
}

// Weights in this program's own order are recognised, and not taken for a file of the project.
func TestOwnWeightsAreNotTheirs(t *testing.T) {
	for _, file := range []string{"checkpoint.om_image.ckpt", "checkpoint.vidtok_weights.weights.safetensors"} {
		c := caseOf(t, file)
		o := c.options(t)
		r, err := Import(o)
		trainertest.Check(t, err)
		own := filepath.Join(o.Out, "checkpoints", r.Checkpoint, checkpoint.ModelFile)
		d, err := Describe(own)
		trainertest.Check(t, err)
		o.File, o.Out = own, filepath.Join(t.TempDir(), "again")
		_, err = Import(o)
		trainertest.Refused(t, err, "in the order of this program", "train --init", "export --to "+c.family())
		if !strings.Contains(d.Mismatch, "in the order of this program") {
			t.Errorf("described as %+v", d)
		}
	}
}
