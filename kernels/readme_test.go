package kernels_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The files that README.md names exist, and so do the tests.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n > 90 {
		t.Errorf("%d lines, want at most 90", n)
	}
	named := 0
	for _, m := range regexp.MustCompile("`([\\w./]+\\.(?:go|cu|cuh|h))`").FindAllStringSubmatch(string(text), -1) {
		if strings.HasPrefix(m[1], "x_") {
			continue // any stem
		}
		named++
		if _, err := os.Stat(m[1]); err != nil {
			t.Errorf("%s: %v", m[1], err)
		}
	}
	if named < 10 {
		t.Errorf("only %d files are named", named)
	}
	geglu, err := os.ReadFile("geglu.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"Validate", "Args", "Define", "FLOPs", "Grads", "cpu"} {
		if !strings.Contains(string(geglu), "func (s GEGLU) "+method+"(") {
			t.Errorf("the worked example has no %s", method)
		}
	}
}
