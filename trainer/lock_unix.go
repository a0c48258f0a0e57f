//go:build unix

package trainer

import (
	"errors"
	"os"
	"syscall"
)

// lock takes a file for this process until it is closed. File systems that
// cannot lock let everybody in.
func lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return err
	}
	return nil
}
