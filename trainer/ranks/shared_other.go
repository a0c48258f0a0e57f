//go:build !linux

package ranks

import (
	"errors"
	"sync/atomic"
	"time"
)

// memory that processes share is for Linux; elsewhere ranks send messages.
type memory struct{ bytes []byte }

func makeMemory(string, int) (*memory, error) {
	return nil, errors.New("processes share memory on Linux only")
}
func openMemory(string, string, int) (*memory, error) { return makeMemory("", 0) }

func (*memory) path() string  { return "" }
func (*memory) forget() error { return nil }
func (*memory) close() error  { return nil }

func sleep(*atomic.Uint32, uint32, time.Duration) {}
func wake(*atomic.Uint32)                         {}
