package model

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Files and functions that README.md names exist, and it stays short.
func TestReadmeNamesWhatExists(t *testing.T) {
	text, err := os.ReadFile("README.md")
	check(t, err)
	if n := strings.Count(string(text), "\n"); n >= 100 {
		t.Errorf("README.md has %d lines, want fewer than 100", n)
	}
	paths, tests := regexp.MustCompile("`((?:model|kernels|trainer|cmd)/[^`]*)`").FindAllSubmatch(text, -1), regexp.MustCompile("`?(Test[A-Z]\\w+)`?").FindAllSubmatch(text, -1)
	if len(paths) < 20 || len(tests) < 4 {
		t.Fatalf("README.md names %d files and %d tests", len(paths), len(tests))
	}
	for _, p := range paths {
		if _, err := os.Stat(filepath.Join("..", string(p[1]))); err != nil {
			t.Errorf("README.md names %s: %v", p[1], err)
		}
	}
	var source strings.Builder
	for _, dir := range []string{".", "../cmd/magvit"} {
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		check(t, err)
		for _, f := range files {
			b, err := os.ReadFile(f)
			check(t, err)
			source.Write(b)
		}
	}
	for _, name := range tests {
		if !strings.Contains(source.String(), "func "+string(name[1])+"(") {
			t.Errorf("README.md names %s, which is no test", name[1])
		}
	}
}
