package data

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// widen makes room for 1 MiB in a pipe, which has 64 KiB: a frame of a film passes it in a few writes, not in dozens. Where the
// system does not allow it, the pipe works as it is.
func widen(pipe io.Reader) {
	f, ok := pipe.(*os.File)
	if !ok {
		return
	}
	if c, err := f.SyscallConn(); err == nil {
		c.Control(func(fd uintptr) { unix.FcntlInt(fd, unix.F_SETPIPE_SZ, 1<<20) })
	}
}
