package trainer

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/task"
	"magvit/trainer/trainertest"
)

// against is a small discriminator, trained from step 4 on.
var against = []string{
	"model.discriminator={kind: image, dim: 1, max_dim: 6, linear_attention: {heads: 2, dim: 2}, feed_forward: 2}",
	"model.loss.adversarial={weight: 0.5, start: 3, ramp: 4, penalty_every: 2}",
	"train.discriminator={lr: 1e-3, betas: [0.5, 0.9], warmup: 3, schedule: constant}",
}

func adversarial(t *testing.T, set ...string) Options {
	t.Helper()
	o, _ := small(t, append(slices.Clone(against), set...)...)
	return o
}

// A run of 40 steps that was interrupted six times has the bits of one in one piece, of
// both networks and their moments.
func TestAdversarialRunInterrupted(t *testing.T) {
	for name, set := range map[string][]string{
		"one batch a step":   {"train.eval_every=0"},
		"two batches a step": {"train.eval_every=0", "train.accumulate=2", "model.loss.adversarial.kind=logistic", "model.loss.adversarial.penalty=r1", "model.loss.adversarial.frames=2", "model.loss.adversarial.lecam=0.1", "train.steps=14"},
		"batch norm":         {"train.eval_every=0", "train.accumulate=2", "model.discriminator.kind=patchgan3d", "model.loss.adversarial.penalty=none", "train.steps=14"},
		"two blurred scales": {"train.eval_every=0", "model.discriminator.kind=stylegan3d", "model.discriminator.scales=2", "model.loss.adversarial.penalty=r1", "train.steps=14"},
	} {
		t.Run(name, func(t *testing.T) {
			set := append([]string{"train.steps=40", "train.batch=2"}, set...)
			whole := adversarial(t, set...)
			steps := run(t, t.Context(), whole).Step
			o := adversarial(t, set...)
			for _, stop := range []int{2, 3, 5, 6, 11, 13} {
				ctx, cancel := contextWithStop(t, &o, stop)
				if _, err := Run(ctx, o); !errors.Is(err, ErrInterrupted) {
					t.Fatalf("stopped at %d: %v", stop, err)
				}
				cancel()
			}
			o.OnStep = nil
			run(t, t.Context(), o)
			for _, file := range []string{checkpoint.ModelFile, checkpoint.OptimizerFile} {
				read := func(o Options) []byte {
					b, err := os.ReadFile(filepath.Join(o.Out, "checkpoints", checkpoint.StepName(steps), file))
					trainertest.Check(t, err)
					return b
				}
				if !bytes.Equal(read(whole), read(o)) {
					t.Errorf("%s differs from that of a run in one piece", file)
				}
			}
			if b, _ := os.ReadFile(filepath.Join(o.Out, "checkpoints", checkpoint.StepName(steps), checkpoint.OptimizerFile)); !bytes.Contains(b, []byte("exp_avg.discr.")) {
				t.Error("the checkpoint has no moments of the discriminator")
			}
		})
	}
}

// Before its start the discriminator stays as it is and has no terms; then both networks
// change, and the record names all parts of their losses.
func TestAdversarialTrainingStarts(t *testing.T) {
	o := adversarial(t, "train.steps=6", "train.eval_every=0")
	tr := begun(t, o)
	first, err := tr.state.Read(tr.state.Params)
	trainertest.Check(t, err)
	var atStart, before []float32
	tr.opt.OnStep = func(step int) {
		if step == 3 {
			atStart, err = tr.state.Read(tr.state.Params)
		} else if step == 4 {
			before, err = tr.state.Read(tr.state.Params)
		}
	}
	if _, bad := tr.end(tr.train(t.Context())); bad != nil || err != nil {
		t.Fatal(bad, err)
	}
	d := tr.state.Discriminator
	if d.From == d.To || !slices.Equal(first[d.From:], atStart[d.From:]) {
		t.Error("the discriminator changed before its start")
	}
	if slices.Equal(first[:d.From], atStart[:d.From]) || slices.Equal(before[d.From:], atStart[d.From:]) {
		t.Error("a network did not change")
	}
	records, _ := logged(t, o.Out)
	for i, r := range records {
		for _, key := range []string{"generator", "adaptive_weight", "discriminator", "real_logit", "fake_logit", "real_accuracy", "fake_accuracy", "discriminator_grad_norm", "adversarial_share"} {
			if _, ok := r[key].(float64); ok != (i >= 3) {
				t.Errorf("step %d has %s: %v", i+1, key, ok)
			}
		}
		if _, ok := r["gradient_penalty"]; ok != (i == 3 || i == 5) {
			t.Errorf("step %d has a gradient penalty: %v", i+1, ok)
		}
	}
	if tr.snap.DiscriminatorUpdates != 3 {
		t.Errorf("%d updates of the discriminator, want 3", tr.snap.DiscriminatorUpdates)
	}
}

