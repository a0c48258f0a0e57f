package main

import (
	"strings"
	"testing"
)

// The recorded disassemblies hold the labels of kernels and, of each instruction that
// counts, the first lines.
func TestSass(t *testing.T) {
	files := []string{"conv_mma.80.sass", "attention_mma.120.sass", "conv_sm90a.90a.sass"}
	lines := []string{
		"conv_mma on sm_x: 6 kernels, 12 HMMA.16816.F32.BF16, 12 LDSM, 12 LDGSTS",
		"attention_mma on sm_x: 4 kernels, 8 HMMA.16816.F32.BF16, 8 LDSM",
		"conv_sm90a on sm_x: 3 kernels, 12 HGMMA.64x256x16.F32.BF16, 6 UTMALDG.5D, 6 USETMAXREG",
	}
	for i, e := range expectations {
		text := string(recorded(t, files[i]))
		if line, err := e.check(text, "sm_x"); err != nil || line != lines[i] {
			t.Errorf("%s: %q, %v, want %q", files[i], line, err, lines[i])
		}
		for _, in := range e.least {
			_, err := e.check(strings.Replace(text, in.name, "FFMA", 2), "sm_x") // the first kernel's
			if want := " of " + in.name + ", expected"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s without %s: error %v, want %q in it", files[i], in.name, err, want)
			}
		}
		_, err := e.check(strings.Replace(text, ".text.", ".data.", 1), "sm_x")
		if err == nil || !strings.Contains(err.Error(), "kernels on tensor cores, expected") {
			t.Errorf("%s with a kernel less: error %v", files[i], err)
		}
	}
}
