//go:build gpu && emul && linux

package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func init() { buildFlags = []string{"-tags", "gpu"} }

// libcuda is a folder with a driver that runs the kernels on the host, and a stand-in for NCCL: MAGVIT_FAKE_CUDA, which
// make gpu-test sets, or made here.
var libcuda = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("MAGVIT_FAKE_CUDA"); dir != "" {
		return dir, nil
	}
	dir := filepath.Join(shared, "libcuda")
	out, err := exec.Command("go", "run", "-tags", "emul", "../../kernels/emul/fake", dir).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, out)
	}
	return dir, err
})

// onGPU runs a command with that driver.
func onGPU(t *testing.T, env []string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	dir, err := libcuda()
	if err != nil {
		t.Fatal(err)
	}
	cmd := program(t, args...)
	cmd.Env = append(append(os.Environ(), "LD_LIBRARY_PATH="+dir), env...)
	return finish(t, cmd)
}

// withoutDriver skips the test where the system has a driver.
func withoutDriver(t *testing.T) {
	t.Helper()
	if path := libcudaPath(); path != "" {
		t.Skip("this machine has a driver: " + path)
	}
}

// few are clips for preset tiny.
func few(t *testing.T) string {
	t.Helper()
	path := filepath.Join(shared, "few", "clips.npz")
	makeFew.Do(func() { magvit(t, "synth", "--clips", "8", "--size", "32", "--frames", "4", "--out", path) })
	return path
}

var makeFew sync.Once

func trainTiny(t *testing.T, out string, more ...string) []string {
	return append([]string{"train", "--preset", "tiny", "--data", few(t), "--out", out, "--steps", "3",
		"--set", "train.log_every=1", "--set", "train.batch=2"}, more...)
}

// A run on the GPU has the losses, gradients and reconstructions of one on the CPU; its
// first line names the device.
func TestGPUTrainsAsTheCPU(t *testing.T) {
	dir := t.TempDir()
	gpu, cpu := filepath.Join(dir, "gpu"), filepath.Join(dir, "cpu")
	_, log, status := onGPU(t, nil, trainTiny(t, gpu)...)
	if status != done {
		t.Fatalf("exit %d\n%s", status, log)
	}
	first, _, _ := strings.Cut(log, "\n")
	for _, want := range []string{"device: gpu, Emulated H100", "sm_90", "CUDA 13.0", "80.0 GB", "f32"} {
		if !strings.Contains(first, want) {
			t.Errorf("the first line lacks %q: %s", want, first)
		}
	}
	magvit(t, trainTiny(t, cpu, "--device", "cpu")...)
	got, want := records(t, gpu), records(t, cpu)
	if len(got) != len(want) || len(got) < 5 {
		t.Fatalf("%d records, the CPU has %d", len(got), len(want))
	}
	compared := 0
	for i := range want {
		for _, key := range []string{"loss", "recon", "grad_norm", "lr"} {
			w, ok := want[i][key].(float64)
			g, _ := got[i][key].(float64)
			if !ok {
				continue
			}
			compared++
			if math.Abs(g-w) > 1e-4*math.Abs(w) { // sums in another order, three steps deep
				t.Errorf("record %d: %s is %v, on the CPU %v", i, key, g, w)
			}
		}
	}
	if compared != 12 {
		t.Errorf("%d values compared, want 12", compared)
	}
	// What was trained on one evaluates the same on both.
	psnr := func(out string) float64 {
		var r struct{ PSNR float64 }
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatal(err)
		}
		return r.PSNR
	}
	eval := []string{"eval", "--checkpoint", gpu, "--data", few(t), "--split", "all", "--json"}
	onCPU, _ := magvit(t, append(eval, "--device", "cpu")...)
	out, log, status := onGPU(t, nil, append(eval, "--device", "gpu")...)
	if status != done || math.Abs(psnr(out)-psnr(onCPU)) > 1e-3 {
		t.Errorf("exit %d; PSNR %v dB, on the CPU %v dB\n%s", status, psnr(out), psnr(onCPU), log)
	}
}

