//go:build !amd64

package kernels

var isaTiles = map[ISA]tiles{Generic: genericTiles}
