package data

import "golang.org/x/sys/cpu"

// fitAVX is whether frames are scaled by narrowRGB and sumLines, which have the bits of narrowLine and addLines.
var fitAVX = cpu.X86.HasAVX

// narrowRGB is narrowLine of bytes in 3 channels. It reads a byte after the last pixel that is needed,
// and writes a value after the last one of dst.
//
//go:noescape
func narrowRGB(dst *float32, in *byte, cols []tap, unit float32)

// sumLines is addLines.
//
//go:noescape
func sumLines(dst []float32, lines *float32, weight []float32)
