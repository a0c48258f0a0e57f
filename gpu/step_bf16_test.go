//go:build emul && linux

package gpu_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"magvit/gpu"
	"magvit/kernels"
	"magvit/kernels/emul"
	"magvit/model"
)

// naive is the CPU backend with bfloat16 as it is meant: definitions of products, of
// rounded operands, and of what is stored in bfloat16 where the device does.
type naive struct {
	*kernels.CPU
	like kernels.Backend
}

type definition struct{ kernels.Spec }

func (n naive) StoresBF16() bool { return kernels.StoresBF16(n.like) }

func (naive) Precision() kernels.Precision { return kernels.BF16 }

func (n naive) Prepare(s kernels.Spec) (kernels.Kernel, error) {
	if _, stored := kernels.Plain(s); !stored && kernels.RoundedArgs(s) == nil {
		return n.CPU.Prepare(s)
	}
	return definition{s}, s.Validate()
}

func (k definition) Run(args ...kernels.Buffer) {
	values := make([][]float32, len(args))
	for i, a := range k.Args() {
		values[i] = args[i].(kernels.Host)
		if a.BF16 {
			values[i] = make([]float32, a.Len())
			kernels.UnpackBF16(values[i], args[i].(kernels.Host))
		}
	}
	for _, i := range kernels.RoundedArgs(k.Spec) {
		rounded := make([]float32, len(values[i]))
		for j, v := range values[i] {
			rounded[j] = kernels.RoundBF16(v)
		}
		values[i] = rounded
	}
	k.Define(values...)
	for i, a := range k.Args() {
		if a.BF16 && a.Out {
			kernels.PackBF16(args[i].(kernels.Host), values[i])
		}
	}
}

// Whole training steps in bfloat16 stray from those in float32 at most twice as far as
// naive ones do.
func TestTrainingStepInBF16(t *testing.T) {
	for _, c := range []struct {
		name   string
		arch   string
		uses   string // kernels that must have a part in it
		times  float64
		config func(*testing.T) (model.Config, model.Shape)
	}{
		{"fsq", "sm_80", "conv_mma_64", 2, withFSQ},
		{"lfq and squeeze-excite", "sm_80", "conv_grad_w_mma_64 conv_grad_shuffle_mma_64", 2, withLFQ},
		{"64 channels", hopper, "conv_grad_w_sm90a conv_grad_shuffle_sm90a", 2, withTensorCores},
		// The device also rounds the weights of attention and their slopes, which is no
		// definition's to round: up to 3 times as far as the naive step.
		{"attention", "sm_80", "attention_grad_kv_mma", 4, withAttention},
	} {
		t.Run(c.name, func(t *testing.T) {
			drv := emul.Open(emul.Shuffled).As(c.arch)
			cpu, dev := kernels.NewCPU(1), gpu.Emulated(drv, kernels.BF16)
			defer cpu.Close()
			defer dev.Close()
			cfg, shape := c.config(t)
			tok, offsets, first, exact := train(t, cpu, cfg, shape)
			_, _, _, want := train(t, naive{cpu, dev}, cfg, shape)
			_, _, _, got := train(t, dev, cfg, shape)
			for _, kernel := range strings.Fields(c.uses) {
				if !slices.Contains(drv.Found(), kernel) {
					t.Errorf("%s has no part in it: %v", kernel, drv.Found())
				}
			}
			within := func(what string, got, want, exact []float32) {
				t.Helper()
				e, limit := math.Sqrt(norm2(minus(got, exact))), c.times*math.Sqrt(norm2(minus(want, exact)))
				if !(e <= limit) {
					t.Errorf("%s strays by %.3g, want at most %.3g, %v times what naive steps do", what, e, limit, c.times)
				}
			}
			if want.loss == exact.loss {
				t.Fatal("the precision makes no difference")
			}
			within("the loss", []float32{got.loss}, []float32{want.loss}, []float32{exact.loss})
			within("the loss's terms", got.terms, want.terms, exact.terms)
			for i, p := range tok.Params {
				from, to := offsets[i], offsets[i]+p.Len()
				within("the gradient of "+p.Name, got.grads[from:to], want.grads[from:to], exact.grads[from:to])
			}
			within("the parameters' change", minus(got.params, first), minus(want.params, first), minus(exact.params, first))
		})
	}
}
