package events

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

var start = time.Unix(1700000000, 5e8)

func open(t *testing.T, dir string, step int) *Writer {
	t.Helper()
	w, err := Open(dir, start, step)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func check(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// The bytes were made by a few lines of Python with a bitwise CRC-32C; the file
// version record is the first one of every file that TensorFlow writes.
func TestKnownBytes(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, 0)
	check(t, w.Scalar(300, "loss", .5), w.Close())
	got, err := os.ReadFile(filepath.Join(dir, "events.out.tfevents.1700000000.magvit"))
	check(t, err)
	want := "1800000000000000a37f4b220900002040fc54d9411a0d627261696e2e4576656e743a322b353110" +
		"1b000000000000001a0d9e130900002040fc54d94110ac022a0d0a0b0a046c6f7373150000003f95037aad"
	if hex.EncodeToString(got) != want {
		t.Errorf("got  %x\nwant %s", got, want)
	}
}

// read is a reader of its own: it shares no code with the writer.
func read(t *testing.T, path string) (events []message) {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	for len(b) > 0 {
		n := binary.LittleEndian.Uint64(b)
		for _, part := range []struct {
			data []byte
			sum  []byte
		}{{b[:8], b[8:12]}, {b[12 : 12+n], b[12+n : 16+n]}} {
			if got := binary.LittleEndian.Uint32(part.sum); got != maskedCRC(part.data) {
				t.Fatalf("checksum %08x of %x, want %08x", got, part.data, maskedCRC(part.data))
			}
		}
		events = append(events, parse(t, b[12:12+n]))
		b = b[16+n:]
	}
	return events
}

func maskedCRC(b []byte) uint32 {
	c := ^uint32(0)
	for _, x := range b {
		c ^= uint32(x)
		for range 8 {
			c = c>>1 ^ 0x82f63b78*(c&1)
		}
	}
	c = ^c
	return (c>>15 | c<<17) + 0xa282ead8
}

// message maps a field number to its last value: uint64 or []byte.
type message map[uint64]any

func parse(t *testing.T, b []byte) message {
	t.Helper()
	m := message{}
	for len(b) > 0 {
		key, n := binary.Uvarint(b)
		b = b[n:]
		switch key & 7 {
		case 0:
			v, n := binary.Uvarint(b)
			m[key>>3], b = v, b[n:]
		case 1:
			m[key>>3], b = binary.LittleEndian.Uint64(b), b[8:]
		case 2:
			size, n := binary.Uvarint(b)
			m[key>>3], b = b[n:n+int(size)], b[n+int(size):]
		case 5:
			m[key>>3], b = uint64(binary.LittleEndian.Uint32(b)), b[4:]
		default:
			t.Fatalf("wire type %d", key&7)
		}
	}
	return m
}

func TestReadBack(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, 0)
	check(t, w.Scalar(1, "train/loss", 2.5))
	w.At = start.Add(time.Second)
	check(t, w.Image(2, "clips/linear", []byte("picture"), 640, 200), w.Close())

	got := read(t, filepath.Join(dir, "events.out.tfevents.1700000000.magvit"))
	if len(got) != 3 || string(got[0][3].([]byte)) != "brain.Event:2" {
		t.Fatalf("events: %v", got)
	}
	wall := math.Float64frombits(got[2][1].(uint64))
	if wall != 1700000001.5 || got[2][2].(uint64) != 2 {
		t.Errorf("picture at time %v, step %v", wall, got[2][2])
	}
	value := func(e message) message { return parse(t, parse(t, e[5].([]byte))[1].([]byte)) }
	if v := value(got[1]); string(v[1].([]byte)) != "train/loss" || math.Float32frombits(uint32(v[2].(uint64))) != 2.5 {
		t.Errorf("scalar %v", v)
	}
	v := value(got[2])
	m := parse(t, v[4].([]byte))
	if string(v[1].([]byte)) != "clips/linear" || m[1].(uint64) != 200 || m[2].(uint64) != 640 || m[3].(uint64) != 3 || !bytes.Equal(m[4].([]byte), []byte("picture")) {
		t.Errorf("picture %v %v", v, m)
	}
}

