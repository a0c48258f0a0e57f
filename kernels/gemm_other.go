//go:build !amd64

package kernels

var isaTiles = map[ISA]tiles{Generic: genericTiles}

// What follows is never run: CanBF16 is an error.

var bf16Tiles tiles

func peakBF16Loop(int) int { return 0 }

func packRowBF16(*uint16, *float32, int)                      {}
func packRowsBF16(*uint16, *float32, *float32, int, int, int) {}
