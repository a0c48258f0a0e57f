//go:build gpu && emul && linux

package gpu_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"magvit/gpu"
	"magvit/kernels"
)

// onRanks runs the test again in a process for each rank, and returns what these printed.
func onRanks(t *testing.T, n int, env ...string) (out []string, inside bool) {
	t.Helper()
	if os.Getenv("FAKE_CUDA") != "" {
		return nil, true
	}
	lib, err := fakeLibrary()
	check(t, err)
	out = make([]string, n)
	id := filepath.Join(t.TempDir(), "id")
	var ranks sync.WaitGroup
	for i := range n {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), append([]string{"FAKE_CUDA=1", "LD_LIBRARY_PATH=" + lib, "FAKE_RANKS=" + fmt.Sprint(i, " ", n, " ", id)}, env...)...)
		ranks.Go(func() {
			text, err := cmd.CombinedOutput()
			out[i] = string(text)
			if err != nil {
				out[i] += "exit: " + err.Error() + "\n"
			}
		})
	}
	ranks.Wait()
	return out, false
}

// peersOf is what onRanks tells a process, with the id that rank 0 leaves in a file.
func peersOf(t *testing.T) gpu.Peers {
	t.Helper()
	words := strings.Fields(os.Getenv("FAKE_RANKS"))
	rank, err := strconv.Atoi(words[0])
	check(t, err)
	size, err := strconv.Atoi(words[1])
	check(t, err)
	p := gpu.Peers{Rank: rank, Size: size, Timeout: time.Minute}
	file := words[2]
	if rank == 0 {
		p.ID, err = gpu.NewUniqueID()
		check(t, err)
		check(t, os.WriteFile(file+".part", p.ID[:], 0o600))
		check(t, os.Rename(file+".part", file))
		return p
	}
	for range 3000 {
		if text, err := os.ReadFile(file); err == nil {
			copy(p.ID[:], text)
			return p
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("rank 0 leaves no id")
	return p
}

// connected is a device that has joined the others.
func connected(t *testing.T) (*gpu.Device, gpu.Peers) {
	t.Helper()
	p := peersOf(t)
	dev := open(t)
	check(t, dev.Connect(p))
	return dev, p
}

// passed fails the test unless each rank's process passed.
func passed(t *testing.T, out []string) {
	t.Helper()
	for i, text := range out {
		if strings.Contains(text, "exit: ") || !strings.Contains(text, "--- PASS") {
			t.Errorf("rank %d:\n%s", i, text)
		}
	}
}

func alloc(t *testing.T, dev *gpu.Device, n int) kernels.Buffer {
	t.Helper()
	b, err := dev.Alloc(n)
	check(t, err)
	return b
}

// value is what rank has at position i in a step: small whole numbers, which bfloat16 holds.
func value(rank, step, i int) float32 { return float32((7*i+3*step)%31 + 32*rank) }

// Each operation does what its comment says, recorded as a graph and as a list, over steps
// with other values, among two and three ranks.
func TestDriverExchangesWithRanks(t *testing.T) {
	for _, n := range []int{2, 3} {
		out, inside := onRanks(t, n)
		if !inside {
			passed(t, out)
			continue
		}
		dev, p := connected(t)
		each := 30001 // more than a piece of the library's
		all := each * p.Size
		src, exchanged, gathered, reduced := alloc(t, dev, all), alloc(t, dev, all), alloc(t, dev, all), alloc(t, dev, all)
		scattered, copied, half := alloc(t, dev, each), alloc(t, dev, all), alloc(t, dev, 17)
		move, err := dev.Prepare(kernels.Affine{Len: all, Mul: 1})
		check(t, err)
		replay, err := dev.Record(func() {
			move.Run(reduced, src)
			dev.Exchange(exchanged, src)
			dev.AllGather(gathered, src.Slice(each, 2*each))
			dev.AllReduce(reduced, false)
			dev.ReduceScatter(scattered, src, false)
			dev.AllReduce(half, true)
			move.Run(copied, exchanged)
		})
		check(t, err)
		for step := range 4 {
			dev.SetGraphs(step%2 == 0)
			own := make([]float32, all)
			for i := range own {
				own[i] = value(p.Rank, step, i)
			}
			check(t, dev.Write(src, own))
			halves := make([]float32, 17)
			for i := range halves {
				halves[i] = pair(value(p.Rank, step, i), value(p.Rank, step, i+1))
			}
			check(t, dev.Write(half, halves))
			check(t, replay())
			sum := func(i int) (s float32) {
				for r := range p.Size {
					s += value(r, step, i)
				}
				return s
			}
			for _, c := range []struct {
				name string
				got  kernels.Buffer
				want func(i int) float32
			}{
				{"exchange", copied, func(i int) float32 { return value(i/each, step, p.Rank*each+i%each) }},
				{"gather", gathered, func(i int) float32 { return value(i/each, step, each+i%each) }},
				{"all-reduce", reduced, sum},
				{"reduce-scatter", scattered, func(i int) float32 { return sum(p.Rank*each + i) }},
				{"all-reduce of bfloat16", half, func(i int) float32 { return pair(sum(i), sum(i+1)) }},
			} {
				got := make([]float32, c.got.Len())
				check(t, dev.Read(got, c.got))
				for i := range got {
					if !sameBits(got[i], c.want(i)) {
						t.Fatalf("step %d: %s has %v at %d, want %v", step, c.name, got[i], i, c.want(i))
					}
				}
			}
		}
		check(t, dev.Close())
		return
	}
}

// What overlaps begins after the kernels before it, and ends before those after the join: in
// every order that streams allow. A wait that is missing shows.
func TestDriverOverlaps(t *testing.T) {
	const n = 1000
	if os.Getenv("FAKE_CUDA") != "" {
		dev, p := connected(t)
		x, parts, y := alloc(t, dev, 2*n), alloc(t, dev, 2*n), alloc(t, dev, 2*n)
		double, err := dev.Prepare(kernels.Affine{Len: n, Mul: 2})
		check(t, err)
		add, err := dev.Prepare(kernels.Add{Len: n / 2})
		check(t, err)
		replay, err := dev.Record(func() {
			for _, at := range []int{0, n} { // two buckets
				b, from := x.Slice(at, at+n), parts.Slice(at, at+n)
				double.Run(b, b)
				dev.Overlap(func() {
					dev.Exchange(from, b)
					own := b.Slice(p.Rank*n/2, (p.Rank+1)*n/2)
					add.Run(own, from.Slice(0, n/2), from.Slice(n/2, n))
					dev.AllGather(b, own)
				})
			}
			dev.Join()
			double.Run(y.Slice(0, n), x.Slice(0, n))
			double.Run(y.Slice(n, 2*n), x.Slice(n, 2*n))
		})
		check(t, err)
		right := true
		for step := range 4 {
			dev.SetGraphs(step%2 == 0)
			src := make([]float32, 2*n)
			for i := range src {
				src[i] = value(p.Rank, step, i)
			}
			check(t, dev.Write(x, src))
			check(t, replay())
			got := make([]float32, 2*n)
			check(t, dev.Read(got, y))
			for i := range got {
				right = right && got[i] == 4*(value(0, step, i)+value(1, step, i))
			}
		}
		fmt.Println("right:", right)
		if right {
			check(t, dev.Close())
		}
		return
	}
	for _, c := range []struct {
		env   string
		right bool
	}{{"FAKE_CUDA_EAGER=", true}, {"FAKE_CUDA_EAGER=1", true}, {"FAKE_CUDA_LOSE=wait", false}, {"FAKE_CUDA_EAGER=1 FAKE_CUDA_LOSE=wait", false}} {
		out, _ := onRanks(t, 2, strings.Fields(c.env)...)
		for i, text := range out {
			if !strings.Contains(text, fmt.Sprint("right: ", c.right)) {
				t.Errorf("%s, rank %d: want right: %v\n%s", c.env, i, c.right, text)
			}
		}
	}
}

// A rank that fails, hangs or never comes ends the others within the time limit.
func TestDriverLosesRanks(t *testing.T) {
	if os.Getenv("FAKE_CUDA") != "" {
		p := peersOf(t)
		p.Timeout = 2 * time.Second
		dev := open(t)
		if p.Rank == 1 && os.Getenv("FAKE_ABSENT") != "" {
			return
		}
		err := dev.Connect(p)
		if err == nil {
			b := alloc(t, dev, 100)
			dev.AllReduce(b, false)
			began := time.Now()
			err = dev.Sync()
			if again := dev.Read(make([]float32, 1), b); !errors.Is(again, gpu.ErrPeers) {
				t.Errorf("a read after it: %v", again)
			}
			check(t, errors.Join(dev.Close()))
			if d := time.Since(began); d > 20*time.Second {
				t.Errorf("it took %v", d)
			}
		}
		fmt.Printf("error: %v; peers: %v\n", err, errors.Is(err, gpu.ErrPeers))
		return
	}
	for _, c := range []struct{ env, want string }{
		{"FAKE_NCCL_DIE=1", "error: gpu: another rank does not answer: NCCL error 6 (remote process exited or there was a network error)"},
		{"FAKE_NCCL_STUCK=1", "error: gpu: another rank does not answer: no answer within 2s; peers: true"},
		{"FAKE_ABSENT=1", "error: gpu: rank 0 of 2: gpu: another rank does not answer: not all 2 ranks joined within 2s; peers: true"},
		{"FAKE_NCCL_INIT=2", "error: gpu: rank 0 of 2: NCCL error 2 (unhandled error): as FAKE_NCCL_INIT wants; NCCL_DEBUG=INFO prints more; peers: false"},
	} {
		out, _ := onRanks(t, 2, c.env)
		if !strings.Contains(out[0], c.want) || strings.Contains(out[0], "--- FAIL") {
			t.Errorf("%s: the output lacks %q:\n%s", c.env, c.want, out[0])
		}
	}
}

// A child process gets none of the library's descriptors.
func TestDriverKeepsDescriptors(t *testing.T) {
	out, inside := onRanks(t, 2)
	if !inside {
		passed(t, out)
		return
	}
	dev, _ := connected(t)
	defer dev.Close()
	open, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	sockets := 0
	for _, e := range open {
		fd, err := strconv.Atoi(e.Name())
		check(t, err)
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || fd <= 2 {
			continue
		}
		if strings.HasPrefix(to, "socket:") {
			sockets++
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d, %s, is left to children", fd, to)
		}
	}
	if rank, _ := dev.Ranks(); rank == 0 && sockets == 0 {
		t.Error("the library opened no socket: nothing is tested")
	}
}

func TestDriverWithoutNCCL(t *testing.T) {
	dir := t.TempDir()
	if os.Getenv("FAKE_CUDA") == "" {
		lib, err := fakeLibrary()
		check(t, err)
		check(t, os.Symlink(filepath.Join(lib, "libcuda.so.1"), filepath.Join(dir, "libcuda.so.1")))
	}
	out, inside := onFake(t, "LD_LIBRARY_PATH="+dir)
	if !inside {
		if !strings.Contains(out, "pip install nvidia-nccl-cu13") && !strings.Contains(out, "is installed here") {
			t.Errorf("no advice:\n%s", out)
		}
		return
	}
	version, err := gpu.NCCL()
	if err == nil {
		fmt.Println("NCCL", version, "is installed here")
		return
	}
	dev := open(t)
	if bad := dev.Connect(gpu.Peers{Size: 1}); !errors.Is(err, gpu.ErrNoNCCL) || !errors.Is(bad, gpu.ErrNoNCCL) {
		t.Errorf("NCCL: %v, Connect: %v", err, bad)
	}
	fmt.Println(err)
	check(t, dev.Close())
}

// The declarations of nccl.h here are those of NVIDIA's, where one is installed.
func TestDriverDeclaresNCCL(t *testing.T) {
	var folders []string
	for _, pattern := range []string{os.Getenv("NCCL_HOME") + "/include", "/usr/include", "/usr/local/cuda/include", "../.tools/nccl/nvidia/nccl/include"} {
		found, _ := filepath.Glob(filepath.Join(pattern, "nccl.h"))
		folders = append(folders, found...)
	}
	if len(folders) == 0 {
		t.Skip("no nccl.h is installed (NCCL_HOME names its folder)")
	}
	dir := t.TempDir()
	// Of CUDA's headers NCCL's needs one type.
	for name, text := range map[string]string{"cuda_runtime.h": "#include <stddef.h>\ntypedef struct CUstream_st* cudaStream_t;", "cuda_fp16.h": ""} {
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	source := filepath.Join(dir, "declared.c")
	check(t, os.WriteFile(source, []byte(`#include <nccl.h>
#include "nccl.h"
#define SAME(result, name, args) result(*same_##name) args = name;
NCCL_FUNCTIONS(SAME)
_Static_assert(NCCL_FLOAT32 == ncclFloat32 && NCCL_BFLOAT16 == ncclBfloat16 && NCCL_SUM == ncclSum && NCCL_IN_PROGRESS == ncclInProgress && NCCL_SUCCESS == ncclSuccess, "numbers");
_Static_assert(sizeof(ncclUniqueId) == 128, "the size of an id");
`), 0o644))
	here, err := os.Getwd()
	check(t, err)
	if out, err := exec.Command("cc", "-I"+dir, "-I"+filepath.Dir(folders[0]), "-iquote", here, "-Werror", "-fsyntax-only", source).CombinedOutput(); err != nil {
		t.Errorf("%s differs: %v\n%s", folders[0], err, out)
	}
}

// pair is a word of two values in bfloat16.
func pair(a, b float32) float32 {
	return math.Float32frombits(math.Float32bits(b)&0xffff0000 | math.Float32bits(a)>>16)
}
