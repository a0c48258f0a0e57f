package kernels

import "fmt"

// MemoryError says that a backend has not enough memory for one more buffer. All
// numbers are bytes.
type MemoryError struct {
	Want, Used  int64 // of the buffer, and of those before it
	Free, Total int64 // of the device
	Err         error // what the device says
}

func (e *MemoryError) Error() string {
	return fmt.Sprintf("%s more memory wanted besides %s in use, %s of the device's %s are free: %v",
		Size(e.Want), Size(e.Used), Size(e.Free), Size(e.Total), e.Err)
}

// Size writes a number of bytes with a unit.
func Size(bytes int64) string {
	if bytes < 1e9 {
		return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(bytes)/1e9)
}

func (e *MemoryError) Unwrap() error { return e.Err }
