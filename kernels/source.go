package kernels

import "embed"

// Source holds the CUDA form of the kernels, each beside its definition.
//
//go:embed *.cu *.cuh
var Source embed.FS
