package torchfile

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

const (
	legacyHead    = "\x80\x02" + legacyMagic + "\x80\x02M\xe9\x03."
	legacyMachine = "\x80\x02}(" + "U\x10protocol_versionM\xe9\x03" + "U\x0dlittle_endian\x88u." // as Python 2 wrote it
)

// list is a pickled list of strings.
func list(names ...string) string {
	items := ""
	for _, n := range names {
		items += str(n)
	}
	return pk("](" + items + "e")
}

// legacyOf is a file of torch before 1.6 of an object, a list of storages and the values of float32 storages.
func legacyOf(object, names string, storages ...string) []byte {
	data := legacyHead + legacyMachine + object + names
	for _, s := range storages {
		data += u64(uint64(len(s)/4)) + s
	}
	return []byte(data)
}

// oldTensor is a tensor of four values as Python 2 and torch 0.1 pickled it on a GPU: strings of bytes, no requires_grad,
// a class of torch.cuda.
func oldTensor(name string) string {
	return "ctorch._utils\n_rebuild_tensor\n((U\x07storagectorch.cuda\nFloatStorage\nU" + string(rune(len(name))) + name + "U\x06cuda:0K\x04NtQ" +
		"K\x00K\x02K\x02\x86K\x02K\x01\x86tR"
}

func values(t *testing.T, data []byte, key string) []float32 {
	t.Helper()
	f, err := read(data)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := f.Root.(*Dict).Get(key)
	got, err := v.(*Tensor).Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// A file of Python 2 is read, its storages in the order of their list; torch's own files are those of TestEveryDtypeAndView.
func TestLegacyFiles(t *testing.T) {
	ones, twos := strings.Repeat("\x00\x00\x80\x3f", 4), strings.Repeat("\x00\x00\x00\x40", 4)
	object := pk("ccollections\nOrderedDict\nq\x01](](U\x01a" + oldTensor("10") + "e](T\x01\x00\x00\x00b" + oldTensor("2") + "ee\x85R")
	data := legacyOf(object, list("2", "10"), twos, ones)
	for key, want := range map[string]float32{"a": 1, "b": 2} {
		if got := values(t, data, key); !slices.Equal(got, []float32{want, want, want, want}) {
			t.Errorf("%s: %v", key, got)
		}
	}
	old, err := os.ReadFile("testdata/kinds.old.pt")
	if err != nil {
		t.Fatal(err)
	}
	if got := values(t, old, "transposed"); len(got) != 24 || got[1] != 4 || got[23] != 23 {
		t.Errorf("transposed: %v", got)
	}
}

func TestRefusedLegacyFiles(t *testing.T) {
	one := pk("}U\x01a" + oldTensor("0") + "s")
	four := fourFloats[1]
	good := legacyOf(one, list("0"), four)
	for message, data := range map[string][]byte{
		"version 1000":                         []byte("\x80\x02" + legacyMagic + "\x80\x02M\xe8\x03."),
		"byte order big":                       []byte(legacyHead + "\x80\x02}U\x0dlittle_endian\x89s."),
		"version, from byte 15":                []byte("\x80\x02" + legacyMagic),
		"list of storages is a dict":           legacyOf(one, pk("}"), four),
		`list of storages holds an int ""`:     legacyOf(one, pk("]K\x01a"), four),
		`a string "1", which no tensor has`:    legacyOf(one, list("0", "1"), four, four),
		`"0" is listed twice`:                  legacyOf(one, list("0", "0"), four, four),
		`"0" is not in the list`:               legacyOf(one, list()),
		"has 3 elements at byte":               legacyOf(one, list("0"), four[:12]),
		"is cut off":                           good[:len(good)-1],
		fmt.Sprint("end at byte ", len(good)):  append(slices.Clone(good), 0),
		"of 1099511627776 elements of float32": legacyOf(pk("}"+str("a")+tensorOf("FloatStorage", "0", "\x8a\x08"+u64(1<<40), "K\x00", "K\x02\x85", "K\x01\x85")+"s"), list("0"), four),
		"0 arguments; want 4":                  legacyOf(pk("ctorch._utils\n_rebuild_tensor\n)R"), list()),
		"a view of a storage, a tuple of 3":    legacyOf(pk("(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x04K\x00K\x00K\x00\x87tQ"), list()),
	} {
		if _, err := read(data); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%q: %v", message, err)
		}
	}
	kinds, err := os.ReadFile("testdata/kinds.legacy.2.pt")
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(kinds); n += 3 {
		if _, err := read(kinds[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes were accepted", n, len(kinds))
		}
	}
}

// The pickles of a file may be long as Limits.Pickle, its values as the file.
func TestLegacyLimits(t *testing.T) {
	data := legacyOf(pk("}U\x01a"+oldTensor("0")+"s"), list("0"), fourFloats[1])
	for pickle, want := range map[int]string{len(data) - 24: "", 60: "the first 60 bytes of the file were read"} {
		_, err := Read(strings.NewReader(string(data)), int64(len(data)), Limits{Pickle: pickle})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("limit %d: %v, want %q", pickle, err, want)
		}
	}
}
