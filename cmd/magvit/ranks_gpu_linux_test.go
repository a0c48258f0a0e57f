//go:build gpu && emul && mpi && linux

package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// init is that of the last of three files that set it: its name decides.
func init() { buildFlags = []string{"-tags", "gpu,mpi"} }

// onGPUs runs a command on ranks with an emulated GPU each.
func onGPUs(t *testing.T, n int, env []string, args ...string) (stdout, log string, status int) {
	t.Helper()
	dir, err := libcuda()
	if err != nil {
		t.Fatal(err)
	}
	cmd := several(t, n, args...)
	if n == 1 {
		cmd = program(t, args...)
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(append(cmd.Env, "LD_LIBRARY_PATH="+dir, "FAKE_CUDA_DEVICES="+strconv.Itoa(n)), env...)
	return finish(t, cmd)
}

// TestRanksOnGPUs trains on two ranks whose emulated GPUs exchange gradients by a stand-in for
// NCCL within the recorded step: the weights are those of one GPU.
func TestRanksOnGPUs(t *testing.T) {
	clips, runs := few(t), t.TempDir()
	run := func(n int, env []string, args ...string) (stdout, log string, status int) {
		return onGPUs(t, n, env, args...)
	}
	training := func(out string) []string {
		return []string{"train", "--preset", "tiny", "--data", clips, "--out", filepath.Join(runs, out), "--device", "gpu", "--steps", "2",
			"--set", "train.batch=1", "--set", "train.accumulate=2", "--set", "train.eval_clips=1", "--set", "train.samples=0", "--set", "train.bucket=0.01", "--set", "train.timeout=5"}
	}
	for n, out := range map[int]string{1: "one", 2: "two"} {
		if _, log, status := run(n, nil, append(training(out), "--set", "train.timeout=60", "--set", "train.shard_optimizer=true")...); status != done || strings.Contains(log, "gradients go through") {
			t.Fatalf("%d ranks: exit %d\n%s", n, status, log)
		}
	}
	for _, name := range []string{"model.safetensors", "optimizer.safetensors"} {
		one, err := os.ReadFile(filepath.Join(runs, "one", "checkpoints", "step-000002", name))
		if err != nil {
			t.Fatal(err)
		}
		two, err := os.ReadFile(filepath.Join(runs, "two", "checkpoints", "step-000002", name))
		if err != nil || !bytes.Equal(one, two) {
			t.Errorf("two GPUs: %s differs from that of one (%v)", name, err)
		}
	}

	if _, log, status := run(2, []string{"FAKE_NCCL_STUCK=1"}, training("stuck")...); status == done || !strings.Contains(log, "another rank does not answer") {
		t.Errorf("a stuck rank: exit %d\n%s", status, log)
	}

	text, log, status := run(2, nil, "bench", "reduce", "--device", "gpu", "--max", "0.02", "--json")
	var r reduceResult
	if err := json.Unmarshal([]byte(text), &r); err != nil || status != done {
		t.Fatalf("bench reduce: exit %d, %v\n%s\n%s", status, err, text, log)
	}
	if len(r.Rows) != 8 || r.Rows[7].How != "nccl" || r.Rows[7].Bytes != 16384 {
		t.Errorf("bench reduce: %+v", r)
	}
}

// TestRanksOnGPUsCheckSums compares sums over ranks with their definition: those in order have its bits on three
// ranks, where NCCL's order is another, and sums that a library adds or moves wrongly are found.
func TestRanksOnGPUsCheckSums(t *testing.T) {
	check := func(n int, filter string, env ...string) (r benchResult, log string, status int) {
		out, log, status := onGPUs(t, n, env, "bench", "--check", "--device", "gpu", "--json", "--filter", "^(SumInOrder|AllReduce|ReduceScatter)[{]"+filter)
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%d ranks, %v: exit %d, %v\n%s\n%s", n, env, status, err, out, log)
		}
		return r, log, status
	}
	failed := func(r benchResult) map[string]bool {
		names := map[string]bool{}
		for _, k := range r.Kernels {
			if name, _, _ := strings.Cut(k.Kernel, "{"); !k.OK {
				names[name+" "+k.Launches] = true
			}
		}
		return names
	}

	r, log, status := check(3, "")
	if status != done || r.Failed != 0 || len(r.Skipped) != 0 {
		t.Fatalf("three ranks: exit %d, %d differ, skipped %v\n%s", status, r.Failed, r.Skipped, log)
	}
	rows, other := map[string]int{}, 0.
	for _, k := range r.Kernels {
		name, _, _ := strings.Cut(k.Kernel, "{")
		if k.Launches == "NCCL" {
			rows[name]++
		}
		if name == "AllReduce" && k.Launches == "NCCL" && !strings.Contains(k.Kernel, "BF16:true") {
			other = max(other, k.NMSE)
		}
	}
	if n := len(sumSizes); rows["SumInOrder"] != n || rows["AllReduce"] != 2*n || rows["ReduceScatter"] != 2*n {
		t.Errorf("rows of NCCL: %v; want %d, and twice as many of those that add bfloat16 too", rows, n)
	}
	if other == 0 {
		t.Error("NCCL's sums have the bits of the sums in order: the order is not tested")
	}

	for wrong, want := range map[string]map[string]bool{
		"add":    {"AllReduce NCCL": true, "ReduceScatter NCCL": true},
		"gather": {"SumInOrder NCCL": true},
	} {
		r, log, status := check(2, "Ranks:2 Len:[1348] ", "FAKE_NCCL_WRONG="+wrong)
		if got := failed(r); status == done || !maps.Equal(got, want) || !strings.Contains(log, "kernels differ from their definition") {
			t.Errorf("a library with a wrong %s: exit %d, %v differ, want %v\n%s", wrong, status, got, want, log)
		}
		if !strings.Contains(log, "on rank 1 on ") {
			t.Errorf("a library with a wrong %s: rank 1 is not named\n%s", wrong, log)
		}
	}

	r, log, status = check(1, "")
	if status != done || len(r.Skipped) != 2 || !strings.Contains(log, "skipped: sums over ranks by NCCL: one process; mpirun -n 2") {
		t.Errorf("one process: exit %d, skipped %v\n%s", status, r.Skipped, log)
	}
}
