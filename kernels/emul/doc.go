//go:build !emul || !linux

// Package emul is empty without the tag emul, and where the system is not Linux.
package emul
