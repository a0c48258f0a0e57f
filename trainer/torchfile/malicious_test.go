package torchfile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// pk joins the parts of a protocol 2 pickle and its STOP.
func pk(parts ...string) string { return "\x80\x02" + strings.Join(parts, "") + "." }

// str is BINUNICODE.
func str(s string) string { return "X" + u32(len(s)) + s }

func u32(n int) string { return string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
func u64(n uint64) string {
	return string(binary.LittleEndian.AppendUint64(nil, n))
}

// tensorOf is a call of _rebuild_tensor_v2 with pickled shape and strides.
func tensorOf(class, name, elements, offset, shape, strides string) string {
	return "ctorch._utils\n_rebuild_tensor_v2\n((" + str("storage") + "ctorch\n" + class + "\n" + str(name) + str("cpu") + elements + "tQ" +
		offset + shape + strides + "\x89ccollections\nOrderedDict\n)RtR"
}

// archiveOf is a torch file of these entries, data.pkl first.
func archiveOf(t testing.TB, pickle string, more ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	entries := append([]string{"data.pkl", pickle}, more...)
	for i := 0; i < len(entries); i += 2 {
		w, err := z.CreateHeader(&zip.FileHeader{Name: "archive/" + entries[i], Method: zip.Store})
		if err == nil {
			_, err = w.Write([]byte(entries[i+1]))
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

// fourFloats is a storage entry for tensorOf.
var fourFloats = []string{"data/0", strings.Repeat("\x00\x00\x80\x3f", 4)}

// refusedPickles are wrong in one way each; the key is a part of the message.
var refusedPickles = map[string]string{
	"opcode INST":                                    pk("(", str("id"), "ios\nsystem\n"),
	"opcode OBJ":                                     pk("(cos\nsystem\n", str("id"), "o"),
	"opcode PERSID":                                  pk("P0\n"),
	"opcode EXT1":                                    pk("\x82\x01"),
	"opcode STRING":                                  pk("S'id'\n"),
	"opcode NEXT_BUFFER":                             pk("\x97"),
	"opcode 0xff is not known":                       pk("\xff"),
	"protocol 6":                                     "\x80\x06N.",
	"protocol 1":                                     "\x80\x01N.",
	"not with PROTO":                                 "cos\nsystem\n.",
	"ends before STOP":                               "\x80\x02N",
	"pickle ends at byte 4 of 5":                     pk("N") + "N",
	"2 values and 0 marks":                           pk("NN"),
	"0 values and 0 marks":                           pk(),
	"1 values and 1 marks":                           pk("(N"),
	"BUILD changes a dict":                           pk("}}b"),
	"BUILD changes an int":                           pk("K\x01}b"),
	"a call of a string":                             pk(str("os.system"), ")R"),
	"want a tuple":                                   pk("cos\nsystem\n", str("id"), "R"),
	"two short strings":                              "\x80\x04K\x01\x8c\x01a\x93.",
	"no newline within 256 bytes":                    pk("c" + strings.Repeat("a", 1000) + "\nb\n"),
	"4294967295 bytes announced":                     pk("X\xff\xff\xff\xffabc"),
	"18446744073709551615 bytes":                     "\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.",
	"9223372036854775807 bytes":                      "\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
	"an integer of 200 bytes":                        pk("\x8a\xc8" + strings.Repeat("\x01", 200)),
	"2147483648 bytes announced":                     pk("\x8b\x00\x00\x00\x80"),
	"frame of 9223372036854775807":                   "\x80\x04\x95" + u64(1<<63-1) + "N.",
	"not UTF-8":                                      pk("X\x02\x00\x00\x00\xff\xfe"),
	"no mark":                                        pk("t"),
	"2 values wanted, 1 on the stac":                 pk("(N\x86"),
	"fills a string":                                 pk(str("a"), "Na"),
	"fills a list":                                   pk("]NNs"),
	"a key without a value":                          pk("}(Nu"),
	"a list of 0 as a key":                           pk("}(]Nu"),
	"is given twice":                                 pk("}(", str("a"), "N", str("a"), "Nu"),
	"memo 7 is empty":                                pk("h\x07"),
	"contains itself":                                pk("]q\x00h\x00a"),
	"a dict of 1 contains itself":                    pk("}q\x00K\x01h\x00s"),
	"nested deeper":                                  pk(strings.Repeat("]", 500) + strings.Repeat("a", 499)),
	"more than 800 marks":                            pk(strings.Repeat("(", 1000)),
	"unfold to more than":                            pk("]q\x00" + strings.Repeat("0](h\x00h\x00eq\x00", 40)),
	"not in latin-1":                                 pk("c_codecs\nencode\n", str("𝄞"), str("latin1"), "\x86R"),
	"not (text, 'latin1')":                           pk("c_codecs\nencode\n", str("abc"), str("rot13"), "\x86R"),
	"twice the pickle":                               pk(str(strings.Repeat("x", 1000)), "q\x00c_codecs\nencode\nq\x01", str("latin1"), "q\x02", strings.Repeat("h\x01h\x00h\x02\x86R0", 9)),
	"more than 100 different":                        pk(manyGlobals(101)),
	"persistent id is an int":                        pk("K\x01Q"),
	"persistent id holds":                            pk("(", str("storage"), "NNNNtQ"),
	"storage class os.system":                        pk("(", str("storage"), "cos\nsystem\n", str("0"), str("cpu"), "K\x04tQ"),
	"16 bytes; 2 elements of float32":                pk(tensorOf("FloatStorage", "0", "K\x02", "K\x00", "K\x02\x85", "K\x01\x85")),
	"4 elements of float64 take 32":                  pk(tensorOf("DoubleStorage", "0", "K\x04", "K\x00", "K\x02\x85", "K\x01\x85")),
	"not in the archive":                             pk(tensorOf("FloatStorage", "../data.pkl", "K\x04", "K\x00", "K\x02\x85", "K\x01\x85")),
	"storage \"0\" of -1 elements":                   pk(tensorOf("FloatStorage", "0", "J\xff\xff\xff\xff", "K\x00", "K\x02\x85", "K\x01\x85")),
	"storage \"0\" of 2305843009213693952 elements":  pk(tensorOf("FloatStorage", "0", "\x8a\x08"+u64(1<<61), "K\x00", "K\x02\x85", "K\x01\x85")),
	"shape [5], strides [1], offset 0 reach outside": pk(tensorOf("FloatStorage", "0", "K\x04", "K\x00", "K\x05\x85", "K\x01\x85")),
	"shape [2], strides [4], offset 0 reach outside": pk(tensorOf("FloatStorage", "0", "K\x04", "K\x00", "K\x02\x85", "K\x04\x85")),
	"shape [2], strides [1], offset 3 reach outside": pk(tensorOf("FloatStorage", "0", "K\x04", "K\x03", "K\x02\x85", "K\x01\x85")),
	"repeat the 4 elements":                          pk(tensorOf("FloatStorage", "0", "K\x04", "K\x00", "K\xff\x85", "K\x00\x85")),
	"want a storage and an offset":                   pk(tensorOf("FloatStorage", "0", "K\x04", "J\xff\xff\xff\xff", "K\x02\x85", "K\x01\x85")),
	"want integers from 0":                           pk(tensorOf("FloatStorage", "0", "K\x04", "K\x00", "J\xfe\xff\xff\xff\x85", "K\x01\x85")),
	"differ in length":                               pk(tensorOf("FloatStorage", "0", "K\x04", "K\x00", "K\x02\x85", ")")),
	"want a tuple of at most 64":                     pk(tensorOf("FloatStorage", "0", "K\x04", "K\x00", "("+strings.Repeat("K\x01", 65)+"t", "("+strings.Repeat("K\x01", 65)+"t")),
	"shape [8589934592 8589934592] is larger":        pk(tensorOf("FloatStorage", "0", "K\x04", "K\x00", strings.Repeat("\x8a\x08"+u64(1<<33), 2)+"\x86", "K\x00K\x00\x86")),
	"strides [70368744177664] is larger":             pk(tensorOf("FloatStorage", "0", "K\x04", "K\x00", "K\x03\x85", "\x8a\x08"+u64(1<<46)+"\x85")),
}

func manyGlobals(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "cm\nf%d\n0", i)
	}
	return b.String() + "N"
}

func TestRefusedPickles(t *testing.T) {
	for message, pickle := range refusedPickles {
		data := archiveOf(t, pickle, fourFloats...)
		_, err := Read(bytes.NewReader(data), int64(len(data)), Limits{})
		if err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%q: %v", message, err)
		}
		if _, err := read(legacyOf(pickle, list("0"), fourFloats[1])); err == nil {
			t.Errorf("%q: accepted in the format of torch before 1.6", message)
		}
	}
}

// What would run code in Python is data here, and a typed view refuses the file.
func TestNothingIsCalled(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "called")
	system := "cposix\nsystem\n" + str("touch "+mark) + "\x85R"
	for name, pickle := range map[string]string{
		"reduce":            pk(system),
		"hidden by POP":     pk(system + "0}"),
		"newobj":            pk("cos\nsystem\n" + str("touch "+mark) + "\x85\x81"),
		"newobj_ex":         "\x80\x04\x8c\x02os\x8c\x06system\x93" + str("touch "+mark) + "\x85}\x92.",
		"build by setattr":  pk("cos\nenviron\n}" + str("PATH") + str("/tmp") + "sb"),
		"getattr chain":     pk("c__builtin__\ngetattr\nc__builtin__\n__import__\n" + str("os") + "\x85R" + str("system") + "\x86R" + str("touch "+mark) + "\x85R"),
		"eval":              pk("c__builtin__\neval\n" + str("open('"+mark+"','w')") + "\x85R"),
		"dict with a thing": pk("}" + str("model_state_dict") + system + "s"),
	} {
		for _, data := range [][]byte{archiveOf(t, pickle), legacyOf(pickle, list())} {
			f, err := read(data)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if len(f.Foreign) == 0 {
				t.Errorf("%s: no foreign global is reported", name)
			}
			_, err1 := f.Tokenizer()
			_, err2 := f.Trainer()
			for _, err := range []error{err1, err2} {
				if err == nil || !strings.Contains(err.Error(), "names the Python objects "+f.Foreign[0]) {
					t.Errorf("%s: view gave %v", name, err)
				}
			}
		}
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("a command was run")
	}
	// in the configuration they are listed beside what can be used
	tok := &Tokenizer{Config: []byte(pk("}" + str("image_size") + "K\x10s" + str("vgg") + system + "s"))}
	arguments, objects, err := tok.Arguments(Limits{})
	if err != nil || !slices.Equal(objects, []string{"vgg: posix.system(...)"}) {
		t.Errorf("objects %q, %v", objects, err)
	} else if size, _ := arguments.Get("image_size"); size != int64(16) {
		t.Errorf("image_size %v", size)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	const million = 1 << 20
	for pickle, message := range map[string]string{
		pk(strings.Repeat("}", 3*million)):                                            "more than 2097152 values",
		pk("N" + strings.Repeat("q\x00", 3*million)):                                  "more than 2097152 values",
		pk(strings.Repeat("(", 3*million)):                                            "marks",
		pk("N" + strings.Repeat("2\x85", 3*million)):                                  "more than 2097152 values",
		pk(str(strings.Repeat("x", million)) + strings.Repeat("q\x00h\x00", million)): "more than 2097152 values",
		// a set of the same long list, repeated
		pk("](" + strings.Repeat("N", million/2) + "eq\x000c__builtin__\nset\nq\x01" + strings.Repeat("h\x01h\x00\x85R0", million/2)): "more than 2097152 values",
		// a short pickle of a long tree
		pk("](" + strings.Repeat("N", million/8) + "eq\x000(" + strings.Repeat("h\x00", 200) + "t"): "unfold to more than 16777216",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := unpickle([]byte(pickle), Limits{}, nil)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%q: %v", message, err)
		}
		// at most 2 Mi values, in slices that double as they grow
		if used := after.TotalAlloc - before.TotalAlloc; used > 400<<20 {
			t.Errorf("%q: %d MiB were allocated for a pickle of %d MiB", message, used>>20, len(pickle)>>20)
		}
	}
}

func TestEveryTruncatedPickleIsRefused(t *testing.T) {
	tok, err := open(t, filepath.Join(goldenDir, "checkpoint.fsq.pt")).Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	for n := range tok.Config {
		if _, _, err := unpickle(tok.Config[:n], Limits{}, nil); err == nil {
			t.Fatalf("the first %d of %d bytes were accepted", n, len(tok.Config))
		}
	}
}