// LeCam's averages follow the mean logits of each step by their definition, and checkpoints
// hold them.
func TestLeCamAverages(t *testing.T) {
	const decay = .75
	o := adversarial(t, "train.steps=8", "train.eval_every=0", "train.accumulate=2", "train.log_every=1", "model.loss.adversarial={lecam: 0.3, lecam_decay: 0.75}")
	tr := begun(t, o)
	if _, err := tr.end(tr.train(t.Context())); err != nil {
		t.Fatal(err)
	}
	records, _ := logged(t, o.Out)
	want := map[string]float64{}
	for i, r := range records {
		for average, logit := range map[string]string{"lecam_real": "real_logit", "lecam_fake": "fake_logit"} {
			if i < 3 {
				if _, ok := r[average]; ok {
					t.Errorf("step %d has %s before the discriminator's start", i+1, average)
				}
				continue
			}
			want[average] = decay*want[average] + (1-decay)*r[logit].(float64)
			if got := r[average].(float64); math.Abs(got-want[average]) > 1e-6 || got == 0 {
				t.Errorf("step %d: %s is %v, want %v", i+1, average, got, want[average])
			}
		}
		if v, ok := r["lecam"].(float64); ok != (i >= 3) || ok && !(v > 0) {
			t.Errorf("step %d: the term is %v", i+1, r["lecam"])
		}
	}
	tensors, err := checkpoint.ReadTensors(filepath.Join(o.Out, "checkpoints", checkpoint.StepName(8), checkpoint.ModelFile))
	trainertest.Check(t, err)
	for tensor, term := range map[string]string{"discr.lecam.real": "lecam_real", "discr.lecam.fake": "lecam_fake"} {
		for _, name := range []string{tensor, checkpoint.AveragePrefix + tensor} {
			if got := tensors[name].Values; len(got) != 1 || math.Abs(float64(got[0])-want[term]) > 1e-6 {
				t.Errorf("the checkpoint has %s = %v, want %v", name, got, want[term])
			}
		}
	}
}

// A discriminator that is not finite changes neither network.
func TestNaNGuardOverBothNetworks(t *testing.T) {
	o := adversarial(t, "train.steps=9", "train.eval_every=0", "model.loss.adversarial.start=0", "model.loss.adversarial.weight=0")
	tr := begun(t, o)
	d := tr.state.Discriminator
	trainertest.Check(t, tr.be.Write(tr.state.Params.Slice(d.From, d.From+1), []float32{float32(math.Inf(1))}))
	before, err := tr.state.Read(tr.state.Params)
	trainertest.Check(t, err)
	for range 3 {
		trainertest.Check(t, tr.fetch(t.Context()))
		trainertest.Check(t, tr.enqueue(0))
		trainertest.Check(t, tr.finishStep(t.Context()))
	}
	after, err := tr.state.Read(tr.state.Params)
	trainertest.Check(t, err)
	if !slices.Equal(before, after) {
		t.Error("a step without a finite discriminator changed a network")
	}
	if tr.snap.Skipped != 3 || tr.snap.DiscriminatorUpdates != 0 {
		t.Errorf("%d steps skipped, %d updates of the discriminator", tr.snap.Skipped, tr.snap.DiscriminatorUpdates)
	}
	tr.loader.Close()
	tr.dir.Close()
}

// The weights of a run without a discriminator begin one with it, and the other way round.
func TestInitWithAndWithoutDiscriminator(t *testing.T) {
	base, _ := small(t, "train.steps=1")
	run(t, t.Context(), base)
	o := adversarial(t, "train.steps=4")
	o.Init = base.Out
	run(t, t.Context(), o)
	back, _ := small(t, "train.steps=1")
	back.Init = o.Out
	run(t, t.Context(), back)
}

