//go:build gpu && emul && linux

package gpu_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"magvit/gpu"
	"magvit/kernels"
	"magvit/kernels/emul"
	"magvit/kernels/kerneltest"
)

// fakeLibrary is a folder with a libcuda.so.1 that runs the kernels on the host, and a libnccl.so.2:
// MAGVIT_FAKE_CUDA, which make gpu-test sets, or made here.
var fakeLibrary = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("MAGVIT_FAKE_CUDA"); dir != "" {
		return dir, nil
	}
	dir, err := os.MkdirTemp("", "magvit-libcuda-")
	if err != nil {
		return "", err
	}
	return dir, errors.Join(emul.CompileLibcuda(dir), emul.CompileLibnccl(dir))
})

func TestMain(m *testing.M) {
	status := m.Run()
	if os.Getenv("FAKE_CUDA")+os.Getenv("MAGVIT_FAKE_CUDA") == "" { // else the library is another process's
		if dir, err := fakeLibrary(); err == nil {
			os.RemoveAll(dir)
		}
	}
	os.Exit(status)
}

// onFake runs the test again in a process that finds the fake library and has the
// given environment. It returns what that printed, and whether this is that process.
func onFake(t *testing.T, env ...string) (out string, inside bool) {
	t.Helper()
	if os.Getenv("FAKE_CUDA") != "" {
		return "", true
	}
	lib, err := fakeLibrary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), append([]string{"FAKE_CUDA=1", "LD_LIBRARY_PATH=" + lib}, env...)...)
	text, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(text), "--- SKIP") {
		t.Errorf("%v: %v\n%s", env, err, text)
	}
	return string(text), false
}

func open(t *testing.T) *gpu.Device {
	t.Helper()
	dev, err := gpu.Open(kernels.F32)
	check(t, err)
	return dev
}

// A case of each kernel passes the suite through the driver's calls, of products in
// both precisions.
func TestDriverRunsTheSuite(t *testing.T) {
	if _, inside := onFake(t); !inside {
		return
	}
	for _, p := range []kernels.Precision{kernels.F32, kernels.BF16} {
		dev, err := gpu.Open(p)
		check(t, err)
		seen := map[string]bool{}
		for _, c := range kerneltest.Cases() {
			if seen[kind(c.Spec)] || p == kernels.BF16 && kernels.RoundedArgs(c.Spec) == nil {
				continue
			}
			seen[kind(c.Spec)] = true
			r, err := kerneltest.Check(dev, c)
			check(t, err)
			if !r.OK {
				t.Errorf("%v in %v: %v", c, p, r.Err)
			}
		}
		check(t, dev.Close())
	}
}

func TestDriverTellsTheDevice(t *testing.T) {
	if _, inside := onFake(t, "FAKE_CUDA_ARCH=86"); !inside {
		return
	}
	dev := open(t)
	defer dev.Close()
	i := dev.Info()
	if i.Name != "Emulated H100" || i.Architecture != "sm_86" || i.Memory != 80e9 || i.SMs != 132 || !strings.HasSuffix(i.Driver, "CUDA 13.0") {
		t.Errorf("%+v", i)
	}
	if all, err := gpu.Devices(); err != nil || !slices.Equal(all, []gpu.Info{i}) {
		t.Errorf("Devices gives %v, %v", all, err)
	}
}

// A tensor map is made on whatever thread a goroutine is on: here on one that has had no
// context.
func TestDriverMapsTensors(t *testing.T) {
	if _, inside := onFake(t); !inside {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	dev, err := gpu.Open(kernels.BF16)
	check(t, err)
	s := kernels.Conv{N: 1, T: 1, H: 16, W: 16, C: 64, O: 64, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}
	k, err := dev.Prepare(s)
	check(t, err)
	var args []kernels.Buffer
	for _, a := range s.Args() {
		b, err := dev.Alloc(a.Len())
		check(t, err)
		check(t, dev.Write(b, slices.Repeat([]float32{1}, a.Len())))
		args = append(args, b)
	}
	ran := make(chan bool)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		k.Run(args...)
		close(ran)
	}()
	<-ran
	check(t, dev.Sync())
	got := make([]float32, args[0].Len())
	check(t, dev.Read(got, args[0]))
	if i := slices.IndexFunc(got, func(v float32) bool { return v != 65 }); i >= 0 {
		t.Errorf("value %d is %v, want 64 products of ones and a bias of 1", i, got[i])
	}
	check(t, dev.Close())
}

