package torchfile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func read(data []byte) (*File, error) { return Read(bytes.NewReader(data), int64(len(data)), Limits{}) }

// testdata/kinds.py has the values.
func TestEveryDtypeAndView(t *testing.T) {
	for _, protocol := range []string{"2", "5", "legacy.2", "legacy.5"} {
		f := open(t, fmt.Sprintf("testdata/kinds.%s.pt", protocol))
		root := f.Root.(*Dict)
		if len(f.Foreign) > 0 || !root.Ordered || len(root.Entries) != 21 {
			t.Fatalf("protocol %s: foreign %v, %d entries", protocol, f.Foreign, len(root.Entries))
		}
		up := func(from, n, step int) (list []float32) {
			for i := range n {
				list = append(list, float32(from+i*step))
			}
			return list
		}
		var permuted []float32
		for i := range 4 {
			for j := range 6 {
				permuted = append(permuted, float32(4*j+i))
			}
		}
		third := float32(1.0 / 3)
		for name, want := range map[string]struct {
			shape  []int
			values []float32
		}{
			"float64":       {[]int{3}, []float32{0, third, 2 * third}},
			"float32":       {[]int{2, 3, 4}, up(0, 24, 1)},
			"float16":       {[]int{6}, []float32{0.33325195, float32(math.Copysign(0, -1)), 65504, 0x1p-24, float32(math.Inf(1)), -2.5}},
			"bfloat16":      {[]int{3}, []float32{0.33398438, -2.5, 0x1.c4p127}},
			"transposed":    {[]int{4, 2, 3}, permuted},
			"slice":         {[]int{5}, up(5, 5, 3)},
			"channels_last": {[]int{1, 2, 3, 4}, up(0, 24, 1)},
			"parameter":     {[]int{2, 1}, []float32{1, 2}},
			"scalar":        {[]int{}, []float32{7}},
			"empty":         {[]int{0, 3}, []float32{}},
		} {
			v, _ := root.Get(name)
			tensor := v.(*Tensor)
			got, err := tensor.Float32s()
			if err != nil || !slices.Equal(tensor.Shape, want.shape) || !slices.EqualFunc(got, want.values, func(a, b float32) bool {
				return math.Float32bits(a) == math.Float32bits(b)
			}) {
				t.Errorf("%s: %v %v %v, want %v %v", name, tensor.Shape, got, err, want.shape, want.values)
			}
			if strided := name == "transposed" || name == "slice" || name == "channels_last"; tensor.Contiguous() == strided {
				t.Errorf("%s: contiguous %v", name, !strided)
			}
		}
		for name, want := range map[string][]int64{
			"int64": {math.MinInt64, -1, math.MaxInt64}, "int32": {math.MinInt32, -1, math.MaxInt32}, "int16": {math.MinInt16, -1, math.MaxInt16},
			"int8": {-128, -1, 127}, "uint8": {0, 128, 255}, "bool": {1, 0, 1},
		} {
			v, _ := root.Get(name)
			if got, err := v.(*Tensor).Int64s(); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %v %v, want %v", name, got, err, want)
			}
		}
		for name, want := range map[string]string{"bytes": "[0 128 255]", "size": "[2 3]", "set": "&{[1]}", "frozenset": "&{[a]}", "big": "1099511627776"} {
			if v, _ := root.Get(name); fmt.Sprint(v) != want {
				t.Errorf("%s: %v, want %s", name, v, want)
			}
		}
	}
}

