//go:build !amd64

package kernels

var isaWinograd = map[ISA][]winogradForm{Generic: plainWinogradForms}
