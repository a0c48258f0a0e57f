package trainer

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// availableMemory is the number of bytes that this process can allocate: the least of what the system has available, what
// its control group leaves and what its limit of address space leaves; 0 if it is unknown.
func availableMemory() int64 {
	least := int64(0)
	bound := func(bytes int64) {
		if least == 0 || bytes < least {
			least = max(bytes, 1)
		}
	}
	if kB := field("/proc/meminfo", "MemAvailable:"); kB > 0 {
		bound(kB << 10)
	}
	if limit, ok := number("/sys/fs/cgroup/memory.max"); ok {
		if used, ok := number("/sys/fs/cgroup/memory.current"); ok {
			bound(limit - used)
		}
	}
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_AS, &r) == nil && r.Cur < 1<<62 {
		bound(int64(r.Cur) - field("/proc/self/status", "VmSize:")<<10)
	}
	return least
}

// field is a number of a file of lines "name: number", 0 if there is none.
func field(path, name string) int64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		if text, ok := strings.CutPrefix(in.Text(), name); ok {
			var n int64
			fmt.Sscan(text, &n)
			return n
		}
	}
	return 0
}

// number is a file that consists of a number.
func number(path string) (int64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}
