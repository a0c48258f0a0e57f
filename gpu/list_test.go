package gpu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"magvit/kernels"
)

// notes is a driver that only writes down what it is told.
type notes struct {
	names []string // of functions: their numbers are positions, from 1
	next  uint64
	told  []string
	fail  string // the kernel whose launch fails
	maps  int
}

func (d *notes) Name() string { return "notes" }
func (d *notes) Function(name string) (uint64, error) {
	d.names = append(d.names, name)
	return uint64(len(d.names)), nil
}
func (d *notes) Alloc(n int) (uint64, error) {
	d.next += 1 << 20
	return d.next, nil
}
func (d *notes) Free(uint64)                   {}
func (d *notes) Write(uint64, []float32) error { return nil }
func (d *notes) Read([]float32, uint64) error  { return nil }
func (d *notes) Sync() error                   { return nil }
func (d *notes) Close() error                  { return nil }
func (d *notes) TensorMap(address uint64, m kernels.TensorMap) (b [kernels.TensorMapSize]byte, err error) {
	d.maps++
	binary.LittleEndian.PutUint64(b[:], address)
	return b, nil
}

var errRefused = errors.New("CUDA_ERROR_INVALID_VALUE")

// Launch notes each launch's kernel, geometry, shared memory, and first argument.
func (d *notes) Launch(list []byte) (int, error) { return d.note("launch", list) }

func (d *notes) note(how string, list []byte) (int, error) {
	for n := 0; len(list) > 0; n++ {
		v := make([]uint32, 8)
		for i := range v {
			v[i] = binary.LittleEndian.Uint32(list[8+4*i:])
		}
		args := list[listHead:][:v[7]]
		name := fmt.Sprint("operation ", v[0])
		if f := binary.LittleEndian.Uint64(list); f > 0 {
			name = d.names[f-1]
		}
		if name == d.fail {
			return n, errRefused
		}
		if len(args) == 0 {
			args = make([]byte, 8)
		}
		d.told = append(d.told, fmt.Sprintf("%s %s %v %v %d bytes, %d of arguments, first at %#x", how, name, v[:3], v[3:6], v[6], v[7], binary.LittleEndian.Uint64(args)))
		list = list[(listHead+int(v[7])+7)/8*8:]
	}
	return 0, nil
}

func (d *notes) Capture(list []byte) (func() error, int, error) {
	kept := slices.Clone(list)
	n, err := d.note("capture", list)
	return func() error { _, err := d.note("replay", kept); return err }, n, err
}

// adding is a device with one Add of 5 values and its arguments.
func adding(t *testing.T, drv driver) (*Device, func()) {
	t.Helper()
	dev := &Device{drv: drv}
	k, err := dev.Prepare(kernels.Add{Len: 5})
	if err != nil {
		t.Fatal(err)
	}
	b, err := dev.Alloc(15)
	if err != nil {
		t.Fatal(err)
	}
	return dev, func() { k.Run(b.Slice(0, 5), b.Slice(5, 10), b.Slice(10, 15)) }
}

func (d *notes) take() []string {
	told := d.told
	d.told = nil
	return told
}

func equal(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func TestRecord(t *testing.T) {
	const add = " add [1 1 1] [256 1 1] 0 bytes, 28 of arguments, first at 0x100000"
	d := &notes{}
	dev, run := adding(t, d)
	run()
	equal(t, "run", d.take(), "launch"+add)

	replay, err := dev.Record(func() { run(); run() })
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "record", d.take())
	run() // uses no list of theirs
	d.take()
	for _, c := range []struct {
		graphs bool
		want   []string
	}{
		{true, []string{"capture" + add, "capture" + add, "replay" + add, "replay" + add}},
		{true, []string{"replay" + add, "replay" + add}},
		{false, []string{"launch" + add, "launch" + add}},
		{true, []string{"replay" + add, "replay" + add}},
	} {
		dev.SetGraphs(c.graphs)
		if err := replay(); err != nil {
			t.Fatal(err)
		}
		equal(t, fmt.Sprint("replay, graphs ", c.graphs), d.take(), c.want...)
	}
}

