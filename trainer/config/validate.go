package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"magvit/trainer/usage"
)

// Validate names the first key whose value is not legal, and what would be.
func (c Config) Validate() error {
	for _, err := range []error{c.Train.validate(), c.Data.Validate(), c.Model.Validate()} {
		if err != nil {
			return usage.Wrap(err)
		}
	}
	return nil
}

const (
	maxSteps   = 1_000_000_000
	maxMinutes = 60 * 24 * 366
	maxBatch   = 65_536
)

func (t Train) validate() error {
	var errs []error
	whole := func(key string, v, low, high int) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("train.%s: %d; legal: %d to %d", key, v, low, high))
		}
	}
	// Written so that NaN is refused.
	within := func(key string, v float64, legal bool, text string) {
		if !legal || math.IsInf(v, 0) {
			errs = append(errs, fmt.Errorf("train.%s: %v; legal: %s", key, v, text))
		}
	}
	word := func(key, v string, known ...string) {
		if !slices.Contains(known, v) {
			errs = append(errs, fmt.Errorf("train.%s: %q; legal: %s", key, v, strings.Join(known, ", ")))
		}
	}
	whole("steps", t.Steps, 0, maxSteps)
	within("minutes", t.Minutes, t.Minutes >= 0 && t.Minutes <= maxMinutes, fmt.Sprintf("0 to %d", maxMinutes))
	within("epochs", t.Epochs, t.Epochs >= 0 && t.Epochs <= maxSteps, fmt.Sprintf("0 to %d", maxSteps))
	if t.Steps == 0 && t.Minutes == 0 && t.Epochs == 0 {
		errs = append(errs, errors.New("train.steps: 0 with train.minutes: 0; legal: one of them above 0, or train.epochs"))
	}
	whole("batch", t.Batch, 1, maxBatch)
	whole("accumulate", t.Accumulate, 1, maxBatch)
	within("lr", t.LR, t.LR > 0 && t.LR <= 1, "above 0, at most 1")
	for i, b := range t.Betas {
		within(fmt.Sprintf("betas[%d]", i), b, b >= 0 && b < 1, "0 or more, below 1")
	}
	within("eps", t.Eps, t.Eps > 0 && t.Eps <= 1, "above 0, at most 1")
	within("weight_decay", t.WeightDecay, t.WeightDecay >= 0 && t.WeightDecay <= 100, "0 to 100")
	whole("warmup", t.Warmup, 0, maxSteps)
	word("schedule", t.Schedule, "cosine", "constant")
	word("extension", t.Extension, "schedule", "warmup", "constant")
	within("final", t.Final, t.Final >= 0 && t.Final <= 1, "0 to 1")
	within("clip_norm", t.ClipNorm, t.ClipNorm >= 0 && t.ClipNorm <= 1e9, "0 (none) to 1e9")
	within("ema.decay", t.EMA.Decay, t.EMA.Decay >= 0 && t.EMA.Decay < 1, "0 (no average) or more, below 1")
	whole("ema.update_after", t.EMA.UpdateAfter, 0, maxSteps)
	whole("ema.update_every", t.EMA.UpdateEvery, 1, maxSteps)
	d := t.Discriminator
	within("discriminator.lr", d.LR, d.LR >= 0 && d.LR <= 10, "0 (train.lr) to 10")
	within("discriminator.betas[0]", d.Betas[0], d.Betas[0] >= 0 && d.Betas[0] < 1, "0 or more, below 1")
	within("discriminator.betas[1]", d.Betas[1], d.Betas[1] >= 0 && d.Betas[1] < 1, "0 or more, below 1")
	whole("discriminator.warmup", d.Warmup, 0, maxSteps)
	word("discriminator.schedule", d.Schedule, "", "cosine", "constant")
	within("discriminator.clip_norm", d.ClipNorm, d.ClipNorm >= 0 && d.ClipNorm <= 1e9, "0 (none) to 1e9")
	word("precision", t.Precision, "f32", "bf16")
	word("kernels", t.Kernels, "auto", "exact")
	word("recompute", t.Recompute, "none", "auto", "max")
	whole("log_every", t.LogEvery, 1, maxSteps)
	whole("eval_every", t.EvalEvery, 0, maxSteps)
	whole("eval_clips", t.EvalClips, 0, maxSteps)
	whole("samples", t.Samples, 0, 64)
	whole("save_every", t.SaveEvery, 0, maxSteps)
	within("save_minutes", t.SaveMinutes, t.SaveMinutes >= 0 && t.SaveMinutes <= 1e6, "0 to 1e6 minutes")
	whole("keep_last", t.KeepLast, 0, maxSteps)
	whole("nan_patience", t.NaNPatience, 1, maxSteps)
	within("bucket", t.Bucket, t.Bucket >= 0 && t.Bucket <= 1e6, "0 to 1e6 MB")
	word("reduce", t.Reduce, "exact", "bf16")
	within("timeout", t.Timeout, t.Timeout >= 1 && t.Timeout <= 1e6, "1 to 1e6 s")
	if len(errs) > 0 {
		return errs[0]
	}
	return nil
}
