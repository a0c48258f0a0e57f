//go:build !linux

package main

import "runtime"

// affinity is for Linux; elsewhere processes share all cores.
func affinity() string { return "" }

func online() int { return runtime.NumCPU() }
