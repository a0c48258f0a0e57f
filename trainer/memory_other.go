//go:build !linux

package trainer

// availableMemory is unknown on this system.
func availableMemory() int64 { return 0 }
