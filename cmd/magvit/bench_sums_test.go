package main

import (
	"strings"
	"testing"
)

// A process on its own says why it compares no sums over ranks, if the filter asks for some.
func TestBenchCheckSkipsSums(t *testing.T) {
	for filter, want := range map[string]bool{"^(Add.Len:7|SumInOrder)": true, "^ReduceScatter.Ranks:2 Len:4 ": true, "^Add.Len:7": false} {
		text, _ := magvit(t, "bench", "--check", "--device", "cpu", "--filter", filter)
		if got := strings.Contains(text, "skipped: sums over ranks by NCCL: a program without MPI; make mpi"); got != want {
			t.Errorf("--filter %s: says that sums are skipped: %v, want %v\n%s", filter, got, want, text)
		}
	}
}
