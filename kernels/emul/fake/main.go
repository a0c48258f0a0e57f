// Command fake compiles a libcuda.so.1 that runs the kernels on the host, and a libnccl.so.2 that joins processes of this
// machine, into a folder:
//
//	go run -tags emul ./kernels/emul/fake DIR
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: fake DIR")
		os.Exit(2)
	}
	if err := compile(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "fake:", err)
		os.Exit(1)
	}
}
