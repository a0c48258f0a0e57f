//go:build !emul || !linux

package main

import "errors"

func compile(string) error {
	return errors.New("kernels run on the host in a build with -tags emul, on Linux")
}
