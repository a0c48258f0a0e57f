package main

import (
	"os"
	"strings"
	"testing"

	"magvit/kernels"
)

// Where the instructions lack, or are forbidden, bf16 is an error that names them.
func TestBF16NeedsItsInstructions(t *testing.T) {
	cmd := program(t, "train", "--preset", "tiny", "--data", clips(t), "--out", "run", "--precision", "bf16")
	cmd.Env = append(os.Environ(), "MAGVIT_ISA=generic")
	_, stderr, status := finish(t, cmd)
	refused(t, stderr, status, "--precision", "bf16", "AVX", "f32")
	cmd = program(t, "bench", "--precision", "f16")
	_, stderr, status = finish(t, cmd)
	refused(t, stderr, status, `"f16"`, "f32 or bf16")
}

func TestTrainInBF16(t *testing.T) {
	if err := kernels.CanBF16(); err != nil {
		t.Skip(err)
	}
	_, stderr := magvit(t, "train", "--preset", "tiny", "--data", clips(t), "--out", "run", "--steps", "2", "--precision", "bf16")
	first, _, _ := strings.Cut(stderr, "\n")
	if !strings.Contains(first, "with BF16") || !strings.HasSuffix(strings.TrimSuffix(first, `"`), ", bf16") {
		t.Errorf("the first line does not tell the instructions and the precision: %s", first)
	}
	stdout, _ := magvit(t, "bench", "--check", "--filter", "^ModConv", "--precision", "bf16")
	if !strings.Contains(stdout, "with BF16") || !strings.Contains(stdout, " 0 differ") {
		t.Errorf("bench --check: %s", stdout)
	}
	if stdout, _ = magvit(t, "doctor"); !strings.Contains(stdout, "--precision bf16") {
		t.Errorf("doctor does not tell of bf16: %s", stdout)
	}
}
