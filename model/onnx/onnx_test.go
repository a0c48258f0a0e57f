package onnx

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"magvit/kernels"
	"magvit/kernels/philox"
	"magvit/model"
)

// runModels checks models with ONNX's own checker and runs them. A line of stdin names a model, a prefix of output files, and
// the inputs as name, file, type and shape; the answer is the names, types and shapes of the outputs.
const runModels = `
import json, sys, numpy, onnx, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
for line in sys.stdin:
    path, prefix, inputs = json.loads(line)
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {name: numpy.fromfile(file, kind).reshape(shape) for name, file, kind, shape in inputs}
    answer = []
    for o, v in zip(session.get_outputs(), session.run(None, feed)):
        v.tofile(prefix + o.name)
        answer.append([o.name, str(v.dtype), v.shape])
    print(json.dumps(answer), flush=True)
`

// reader is a running python3 with onnxruntime and onnx.
type reader struct {
	in     io.Writer
	out    *bufio.Scanner
	stderr *bytes.Buffer
}

// startReader starts python3; without it or its modules the test is skipped.
func startReader(t *testing.T) *reader {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not there")
	}
	for _, m := range []string{"numpy", "onnx", "onnxruntime"} {
		if err := exec.Command(path, "-c", "import importlib.util as u, sys; sys.exit(u.find_spec('"+m+"') is None)").Run(); err != nil {
			t.Skipf("python3 has no module %s", m)
		}
	}
	cmd := exec.CommandContext(t.Context(), path, "-c", runModels)
	r := &reader{stderr: &bytes.Buffer{}}
	cmd.Stderr = r.stderr
	in, errIn := cmd.StdinPipe()
	out, errOut := cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	r.in, r.out = in, bufio.NewScanner(out)
	return r
}

// tensor is an input or output of a model: float32 or int32 values.
type tensor struct {
	name  string
	shape []int
	data  any
}

// run runs a model in the other program.
func (r *reader) run(t *testing.T, path string, in ...tensor) map[string]tensor {
	t.Helper()
	dir := t.TempDir()
	var inputs [][]any
	for _, x := range in {
		raw, err := binary.Append(nil, binary.LittleEndian, x.data)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "in."+x.name)
		if err := os.WriteFile(file, raw, 0o666); err != nil {
			t.Fatal(err)
		}
		kind := "int32"
		if _, ok := x.data.([]float32); ok {
			kind = "float32"
		}
		inputs = append(inputs, []any{x.name, file, kind, x.shape})
	}
	if err := json.NewEncoder(r.in).Encode([]any{path, dir + "/", inputs}); err != nil || !r.out.Scan() {
		t.Fatalf("%s: %v\n%s", filepath.Base(path), err, r.stderr)
	}
	var answer [][3]json.RawMessage
	if err := json.Unmarshal(r.out.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	found := map[string]tensor{}
	for _, a := range answer {
		var x tensor
		var kind string
		if err := errors.Join(json.Unmarshal(a[0], &x.name), json.Unmarshal(a[1], &kind), json.Unmarshal(a[2], &x.shape)); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(filepath.Join(dir, x.name))
		if err != nil {
			t.Fatal(err)
		}
		if x.data = make([]float32, len(raw)/4); kind == "int32" {
			x.data = make([]int32, len(raw)/4)
		}
		if _, err := binary.Decode(raw, binary.LittleEndian, x.data); err != nil {
			t.Fatal(err)
		}
		found[x.name] = x
	}
	return found
}

// network is a tokenizer with random weights, none of them as it starts.
type network struct {
	*model.Tokenizer
	weights kernels.Host
	offsets []int
	be      *kernels.CPU
}

func newNetwork(t *testing.T, c model.Config) *network {
	t.Helper()
	tok, err := model.New(c)
	if err != nil {
		t.Fatal(err)
	}
	n := &network{Tokenizer: tok, be: kernels.NewCPU(1)}
	t.Cleanup(func() { n.be.Close() })
	for i, p := range tok.Params {
		n.offsets = append(n.offsets, len(n.weights))
		v := make([]float32, p.Len())
		tok.Init(3, i, v)
		r := philox.New(3, "noise "+p.Name, 0, 0)
		for k := range v {
			v[k] += float32(.1 * r.Normal())
		}
		n.weights = append(n.weights, v...)
	}
	return n
}

