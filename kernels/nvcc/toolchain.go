package main

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// architectures get machine code; PTX of the first one serves GPUs to come. A file
// NAME_sm90a.cu uses instructions that only sm_90a has and is compiled for it alone.
var architectures = []string{"80", "86", "89", "90a", "100", "120"}

// toolchain is the programs of a CUDA release.
type toolchain struct {
	nvcc, nvdisasm string
}

// release is the number of the CUDA release, such as 13.0, and version that of nvcc,
// such as 13.0.88.
func (t toolchain) release() (release, version string, err error) {
	out, err := exec.Command(t.nvcc, "--version").Output()
	if err != nil {
		return "", "", fmt.Errorf("%s --version: %w", t.nvcc, err)
	}
	m := regexp.MustCompile(`release ([0-9.]+), V([0-9.]+)`).FindSubmatch(out)
	if m == nil {
		return "", "", fmt.Errorf("%s --version names no release: %q", t.nvcc, out)
	}
	return string(m[1]), string(m[2]), nil
}

// known lists those of the architectures that nvcc can compile for.
func (t toolchain) known() ([]string, error) {
	out, err := exec.Command(t.nvcc, "--list-gpu-code").Output()
	if err != nil {
		return nil, fmt.Errorf("%s --list-gpu-code: %w", t.nvcc, err)
	}
	codes := strings.Fields(string(out))
	var known []string
	for _, a := range architectures {
		if slices.Contains(codes, "sm_"+strings.TrimSuffix(a, "a")) {
			known = append(known, a)
		}
	}
	if !slices.Contains(known, architectures[0]) || !slices.Contains(known, "90a") {
		return nil, fmt.Errorf("%s compiles for %s, and neither sm_%s nor sm_90a may be missing: take an nvcc of CUDA 13", t.nvcc, strings.Join(codes, ", "), architectures[0])
	}
	return known, nil
}

// targets lists those of the architectures that a .cu file is compiled for.
func targets(stem string, known []string) []string {
	if strings.HasSuffix(stem, "_sm90a") {
		return []string{"90a"}
	}
	return known
}

// fatbinFlags are the arguments of nvcc that compile a .cu file for all its targets.
func fatbinFlags(stem string, known []string) []string {
	flags := []string{"-std=c++17", "-O3", "-Werror", "all-warnings", "-fatbin", "-Xfatbin", "-compress-all", "-Xptxas", "-v"}
	for _, a := range targets(stem, known) {
		flags = append(flags, "-gencode", "arch=compute_"+a+",code=sm_"+a)
	}
	if !strings.HasSuffix(stem, "_sm90a") {
		flags = append(flags, "-gencode", "arch=compute_"+architectures[0]+",code=compute_"+architectures[0])
	}
	return flags
}

// output runs a program and returns its stdout and, apart from it, its stderr.
// The error holds both.
func output(program string, args ...string) (stdout, stderr []byte, err error) {
	var out, log bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		return nil, nil, fmt.Errorf("%s%s%s %s: %w", out.Bytes(), log.Bytes(), program, strings.Join(args, " "), err)
	}
	return out.Bytes(), log.Bytes(), nil
}

// sources lists the stems of the .cu files.
func sources() ([]string, error) {
	files, err := filepath.Glob("kernels/*.cu")
	if err == nil && len(files) == 0 {
		err = errors.New("no kernels/*.cu here: run it in the root of the repository")
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".cu")
	}
	return files, err
}

// parallel calls f for each of n items, one call for each core at a time, and joins
// the errors in the order of the items.
func parallel(n int, f func(i int) error) error {
	errs := make([]error, n)
	var wait sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i := range n {
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[i] = f(i)
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}
