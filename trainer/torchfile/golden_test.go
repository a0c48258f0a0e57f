package torchfile

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// goldenDir holds the golden values; MAGVIT_GOLDEN names another folder of them.
var goldenDir = cmp.Or(os.Getenv("MAGVIT_GOLDEN"), "../../testdata/golden")

// expected is a .safetensors file with the values that a reader of the .pt file beside it must find.
type expected struct {
	tensors map[string]expectedTensor
	config  map[string]any
	order   []string
}

type expectedTensor struct {
	Dtype   string
	Shape   []int
	Offsets [2]int `json:"data_offsets"`
	data    []byte
}

func readExpected(t *testing.T, path string) expected {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := int(binary.LittleEndian.Uint64(file))
	header := map[string]json.RawMessage{}
	var metadata struct{ Case string }
	var golden struct {
		Config map[string]any
		Order  []string `json:"optimizer_order"`
	}
	for _, step := range []error{json.Unmarshal(file[8:8+n], &header), json.Unmarshal(header["__metadata__"], &metadata), json.Unmarshal([]byte(metadata.Case), &golden)} {
		if step != nil {
			t.Fatal(step)
		}
	}
	delete(header, "__metadata__")
	e := expected{tensors: map[string]expectedTensor{}, config: golden.Config, order: golden.Order}
	for name, raw := range header {
		var tensor expectedTensor
		if err := json.Unmarshal(raw, &tensor); err != nil {
			t.Fatal(err)
		}
		tensor.data = file[8+n+tensor.Offsets[0] : 8+n+tensor.Offsets[1]]
		e.tensors[name] = tensor
	}
	return e
}

// matches compares a tensor bit for bit and ticks it off.
func (e expected) matches(t *testing.T, name string, got *Tensor) {
	t.Helper()
	want, ok := e.tensors[name]
	if !ok {
		t.Errorf("%s: not among the expected values", name)
		return
	}
	delete(e.tensors, name)
	dtypes := map[string]Dtype{"F32": Float32, "I64": Int64, "I32": Int32}
	data, err := got.Bytes()
	if err != nil || got.Dtype != dtypes[want.Dtype] || !slices.Equal(got.Shape, want.Shape) || !bytes.Equal(data, want.data) {
		t.Errorf("%s: %s %v (%v), want %s %v and equal bits", name, got.Dtype, got.Shape, err, want.Dtype, want.Shape)
	}
}

// left are the expected values that nothing was compared with, under these prefixes.
func (e expected) left(t *testing.T, prefixes ...string) {
	for name := range e.tensors {
		for _, p := range prefixes {
			if strings.HasPrefix(name, p) {
				t.Errorf("%s was not found in the file", name)
			}
		}
	}
}

func goldenFiles(t testing.TB, want int) []string {
	files, _ := filepath.Glob(filepath.Join(goldenDir, "checkpoint.*.pt"))
	if len(files) < want {
		t.Fatalf("%d files checkpoint.*.pt in %s, want at least %d", len(files), goldenDir, want)
	}
	return files
}

func open(t testing.TB, path string) *File {
	t.Helper()
	f, err := Open(path, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestGoldenCheckpoints(t *testing.T) {
	for _, path := range goldenFiles(t, 2) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			want := readExpected(t, strings.TrimSuffix(path, ".pt")+".safetensors")
			f := open(t, path)
			if root := f.Root.(*Dict); root.Entries[0].Key == "model" {
				checkTrainer(t, f, want)
			} else {
				checkTokenizer(t, f, want)
			}
		})
	}
}

func checkTokenizer(t *testing.T, f *File, want expected) {
	tok, err := f.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	for _, named := range tok.State {
		want.matches(t, "state."+named.Name, named.Tensor)
	}
	want.left(t, "state.")
	if tok.Version != "0.5.1" {
		t.Errorf("version %q", tok.Version)
	}
	arguments, objects, err := tok.Arguments(Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(objects) != "[lfq_activation: torch.nn.modules.linear.Identity(...) vgg_weights: torchvision.models.vgg.VGG16_Weights(...)]" {
		t.Errorf("library objects: %q", objects)
	}
	compared := 0
	for name, value := range want.config {
		got, ok := arguments.Get(name)
		if !ok {
			continue
		}
		if name == "max_dim" && value == nil {
			value = math.Inf(1)
		}
		if g := plain(got); !reflect.DeepEqual(g, value) {
			t.Errorf("argument %s: %v, want %v", name, g, value)
		}
		compared++
	}
	if compared < 20 {
		t.Errorf("%d arguments compared", compared)
	}
}

// plain turns values into those of encoding/json.
func plain(v any) any {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case Tuple:
		list := []any{}
		for _, item := range v {
			list = append(list, plain(item))
		}
		return list
	case *List:
		return plain(Tuple(v.Items))
	case *Dict:
		object := map[string]any{}
		for _, e := range v.Entries {
			object[e.Key.(string)] = plain(e.Value)
		}
		return object
	}
	return v
}

func checkTrainer(t *testing.T, f *File, want expected) {
	tr, err := f.Trainer()
	if err != nil {
		t.Fatal(err)
	}
	for _, named := range tr.Model {
		want.matches(t, "state."+named.Name, named.Tensor)
	}
	for _, named := range tr.Average {
		want.matches(t, "ema."+named.Name, named.Tensor)
	}
	if !slices.Equal(tr.Optimizer.Names, want.order) {
		t.Errorf("order of the optimizer:\n%q\nwant\n%q", tr.Optimizer.Names, want.order)
	}
	for _, m := range tr.Optimizer.Moments {
		name := tr.Optimizer.Names[m.Param]
		want.matches(t, "opt.exp_avg."+name, m.ExpAvg)
		want.matches(t, "opt.exp_avg_sq."+name, m.ExpAvgSquared)
		step, _ := FromFloat32([]int{1}, []float32{float32(m.Step)})
		want.matches(t, "opt.step."+name, step)
	}
	step, _ := FromInt64([]int{1}, []int64{tr.Step})
	want.matches(t, "out.step", step)
	step, _ = FromInt64([]int{1}, []int64{tr.AverageStep})
	want.matches(t, "out.ema_step", step)
	want.left(t, "state.", "ema.", "opt.", "out.step", "out.ema_step")
	if !tr.AverageInitted {
		t.Error("the average counts as not initted")
	}
	if d := tr.Discriminator; len(d.Moments) != len(d.Names) || len(d.Names) == 0 {
		t.Errorf("discriminator: %d moments of %d parameters", len(d.Moments), len(d.Names))
	}
	var rest []string
	for _, e := range tr.Rest.Entries {
		rest = append(rest, e.Key.(string))
	}
	if !slices.Equal(rest, []string{"warmup", "scheduler", "discr_warmup", "discr_scheduler"}) {
		t.Errorf("rest: %q", rest)
	}
}
