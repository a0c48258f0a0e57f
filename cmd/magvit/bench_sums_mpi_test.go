//go:build mpi

package main

import (
	"encoding/json"
	"testing"
)

// TestMPIBenchCheck compares sums of three ranks through the hosts' memory with their definition.
func TestMPIBenchCheck(t *testing.T) {
	out, log, status := finish(t, several(t, 3, "bench", "--check", "--device", "cpu", "--json", "--filter", "^(Add.Len:7|SumInOrder|AllReduce)"))
	var r benchResult
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != done {
		t.Fatalf("exit %d, %v\n%s\n%s", status, err, out, log)
	}
	if want := 1 + 3*len(sumSizes); r.Failed != 0 || len(r.Kernels) != want {
		t.Errorf("%d of %d rows differ, want 0 of %d\n%s", r.Failed, len(r.Kernels), want, log)
	}
	if len(r.Skipped) != 1 || r.Skipped[0].Why != "not every rank has a GPU" {
		t.Errorf("skipped: %v", r.Skipped)
	}
}