func (n *network) values(i int) ([]float32, error) {
	return n.weights[n.offsets[i]:][:n.Params[i].Len()], nil
}

// run computes a graph here.
func (n *network) run(t *testing.T, g *model.Graph, err error, in map[string][]float32, out ...string) (results [][]float32) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	p, err := g.Compile(n.be, n.weights, nil, n.offsets)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range in {
		if p.Buffer(name) != nil {
			if err := n.be.Write(p.Buffer(name), v); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := p.Run(); err != nil {
		t.Fatal(err)
	}
	for _, name := range out {
		v := make([]float32, p.Buffer(name).Len())
		if err := n.be.Read(v, p.Buffer(name)); err != nil {
			t.Fatal(err)
		}
		results = append(results, v)
	}
	return results
}

// planes is clips [N,T,H,W,C] as [N,T,C,H,W].
func planes(x []float32, c, pixels int) []float32 {
	y := make([]float32, len(x))
	for i := range x {
		f, p, k := i/(c*pixels), i/c%pixels, i%c
		y[(f*c+k)*pixels+p] = x[i]
	}
	return y
}

// compared is how a model and this program differ on a batch.
type compared struct {
	codes, differ, near int     // codes; those that differ; of these, those with a latent at a boundary
	used                int     // different codes
	latents, clips      float64 // largest difference
}

// compare writes the models of a network and runs batches through them and here.
func compare(t *testing.T, r *reader, n *network, shapes ...model.Shape) (c compared) {
	t.Helper()
	dir := t.TempDir()
	for _, make := range []func(*model.Tokenizer, model.Shape, map[string]string) (*Model, error){Encoder, Decoder} {
		m, err := make(n.Tokenizer, shapes[0], nil)
		if err != nil {
			t.Fatal(err)
		}
		if m.Fixed != nil {
			t.Errorf("%s: fixed are %v, want no axis", m.Name, m.Fixed)
		}
		if err := m.Write(dir, n.values); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range shapes {
		c.add(compareBatch(t, r, dir, n, s))
	}
	return c
}

func (c *compared) add(d compared) {
	c.codes, c.differ, c.near = c.codes+d.codes, c.differ+d.differ, c.near+d.near
	c.latents, c.clips = max(c.latents, d.latents), max(c.clips, d.clips)
	c.used = max(c.used, d.used)
}

func compareBatch(t *testing.T, r *reader, dir string, n *network, s model.Shape) (c compared) {
	t.Helper()
	ch := n.Config.Channels
	random := philox.New(7, "video", 0, 0)
	video, cond := make([]float32, s.N*s.T*s.H*s.W*ch), make([]float32, s.N*n.Config.DimCond)
	for i := range video {
		video[i] = float32(random.Uniform(0, 1))
	}
	for i := range cond {
		cond[i] = float32(random.Normal())
	}
	grid := n.CodeShape(s)
	stored := grid[:]
	if grid[4] == 1 {
		stored = grid[:4]
	}
	given := []tensor{{"video", []int{s.N, s.T, ch, s.H, s.W}, planes(video, ch, s.H*s.W)}}
	var condition []tensor
	if len(cond) > 0 {
		condition = []tensor{{"cond", []int{s.N, n.Config.DimCond}, cond}}
	}
	g, err := n.Encoder(s)
	own := n.run(t, g, err, map[string][]float32{"video": video, "cond": cond}, "codes", "latents")
	found := r.run(t, filepath.Join(dir, "encoder.onnx"), append(given, condition...)...)
	if !slices.Equal(found["codes"].shape, stored) {
		t.Fatalf("codes of shape %v, want %v", found["codes"].shape, stored)
	}
	codes, used := make([]int32, len(own[0])), map[float32]bool{}
	z, other := own[1], found["latents"].data.([]float32)
	per := len(z) / len(codes)
	for i, v := range own[0] {
		codes[i], used[v] = int32(v), true
		c.codes++
		worst := 0.
		for k := range per {
			worst = max(worst, math.Abs(float64(z[i*per+k]-other[i*per+k])))
		}
		c.latents = max(c.latents, worst)
		if got := found["codes"].data.([]int32)[i]; got != codes[i] {
			c.differ++
			if n.boundary(i, z[i*per:][:per], 4*worst+1e-6) {
				c.near++
			}
		}
	}
	c.used = len(used)
	g, err = n.Decoder(s)
	want := n.run(t, g, err, map[string][]float32{"codes": own[0], "cond": cond}, "recon")[0]
	clip := r.run(t, filepath.Join(dir, "decoder.onnx"), append([]tensor{{"codes", stored, codes}}, condition...)...)["video"]
	if !slices.Equal(clip.shape, []int{s.N, s.T, ch, s.H, s.W}) {
		t.Fatalf("clips of shape %v", clip.shape)
	}
	for i, v := range planes(want, ch, s.H*s.W) {
		c.clips = max(c.clips, math.Abs(float64(min(max(v, 0), 1)-clip.data.([]float32)[i])))
	}
	return c
}

// boundary reports whether the latents z of code i are within d of those of another code.
func (n *network) boundary(i int, z []float32, d float64) bool {
	q := n.Config.Quantizer
	switch q.Kind {
	case "fsq":
		for k, v := range z {
			l := q.Levels[k]
			r, o := float64(l-1)*1.001/2, 0.
			if l%2 == 0 {
				o = .5
			}
			b := math.Tanh(float64(v)+math.Atanh(o/r))*r - o
			if math.Abs(math.Abs(b-math.Floor(b))-.5) < d*r {
				return true
			}
		}
	case "vq":
		at, _ := n.Codebook()
		all, _ := n.values(at)
		book := all[i%q.Codebooks*q.CodebookSize*q.CodeDim:][:q.CodebookSize*q.CodeDim]
		var near []float64
		for e := range slices.Chunk(book, q.CodeDim) {
			sum := 0.
			for k, v := range e {
				sum += float64(v-z[k]) * float64(v-z[k])
			}
			near = append(near, math.Sqrt(sum))
		}
		slices.Sort(near)
		return near[1]-near[0] < d
	default:
		for _, v := range z {
			if math.Abs(float64(v)) < d {
				return true
			}
		}
	}
	return false
}

// layers is a configuration with every kind of layer.
func layers() model.Config {
	c := model.Defaults()
	c.ImageSize, c.InitDim, c.DimCond, c.FirstFrame, c.SeparateFirstFrame, c.PadMode, c.Background = 16, 6, 3, true, true, "reflect", .75
	c.InputKernel, c.OutputKernel = model.Kernel{3, 3, 3}, model.Kernel{3, 3, 3}
	c.Attention, c.LinearAttention = model.Heads{Heads: 2, Dim: 4}, model.Heads{Heads: 2, Dim: 4}
	c.Layers = []model.Layer{{Name: model.Residual, Dilation: 2}, {Name: model.CompressSpace, Antialias: true}, {Name: model.CondResidual}, {Name: model.LinearAttendSpace},
		{Name: model.AttendSpace}, {Name: model.CompressTime, Antialias: true}, {Name: model.AttendTime}, {Name: model.GateLoopTime}, {Name: model.CondAttendSpace},
		{Name: model.CondLinearAttendSpace}, {Name: model.CondAttendTime}, {Name: model.CompressTime, Dim: 8}, {Name: model.ConsecutiveResidual, N: 2}}
	c.Quantizer.Levels = []int{8, 5, 4}
	return c
}

// quantizers by name.
var quantizers = map[string]func(q *model.Quantizer){
	"fsq":           func(q *model.Quantizer) { q.Levels = []int{8, 5, 3} },
	"fsq two books": func(q *model.Quantizer) { q.Levels, q.Codebooks = []int{7, 4}, 2 },
	"lfq":           func(q *model.Quantizer) { q.Kind, q.Levels, q.CodebookSize = "lfq", nil, 1<<10 },
	"lfq spherical": func(q *model.Quantizer) {
		q.Kind, q.Levels, q.CodebookSize, q.Spherical, q.Codebooks = "lfq", nil, 64, true, 2
	},
	"bsq": func(q *model.Quantizer) { q.Kind, q.Levels, q.CodebookSize = "bsq", nil, 1<<12 },
	"vq": func(q *model.Quantizer) {
		q.Kind, q.Levels, q.CodebookSize, q.CodeDim, q.CommitmentWeight = "vq", nil, 50, 5, .25
	},
	"vq two books": func(q *model.Quantizer) {
		q.Kind, q.Levels, q.CodebookSize, q.CodeDim, q.CommitmentWeight, q.Codebooks, q.Spherical = "vq", nil, 30, 3, .25, 2, true
	},
}

// within fails where results differ by more than rounding.
func (c compared) within(t *testing.T, name string) {
	t.Helper()
	t.Logf("%s: %d of %d codes differ, %d of them at a boundary; %d are used; latents within %.1e, clips within %.1e", name, c.differ, c.codes, c.near, c.used, c.latents, c.clips)
	if c.differ != c.near || 100*c.differ > c.codes || c.clips > 1e-4 || c.latents > 1e-3 || c.used < 2 {
		t.Errorf("%s: %+v; want the same codes but at a boundary, and clips within 1e-4", name, c)
	}
}

func TestEveryLayer(t *testing.T) {
	r := startReader(t)
	for _, padding := range []string{"reflect", "circular", "replicate"} {
		c := layers()
		c.PadMode = padding
		n := newNetwork(t, c)
		compare(t, r, n, model.Shape{N: 2, T: n.Padded(6), H: 16, W: 24}, model.Shape{N: 1, T: n.Padded(9), H: 32, W: 16}).within(t, padding)
	}
}

func TestEveryQuantizer(t *testing.T) {
	r := startReader(t)
	for name, set := range quantizers {
		c := model.Defaults()
		c.ImageSize, c.InitDim, c.Patch, c.InputKernel, c.OutputKernel = 16, 8, 2, model.Kernel{1, 3, 3}, model.Kernel{3, 3, 3}
		c.Layers = []model.Layer{{Name: model.Residual}, {Name: model.CompressTime}}
		set(&c.Quantizer)
		compare(t, r, newNetwork(t, c), model.Shape{N: 2, T: 6, H: 16, W: 24}, model.Shape{N: 3, T: 2, H: 8, W: 4}).within(t, name)
	}
}

// TestTransformedPatches has the constant matrices of patch_transform, of pixels and of frames, and filters across the
// borders of patches.
func TestTransformedPatches(t *testing.T) {
	r := startReader(t)
	c := model.Defaults()
	c.ImageSize, c.InitDim, c.Patch, c.PatchTime, c.PatchTransform, c.Background = 16, 12, 4, 2, "cosine", .4
	c.InputKernel, c.OutputKernel = model.Kernel{1, 1, 1}, model.Kernel{1, 3, 3}
	c.Layers = []model.Layer{{Name: model.Residual}, {Name: model.CompressTime}}
	c.Quantizer.Levels, c.Quantizer.Codebooks = []int{8, 5}, 2
	compare(t, r, newNetwork(t, c), model.Shape{N: 2, T: 8, H: 16, W: 24}, model.Shape{N: 3, T: 4, H: 8, W: 4}).within(t, "cosine")
	c.PatchTransform = "lapped"
	compare(t, r, newNetwork(t, c), model.Shape{N: 2, T: 8, H: 16, W: 24}, model.Shape{N: 3, T: 4, H: 8, W: 12}).within(t, "lapped")
}

// TestShortClips runs clips of as few frames as a model says it takes.
func TestShortClips(t *testing.T) {
	r := startReader(t)
	n := newNetwork(t, layers()) // reflects 2 frames of those after the first one
	m, err := Encoder(n.Tokenizer, model.Shape{N: 1, T: 9, H: 16, W: 16}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.MinFrames != 5 || m.MinSide != 2 {
		t.Errorf("smallest clip: %d frames, sides of %d; want 5 and 2", m.MinFrames, m.MinSide)
	}
	compare(t, r, n, model.Shape{N: 1, T: 5, H: 2, W: 4}).within(t, "short")
	c := layers()
	c.PadMode, c.SeparateFirstFrame = "constant", false
	n = newNetwork(t, c)
	if m, err = Encoder(n.Tokenizer, model.Shape{N: 1, T: 9, H: 16, W: 16}, nil); err != nil || m.MinFrames != 1 || m.MinSide != 2 {
		t.Errorf("padding with zeros: %d frames, sides of %d, %v; want 1 and 2", m.MinFrames, m.MinSide, err)
	}
	compare(t, r, n, model.Shape{N: 2, T: 1, H: 2, W: 4}).within(t, "an image")
}

// TestSecondFile has the weights in a file of their own, as models of more than 2 GB do.
func TestSecondFile(t *testing.T) {
	r, dir := startReader(t), t.TempDir()
	c := layers()
	n := newNetwork(t, c)
	for _, make := range []func(*model.Tokenizer, model.Shape, map[string]string) (*Model, error){Encoder, Decoder} {
		m, err := make(n.Tokenizer, model.Shape{}, nil)
		if err == nil {
			err = m.write(dir, n.values, 1000)
		}
		if err != nil {
			t.Fatal(err)
		}
		inside, errA := os.Stat(filepath.Join(dir, m.Name+".onnx"))
		outside, errB := os.Stat(filepath.Join(dir, m.Name+".onnx.data"))
		if err := errors.Join(errA, errB); err != nil || outside.Size() < 4*align || inside.Size() > 200_000 {
			t.Errorf("%s: %v", m.Name, err)
		}
	}
	compareBatch(t, r, dir, n, model.Shape{N: 1, T: 9, H: 16, W: 16}).within(t, "two files")
}

// TestFixedAxes has kernels that write sizes of the batch into the model: those axes are not free, and no others.
func TestFixedAxes(t *testing.T) {
	n := newNetwork(t, layers())
	old := rules[reflect.TypeFor[kernels.PadFront]()]
	t.Cleanup(func() { rules[reflect.TypeFor[kernels.PadFront]()] = old })
	for axis, want := range map[int][]string{0: {"batch"}, 1: {"frames"}, 2: {"height and width"}, 4: nil} {
		rules[reflect.TypeFor[kernels.PadFront]()] = rule{func(g *graph, s kernels.Spec, y []int, in []value) string {
			shape := []int{0, 0, 0, 0, 0}
			shape[axis] = y[axis]
			return g.reshape(old.write(g, s, y, in), shape...)
		}, old.fields}
		trained := model.Shape{N: 3, T: 13, H: 16, W: 20}
		m, err := Encoder(n.Tokenizer, trained, nil)
		if err != nil || !slices.Equal(m.Fixed, want) {
			t.Errorf("axis %d: %v, %v; want %v", axis, m.Fixed, err, want)
			continue
		}
		for i, d := range m.proto.Graph.Input[0].Type.GetTensorType().Shape.Dim {
			size := []int{3, 13, 3, 16, 20}[i]
			fixed := i == 2 || i == 0 && axis == 0 || i == 1 && axis == 1 || i > 2 && axis == 2
			if fixed && d.GetDimValue() != int64(size) || !fixed && d.GetDimParam() == "" {
				t.Errorf("axis %d is fixed: axis %d of the video is %v, want %d or a name", axis, i, d, size)
			}
		}
	}
	rules[reflect.TypeFor[kernels.PadFront]()] = rule{func(g *graph, s kernels.Spec, y []int, in []value) string {
		return g.reshape(old.write(g, s, y, in), 0, y[1], 0, 0, 0)
	}, old.fields}
	if _, err := Encoder(n.Tokenizer, model.Shape{N: 1, T: 12, H: 16, W: 16}, nil); err == nil || !strings.Contains(err.Error(), "one size only") {
		t.Errorf("12 frames, which the tokenizer does not take: %v", err)
	}
}

// TestKernelWithoutRule has an error that names the kernel.
func TestKernelWithoutRule(t *testing.T) {
	n := newNetwork(t, layers())
	kind := reflect.TypeFor[kernels.TokenShift]()
	old := rules[kind]
	t.Cleanup(func() { rules[kind] = old })
	rules[kind] = rule{old.write, []string{"N", "T", "P"}} // as if C came later
	if _, err := Decoder(n.Tokenizer, model.Shape{}, nil); err == nil || !strings.Contains(err.Error(), "kernels.TokenShift) with C: ") {
		t.Errorf("%v; want an error that names the field", err)
	}
	delete(rules, kind)
	if _, err := Decoder(n.Tokenizer, model.Shape{}, nil); err == nil || !strings.Contains(err.Error(), "kernels.TokenShift") || !strings.Contains(err.Error(), "no form in ONNX") {
		t.Errorf("%v; want an error that names TokenShift", err)
	}
}