func TestResume(t *testing.T) {
	straight, broken := t.TempDir(), t.TempDir()
	w := open(t, straight, 0)
	for step := 1; step <= 6; step++ {
		check(t, w.Scalar(step, "loss", float64(step)))
	}
	check(t, w.Close())
	const name = "events.out.tfevents.1700000000.magvit"
	want, err := os.ReadFile(filepath.Join(straight, name))
	check(t, err)

	for cut := 0; cut <= len(want); cut += 3 { // killed after this many bytes, resumed from step 2
		path := filepath.Join(broken, name)
		check(t, os.WriteFile(path, want[:cut], 0o666))
		from := min(2, max(0, len(read(t, straightPrefix(t, want[:cut])))-1))
		w, err := Open(broken, start.Add(time.Hour), from)
		check(t, err)
		w.At = start
		for step := from + 1; step <= 6; step++ {
			check(t, w.Scalar(step, "loss", float64(step)))
		}
		check(t, w.Close())
		got, err := os.ReadFile(path)
		if cut >= 40 { // before the first record there is a new one, made at another time
			check(t, err)
			if !bytes.Equal(got, want) {
				t.Fatalf("cut at %d: differs from the straight run", cut)
			}
		}
		files, _ := filepath.Glob(filepath.Join(broken, "*"))
		if !slices.Equal(files, []string{path}) {
			t.Fatalf("cut at %d: files %v", cut, files)
		}
	}
}

func TestOpenCutsOffLaterSteps(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, 0)
	for step := 1; step <= 6; step++ {
		check(t, w.Scalar(step, "loss", float64(step)))
	}
	check(t, w.Close(), open(t, dir, 2).Close())
	if got := read(t, w.file.Name()); len(got) != 3 || got[2][2].(uint64) != 2 {
		t.Errorf("records %v; want the version and steps 1, 2", got)
	}
}

// straightPrefix writes the whole records of b to a file.
func straightPrefix(t *testing.T, b []byte) string {
	t.Helper()
	end := 0
	for end+12 <= len(b) && end+16+int(b[end]) <= len(b) {
		end += 16 + int(b[end])
	}
	path := filepath.Join(t.TempDir(), "whole")
	check(t, os.WriteFile(path, b[:end], 0o666))
	return path
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "no [such] folder")
	_, err := Open(missing, start, 0)
	if err == nil || !bytes.Contains([]byte(fmt.Sprint(err)), []byte("no [such] folder")) {
		t.Errorf("error %v", err)
	}
	check(t, os.Mkdir(missing, 0o777))
	for i := range 2 { // the second Open finds the file of the first in spite of the brackets
		w, err := Open(missing, start.Add(time.Duration(i)*time.Hour), 5)
		check(t, err, w.Close())
	}
	files, _ := os.ReadDir(missing)
	if got := read(t, filepath.Join(missing, files[0].Name())); len(got) != 1 || len(files) != 1 {
		t.Errorf("%d records in %d files", len(got), len(files))
	}
}

