package torchfile

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fuzzLimits keep a run small, so that a blow-up shows.
var fuzzLimits = Limits{Pickle: 1 << 20, Values: 1 << 14, Depth: 50, Expanded: 1 << 16, Entries: 100}

// FuzzPickle: no input makes the machine or the views panic, and what is accepted is a tree that can be walked, and written
// and read again if it holds plain values only.
func FuzzPickle(f *testing.F) {
	for _, pickle := range refusedPickles {
		if len(pickle) < 2000 {
			f.Add([]byte(pickle))
		}
	}
	golden, err := open(f, filepath.Join(goldenDir, "checkpoint.fsq.pt")).Tokenizer()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden.Config)
	f.Add([]byte(pk("}" + str("a") + tensorOf("FloatStorage", "0", "K\x04", "K\x00", "K\x02K\x02\x86", "K\x01K\x02\x86") + "s")))
	f.Add([]byte("\x80\x04\x8c\x02os\x8c\x06system\x93)\x81}\x8c\x01aK\x01sb."))
	trainer, _, err := encode(2, trainerTree(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(trainer)
	f.Fuzz(func(t *testing.T, data []byte) {
		storages := func(name string, dtype Dtype, elements int) (*storage, error) {
			return &storage{name: name, dtype: dtype, elements: min(elements, 64), at: memory(make([]byte, 512)), checked: true}, nil
		}
		root, foreign, err := unpickle(data, fuzzLimits, storages)
		if err != nil {
			return
		}
		file := &File{Root: root, Foreign: foreign}
		file.Tokenizer()
		file.Trainer()
		for _, line := range Opaques(root) {
			if !strings.Contains(line, ".") {
				t.Errorf("an object without a name: %q", line)
			}
		}
		for _, protocol := range []int{2, 4} {
			first, tensors, err := encode(protocol, root)
			if err != nil {
				continue // sets, objects, tensors
			}
			for _, tensor := range tensors {
				if b, err := tensor.Bytes(); err != nil || len(b) != tensor.Len()*tensor.Dtype.Size() {
					t.Errorf("tensor %v %v: %d bytes, %v", tensor.Shape, tensor.Strides, len(b), err)
				}
			}
			again, _, err := unpickle(first, Limits{}, storages)
			if err != nil {
				t.Fatalf("protocol %d: what was written is refused: %v", protocol, err)
			}
			if second, _, err := encode(protocol, again); err != nil || !bytes.Equal(first, second) {
				t.Errorf("protocol %d: written again, it differs: %v", protocol, err)
			}
		}
	})
}

// FuzzFile: no file makes reading panic.
func FuzzFile(f *testing.F) {
	data := small(f)
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add(archiveOf(f, pk("}"), "byteorder", "little"))
	var out bytes.Buffer
	if err := Write(&out, trainerTree(f)); err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes())
	for _, name := range []string{"kinds.5.pt", "kinds.legacy.2.pt", "kinds.old.pt"} {
		kinds, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(kinds)
	}
	f.Add(legacyOf(pk("}"+str("a")+tensorOf("FloatStorage", "0", "K\x04", "K\x00", "K\x02\x85", "K\x01\x85")+"s"), list("0"), fourFloats[1]))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Read(bytes.NewReader(data), int64(len(data)), fuzzLimits)
		if err != nil {
			return
		}
		readAll := func(list []NamedTensor) {
			for _, named := range list {
				if b, err := named.Bytes(); err == nil && len(b) > len(data) {
					t.Errorf("%s: %d bytes out of a file of %d", named.Name, len(b), len(data))
				}
			}
		}
		if tok, err := file.Tokenizer(); err == nil {
			readAll(tok.State)
			tok.Arguments(fuzzLimits)
		}
		if state, err := file.StateDict(); err == nil {
			readAll(state.Tensors)
		}
		if tr, err := file.Trainer(); err == nil {
			readAll(tr.Model)
			readAll(tr.Average)
			if err := WriteTrainer(&bytes.Buffer{}, tr); err != nil && !strings.Contains(err.Error(), "damaged") {
				t.Logf("cannot be written: %v", err)
			}
		}
	})
}
