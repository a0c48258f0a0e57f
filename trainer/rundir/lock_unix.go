//go:build unix

package rundir

import (
	"errors"
	"os"
	"syscall"
)

// lock locks a file for this process until it is closed. File systems without locks
// return no error.
func lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return err
	}
	return nil
}
