package model

import (
	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// LeCam's buffers, the running averages of the logits of real and reconstructed frames.
const (
	lecamReal = DiscriminatorPrefix + "lecam.real"
	lecamFake = DiscriminatorPrefix + "lecam.fake"
)

// lecamAverages declares the buffers and their updates.
func (b *builder) lecamAverages() (real, fake *G.Node) {
	real, fake = b.buffer(lecamReal, initial{}, 1), b.buffer(lecamFake, initial{}, 1)
	for _, name := range []string{lecamReal, lecamFake} {
		b.updateBuffers(kernels.RunningUpdate{Len: 1, Rate: b.t.Config.Loss.Adversarial.lecamRate()}, name)
	}
	return real, fake
}

func (a Adversarial) lecamRate() float32 { return float32(1 - a.LeCamDecay) }

// lecam is LeCam regularization (Tseng et al. 2021): each kind's logits against the running
// average of the other kind, after this batch's mean went into it. Its sum is one term, the
// averages are two more.
func (b *builder) lecam(real, fake []*G.Node, realMean, fakeMean *G.Node) []Term {
	averages := []Term{{Name: "lecam_real", Derived: true}, {Name: "lecam_fake", Derived: true}}
	ofReal, ofFake := b.lecamAverages()
	for i, of := range []struct {
		buffer        string
		average, mean *G.Node
	}{{lecamReal, ofReal, realMean}, {lecamFake, ofFake, fakeMean}} {
		averages[i].Node = b.apply(kernels.RunningAverage{Len: 1, Rate: b.t.Config.Loss.Adversarial.lecamRate()}, []int{}, of.average, of.mean)
		b.statistic(of.buffer, b.meanOverBatches(of.mean))
	}
	if b.err != nil {
		return nil
	}
	sum := b.add(
		b.overScales(real, func(x *G.Node, n int) *G.Node { return b.apply(kernels.LeCam{Len: n}, []int{}, x, averages[1].Node) }),
		b.overScales(fake, func(x *G.Node, n int) *G.Node {
			return b.apply(kernels.LeCam{Len: n, Fake: true}, []int{}, x, averages[0].Node)
		}))
	return append([]Term{{Name: "lecam", Node: sum, Weight: b.t.Config.Loss.Adversarial.LeCam}}, averages...)
}

// meanOverBatches is a statistic x of one channel vector whose sum over the batches of a step is their mean.
func (b *builder) meanOverBatches(x *G.Node) *G.Node {
	if b.err != nil {
		return nil
	}
	n := max(x.Shape().TotalSize(), 1)
	by := b.scheduled("one by the batches", func(p StepPosition, dst []float32) { dst[0] = 1 / float32(p.Batches) })
	return b.apply(kernels.FrameGate{F: 1, P: n, C: 1}, []int{n}, x, by)
}