func TestRefusedArchives(t *testing.T) {
	good := pk("}")
	deflated := func(names ...string) []byte {
		var out bytes.Buffer
		z := zip.NewWriter(&out)
		for _, name := range names {
			w, err := z.Create(name)
			if err == nil {
				_, err = w.Write(make([]byte, 100<<20/len(names)))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	// the central directory says that all of these entries lie where the first one does, and are as long
	overlapping := func() []byte {
		more := []string{"data/0", strings.Repeat("x", 1000)}
		for i := range 9 {
			more = append(more, fmt.Sprintf("data/%d", i+1), "")
		}
		data := archiveOf(t, good, more...)
		var size, offset []byte
		for at := 0; ; {
			i := bytes.Index(data[at:], []byte("PK\x01\x02"))
			if i < 0 {
				return data
			}
			entry := data[at+i:]
			name := string(entry[46 : 46+binary.LittleEndian.Uint16(entry[28:])])
			switch {
			case name == "archive/data/0":
				size, offset = entry[20:28], entry[42:46]
			case name != "archive/data.pkl":
				copy(entry[20:28], size)
				copy(entry[42:46], offset)
			}
			at += i + 4
		}
	}
	outside := bytes.ReplaceAll(archiveOf(t, good, "data/0", ""), []byte("archive/data/0"), []byte("archivX/data/0"))
	for message, data := range map[string][]byte{
		"not a file of torch.save":       []byte("hello, this is text"),
		"a bare pickle":                  []byte("\x80\x02}."),
		"an empty file":                  {},
		"or its end is missing":          archiveOf(t, good)[:100],
		"without NAME/data.pkl":          bytes.ReplaceAll(archiveOf(t, good), []byte("archive/data.pkl"), []byte("archive/data.txt")),
		"two pickles":                    bytes.ReplaceAll(archiveOf(t, good, "data/p__", good), []byte("archive/data/p__"), []byte("archivX/data.pkl")),
		"holds \"archive/data/0\" twice": archiveOf(t, good, "data/0", "", "data/0", ""),
		"is outside \"archive\"":         outside,
		"compressed or encrypted":        deflated("archive/data.pkl"),
		"longer than the file":           overlapping(),
		"byte order \"big\"":             archiveOf(t, good, "byteorder", "big"),
		"17 bytes; 16 are the most":      archiveOf(t, good, "byteorder", strings.Repeat("little", 3)[:17]),
	} {
		if _, err := read(data); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%q: %v", message, err)
		}
	}
	data := archiveOf(t, good)
	if _, err := Read(bytes.NewReader(data), int64(len(data)), Limits{Pickle: 3}); err == nil || !strings.Contains(err.Error(), "3 are the most") {
		t.Errorf("limit of the pickle: %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "absent.pt"), Limits{}); !os.IsNotExist(err) {
		t.Errorf("absent file: %v", err)
	}
}

// everything reads a tokenizer file to its end.
func everything(data []byte) (string, error) {
	f, err := read(data)
	if err != nil {
		return "", err
	}
	tok, err := f.Tokenizer()
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, named := range tok.State {
		b, err := named.Bytes()
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "%s %v %x\n", named.Name, named.Shape, b)
	}
	return out.String() + tok.Version + string(tok.Config), nil
}

// small is a tokenizer file of about 1 kB.
func small(t testing.TB) []byte {
	t.Helper()
	weight, err := FromFloat32([]int{2, 1, 2}, []float32{1, 2, 3, 4})
	if err != nil {
		t.Fatal(err)
	}
	mask, err := FromInt64([]int{2}, []int64{2, 1})
	if err != nil {
		t.Fatal(err)
	}
	config := NewDict().Set("image_size", 16).Set("layers", Tuple{"residual", Tuple{"compress_space", 8}}).Set("max_dim", math.Inf(1))
	var out bytes.Buffer
	if err := WriteTokenizer(&out, []NamedTensor{{"conv_in.conv.weight", weight}, {"quantizers.mask", mask}}, "0.5.1", config); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestEveryTruncatedFileIsRefused(t *testing.T) {
	data := small(t)
	if _, err := everything(data); err != nil {
		t.Fatal(err)
	}
	for n := range data {
		if _, err := everything(data[:n]); err == nil {
			t.Errorf("the first %d of %d bytes were accepted", n, len(data))
		}
	}
}

// A flipped bit is an error or lies where nothing is read from: never another value.
func TestFlippedBits(t *testing.T) {
	golden, err := os.ReadFile(filepath.Join(goldenDir, "checkpoint.fsq.pt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		data []byte
		step int // every bit of the small file; one byte in 2003 of the golden one
	}{{small(t), 1}, {golden, 8*2003 + 1}} {
		want, err := everything(c.data)
		if err != nil {
			t.Fatal(err)
		}
		refused := 0
		for bit := 0; bit < 8*len(c.data); bit += c.step {
			damaged := bytes.Clone(c.data)
			damaged[bit/8] ^= 1 << (bit % 8)
			got, err := everything(damaged)
			if err == nil && got != want {
				t.Errorf("bit %d of byte %d was not noticed", bit%8, bit/8)
			}
			if err != nil {
				refused++
			}
		}
		if refused == 0 {
			t.Error("no flip was noticed at all")
		}
	}
}

func TestUnwrap(t *testing.T) {
	for name, want := range map[string]string{
		"conv_in.weight": "conv_in.weight", "_orig_mod.conv_in.weight": "conv_in.weight", "module.conv_in.weight": "conv_in.weight",
		"module._orig_mod.a.b": "a.b", "a._orig_mod.0.b": "a.0.b", "_fsdp_wrapped_module.a._fsdp_wrapped_module.b": "a.b",
		"a._checkpoint_wrapped_module.b": "a.b", "a.module.b": "a.module.b", "module": "module", "": "",
	} {
		if got := Unwrap(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	if _, err := UnwrapAll([]NamedTensor{{"a.b", nil}, {"module.a.b", nil}}); err == nil {
		t.Error("two tensors of one name are taken")
	}
}

func TestSafetensorsOfTypesThatAreNotRead(t *testing.T) {
	header := `{"b":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}`
	path := filepath.Join(t.TempDir(), "x.safetensors")
	content := append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header+"\x00\x00"...)
	for _, c := range []struct{ content, want string }{
		{string(content), `"b" is F8_E4M3; want F32`}, {string(content[:20]), "not a safetensors file"}, {"", "not a safetensors file"}, {strings.Repeat("\xff", 100), "not a safetensors file"},
	} {
		if err := os.WriteFile(path, []byte(c.content), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSafetensors(path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.20q: %v; want %q", c.content, err, c.want)
		}
	}
}

// A tensor that is read in parts has the elements of one that is read at once.
func TestEachFloat32(t *testing.T) {
	values := make([]float32, 1<<18+3)
	for i := range values {
		values[i] = float32(i) / 7
	}
	x, err := FromFloat32([]int{len(values)}, values)
	if err != nil {
		t.Fatal(err)
	}
	var got []float32
	err = x.EachFloat32(func(from int, part []float32) error {
		if from != len(got) {
			t.Errorf("a part at %d after %d elements", from, len(got))
		}
		got = append(got, part...)
		return nil
	})
	if err != nil || !slices.Equal(got, values) {
		t.Errorf("%d elements, %v", len(got), err)
	}
	turned, err := newTensor(x.storage, 0, []int{2, 3}, []int{1, 2})
	if err != nil {
		t.Fatal(err)
	}
	got = nil
	if err := turned.EachFloat32(func(_ int, part []float32) error { got = append(got, part...); return nil }); err != nil || !slices.Equal(got, []float32{0, 2. / 7, 4. / 7, 1. / 7, 3. / 7, 5. / 7}) {
		t.Errorf("%v, %v of a transposed tensor", got, err)
	}
	whole, err := FromInt64([]int{1}, []int64{1})
	if err != nil {
		t.Fatal(err)
	}
	if err := whole.EachFloat32(nil); err == nil || !strings.Contains(err.Error(), "want float32") {
		t.Errorf("%v of integers", err)
	}
}

// torch saves float8 and unsigned integers in storages of bytes.
func TestUntypedStorages(t *testing.T) {
	data := make([]byte, 12)
	for i := range data {
		data[i] = byte(i)
	}
	for name, elements := range map[string]int{"float8_e4m3fn": 12, "uint16": 6, "uint32": 3} {
		s := &storage{name: "0", dtype: Uint8, elements: len(data), at: memory(data), checked: true}
		args := Tuple{s, int64(1), Tuple{int64(elements - 1)}, Tuple{int64(1)}, false, nil, &Opaque{Module: "torch", Name: name}}
		rebuilt, err := (&machine{limits: Limits{Values: 100}}).untypedTensor(args)
		x, _ := rebuilt.(*Tensor)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		size := 12 / elements
		if got, err := x.Bytes(); err != nil || x.Dtype != Dtype(name) || !bytes.Equal(got, data[size:]) || s.elements != 12 {
			t.Errorf("%s: a tensor of %s with bytes %v, %v", name, x.Dtype, got, err)
		}
		if _, err := x.Float32s(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: converted, %v", name, err)
		}
		args[2] = Tuple{int64(elements)}
		if _, err := (&machine{limits: Limits{Values: 100}}).untypedTensor(args); err == nil || !strings.Contains(err.Error(), "outside storage") {
			t.Errorf("%s: a tensor that reaches outside of its storage: %v", name, err)
		}
		s.elements = 11
		if _, err := (&machine{limits: Limits{Values: 100}}).untypedTensor(args); size > 1 && (err == nil || !strings.Contains(err.Error(), "want a multiple of")) {
			t.Errorf("%s: a storage of 11 bytes: %v", name, err)
		}
	}
}

// Values that are not read do not matter beside a state_dict; in it they are named.
func TestValuesThatAreNotRead(t *testing.T) {
	wide := "\x8a\x11" + strings.Repeat("\x01", 17)
	complexTensor := tensorOf("ComplexFloatStorage", "1", "K\x02", "K\x00", "K\x02\x85", "K\x01\x85")
	parameter := "ctorch._utils\n_rebuild_parameter\n(" + complexTensor + "\x89NtR"
	weight := tensorOf("FloatStorage", "0", "K\x04", "K\x00", "K\x02\x85", "K\x01\x85")
	f, err := read(archiveOf(t, pk("}(", str("state_dict"), "}("+str("w")+weight+str("v")+weight+"u", str("seed"), wide, str("hyper_parameters"), complexTensor, str("other"), parameter, "u"), "data/0", strings.Repeat("\x00", 16)))
	if err != nil {
		t.Fatal(err)
	}
	state, err := f.StateDict()
	if err != nil || state.Key != "state_dict" || len(state.Tensors) != 2 || len(state.Others) > 0 {
		t.Errorf("%+v, %v", state, err)
	}
	bare := "(" + str("storage") + "ctorch\nFloatStorage\n" + str("0") + str("cpu") + "K\x04tQ"
	half := "ctorch._utils\n_rebuild_tensor_v3\n((" + str("storage") + "ctorch.storage\nUntypedStorage\n" + str("1") + str("cpu") + "K\x08tQK\x00K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)Rctorch\ncomplex32\ntR"
	for value, want := range map[string]string{wide: "the Python object builtins.int(...)", complexTensor: "a tensor of torch.ComplexFloatStorage", parameter: "a tensor of torch.ComplexFloatStorage",
		half: "a tensor of torch.complex32", bare: "a bare storage", "cmine\nrebuild\n(" + bare + "K\x01\x85tR": "the Python object mine.rebuild(...)", "}" + str("a") + "K\x01s": "a dict of 1", "N": "None"} {
		data := archiveOf(t, pk("}(", str("state_dict"), "}(", str("w"), weight, str("c"), value, "u", str("beside"), value, "u"), "data/0", strings.Repeat("\x00", 16), "data/1", "12345678")
		f, err := read(data)
		if err != nil {
			t.Errorf("%s: %v", want, err)
			continue
		}
		state, err := f.StateDict()
		if err != nil || len(state.Tensors) != 1 || len(state.Others) != 1 || state.Others["c"] != want {
			t.Errorf("%+v, %v; want one tensor, and c as %s", state, err, want)
		}
	}
}

// Parameters with attributes and subclasses of tensors are tensors.
func TestRebuiltTensors(t *testing.T) {
	args := "((" + str("storage") + "ctorch\nFloatStorage\n" + str("0") + str("cpu") + "K\x04tQK\x01K\x03\x85K\x01\x85\x89ccollections\nOrderedDict\n)Rt"
	plain := "ctorch._utils\n_rebuild_tensor_v2\n" + args + "R"
	for _, value := range []string{
		"ctorch._utils\n_rebuild_parameter_with_state\n(" + plain + "\x88ccollections\nOrderedDict\n)R}" + str("attribute") + "K\x03stR",
		"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\ncmine\nTensor\n" + args + "NtR",
		"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_parameter\nctorch.nn.parameter\nBuffer\n(" + plain + "\x89NtNtR",
	} {
		f, err := read(archiveOf(t, pk("}(", str("w"), value, "u"), fourFloats...))
		if err != nil {
			t.Error(err)
			continue
		}
		state, err := f.StateDict()
		if err != nil || len(state.Tensors) != 1 || !slices.Equal(state.Tensors[0].Shape, []int{3}) || state.Tensors[0].Offset != 1 {
			t.Errorf("%q: %+v, %v", value, state, err)
		}
	}
	nested := strings.Repeat("ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._tensor\n_rebuild_from_type_v2\ncmine\nTensor\n(", 40) + strings.Repeat("tNtR", 40)
	if f, err := read(archiveOf(t, pk(nested), fourFloats...)); err != nil || kind(f.Root) != "the Python object torch._tensor._rebuild_from_type_v2(...)" {
		t.Errorf("a rebuild of itself: %v", err)
	}
}

// A state_dict is found under usual keys, also one below another, or where it is the only dict of tensors.
func TestWhereStateDictsAre(t *testing.T) {
	tensors := func(n int) *Dict {
		d := NewDict()
		for i := range n {
			x, err := FromFloat32([]int{1}, []float32{float32(i)})
			if err != nil {
				t.Fatal(err)
			}
			d.Set(fmt.Sprint("w", i), x)
		}
		return d
	}
	in := func(keys ...any) *Dict { // pairs of keys and values
		d := NewDict()
		for i := 0; i < len(keys); i += 2 {
			d.Set(keys[i].(string), keys[i+1])
		}
		return d
	}
	for _, c := range []struct {
		root *Dict
		want string // the key, or a part of the error
		n    int
	}{
		{in("model", in("state_dict", tensors(3)), "ema", tensors(2)), "model.state_dict", 3},
		{in("generator", tensors(2), "step", int64(3)), "generator", 2},
		{in("state_dict", in("module", in("net", tensors(1)))), "state_dict.module.net", 1},
		{in("model", in("optimizer", tensors(1)), "state_dict", tensors(2)), "state_dict", 2},
		{in("w", tensors(1).Entries[0].Value, "ema", tensors(3)), "", 1},
		{in("generator", tensors(2), "judge", tensors(1)), `several dicts of tensors, "generator" (2), "judge" (1)`, 0},
		{in("a", int64(1)), `it holds "a"`, 0},
	} {
		state, err := (&File{Root: c.root}).StateDict()
		switch {
		case c.n == 0:
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		case err != nil || state.Key != c.want || len(state.Tensors) != c.n:
			t.Errorf("%+v, %v; want %d tensors under %q", state, err, c.n, c.want)
		}
	}
}

// Errors of opening do not name the path, which callers do.
func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.pt")
	if err := os.WriteFile(bad, []byte("no torch file"), 0o666); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{filepath.Join(dir, "absent.pt"): "no such file or directory", dir: "a folder; want", bad: "not a file of torch.save"} {
		_, err := Open(path, Limits{})
		_, _, other := OpenSafetensors(path)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), dir) || path != bad && (other == nil || other.Error() != err.Error()) {
			t.Errorf("%s: %v and %v, want both to begin with %q and without the path", path, err, other, want)
		}
	}
}
