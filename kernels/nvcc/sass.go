package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// expectation is what the machine code of a .cu file must hold.
type expectation struct {
	stem    string
	kernels int    // number of kernels, those excepted left out
	except  string // kernels with this in their name are left out
	least   []instruction
}

// instruction is a prefix of an instruction's name, and how many of it each kernel has
// at least.
type instruction struct {
	name  string
	count int
}

// Kernels for mma.sync multiply on tensor cores (HMMA) and load matrices (LDSM); those
// of convolutions copy to shared memory past the registers (LDGSTS). Kernels for sm_90a
// copy tensors of five axes (UTMALDG), multiply 64 by 256 with four instructions for each
// step of K (HGMMA), and move registers from the producer warp to the consumers
// (USETMAXREG); those that sum the workspace of split-K do none of it.
var expectations = []expectation{
	{stem: "conv_mma", kernels: 6, least: []instruction{{"HMMA.16816.F32.BF16", 1}, {"LDSM", 1}, {"LDGSTS", 1}}},
	{stem: "attention_mma", kernels: 4, least: []instruction{{"HMMA.16816.F32.BF16", 1}, {"LDSM", 1}}},
	{stem: "conv_sm90a", kernels: 3, except: "_sum_", least: []instruction{{"HGMMA.64x256x16.F32.BF16", 4}, {"UTMALDG.5D", 1}, {"USETMAXREG", 2}}},
}

// sass compiles and disassembles the files with expectations, for each architecture.
func (t toolchain) sass() error {
	const dir = "bin/sass"
	_, version, err := t.release()
	if err != nil {
		return err
	}
	known, err := t.known()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	type job struct {
		expectation
		arch string
	}
	var jobs []job
	for _, e := range expectations {
		for _, a := range targets(e.stem, known) {
			jobs = append(jobs, job{e, a})
		}
	}
	lines := make([]string, len(jobs))
	err = parallel(len(jobs), func(i int) error {
		j := jobs[i]
		source, cubin := "kernels/"+j.stem+".cu", filepath.Join(dir, j.stem+"."+j.arch+".cubin")
		_, log, err := output(t.nvcc, "-std=c++17", "-O3", "-cubin", "-Xptxas", "-v", "-arch=sm_"+j.arch, "-o", cubin, source)
		if err != nil {
			return err
		}
		text, _, err := output(t.nvdisasm, cubin)
		if err != nil {
			return err
		}
		if err := os.WriteFile(cubin+".sass", text, 0o666); err != nil {
			return err
		}
		lines[i], err = j.check(string(text), "sm_"+j.arch)
		return errors.Join(err, parse(log).check(source, version))
	})
	for _, line := range lines {
		if line != "" {
			fmt.Println(line)
		}
	}
	return err
}

// check counts the instructions of each kernel in a disassembly and returns a line with
// the sums.
func (e expectation) check(text, arch string) (string, error) {
	counts, names := map[string][]int{}, []string{}
	var count []int
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, ".text."); ok {
			name, _, _ := strings.Cut(rest, ":")
			count = nil
			if e.except == "" || !strings.Contains(name, e.except) {
				count = make([]int, len(e.least))
				counts[name] = count
				names = append(names, name)
			}
			continue
		}
		for i := range count {
			if strings.Contains(line, e.least[i].name) {
				count[i]++
			}
		}
	}
	slices.Sort(names)
	var errs []error
	where := e.stem + " on " + arch
	if len(names) != e.kernels {
		errs = append(errs, fmt.Errorf("%s has %d kernels on tensor cores, expected %d: %s", where, len(names), e.kernels, strings.Join(names, ", ")))
	}
	line := fmt.Sprintf("%s: %d kernels", where, len(names))
	for i, in := range e.least {
		sum := 0
		for _, name := range names {
			sum += counts[name][i]
			if counts[name][i] < in.count {
				errs = append(errs, fmt.Errorf("%s: %s has %d of %s, expected %d or more", where, name, counts[name][i], in.name, in.count))
			}
		}
		line += fmt.Sprintf(", %d %s", sum, in.name)
	}
	if len(errs) > 0 {
		return "", errors.Join(errs...)
	}
	return line, nil
}
