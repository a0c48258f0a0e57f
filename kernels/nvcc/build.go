package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	fatbins = "gpu/fatbin"
	logs    = "bin/kernels"
)

// build compiles the .cu files that changed, checks all logs, and writes built.txt,
// which is part of the program: the architectures, and the release of CUDA.
func (t toolchain) build() error {
	release, version, err := t.release()
	if err != nil {
		return err
	}
	known, err := t.known()
	if err != nil {
		return err
	}
	stems, err := sources()
	if err != nil {
		return err
	}
	headers, err := newest("kernels/*.cuh")
	if err != nil {
		return err
	}
	for _, dir := range []string{fatbins, logs} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
	}
	if err := removeOrphans(stems); err != nil {
		return err
	}
	reports := make([]report, len(stems))
	err = parallel(len(stems), func(i int) (err error) {
		reports[i], err = t.compile(stems[i], version, known, headers)
		return err
	})
	if err != nil {
		return err
	}
	var built []string
	for _, a := range known {
		built = append(built, "sm_"+a)
	}
	text := fmt.Sprintf("%s compute_%s\n%s\n", strings.Join(built, " "), architectures[0], release)
	if old, err := os.ReadFile(filepath.Join(fatbins, "built.txt")); err != nil || string(old) != text { // an unchanged file keeps go build's cache
		if err := os.WriteFile(filepath.Join(fatbins, "built.txt"), []byte(text), 0o666); err != nil {
			return err
		}
	}
	for _, arch := range built {
		n := 0
		for _, r := range reports {
			n += r.kernels(arch)
		}
		fmt.Printf("%s: %d kernels, no spills\n", arch, n)
	}
	return nil
}

// compile makes the fatbin of one .cu file if it is older than its sources, or was made
// by another nvcc or with other flags, and checks the log.
func (t toolchain) compile(stem, version string, known []string, headers time.Time) (report, error) {
	source, fatbin, log := "kernels/"+stem+".cu", filepath.Join(fatbins, stem+".fatbin"), filepath.Join(logs, stem+".log")
	flags := fatbinFlags(stem, known)
	head := "nvcc " + version + " " + strings.Join(flags, " ")
	text, err := os.ReadFile(log)
	if err != nil || !strings.HasPrefix(string(text), head+"\n") || !fresh(fatbin, source, headers) {
		part := fatbin + ".part"
		defer os.Remove(part)
		_, messages, err := output(t.nvcc, append(flags, "-o", part, source)...)
		if err != nil {
			return report{}, err
		}
		text = append([]byte(head+"\n"), messages...)
		if err := os.WriteFile(log, text, 0o666); err != nil {
			return report{}, err
		}
		if err := parse(text).check(source, version); err != nil {
			return report{}, err // the fatbin stays the old one
		}
		if err := os.Rename(part, fatbin); err != nil {
			return report{}, err
		}
	}
	r := parse(text)
	return r, r.check(source, version)
}

// checkAll compiles the .cu files of these names, all if there are none, for every
// architecture, and checks the logs. It writes nothing that a build reads.
func (t toolchain) checkAll(names []string) error {
	_, version, err := t.release()
	if err != nil {
		return err
	}
	known, err := t.known()
	if err != nil {
		return err
	}
	stems, err := sources()
	if err != nil {
		return err
	}
	for _, n := range names {
		if !slices.Contains(stems, n) {
			return fmt.Errorf("no kernels/%s.cu", n)
		}
	}
	if len(names) > 0 {
		stems = names
	}
	dir, err := os.MkdirTemp("", "nvcc")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	reports := make([]report, len(stems))
	err = parallel(len(stems), func(i int) error {
		source := "kernels/" + stems[i] + ".cu"
		_, log, err := output(t.nvcc, append(fatbinFlags(stems[i], known), "-o", filepath.Join(dir, stems[i]), source)...)
		if err != nil {
			return err
		}
		reports[i] = parse(log)
		return reports[i].check(source, version)
	})
	if err != nil {
		return err
	}
	for _, a := range known {
		n := 0
		for _, r := range reports {
			n += r.kernels("sm_" + a)
		}
		if n > 0 {
			fmt.Printf("nvcc %s, sm_%s: %d kernels, no spills\n", version, a, n)
		}
	}
	return nil
}

// fresh reports whether a fatbin is newer than its source and all headers.
func fresh(fatbin, source string, headers time.Time) bool {
	made, err1 := os.Stat(fatbin)
	from, err2 := os.Stat(source)
	return err1 == nil && err2 == nil && made.ModTime().After(from.ModTime()) && made.ModTime().After(headers)
}

// newest is the time of the last change to any of the files.
func newest(pattern string) (last time.Time, err error) {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return last, err
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return last, err
		}
		if info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last, nil
}

// removeOrphans removes fatbins and logs without a source: the fatbins would become part
// of the program.
func removeOrphans(stems []string) error {
	for _, pattern := range []string{fatbins + "/*.fatbin", logs + "/*.log"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, f := range files {
			if stem := strings.TrimSuffix(filepath.Base(f), filepath.Ext(f)); !slices.Contains(stems, stem) {
				if err := os.Remove(f); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// list prints what the logs of the last build say of each kernel.
func list() error {
	stems, err := sources()
	if err != nil {
		return err
	}
	for _, stem := range stems {
		text, err := os.ReadFile(filepath.Join(logs, stem+".log"))
		if err != nil {
			return fmt.Errorf("%w: run make kernels first", err)
		}
		for _, f := range parse(text).functions {
			fmt.Printf("%-18s %-32s %-7s %3d registers %3d bytes stack %3d bytes spilled\n", stem, f.name, f.arch, f.registers, f.stack, f.stores)
		}
	}
	return nil
}
