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
	return fmt.Sprintf("%.2f GB more memory wanted beside %.2f GB in use, %.2f of the device's %.2f GB are free: %v",
		float64(e.Want)/1e9, float64(e.Used)/1e9, float64(e.Free)/1e9, float64(e.Total)/1e9, e.Err)
}

func (e *MemoryError) Unwrap() error { return e.Err }