// A step of the preset costs at most 1.35 times that of tokenizer and discriminator alone,
// by the operations of their plans.
func TestAdversarialStepCost(t *testing.T) {
	c, err := config.Preset("demo-gan")
	trainertest.Check(t, err)
	tok, err := model.New(c.Model)
	trainertest.Check(t, err)
	crop := c.Data.Crop
	s := model.Shape{N: crop.Batch, T: crop.Frames, H: crop.Size, W: crop.Size}
	st, err := checkpoint.NewState(&kernels.NullBackend{}, tok)
	trainertest.Check(t, err)
	flops := func(g *model.Graph, err error) float64 {
		trainertest.Check(t, err)
		p, err := g.Compile(&kernels.NullBackend{}, st.Params, st.Grads, st.Offsets)
		trainertest.Check(t, err)
		return float64(p.Plan.Stats().FLOPs())
	}
	alone, generator := flops(tok.Training(s)), flops(tok.GeneratorStep(s, false))
	plain, penalty := flops(tok.DiscriminatorStep(s, false, false)), flops(tok.DiscriminatorStep(s, true, false))
	every := float64(c.Model.Loss.Adversarial.PenaltyEvery)
	discriminator := (penalty + (every-1)*plain) / every
	ratio := (generator + discriminator) / (alone + discriminator)
	t.Logf("tokenizer %.3g, with the generator's term %.3g, discriminator %.3g, with the penalty %.3g: an adversarial step costs %.3f times both alone, %.3f times the tokenizer alone",
		alone, generator, plain, penalty, ratio, (generator+discriminator)/alone)
	if ratio > 1.35 {
		t.Errorf("an adversarial step costs %.3f times tokenizer and discriminator alone", ratio)
	}
}

// Provoked failures of adversarial training are told, each with what to change, in the log
// and in the report.
func TestAdversarialTrainingIsWatched(t *testing.T) {
	always := []string{"train.steps=60", "train.eval_every=0", "model.loss.adversarial.start=0", "model.loss.adversarial.ramp=0", "train.discriminator.warmup=0"}
	for want, set := range map[string][]string{
		// A tokenizer that cannot learn, and a discriminator without a bound on its slope.
		"the discriminator has won": {"train.lr=1e-9", "train.discriminator.lr=1e-2", "model.loss.adversarial.penalty=none"},
		// A weight that follows no gradients and is far too small, or far too large.
		"the tokenizer ignores the discriminator": {"model.loss.adversarial.adaptive=none", "model.loss.adversarial.weight=1e-7", "train.steps=12"},
		"the adversarial term drowns all others":  {"model.loss.adversarial.adaptive=none", "model.loss.adversarial.weight=1e5", "train.steps=12"},
		// A discriminator that cannot learn.
		"the discriminator tells nothing apart": {"train.discriminator.lr=1e-9", "train.steps=12"},
	} {
		o, log := small(t, slices.Concat(against, always, set)...)
		run(t, t.Context(), o)
		if n := strings.Count(log.String(), "adversarial training: "+want); n != 1 {
			t.Errorf("%q was logged %d times:\n%s", want, n, log)
		}
		page, err := os.ReadFile(filepath.Join(o.Out, "report.html"))
		if err != nil || !strings.Contains(string(page), want) {
			t.Errorf("the report does not say %q (%v)", want, err)
		}
	}
}

// A checkpoint with a discriminator is used without it: no tensor of it is read, and the
// weights' hash is that of the tokenizer alone.
func TestUseWithoutDiscriminator(t *testing.T) {
	o := adversarial(t, "train.steps=5", "train.eval_every=0")
	run(t, t.Context(), o)
	opened, err := checkpoint.Open(o.Out)
	trainertest.Check(t, err)
	for _, p := range opened.Params {
		if p.Discriminator {
			t.Errorf("%s is opened", p.Name)
		}
	}
	weights, err := opened.Weights()
	trainertest.Check(t, err)
	m, _, err := opened.Moments()
	if err != nil || len(m) != len(weights) || !opened.Config.Model.HasDiscriminator() {
		t.Errorf("%d moments of %d weights, discriminator in the configuration: %v (%v)", len(m), len(weights), opened.Config.Model.HasDiscriminator(), err)
	}
	if _, err := task.OpenCodec(o.Backend, o.Out); err != nil {
		t.Error(err)
	}
}