func TestGPUBench(t *testing.T) {
	out, log, status := onGPU(t, nil, "bench", "--check", "--device", "gpu", "--filter", "^FSQ(Index|Values).*Tokens:(33|40) ", "--json")
	var r struct {
		Device  string
		Failed  int
		Kernels []struct {
			Kernel   string
			Compared bool
			NMSE     float64
			Seconds  float64
		}
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != done {
		t.Fatalf("exit %d, %v\n%s", status, err, log)
	}
	if !strings.Contains(r.Device, "Emulated H100, sm_90") || r.Failed != 0 || len(r.Kernels) != 4 || !r.Kernels[0].Compared {
		t.Errorf("%+v", r)
	}
}

// On a Hopper GPU in bf16 the suite has the small cases of TMA and wgmma. The filter knows
// kernels by the names of their launches too.
func TestGPUBenchHopper(t *testing.T) {
	for _, filter := range []string{"^ConvGradX.*C:8 O:72", "conv_grad_x_sm90a"} {
		timeout := "60s"
		if strings.Contains(filter, "sm90a") {
			timeout = "1ns" // the first row is enough
		}
		out, log, status := onGPU(t, nil, "bench", "--check", "--device", "gpu", "--precision", "bf16", "--filter", filter, "--json", "--timeout", timeout)
		var r struct {
			Failed  int
			Kernels []struct {
				Kernel, Launches string
				Compared         bool
			}
		}
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		rows := 2
		if timeout == "1ns" {
			rows = 1
		} else if status != done || r.Failed != 0 {
			t.Errorf("%s: exit %d, %d failed\n%s", filter, status, r.Failed, log)
		}
		if len(r.Kernels) != rows {
			t.Fatalf("%s: %d rows, want %d: %+v\n%s", filter, len(r.Kernels), rows, r, log)
		}
		for _, k := range r.Kernels {
			if !strings.Contains(k.Launches, "conv_grad_x_sm90a") || !strings.HasPrefix(k.Kernel, "ConvGradX") || k.Compared != (rows == 2) {
				t.Errorf("%s: %+v", filter, k)
			}
		}
	}
}

// A kernel that fails is named, and the others run, if the device survives it. One that
// hangs or ends the context ends the command, as nothing after it would mean anything.
func TestGPUBenchFailures(t *testing.T) {
	const first, last = "FSQIndex{FSQ:{Tokens:33", "FSQValues{FSQ:{Tokens:40"
	for _, c := range []struct {
		env, timeout string
		rows         int
		out, log     string
	}{
		{"FAKE_CUDA_LAUNCH=fsq_index:701", "60s", 4, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "2 of 4 kernels differ"},
		{"FAKE_CUDA_FAULT=fsq_index:700", "60s", 1, "kernel fsq_index", "the device is lost since " + first},
		{"FAKE_CUDA_HANG=fsq_index", "500ms", 1, "did not finish within 500ms", "the device hangs since " + first},
	} {
		out, log, status := onGPU(t, []string{c.env, "CUDA_LAUNCH_BLOCKING=1"}, "bench", "--check", "--device", "gpu", "--timeout", c.timeout,
			"--filter", "^FSQ(Index|Values).*Tokens:(33|40) ")
		rows := strings.Count(out, "[fsq_")
		if status != failed || rows != c.rows || strings.Contains(out, last) != (rows == 4) || !strings.Contains(out, "FAILED") ||
			!strings.Contains(out, c.out) || !strings.Contains(log, c.log) {
			t.Errorf("%s: exit %d, %d rows, want %d, %q and %q\n%s\n%s", c.env, status, rows, c.rows, c.out, c.log, out, log)
		}
	}
}

func TestGPUBenchStep(t *testing.T) {
	out, log, status := onGPU(t, nil, "bench", "step", "--preset", "tiny", "--batch", "1", "--frames", "4", "--steps", "1", "--device", "gpu", "--json")
	var r map[string]any
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != done {
		t.Fatalf("exit %d, %v\n%s", status, err, log)
	}
	for _, key := range []string{"min_s", "list_min_s", "peak_bytes"} {
		if v, _ := r[key].(float64); !(v > 0) {
			t.Errorf("%s is %v: %s", key, r[key], out)
		}
	}
}

// What is wrong with a device ends a run with its reason, and what to do.
func TestGPUFailures(t *testing.T) {
	for _, c := range []struct {
		name, device, env string
		status            int
		want              []string
	}{
		{"no device", "gpu", "FAKE_CUDA_DEVICES=0", badInput, []string{"CUDA_ERROR_NO_DEVICE", "nvidia-smi", "--device cpu"}},
		{"no device", "auto", "FAKE_CUDA_DEVICES=0", done, []string{"device: cpu, ", "no GPU is used: ", "CUDA_ERROR_NO_DEVICE"}},
		{"old driver", "gpu", "FAKE_CUDA_LOAD=222", badInput, []string{"CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "update the driver"}},
		{"out of memory", "gpu", "FAKE_CUDA_MEMORY=39000000", failed, []string{"CUDA_ERROR_OUT_OF_MEMORY", "train.batch: a batch of 6 clips of 4 frames", "a batch of 2 fits"}},
		{"fault", "gpu", "FAKE_CUDA_FAULT=adam_w:700", failed, []string{"CUDA_ERROR_ILLEGAL_ADDRESS", "CUDA_LAUNCH_BLOCKING=1"}},
		{"refused", "gpu", "FAKE_CUDA_LAUNCH=conv_grad_w_64:701", failed, []string{"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "ConvGradW{", "kernel conv_grad_w_64, grid"}},
	} {
		t.Run(c.name+" "+c.device, func(t *testing.T) {
			_, log, status := onGPU(t, []string{c.env}, trainTiny(t, filepath.Join(t.TempDir(), "run"), "--device", c.device, "--set", "train.batch=6")...)
			if status != c.status {
				t.Errorf("exit %d, want %d", status, c.status)
			}
			for _, want := range c.want {
				if !strings.Contains(log, want) {
					t.Errorf("the output lacks %q:\n%s", want, log)
				}
			}
		})
	}
}

// The largest batch that the plan allows fits, one more does not.
func TestGPUOutOfMemory(t *testing.T) {
	step := func(batch int) (log string, status int) {
		_, log, status = onGPU(t, []string{"FAKE_CUDA_MEMORY=39000000"}, "bench", "step", "--preset", "tiny", "--frames", "4", "--steps", "1",
			"--device", "gpu", "--batch", fmt.Sprint(batch))
		return log, status
	}
	log, status := step(100)
	for _, want := range []string{"a batch of 100 clips of 4 frames, 32×32, needs ", " of the device's 39.0 MB are free", "CUDA_ERROR_OUT_OF_MEMORY"} {
		if !strings.Contains(log, want) {
			t.Errorf("the output lacks %q: %s", want, log)
		}
	}
	m := regexp.MustCompile(`a batch of (\d+) fits`).FindStringSubmatch(log)
	if status != failed || m == nil {
		t.Fatalf("exit %d: %s", status, log)
	}
	fits, _ := strconv.Atoi(m[1])
	if log, status := step(fits); status != done {
		t.Errorf("a batch of %d: exit %d: %s", fits, status, log)
	}
	if log, status := step(fits + 1); status != failed {
		t.Errorf("a batch of %d: exit %d: %s", fits+1, status, log)
	}
}

// The program with GPU code starts where there is no driver, and names what to install.
func TestGPUWithoutDriver(t *testing.T) {
	withoutDriver(t)
	magvit(t, "--help")
	out, _ := magvit(t, "doctor")
	for _, want := range []string{"sm_80", "sm_120", "CUDA", "no NVIDIA driver", "install"} {
		if !strings.Contains(out, want) {
			t.Errorf("doctor lacks %q:\n%s", want, out)
		}
	}
	run := filepath.Join(t.TempDir(), "run")
	_, log, status := finish(t, program(t, trainTiny(t, run, "--device", "gpu")...))
	if status != badInput || !strings.Contains(log, "no NVIDIA driver") || !strings.Contains(log, "install") {
		t.Errorf("--device gpu: exit %d\n%s", status, log)
	}
	_, log = magvit(t, trainTiny(t, run, "--device", "auto")...)
	if first, rest, _ := strings.Cut(log, "\n"); !strings.Contains(first, "device: cpu, ") || !strings.Contains(rest, "no GPU is used: ") || !strings.Contains(rest, "no NVIDIA driver") {
		t.Errorf("the log: %s", log)
	}
}
