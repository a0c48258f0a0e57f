//go:build emul && linux

package emul

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed libnccl/libnccl.cc
var libnccl []byte

// CompileLibnccl makes a libnccl.so.2 in dir that joins processes of this machine whose
// driver is that of CompileLibcuda.
func CompileLibnccl(dir string) error {
	source := filepath.Join(dir, "libnccl.cc")
	if err := os.WriteFile(source, libnccl, 0o644); err != nil {
		return fmt.Errorf("emul: %w", err)
	}
	out, err := exec.Command("g++", "-std=c++17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-Wall", "-o", filepath.Join(dir, "libnccl.so.2"), source).CombinedOutput()
	if err != nil {
		return fmt.Errorf("emul: g++: %w\n%s", err, out)
	}
	return nil
}
