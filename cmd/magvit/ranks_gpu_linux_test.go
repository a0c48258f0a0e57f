//go:build gpu && emul && mpi && linux

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"magvit/kernels/emul"
)

// init is that of the last of three files that set it: its name decides.
func init() { buildFlags = []string{"-tags", "gpu,mpi"} }

// TestRanksOnGPUs trains on two ranks whose emulated GPUs exchange gradients by a stand-in for
// NCCL within the recorded step: the weights are those of one GPU.
func TestRanksOnGPUs(t *testing.T) {
	dir, err := libcuda()
	if err == nil {
		err = emul.CompileLibnccl(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	clips, runs := few(t), t.TempDir()
	run := func(n int, env []string, args ...string) (stdout, log string, status int) {
		cmd := several(t, n, args...)
		if n == 1 {
			cmd = program(t, args...)
		}
		if cmd.Env == nil {
			cmd.Env = os.Environ()
		}
		cmd.Env = append(append(cmd.Env, "LD_LIBRARY_PATH="+dir, "FAKE_CUDA_DEVICES=2"), env...)
		return finish(t, cmd)
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
