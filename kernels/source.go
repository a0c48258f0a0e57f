package kernels

import "embed"

// Source holds the .cu files.
//
//go:embed *.cu *.cuh
var Source embed.FS
