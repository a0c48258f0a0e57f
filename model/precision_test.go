package model

import (
	"math"
	"testing"

	"magvit/kernels"
)

// naive computes in float32 what a naive bf16 does: the operands of products are
// rounded, and so are their results, which the next layer reads.
type naive struct{ *kernels.CPU }

type naiveKernel struct {
	kernels.Kernel
	spec   kernels.Spec
	copies []kernels.Host // of the rounded operands
}

func (n naive) Prepare(s kernels.Spec) (kernels.Kernel, error) {
	k, err := n.CPU.Prepare(s)
	if err != nil || kernels.RoundedArgs(s) == nil {
		return k, err
	}
	copies := make([]kernels.Host, len(s.Args()))
	for _, i := range kernels.RoundedArgs(s) {
		copies[i] = make(kernels.Host, s.Args()[i].Len())
	}
	return naiveKernel{k, s, copies}, nil
}

func (k naiveKernel) Run(args ...kernels.Buffer) {
	args = append([]kernels.Buffer(nil), args...)
	for i, c := range k.copies {
		if c != nil {
			rounded(c, args[i].(kernels.Host))
			args[i] = c
		}
	}
	k.Kernel.Run(args...)
	y := args[0].(kernels.Host)
	rounded(y, y)
}

func rounded(dst, src []float32) {
	for i, v := range src {
		dst[i] = kernels.RoundBF16(v)
	}
}

// The loss and the gradient of a step in BF16 are as near to float32's as flash
// attention's tests ask: the error is at most twice that of a naive bf16.
func TestStepInBF16(t *testing.T) {
	if err := kernels.CanBF16(); err != nil {
		t.Skip(err)
	}
	bf16, err := kernels.NewCPUIn(kernels.BF16, 2)
	check(t, err)
	defer bf16.Close()
	f32 := cpu(t)
	for _, config := range []Config{small(), withLFQ(64)} {
		tok, name := create(t, config), config.Quantizer.Kind
		params, offsets := parameters(tok, 1)
		shape := Shape{2, tok.Padded(5), config.ImageSize, config.ImageSize}
		// step is the loss and the gradient of every batch, one after the other.
		step := func(be kernels.Backend) (loss, grads []float32) {
			g, err := tok.Training(shape)
			check(t, err)
			dw := make(kernels.Host, len(params))
			p, err := g.Compile(be, params, dw, offsets)
			check(t, err)
			video := uniform("clips", 8*p.Buffer("video").Len())
			for i := range p.Buffer("weight").(kernels.Host) {
				p.Buffer("weight").(kernels.Host)[i] = 1
			}
			for len(video) > 0 {
				copy(p.Buffer("video").(kernels.Host), video)
				video = video[p.Buffer("video").Len():]
				check(t, p.Run())
				loss = append(loss, p.Loss().(kernels.Host)...)
				grads = append(grads, dw...)
			}
			return loss, grads
		}
		loss, grads := step(f32)
		loss16, grads16 := step(bf16)
		lossNaive, gradsNaive := step(naive{f32})
		for _, c := range []struct {
			what              string
			want, got, second []float32
		}{{"loss", loss, loss16, lossNaive}, {"gradient", grads, grads16, gradsNaive}} {
			e, allowed := relative(c.got, c.want), 2*relative(c.second, c.want)
			t.Logf("%s: the %s differs by %.3g of its size, a naive one by %.3g", name, c.what, e, allowed/2)
			if !(e > 0 && e <= allowed) {
				t.Errorf("%s: the %s differs by %.3g of its size, want more than 0 and at most %.3g", name, c.what, e, allowed)
			}
		}
	}
}

// relative is the root of the squared differences over that of the squares.
func relative(got, want []float32) float64 {
	var d, w float64
	for i, v := range want {
		d += math.Pow(float64(got[i])-float64(v), 2)
		w += math.Pow(float64(v), 2)
	}
	return math.Sqrt(d / w)
}