// A histogram counts every finite value once, and its edges are those of its bins.
func TestHistogram(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, 0)
	nan := float32(math.NaN())
	check(t, w.Histogram(3, "weights/a", []float32{-1, -1, 0, nan, 2, float32(math.Inf(1))}), w.Histogram(3, "weights/b", []float32{.5, .5}), w.Histogram(3, "weights/c", nil), w.Close())
	got := read(t, w.file.Name())
	if len(got) != 4 {
		t.Fatalf("%d records, want 4", len(got))
	}
	histogram := func(e message) (tag string, numbers [5]float64, edges, counts []float64) {
		v := parse(t, parse(t, e[5].([]byte))[1].([]byte))
		h := parse(t, v[5].([]byte))
		for i := range numbers {
			numbers[i] = math.Float64frombits(h[uint64(i+1)].(uint64))
		}
		doubles := func(b []byte) (list []float64) {
			for ; len(b) > 0; b = b[8:] {
				list = append(list, math.Float64frombits(binary.LittleEndian.Uint64(b)))
			}
			return list
		}
		return string(v[1].([]byte)), numbers, doubles(h[6].([]byte)), doubles(h[7].([]byte))
	}
	tag, n, edges, counts := histogram(got[1])
	if tag != "weights/a" || n != [5]float64{-1, 2, 4, 0, 6} {
		t.Errorf("%s: min, max, number, sum, sum of squares %v", tag, n)
	}
	if len(edges) != bins || len(counts) != bins || edges[bins-1] != 2 || counts[0] != 2 || counts[bins-1] != 1 || counts[bins/3] != 1 {
		t.Errorf("edges %v, counts %v", edges, counts)
	}
	if tag, n, edges, counts = histogram(got[2]); n != [5]float64{.5, .5, 2, 1, .5} || len(edges) != 1 || edges[0] != .5 || counts[0] != 2 {
		t.Errorf("%s: %v, edges %v, counts %v", tag, n, edges, counts)
	}
	if tag, n, edges, counts = histogram(got[3]); n != [5]float64{} || len(edges) != 1 || counts[0] != 0 {
		t.Errorf("%s: %v, edges %v, counts %v", tag, n, edges, counts)
	}
}

// The hyperparameters of a run lie in the metadata of one value, as the plugin's
// SessionStartInfo: a map from name to a google.protobuf.Value.
func TestHyperparameters(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, 0)
	check(t, w.Hyperparameters("demo", map[string]any{"train.lr": .25, "model.layers": "residual, attend_space", "data.strict": true}), w.Close())
	v := parse(t, parse(t, read(t, w.file.Name())[1][5].([]byte))[1].([]byte))
	plugin := parse(t, parse(t, v[9].([]byte))[1].([]byte))
	if string(v[1].([]byte)) != "_hparams_/session_start_info" || string(plugin[1].([]byte)) != "hparams" || v[8] == nil {
		t.Fatalf("value %v, plugin %v", v, plugin)
	}
	start := parse(t, plugin[2].([]byte))[3].([]byte)
	found := map[string]message{}
	for b := start; len(b) > 0; { // a map is a repeated field: parse would keep its last entry only
		field, size := b[0]>>3, 0
		_, n := binary.Uvarint(b)
		b = b[n:]
		if field == 5 {
			b = b[8:]
			continue
		}
		length, n := binary.Uvarint(b)
		b, size = b[n:], int(length)
		if entry := b[:size]; field == 1 {
			e := parse(t, entry)
			found[string(e[1].([]byte))] = parse(t, e[2].([]byte))
		} else if field != 4 || string(entry) != "demo" {
			t.Errorf("field %d: %q", field, entry)
		}
		b = b[size:]
	}
	if len(found) != 3 || math.Float64frombits(found["train.lr"][2].(uint64)) != .25 || string(found["model.layers"][3].([]byte)) != "residual, attend_space" || found["data.strict"][4].(uint64) != 1 {
		t.Errorf("hyperparameters %v", found)
	}
	if err := w.Hyperparameters("demo", map[string]any{"x": []int{1}}); err == nil {
		t.Error("a list is taken for a hyperparameter")
	}
}

// TestHyperparametersOnce begins a run, and again after a kill before its first checkpoint.
func TestHyperparametersOnce(t *testing.T) {
	dir := t.TempDir()
	for range 3 {
		w, err := Open(dir, time.Unix(1, 0), 0)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := w.Hyperparameters("run", map[string]any{"train.lr": 1e-3}); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(w.Sync(), w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, prefix+"*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v; want one file", files, err)
	}
	content, err := os.ReadFile(files[0])
	if n := bytes.Count(content, []byte(hyperparametersTag)); err != nil || n != 1 {
		t.Errorf("hyper-parameters are there %d times, %v; want once", n, err)
	}
}
