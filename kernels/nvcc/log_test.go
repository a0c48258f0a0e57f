package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// recorded reads a log that an nvcc wrote; its name ends with the version.
func recorded(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestParse(t *testing.T) {
	for name, want := range map[string][]function{
		"conv_sm90a-13.0.88.log": {
			{name: "conv_grad_w_sm90a", arch: "sm_90a", kernel: true, registers: 168},
			{name: "conv_grad_x_sum_sm90a", arch: "sm_90a", kernel: true, registers: 54},
			{name: "conv_grad_x_sm90a", arch: "sm_90a", kernel: true, registers: 168},
			{name: "conv_sum_sm90a", arch: "sm_90a", kernel: true, registers: 44},
			{name: "conv_sm90a", arch: "sm_90a", kernel: true, registers: 168},
		},
		"conv_sm90a-13.5.37.log": {
			{name: "conv_grad_w_sm90a", arch: "sm_90a", kernel: true, registers: 168},
			{name: "conv_grad_x_sum_sm90a", arch: "sm_90a", kernel: true, registers: 54},
			{name: "conv_grad_x_sm90a", arch: "sm_90a", kernel: true, registers: 168, stack: 24, stores: 32, loads: 48},
			{name: "conv_sum_sm90a", arch: "sm_90a", kernel: true, registers: 44},
			{name: "conv_sm90a", arch: "sm_90a", kernel: true, registers: 168, stack: 24, stores: 32, loads: 48},
		},
		"call-13.0.88.log": { // the device function comes after the kernel, and has no count of registers
			{name: "call", arch: "sm_80", kernel: true, registers: 17, stack: 32},
			{name: "_Z4pickPKfi", arch: "sm_80"},
		},
		"stacked-13.0.88.log": {
			{name: "taylor_grad_kv_16_half", arch: "sm_80", kernel: true, registers: 56, stack: 144},
			{name: "taylor_apply_16", arch: "sm_80", kernel: true, registers: 47, stack: 80},
			{name: "taylor_grad_kv_16_half", arch: "sm_120", kernel: true, registers: 48, stack: 144},
			{name: "taylor_apply_16", arch: "sm_120", kernel: true, registers: 48},
		},
	} {
		if got := parse(recorded(t, name)); !slices.Equal(got.functions, want) || got.serialized != nil {
			t.Errorf("%s: got %+v\nwant %+v", name, got, want)
		}
	}
	if n := parse(recorded(t, "stacked-13.0.88.log")).kernels("sm_80"); n != 2 {
		t.Errorf("%d kernels for sm_80, want 2", n)
	}
	if n := parse(recorded(t, "call-13.0.88.log")).kernels("sm_80"); n != 1 {
		t.Errorf("%d kernels in call.cu, want 1", n)
	}
}

func TestCheckRefuses(t *testing.T) {
	for name, want := range map[string][]string{
		"conv_sm90a-13.0.88.log": nil,
		"stacked-13.0.88.log":    nil,
		"conv_sm90a-13.5.37.log": {
			"a.cu, nvcc 13.x: conv_grad_x_sm90a on sm_90a spills registers: 32 bytes of stores, 48 bytes of loads",
			"a.cu, nvcc 13.x: conv_sm90a on sm_90a spills registers: 32 bytes of stores",
		},
		"call-13.0.88.log":       {"a.cu, nvcc 13.x: call on sm_80 has a stack of 32 bytes"},
		"serialized-13.0.88.log": slices.Repeat([]string{"a.cu, nvcc 13.x: serialized wgmma: (C75"}, 11),
	} {
		err := parse(recorded(t, name)).check("a.cu", "13.x")
		var got []string
		if err != nil {
			got = strings.Split(err.Error(), "\n")
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d errors, want %d: %v", name, len(got), len(want), err)
			continue
		}
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("%s: error %q, want it to begin with %q", name, got[i], want[i])
			}
		}
	}
}

// TestCheckRefusesAltered changes recorded logs: each change alone must be refused.
func TestCheckRefusesAltered(t *testing.T) {
	for _, c := range []struct{ log, old, new, want string }{
		{"stacked-13.0.88.log", " 144 bytes stack frame", " 152 bytes stack frame", "taylor_grad_kv_16_half on sm_80 has a stack of 152 bytes; 144 are legal"},
		{"stacked-13.0.88.log", "0 bytes spill loads", "4 bytes spill loads", "spills registers: 0 bytes of stores, 4 bytes of loads"},
		{"stacked-13.0.88.log", "taylor_apply_16", "taylor_apply_32", "taylor_apply_32 on sm_80 has a stack of 80 bytes"},
		{"conv_sm90a-13.0.88.log", "Used 44 registers", "Used few registers", "does not give the registers of conv_sum_sm90a"},
		{"conv_sm90a-13.0.88.log", "Compiling entry", "compiled", "names no kernel"},
	} {
		text := string(recorded(t, c.log))
		if !strings.Contains(text, c.old) {
			t.Errorf("%s has no %q", c.log, c.old)
		}
		err := parse([]byte(strings.ReplaceAll(text, c.old, c.new))).check("a.cu", "13.x")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with %q: error %v, want %q in it", c.log, c.new, err, c.want)
		}
	}
}
