package kernels

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// threadSeconds is how long the calling thread has had a core.
func threadSeconds() float64 {
	const threadCPUTime = 3
	var t syscall.Timespec
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, threadCPUTime, uintptr(unsafe.Pointer(&t)), 0)
	return float64(t.Nano()) / 1e9
}

// TestWinogradSpeed compares forms with the direct kernels, in turn in one process, on
// one core, by the least time of the thread. It is a measurement, to be asked for with
// MAGVIT_WINOGRAD_SPEED, whose value selects rows by a part of their name.
func TestWinogradSpeed(t *testing.T) {
	only, asked := os.LookupEnv("MAGVIT_WINOGRAD_SPEED")
	if !asked {
		t.Skip("a measurement; set MAGVIT_WINOGRAD_SPEED to run it")
	}
	runtime.LockOSThread()
	c := NewCPU(1)
	defer c.Close()
	for _, s := range []Conv{
		conv(2, 16, 64, 64, 64, 64, 3, 3, 3), conv(2, 18, 64, 64, 32, 32, 3, 3, 3), conv(2, 18, 32, 32, 64, 64, 3, 3, 3),
		conv(2, 17, 32, 32, 128, 128, 3, 3, 3), conv(2, 18, 16, 16, 128, 128, 3, 3, 3), conv(2, 9, 16, 16, 128, 128, 3, 3, 3), conv(2, 9, 16, 16, 256, 256, 3, 3, 3),
		conv(2, 5, 16, 16, 512, 512, 3, 3, 3),
		conv(2, 17, 64, 64, 64, 64, 1, 3, 3), conv(2, 16, 16, 16, 64, 64, 1, 3, 3), conv(2, 16, 16, 16, 48, 64, 1, 3, 3), conv(2, 16, 8, 8, 96, 96, 1, 3, 3), conv(2, 8, 8, 8, 96, 96, 3, 3, 3),
		conv(2, 4, 6, 6, 64, 64, 3, 3, 3), conv(2, 16, 7, 7, 64, 64, 1, 3, 3),
	} {
		act := s.with(func(s *Conv) { s.Act = ELU })
		for _, spec := range []Spec{act, ConvGradX{act}, ConvGradW{s}} {
			name := fmt.Sprintf("%T %dx%dx%dx%dx%d-%d kt=%d", spec, s.N, s.T, s.H, s.W, s.C, s.O, s.KT)[len("kernels."):]
			if !strings.Contains(name, only) {
				continue
			}
			var args []Buffer
			for _, v := range values(spec, 0) {
				args = append(args, Host(v))
			}
			forms := []ConvKernels{ExactKernels, winograd2, winograd4}
			var kernels []Kernel
			for _, form := range forms {
				c.conv = form
				k, err := c.Prepare(spec)
				if err != nil {
					t.Fatal(err)
				}
				kernels = append(kernels, k)
				k.Run(args...)
			}
			best := slices.Repeat([]float64{1e9}, len(forms))
			for start, i := time.Now(), 0; i < 3 || time.Since(start) < 2*time.Second; i++ {
				for j, k := range kernels {
					from := threadSeconds()
					k.Run(args...)
					best[j] = min(best[j], threadSeconds()-from)
				}
			}
			line := fmt.Sprintf("%-42s direct %8.2f ms %6.1f GFLOP/s", name, 1e3*best[0], float64(spec.FLOPs())/best[0]/1e9)
			for j := range forms[1:] {
				line += fmt.Sprintf("  F%d %8.2f ms %5.2fx", 2*(j+1), 1e3*best[j+1], best[0]/best[j+1])
			}
			fmt.Println(line)
		}
	}
}