// What is written and read arrives in the order of kernels, whatever its size: small
// copies, copies of one slot and of several, and many without waiting.
func TestDriverCopies(t *testing.T) {
	if _, inside := onFake(t); !inside {
		return
	}
	dev := open(t)
	const n = 9<<20 + 17 // more than two slots
	x, err := dev.Alloc(n)
	check(t, err)
	got := make([]float32, n)
	check(t, dev.Read(got, x))
	if i := slices.IndexFunc(got, func(v float32) bool { return v != 0 }); i >= 0 {
		t.Fatalf("Alloc leaves %v at %d", got[i], i)
	}
	want := make([]float32, n)
	for i := range want {
		want[i] = float32(i % 65521)
	}
	check(t, dev.Write(x, want))
	check(t, dev.Read(got, x))
	if !slices.Equal(got, want) {
		t.Fatal("a large copy comes back changed")
	}

	const size = 1 << 15 // goes through a slot
	k, err := dev.Prepare(kernels.Add{Len: size})
	check(t, err)
	sum, err := dev.Alloc(size)
	check(t, err)
	part := x.Slice(100, 100+size)
	src := make([]float32, size)
	total := float32(0)
	for step := range 7 {
		for i := range src {
			src[i] = float32(1 + step)
		}
		total += float32(1 + step)
		check(t, dev.Write(part, src))
		clear(src) // the caller may use it again
		k.Run(sum, sum, part)
	}
	check(t, dev.Read(got[:size], sum))
	if i := slices.IndexFunc(got[:size], func(v float32) bool { return v != total }); i >= 0 {
		t.Errorf("the sum of seven copies is %v at %d, want %v", got[i], i, total)
	}
	check(t, dev.Close())
}

// Batches go up while graphs that read those before them wait to run. Then each graph has
// its own, early or late as a copy may be; a wait that is missing shows.
func TestDriverUploadsMeanwhile(t *testing.T) {
	const steps, large, few = 5, 9 << 20, 40 // a batch of three slots, and a few values
	if os.Getenv("FAKE_CUDA") != "" {
		dev := open(t)
		k, err := dev.Prepare(kernels.Add{Len: few})
		check(t, err)
		b, err := dev.Alloc(large + few)
		check(t, err)
		sums, err := dev.Alloc(4 * few)
		check(t, err)
		batch, numbers := b.Slice(0, large), b.Slice(large, large+few)
		replay, err := dev.Record(func() {
			for i, part := range []kernels.Buffer{batch.Slice(0, few), batch.Slice(large/2, large/2+few), batch.Slice(large-few, large), numbers} {
				sum := sums.Slice(i*few, (i+1)*few)
				k.Run(sum, sum, part)
			}
		})
		check(t, err)
		src, want := make([]float32, large), float32(0)
		for step := range steps {
			for i := range src {
				src[i] = float32(1 + 3*step)
			}
			want += src[0]
			check(t, dev.Write(batch, src))
			check(t, dev.Write(numbers, src[:few]))
			check(t, replay())
		}
		got := make([]float32, 4*few)
		check(t, dev.Read(got, sums))
		fmt.Println("right:", !slices.ContainsFunc(got, func(v float32) bool { return v != want }))
		check(t, dev.Close())
		return
	}
	for _, c := range []struct {
		env   string
		right bool
	}{{"FAKE_CUDA_LOSE=", true}, {"FAKE_CUDA_EAGER=1", true}, {"FAKE_CUDA_LOSE=wait", false}, {"FAKE_CUDA_LOSE=sync", false}, {"FAKE_CUDA_EAGER=1 FAKE_CUDA_LOSE=sync", false}} {
		log := filepath.Join(t.TempDir(), "log")
		out, _ := onFake(t, append(strings.Fields(c.env), "FAKE_CUDA_LOG="+log)...)
		if !strings.Contains(out, fmt.Sprint("right: ", c.right)) {
			t.Errorf("%s: want right: %v\n%s", c.env, c.right, out)
		}
		if !c.right {
			continue
		}
		text, err := os.ReadFile(log)
		check(t, err)
		// The copies of the second batch are enqueued before anything of the first graph has to run.
		_, after, _ := strings.Cut(string(text), "graph launched\n")
		copies, _, _ := strings.Cut(after, "graph launched\n")
		if strings.Count(copies, "pinned") != 4 || strings.Contains(copies, "ran ") {
			t.Errorf("%s: before the second graph:\n%s", c.env, copies)
		}
	}
}

