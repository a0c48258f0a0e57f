// Command nvcc compiles the .cu files of kernels for GPUs and checks what came out.
//
//	go run ./kernels/nvcc build   compile what changed to gpu/fatbin, logs to bin/kernels
//	go run ./kernels/nvcc check   compile without output, all files or those of NAMEs, and check the logs
//	go run ./kernels/nvcc list    registers, stack and spills of each compiled kernel
//	go run ./kernels/nvcc sass    check the instructions of tensor-core kernels
//
// It runs in the root of the repository. The compiler is --nvcc, the disassembler
// --nvdisasm; make finds both.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	tool := toolchain{}
	flag.StringVar(&tool.nvcc, "nvcc", "nvcc", "compiler, CUDA 13.0 or later")
	flag.StringVar(&tool.nvdisasm, "nvdisasm", "nvdisasm", "disassembler, for sass")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: nvcc [--nvcc PATH] [--nvdisasm PATH] build|check [NAME...]|list|sass")
		flag.PrintDefaults()
	}
	flag.Parse()
	commands := map[string]func() error{
		"build": tool.build, "list": list, "sass": tool.sass,
		"check": func() error { return tool.checkAll(flag.Args()[1:]) },
	}
	run := commands[flag.Arg(0)]
	if run == nil || flag.NArg() != 1 && flag.Arg(0) != "check" {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "nvcc:", err)
		os.Exit(1)
	}
}
