//go:build emul && linux

package emul

import (
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write table.h")

// table.h lists the kernels that the .cu files have. After a change of them:
//
//	go test -tags emul ./kernels/emul -run TestTable -update
func TestTable(t *testing.T) {
	want, err := allKernels(".")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("table.h", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("table.h")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("table.h does not list the kernels of the .cu files: run this test with -update")
	}
}
