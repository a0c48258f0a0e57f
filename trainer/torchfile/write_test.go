package torchfile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// sameValues compares trees; tensors by type, shape and bytes.
var sameValues = cmp.Options{
	cmpopts.IgnoreUnexported(Dict{}),
	cmp.Comparer(func(a, b *Tensor) bool {
		if a == nil || b == nil {
			return a == b
		}
		x, err1 := a.Bytes()
		y, err2 := b.Bytes()
		return err1 == nil && err2 == nil && a.Dtype == b.Dtype && slices.Equal(a.Shape, b.Shape) && bytes.Equal(x, y)
	}),
}

func reread(t *testing.T, data []byte) *File {
	t.Helper()
	f, err := Read(bytes.NewReader(data), int64(len(data)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// plainArguments leaves library objects out.
func plainArguments(t *testing.T, tok *Tokenizer) *Dict {
	t.Helper()
	arguments, _, err := tok.Arguments(Limits{})
	if err != nil {
		t.Fatal(err)
	}
	kept := NewDict()
	for _, e := range arguments.Entries {
		if len(Opaques(e.Value)) == 0 {
			kept.Set(e.Key, e.Value)
		}
	}
	return kept
}

func TestTokenizerRoundTrip(t *testing.T) {
	before, err := open(t, filepath.Join(goldenDir, "checkpoint.fsq.pt")).Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	config := plainArguments(t, before)
	var first, second bytes.Buffer
	for _, w := range []*bytes.Buffer{&first, &second} {
		if err := WriteTokenizer(w, before.State, before.Version, config); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("equal input gave two different files")
	}
	after, err := reread(t, first.Bytes()).Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before.State, after.State, sameValues); diff != "" {
		t.Error(diff)
	}
	if after.Version != before.Version {
		t.Errorf("version %q", after.Version)
	}
	if diff := cmp.Diff(config, plainArguments(t, after), sameValues); diff != "" {
		t.Error(diff)
	}
}

func TestTrainerRoundTrip(t *testing.T) {
	before, err := open(t, filepath.Join(goldenDir, "checkpoint.trainer.pt")).Trainer()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := WriteTrainer(&out, before); err != nil {
		t.Fatal(err)
	}
	f := reread(t, out.Bytes())
	after, err := f.Trainer()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after, sameValues); diff != "" {
		t.Error(diff)
	}
	var keys []any
	for _, e := range f.Root.(*Dict).Entries {
		keys = append(keys, e.Key)
	}
	if want := []any{"model", "ema_model", "optimizer", "discr_optimizer", "warmup", "scheduler", "discr_warmup", "discr_scheduler", "step"}; !slices.Equal(keys, want) {
		t.Errorf("parts %v, want %v", keys, want)
	}
}

// The archive has torch.save's entries: the same names in the same order under another root, aligned data, the same records.
func TestArchiveLooksLikeTorchs(t *testing.T) {
	golden := filepath.Join(goldenDir, "checkpoint.fsq.pt")
	tok, err := open(t, golden).Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := WriteTokenizer(&out, tok.State, tok.Version, plainArguments(t, tok)); err != nil {
		t.Fatal(err)
	}
	theirs, err := zip.OpenReader(golden)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	ours, err := zip.NewReader(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if len(ours.File) != len(theirs.File) {
		t.Fatalf("%d entries, want %d", len(ours.File), len(theirs.File))
	}
	for i, f := range ours.File {
		name := "archive" + theirs.File[i].Name[len("checkpoint.fsq"):]
		if f.Name != name {
			t.Fatalf("entry %d is %q, want %q", i, f.Name, name)
		}
		if offset, err := f.DataOffset(); err != nil || offset%alignment != 0 {
			t.Errorf("%s starts at %d (%v), not at a multiple of %d", f.Name, offset, err, alignment)
		}
		if declared := binary.LittleEndian.Uint16(f.Extra[2:]); len(f.Extra) != 4+int(declared) {
			t.Errorf("%s: extra field of %d bytes declares %d", f.Name, len(f.Extra), declared)
		}
		if pickled := name == "archive/data.pkl" || name == "archive/.data/serialization_id"; !pickled && f.CRC32 != theirs.File[i].CRC32 {
			t.Errorf("%s differs", f.Name)
		}
	}
}

func TestEveryPlainValueRoundTrips(t *testing.T) {
	tree := NewDict().
		Set("none", nil).Set("yes", true).Set("no", false).
		Set("ints", &List{[]any{int64(0), int64(255), int64(256), int64(65535), int64(65536), int64(-1), int64(math.MinInt32), int64(math.MaxInt32) + 1,
			int64(math.MinInt64), int64(math.MaxInt64)}}).
		Set("floats", Tuple{0.1, math.Inf(1), -0.5, math.MaxFloat64}).
		Set("tuples", Tuple{Tuple{}, Tuple{"a"}, Tuple{"a", "b"}, Tuple{"a", "b", "c"}, Tuple{"a", "b", "c", "d"}}).
		Set("text", "ä€𝄞\n\x00").Set("bytes", []byte{0, 127, 128, 255, '\n'}).
		Set(int64(7), "by number").Set("empty", NewDict()).
		Set("many", func() *Dict {
			d := &Dict{Ordered: true, Attrs: NewDict().Set("_metadata", "x")}
			for i := range int64(3 * indexFrom) {
				d.Set(i, i*i)
			}
			return d
		}())
	for _, protocol := range []int{2, 4} {
		data, _, err := encode(protocol, tree)
		if err != nil {
			t.Fatal(err)
		}
		got, foreign, err := unpickle(data, Limits{}, nil)
		if err != nil || len(foreign) > 0 {
			t.Fatalf("protocol %d: %v, foreign %v", protocol, err, foreign)
		}
		if diff := cmp.Diff(tree, got, sameValues, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("protocol %d: %s", protocol, diff)
		}
	}
}

func TestLongIntegers(t *testing.T) {
	for pickle, want := range map[string]int64{"\x8a\x00": 0, "\x8a\x01\xff": -1, "\x8a\x02\x00\x80": -32768, "\x8a\x03\xff\xff\x00": 65535, "\x8b\x02\x00\x00\x00\xfe\xff": -2} {
		if got, _, err := unpickle([]byte(pk(pickle)), Limits{}, nil); err != nil || got != any(want) {
			t.Errorf("%q: %v %v, want %d", pickle, got, err, want)
		}
	}
}

// A view of a storage is written as its elements in row-major order.
func TestStridedTensorsRoundTrip(t *testing.T) {
	var before []NamedTensor
	for _, e := range open(t, "testdata/kinds.5.pt").Root.(*Dict).Entries {
		if tensor, ok := e.Value.(*Tensor); ok {
			before = append(before, NamedTensor{e.Key.(string), tensor})
		}
	}
	var out bytes.Buffer
	if err := WriteTokenizer(&out, before, "0.5.1", nil); err != nil {
		t.Fatal(err)
	}
	after, err := reread(t, out.Bytes()).Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after.State, sameValues); diff != "" || len(before) != 16 {
		t.Errorf("%d tensors: %s", len(before), diff)
	}
}

func TestWriteRefuses(t *testing.T) {
	one, err := FromFloat32([]int{1}, []float32{1})
	if err != nil {
		t.Fatal(err)
	}
	state := []NamedTensor{{"a", one}}
	for name, write := range map[string]func() error{
		"a name twice":          func() error { return WriteTokenizer(&bytes.Buffer{}, append(state, state...), "0.5.1", NewDict()) },
		"no tensor":             func() error { return WriteTokenizer(&bytes.Buffer{}, []NamedTensor{{Name: "a"}}, "0.5.1", NewDict()) },
		"a tensor as argument":  func() error { return WriteTokenizer(&bytes.Buffer{}, state, "0.5.1", NewDict().Set("a", one)) },
		"an object as argument": func() error { return WriteTokenizer(&bytes.Buffer{}, state, "0.5.1", NewDict().Set("a", &Opaque{})) },
		"a part twice":          func() error { return WriteTrainer(&bytes.Buffer{}, &Trainer{Rest: NewDict().Set("model", nil)}) },
	} {
		if write() == nil {
			t.Errorf("%s was written", name)
		}
	}
}

func TestOrders(t *testing.T) {
	names := []string{"conv_in.conv.weight", "conv_in.conv.bias", "conv_in_first_frame.weight", "encoder_layers.0.w", "encoder_layers.0.b",
		"decoder_layers.0.w", "conv_out.conv.weight", "encoder_cond_in.0.weight", "quantizers.mask", "quantizers.project_in.weight",
		"discr.blocks.0.0.maybe_blur.f", "discr.a.weight", "discr.a.bias", "discr.b.weight", "multiscale_discrs.0.x"}
	ndim := map[string]int{}
	for _, n := range names {
		ndim[n] = 2
	}
	for _, n := range []string{"conv_in.conv.bias", "encoder_layers.0.b", "quantizers.mask", "discr.a.bias", "discr.blocks.0.0.maybe_blur.f"} {
		ndim[n] = 1
	}
	want := []string{"conv_in.conv.weight", "conv_in_first_frame.weight", "conv_out.conv.weight", "encoder_layers.0.w", "decoder_layers.0.w",
		"encoder_cond_in.0.weight", "quantizers.project_in.weight", "conv_in.conv.bias", "encoder_layers.0.b"}
	if got := OptimizerOrder(names, ndim); !slices.Equal(got, want) {
		t.Errorf("optimizer: %q, want %q", got, want)
	}
	want = []string{"discr.a.weight", "discr.b.weight", "discr.a.bias"}
	if got := DiscriminatorOrder(names, ndim); !slices.Equal(got, want) {
		t.Errorf("discriminator: %q, want %q", got, want)
	}
}
