package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeNvcc is an nvcc that writes a recorded log and counts its calls.
func fakeNvcc(t *testing.T, log string) toolchain {
	t.Helper()
	recordedLog, err := filepath.Abs(filepath.Join("testdata", log))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "nvcc")
	script := `#!/bin/sh
case $1 in
--version) echo "Cuda compilation tools, release 13.7, V13.7.5" ;;
--list-gpu-code) echo sm_75; echo sm_80; echo sm_90; echo sm_100 ;;
*) echo "$@" >>calls; while [ "$1" != -o ]; do shift; done; echo code >"$2"; cat "` + recordedLog + `" >&2 ;;
esac
`
	if err := os.WriteFile(path, []byte(script), 0o777); err != nil {
		t.Fatal(err)
	}
	return toolchain{nvcc: path}
}

// tree is a repository with one ordinary kernel and one for sm_90a.
func tree(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, f := range []string{"kernels/a.cu", "kernels/b_sm90a.cu", "kernels/c.cuh", "gpu/fatbin/gone.fatbin", "bin/kernels/gone.log"} {
		if err := os.MkdirAll(filepath.Dir(f), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func calls(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("calls")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func TestBuild(t *testing.T) {
	tool := fakeNvcc(t, "conv_sm90a-13.0.88.log")
	tree(t)
	if err := tool.build(); err != nil {
		t.Fatal(err)
	}
	if n := len(calls(t)); n != 2 {
		t.Fatalf("nvcc ran %d times, want 2", n)
	}
	for _, call := range calls(t) {
		want := "-gencode arch=compute_80,code=sm_80 -gencode arch=compute_90a,code=sm_90a -gencode arch=compute_100,code=sm_100 -gencode arch=compute_80,code=compute_80 -o"
		if strings.Contains(call, "b_sm90a") {
			want = "-Xptxas -v -gencode arch=compute_90a,code=sm_90a -o"
		}
		if !strings.Contains(call, want) {
			t.Errorf("nvcc %s\nlacks %s", call, want)
		}
	}
	text, err := os.ReadFile("gpu/fatbin/built.txt")
	if want := "sm_80 sm_90a sm_100 compute_80\n13.7\n"; err != nil || string(text) != want {
		t.Errorf("built.txt holds %q, %v, want %q", text, err, want)
	}
	if _, err := os.Stat("gpu/fatbin/gone.fatbin"); err == nil {
		t.Error("a fatbin without a source is left")
	}

	// Once more: nothing to do. Then a changed source, a changed header, a changed log.
	if err := tool.build(); err != nil || len(calls(t)) != 2 {
		t.Errorf("unchanged: %v, nvcc ran %d times, want 2", err, len(calls(t)))
	}
	for _, change := range []struct {
		file string
		runs int
	}{{"kernels/a.cu", 3}, {"kernels/c.cuh", 5}, {"bin/kernels/a.log", 6}} {
		if err := os.WriteFile(change.file, []byte("changed\n"), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := tool.build(); err != nil || len(calls(t)) != change.runs {
			t.Errorf("changed %s: %v, nvcc ran %d times, want %d", change.file, err, len(calls(t)), change.runs)
		}
	}
}

func TestBuildKeepsNoFatbinOfRefusedCode(t *testing.T) {
	tool := fakeNvcc(t, "conv_sm90a-13.5.37.log")
	tree(t)
	err := tool.build()
	if want := "kernels/a.cu, nvcc 13.7.5: conv_sm90a on sm_90a spills registers"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q in it", err, want)
	}
	for _, pattern := range []string{"gpu/fatbin/*.fatbin", "gpu/fatbin/*.part", "gpu/fatbin/built.txt"} {
		if left, _ := filepath.Glob(pattern); left != nil {
			t.Errorf("%v left after a refused build", left)
		}
	}
}

// A check compiles all files, or some, and leaves nothing that a build would use.
func TestCheckAll(t *testing.T) {
	tool, spills := fakeNvcc(t, "conv_sm90a-13.0.88.log"), fakeNvcc(t, "conv_sm90a-13.5.37.log")
	tree(t)
	for i, names := range [][]string{nil, {"b_sm90a"}} {
		if err := tool.checkAll(names); err != nil || len(calls(t)) != 2+i {
			t.Errorf("check %v: %v, nvcc ran %d times, want %d", names, err, len(calls(t)), 2+i)
		}
	}
	if err := tool.checkAll([]string{"gone"}); err == nil || !strings.Contains(err.Error(), "kernels/gone.cu") {
		t.Errorf("a name without a source: %v", err)
	}
	if err := spills.checkAll([]string{"b_sm90a"}); err == nil || !strings.Contains(err.Error(), "spills registers") {
		t.Errorf("spilled registers: %v", err)
	}
	if made, _ := filepath.Glob("gpu/fatbin/a.fatbin"); made != nil {
		t.Errorf("%v after checks", made)
	}
}

func TestToolchainRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nvcc")
	for script, want := range map[string]string{
		"#!/bin/sh\necho sm_50 sm_60\n": "sm_80",
		"#!/bin/sh\nexit 3\n":           "exit status 3",
	} {
		if err := os.WriteFile(path, []byte(script), 0o777); err != nil {
			t.Fatal(err)
		}
		if _, err := (toolchain{nvcc: path}).known(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
		if _, _, err := (toolchain{nvcc: path}).release(); err == nil {
			t.Error("an nvcc without a release is accepted")
		}
	}
}
