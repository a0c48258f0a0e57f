package ranks

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memory is a mapping of memory that processes share. It has no name in any folder, and goes with the last process that
// maps it, however that ends. A nil memory is none.
type memory struct {
	bytes []byte
	file  *os.File // of the process that made it, until the others have opened it
}

// makeMemory makes and maps memory.
func makeMemory(name string, bytes int) (*memory, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("no memory to share: %w", err)
	}
	m := &memory{file: os.NewFile(uintptr(fd), name)}
	if err = m.file.Truncate(int64(bytes)); err == nil {
		err = m.mapFile(m.file, bytes)
	}
	if err != nil {
		m.close()
		return nil, fmt.Errorf("no memory to share: %w", err)
	}
	return m, nil
}

// path is where other processes of this machine find the memory, "" for none.
func (m *memory) path() string {
	if m == nil {
		return ""
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), m.file.Fd())
}

// openMemory maps what another process has made under that name. In a container with process numbers of its own the path
// may lead elsewhere.
func openMemory(path, name string, bytes int) (*memory, error) {
	if target, err := os.Readlink(path); err != nil || target != "/memfd:"+name+" (deleted)" {
		return nil, fmt.Errorf("%s is not the memory of the first rank, which may run in another container: %q, %w", path, target, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m := &memory{}
	return m, m.mapFile(f, bytes)
}

func (m *memory) mapFile(f *os.File, bytes int) (err error) {
	m.bytes, err = unix.Mmap(int(f.Fd()), 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return err
}

// forget closes the file once all have mapped it.
func (m *memory) forget() error {
	if m == nil || m.file == nil {
		return nil
	}
	return m.file.Close()
}

func (m *memory) close() error {
	if m != nil && m.bytes != nil {
		unix.Munmap(m.bytes)
	}
	return m.forget()
}

// sleep returns when another process wakes those that sleep at a word, at once if it has not the value any more.
func sleep(word *atomic.Uint32, value uint32, most time.Duration) {
	t := unix.NsecToTimespec(int64(most))
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 0, uintptr(value), uintptr(unsafe.Pointer(&t)), 0, 0) // FUTEX_WAIT
}

// wake wakes all that sleep at a word.
func wake(word *atomic.Uint32) {
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 1, 1<<30, 0, 0, 0) // FUTEX_WAKE
}