// A recorded plan gives the same bits as a graph, as a list, and launch by launch.
func TestDriverReplays(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	if _, inside := onFake(t, "FAKE_CUDA_LOG="+log); !inside {
		text, err := os.ReadFile(log)
		check(t, err)
		for _, want := range []string{"graph of 3\n", "graph launched\n", "graph dropped\n", "release, 0 buffers left, 0 pinned\n"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("the driver was not told %q:\n%s", want, text)
			}
		}
		return
	}
	dev := open(t)
	s := kernels.SumRows{Rows: 700, C: 65} // in two launches, through scratch memory
	k, err := dev.Prepare(s)
	check(t, err)
	act, err := dev.Prepare(kernels.Act{Kind: kernels.ELU, Len: s.C})
	check(t, err)
	x, err := dev.Alloc(s.Rows * s.C)
	check(t, err)
	y, err := dev.Alloc(2 * s.C)
	check(t, err)
	run := func() {
		k.Run(y.Slice(0, s.C), x)
		act.Run(y.Slice(s.C, 2*s.C), y.Slice(0, s.C))
	}
	src, want, got := make([]float32, x.Len()), make([]float32, y.Len()), make([]float32, y.Len())
	replay, err := dev.Record(run)
	check(t, err)
	for step := range 4 {
		for i := range src {
			src[i] = float32(math.Sin(float64(i + step)))
		}
		check(t, dev.Write(x, src))
		run()
		check(t, dev.Read(want, y))
		check(t, dev.Write(y, make([]float32, y.Len())))
		dev.SetGraphs(step%2 == 0)
		check(t, replay())
		check(t, dev.Read(got, y))
		if !slices.EqualFunc(got, want, sameBits) || want[0] == 0 {
			t.Errorf("step %d: a replay gives %v, a run %v", step, got[:3], want[:3])
		}
	}
	check(t, dev.Close())
}

// outcomes are what a process with a failure must say: what the driver returns, and
// the device's work up to it.
func TestDriverFailures(t *testing.T) {
	suite := func() error {
		dev, err := gpu.Open(kernels.F32)
		if err != nil {
			return err
		}
		k, err := dev.Prepare(kernels.Add{Len: 300})
		if err != nil {
			return err
		}
		b, err := dev.Alloc(300)
		if err != nil {
			return err
		}
		k.Run(b, b, b)
		if err := dev.Sync(); err != nil {
			return err
		}
		_, err = dev.Alloc(5e6)
		return err
	}
	if os.Getenv("FAKE_CUDA") != "" {
		err := suite()
		var m *kernels.MemoryError
		fmt.Printf("error: %v\nmemory: %v\n", err, errors.As(err, &m))
		if m != nil {
			fmt.Printf("numbers: %d %d %d %d\n", m.Want, m.Used, m.Free, m.Total)
		}
		return
	}
	for _, c := range []struct {
		name string
		env  []string
		want []string
	}{
		{"no failure", nil, []string{"error: <nil>"}},
		{"no device", []string{"FAKE_CUDA_DEVICES=0"}, []string{"CUDA_ERROR_NO_DEVICE", "CUDA_VISIBLE_DEVICES", "nvidia-smi"}},
		{"a driver that cannot start", []string{"FAKE_CUDA_INIT=999"}, []string{"CUDA_ERROR_UNKNOWN", "restart"}},
		{"old driver", []string{"FAKE_CUDA_LOAD=222"}, []string{"CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "Emulated H100", "sm_90", "sm_80", "compute_80", "update the driver", "CUDA_HOME"}},
		{"driver older than the form of the code", []string{"FAKE_CUDA_LOAD=200"}, []string{"CUDA error 200", "update the driver to one of CUDA 1"}},
		{"unknown device", []string{"FAKE_CUDA_LOAD=209"}, []string{"CUDA_ERROR_NO_BINARY_FOR_GPU", "update the driver"}},
		{"out of memory", []string{"FAKE_CUDA_MEMORY=50000000"}, []string{"CUDA_ERROR_OUT_OF_MEMORY", "20.0 MB more memory", "memory: true", "numbers: 20000000 1200 16444368 50000000"}},
		{"refused launch", []string{"FAKE_CUDA_LAUNCH=add:701"}, []string{"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "Add{Len:300}: kernel add, grid [1 1 1], block [256 1 1]", "shared memory than this GPU has"}},
		{"a fault", []string{"FAKE_CUDA_FAULT=add:700"}, []string{"CUDA_ERROR_ILLEGAL_ADDRESS", "CUDA_LAUNCH_BLOCKING=1 the error names the kernel"}},
		{"a fault, waiting", []string{"FAKE_CUDA_FAULT=add:700", "CUDA_LAUNCH_BLOCKING=1"}, []string{"CUDA_ERROR_ILLEGAL_ADDRESS", "Add{Len:300}: kernel add"}},
	} {
		out, _ := onFake(t, c.env...)
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: the output lacks %q:\n%s", c.name, want, out)
			}
		}
	}
}
