package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// function is what ptxas -v reports of one function on one architecture; sizes are bytes.
type function struct {
	name, arch           string
	kernel               bool // else a device function that was not inlined, without a count of registers
	registers            int
	stack, stores, loads int // of the stack frame and of spilled registers
}

// report is the log of compiling one .cu file.
type report struct {
	functions []function
	// serialized are messages C75xx: the assembler made wgmma instructions wait for each other.
	serialized []string
}

var (
	entry     = regexp.MustCompile(`Compiling entry function '(\w+)' for '(sm_\w+)'`)
	property  = regexp.MustCompile(`Function properties for (\w+)`)
	memory    = regexp.MustCompile(`(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads`)
	registers = regexp.MustCompile(`Used (\d+) registers`)
	serial    = regexp.MustCompile(`\(C75\d\d\).*`)
)

// parse reads the messages of ptxas -v.
func parse(log []byte) (r report) {
	for line := range strings.Lines(string(log)) {
		if m := serial.FindString(line); m != "" {
			r.serialized = append(r.serialized, m)
		}
		if m := entry.FindStringSubmatch(line); m != nil {
			r.functions = append(r.functions, function{name: m[1], arch: m[2], kernel: true})
		}
		if len(r.functions) == 0 {
			continue
		}
		f := &r.functions[len(r.functions)-1]
		if m := property.FindStringSubmatch(line); m != nil && m[1] != f.name {
			r.functions = append(r.functions, function{name: m[1], arch: f.arch})
			continue
		}
		if m := memory.FindStringSubmatch(line); m != nil {
			f.stack, f.stores, f.loads = number(m[1]), number(m[2]), number(m[3])
		}
		if m := registers.FindStringSubmatch(line); m != nil {
			f.registers = number(m[1])
		}
	}
	return r
}

func number(digits string) int {
	n, err := strconv.Atoi(digits)
	if err != nil {
		panic(err) // the patterns match digits only
	}
	return n
}

// kernels counts the kernels compiled for an architecture.
func (r report) kernels(arch string) (n int) {
	for _, f := range r.functions {
		if f.kernel && f.arch == arch {
			n++
		}
	}
	return n
}

// stacked are the kernels that may have a stack: small arrays of up to 144 bytes.
var stacked = regexp.MustCompile(`^taylor_[a-z_]*_16(_half)?$`)

const mostStack = 144

// check refuses spilled registers, stacks that are not expected, serialized wgmma
// instructions, and a log without kernels.
func (r report) check(source, version string) error {
	var errs []error
	refuse := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf(source+", nvcc "+version+": "+format, args...))
	}
	if len(r.functions) == 0 {
		refuse("the log names no kernel")
	}
	for _, f := range r.functions {
		switch {
		case f.kernel && f.registers == 0:
			refuse("the log does not give the registers of %s on %s", f.name, f.arch)
		case f.stores+f.loads > 0:
			refuse("%s on %s spills registers: %d bytes of stores, %d bytes of loads, a stack of %d bytes", f.name, f.arch, f.stores, f.loads, f.stack)
		case f.stack > 0 && !stacked.MatchString(f.name):
			refuse("%s on %s has a stack of %d bytes; only kernels that match %s may have one", f.name, f.arch, f.stack, stacked)
		case f.stack > mostStack:
			refuse("%s on %s has a stack of %d bytes; %d are legal", f.name, f.arch, f.stack, mostStack)
		}
	}
	for _, s := range r.serialized {
		refuse("serialized wgmma: %s", s)
	}
	return errors.Join(errs...)
}
