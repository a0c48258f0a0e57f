//go:build emul && linux

package main

import (
	"errors"
	"os"
	"path/filepath"

	"magvit/kernels/emul"
)

func compile(dir string) error {
	work, err := os.MkdirTemp("", "magvit-fake-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := errors.Join(os.MkdirAll(dir, 0o777), emul.CompileLibcuda(work), emul.CompileLibnccl(work)); err != nil {
		return err
	}
	for _, name := range []string{"libnccl.so.2", "libcuda.so.1"} {
		library, err := os.ReadFile(filepath.Join(work, name))
		if err != nil {
			return err
		}
		part := filepath.Join(dir, name+".part") // a process may have the old one loaded
		if err := errors.Join(os.WriteFile(part, library, 0o777), os.Rename(part, filepath.Join(dir, name))); err != nil {
			return err
		}
	}
	return nil
}