// A kernel that is prepared later may need more scratch memory than there was.
func TestRecordFollowsScratch(t *testing.T) {
	d := &notes{}
	dev := &Device{drv: d}
	prepare := func(s kernels.Spec) (k kernels.Kernel, args []kernels.Buffer) {
		k, err := dev.Prepare(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range s.Args() {
			b, err := dev.Alloc(a.Len())
			if err != nil {
				t.Fatal(err)
			}
			args = append(args, b)
		}
		return k, args
	}
	k, args := prepare(kernels.SumRows{Rows: 700, C: 65})
	replay, err := dev.Record(func() { k.Run(args...) })
	if err != nil {
		t.Fatal(err)
	}
	if err := replay(); err != nil {
		t.Fatal(err)
	}
	before := d.take() // captured and replayed
	prepare(kernels.SumRows{Rows: 7000, C: 65})
	for range 2 {
		if err := replay(); err != nil {
			t.Fatal(err)
		}
	}
	after := d.take()
	if n := len(before) / 2; len(after) != 3*n || strings.Contains(after[0], before[0][len(before[0])-8:]) || !strings.HasPrefix(after[0], "capture") {
		t.Errorf("recorded %q, then %q", before, after)
	}
}

func TestErrorsNameTheLaunch(t *testing.T) {
	d := &notes{fail: "add"}
	dev, run := adding(t, d)
	run()
	want := "gpu: Add{Len:5}: kernel add, grid [1 1 1], block [256 1 1], 0 bytes of shared memory: CUDA_ERROR_INVALID_VALUE"
	if err := dev.Sync(); err == nil || err.Error() != want || !errors.Is(err, errRefused) {
		t.Errorf("launch: error %v, want %s", err, want)
	}
	if err := dev.Sync(); err != nil {
		t.Errorf("the error comes twice: %v", err)
	}
	replay, err := dev.Record(run)
	if err != nil {
		t.Fatal(err)
	}
	for _, graphs := range []bool{true, false} {
		dev.SetGraphs(graphs)
		if err := replay(); err == nil || err.Error() != want {
			t.Errorf("replay, graphs %v: error %v, want %s", graphs, err, want)
		}
	}
}

// Tensor maps come first in the argument block; shared memory reaches the driver.
func TestLaunchWithTensorMaps(t *testing.T) {
	d := &notes{}
	dev := &Device{drv: d}
	l := kernels.Launch{Kernel: "tiles", Grid: [3]uint32{2, 1, 1}, Block: [3]uint32{32, 1, 1}, Shared: 1 << 16, Args: struct {
		X kernels.TensorMap
		Y kernels.Operand
		N int
	}{kernels.TensorMap{Operand: kernels.Operand{Memory: kernels.ArgMemory, Index: 1}, BF16: true, Dims: []uint64{64, 8}, Strides: []uint64{128}, Box: []uint32{64, 8},
		Steps: []uint32{1, 1}, Swizzle: kernels.Swizzle128}, kernels.Operand{Memory: kernels.ArgMemory}, 7}}
	f, err := d.Function(l.Kernel)
	if err != nil {
		t.Fatal(err)
	}
	s := kernels.Act{Len: 3}
	k := &kernel{dev: dev, spec: s, lens: []int{3, 3}, launches: []packed{{l, l.Params(), s, f, pack(l.Params())}}}
	k.Run(buffer{0x100, 3}, buffer{0x200, 3})
	equal(t, "launch", d.take(), "launch tiles [2 1 1] [32 1 1] 65536 bytes, 140 of arguments, first at 0x200")
	if got := binary.LittleEndian.Uint64(k.launches[0].args[128:]); got != 0x100 || d.maps != 1 {
		t.Errorf("the pointer after the map is %#x, %d maps made", got, d.maps)
	}
}
