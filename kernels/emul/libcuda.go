//go:build emul && linux

package emul

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"

	"magvit/kernels"
)

//go:embed libcuda/libcuda.cc
var libcuda string

// CompileLibcuda makes a libcuda.so.1 in dir whose one device runs the kernels on the
// host. A program that finds it there (LD_LIBRARY_PATH) drives it as it would a GPU.
func CompileLibcuda(dir string) error {
	if err := os.CopyFS(dir, kernels.Source); err != nil {
		return fmt.Errorf("emul: %w", err)
	}
	main, err := sources.ReadFile("emul.cc")
	if err != nil {
		return fmt.Errorf("emul: %w", err)
	}
	lib, err := Compile(dir, string(main)+libcuda)
	if err != nil {
		return err
	}
	return os.Rename(lib, filepath.Join(dir, "libcuda.so.1"))
}
