//go:build emul && linux

package emul

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed *.h emul.cc
var sources embed.FS

// Compile makes a shared library of the kernel sources in dir/*.cu and returns its
// path. main is the text of a file in dir/emul that includes headers of this package,
// the sources, and lists the kernels; "" is the one of this package.
func Compile(dir, main string) (string, error) {
	sub := filepath.Join(dir, "emul")
	if err := writeSources(sub); err != nil {
		return "", err
	}
	if main != "" {
		if err := os.WriteFile(filepath.Join(sub, "emul.cc"), []byte(main), 0o644); err != nil {
			return "", fmt.Errorf("emul: %w", err)
		}
	}
	lib := filepath.Join(dir, "kernels.so")
	// -Bsymbolic: kernels must not be taken from the program, which has the same names.
	out, err := exec.Command("g++", "-std=c++17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-Wno-unknown-pragmas", "-Wno-psabi",
		"-Wl,-Bsymbolic", "-o", lib, filepath.Join(sub, "emul.cc")).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("emul: g++: %w\n%s", err, out)
	}
	return lib, nil
}

// writeSources writes the C++ files of this package to a folder.
func writeSources(dir string) error {
	if err := os.CopyFS(dir, sources); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("emul: %w", err)
	}
	return nil
}
