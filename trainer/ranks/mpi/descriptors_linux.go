//go:build mpi

package mpi

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// closeOnExec keeps descriptors of the launcher and of MPI from children such as ffmpeg: a rank
// that died would go unnoticed as long as a child of its lived.
func closeOnExec() {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return // no /proc: children inherit what MPI has opened
	}
	for _, e := range open {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}
