package trainer

import (
	"cmp"
	"fmt"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
)

// adversary trains the discriminator of a tokenizer: after the tokenizer's program of a
// batch, a program of its own runs on the batch and the reconstructions that are still on
// the backend. Parameters, gradients, moments and averages share the arenas of the state.
type adversary struct {
	net       *model.Tokenizer
	state     *checkpoint.State
	loss      model.Adversarial
	optimizer *optimizer
	scaled    bool // programs are of one of several batches of a step
	programs  map[adversaryKey]*model.Program
	ran       *model.Program // of the last batch
}

// adversaryKey is the tokenizer's program that a discriminator's program follows, and
// whether the latter has the gradient penalty.
type adversaryKey struct {
	of      *program
	penalty bool
}

// newAdversary returns nil for a network without a discriminator. own is the
// tokenizer's optimizer.
func newAdversary(net model.Network, c config.Config, s *checkpoint.State, own *optimizer, p part) (*adversary, error) {
	tok, ok := net.(*model.Tokenizer)
	if !ok || !c.Model.HasDiscriminator() {
		return nil, nil
	}
	a := &adversary{net: tok, state: s, loss: c.Model.Loss.Adversarial, scaled: c.Train.Accumulate > 1, programs: map[adversaryKey]*model.Program{}}
	var err error
	if a.optimizer, err = newOptimizerOf(discriminatorTrain(c.Train), s, s.Discriminator, p, own.sums); err != nil {
		return nil, err
	}
	return a, join(own, a.optimizer)
}

// discriminatorTrain is the configuration of the discriminator's optimizer.
func discriminatorTrain(t config.Train) config.Train {
	d := t.Discriminator
	t.LR, t.Schedule, t.Warmup, t.ClipNorm = cmp.Or(d.LR, t.LR), cmp.Or(d.Schedule, t.Schedule), d.Warmup, d.ClipNorm
	if d.Betas != [2]float64{} {
		t.Betas = d.Betas
	}
	return t
}

// active reports whether the discriminator is trained in a step.
func (a *adversary) active(step int) bool { return a != nil && step >= a.loss.Start }

// penalizes reports whether a step has the gradient penalty.
func (a *adversary) penalizes(step int) bool {
	return a.loss.Penalty != "none" && a.loss.PenaltyWeight > 0 && (step-a.loss.Start)%a.loss.PenaltyEvery == 0
}

// position is that of the discriminator's own schedule, which begins with its first step.
func (a *adversary) position(m Position) Position {
	return Position{Step: m.Step - a.loss.Start, Updates: m.DiscriminatorUpdates, Progress: m.Progress}
}

// program compiles the discriminator's program that follows one of the tokenizer once.
func (a *adversary) program(of *program, penalty bool) (*model.Program, error) {
	key := adversaryKey{of, penalty}
	if p := a.programs[key]; p != nil {
		return p, nil
	}
	g, err := a.net.DiscriminatorStep(of.Shape, penalty, a.scaled)
	if err != nil {
		return nil, err
	}
	g.Given = map[string]kernels.Buffer{"real": of.Buffer("video"), "fake": of.Buffer("recon")}
	p, err := g.Compile(a.state.Backend, a.state.Params, a.state.Grads, a.state.Offsets)
	if err != nil {
		return nil, fmt.Errorf("model.discriminator: %w", err)
	}
	a.programs[key] = p
	return p, nil
}
