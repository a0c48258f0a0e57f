package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// affinity names the cores that the process may use.
func affinity() string {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return ""
	}
	return fmt.Sprintf("%x", set)
}

// online is the number of the machine's cores.
func online() (n int) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return runtime.NumCPU()
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "cpu") && !strings.HasPrefix(line, "cpu ") {
			n++
		}
	}
	return max(n, runtime.NumCPU())
}
