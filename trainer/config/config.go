// Package config turns YAML text, presets and assignments into a run's configuration.
//
// Load reads a file, Preset a built-in one, Set one assignment from the command line. Every error names the key, its
// place, its value and what would be legal.
package config

import (
	"magvit/model"
	"magvit/trainer/data"
)

// Config is a whole run's configuration.
type Config struct {
	Preset string       `yaml:"preset,omitempty"` // the preset that the other keys override; ignored once they are resolved
	Model  model.Config `yaml:"model"`            // network, quantizer, loss
	Data   data.Config  `yaml:"data"`             // how clips become batches
	Train  Train        `yaml:"train"`            // how batches become weights
}

// Train configures the optimizer, the length of a run, and what it records.
//
// Steps, or else Epochs, and Minutes limit a run; the limit that is reached first ends it,
// and 0 means no limit. The schedule follows the larger of the two fractions used.
// A run measured in steps alone has the same bits each time. Minutes are wall
// clock, with evaluations and checkpoints, without interruptions: what such a run
// computes depends on the machine's speed.
type Train struct {
	Steps       int        `yaml:"steps"`        // optimizer steps of the whole run; 0: no limit
	Epochs      float64    `yaml:"epochs"`       // where steps is 0: length of the run in passes over the training clips, each as many windows as data.windows takes of it; 0: no limit
	Minutes     float64    `yaml:"minutes"`      // wall-clock minutes of the whole run; 0: no limit
	Batch       int        `yaml:"batch"`        // whole clips in a batch (crops have data.crop.batch)
	Accumulate  int        `yaml:"accumulate"`   // batches whose mean gradient makes one step
	LR          float64    `yaml:"lr"`           // learning rate after the warm-up
	Betas       [2]float64 `yaml:"betas"`        // AdamW: decay of the first and second moments
	Eps         float64    `yaml:"eps"`          // AdamW: added to the root of the second moment
	WeightDecay float64    `yaml:"weight_decay"` // AdamW: on parameters with two or more axes
	Warmup      int        `yaml:"warmup"`       // steps over which the learning rate rises linearly
	Schedule    string     `yaml:"schedule"`     // after the warm-up: cosine or constant
	Final       float64    `yaml:"final"`        // cosine: final fraction of the learning rate
	Extension   string     `yaml:"extension"`    // learning rate of a run that was made longer: schedule (that of the new length), warmup (warm-up and schedule again) or constant (the last one)
	ClipNorm    float64    `yaml:"clip_norm"`    // largest norm of the whole gradient; 0: no clipping
	EMA         EMA        `yaml:"ema"`          // average of the weights, used by evaluation and codes
	Precision   string     `yaml:"precision"`    // of products' operands, and on a GPU of stored activations: f32 or bf16
	Kernels     string     `yaml:"kernels"`      // of convolutions on the CPU: auto, the fastest: direct sums, in bf16 where that is train.precision, Winograd's or Fourier transforms in f32; or exact, direct sums alone
	Recompute   string     `yaml:"recompute"`    // values that the backward pass makes again, to the same bits, to save memory: none; auto, by kernels of 4 % of the step's cost; or max, by any
	Seed        uint64     `yaml:"seed"`         // of weights, batches and augmentation
	Freeze      []string   `yaml:"freeze,flow"`  // parameters that are not trained, by patterns of their names such as encoder.*

	Tokenizer     string `yaml:"tokenizer"`      // run or checkpoint whose codes of the clips a network on codes gets (model.classify.input, model.prior.kind); "": none
	ShuffleLabels bool   `yaml:"shuffle_labels"` // control experiment for classifiers: labels are permuted among the clips, and accuracy must fall to chance

	Discriminator Discriminator `yaml:"discriminator"`

	LogEvery    int     `yaml:"log_every"`    // steps between records in metrics.jsonl
	EvalEvery   int     `yaml:"eval_every"`   // steps between evaluations; 0: before the first and after the last step
	EvalClips   int     `yaml:"eval_clips"`   // largest number of held-out clips to evaluate on; 0: all of them
	Samples     int     `yaml:"samples"`      // held-out clips shown side by side at each evaluation
	SaveEvery   int     `yaml:"save_every"`   // steps between checkpoints; 0: after the last step, and at a new best
	SaveMinutes float64 `yaml:"save_minutes"` // longest time between checkpoints of a run; 0: steps alone decide
	KeepLast    int     `yaml:"keep_last"`    // newest checkpoints kept, besides the best one; 0: all
	NaNPatience int     `yaml:"nan_patience"` // consecutive steps with NaN or Inf after which the run stops

	Bucket         float64 `yaml:"bucket"`          // of several ranks: least MB of gradients that are added up at once, while the backward pass goes on; 0: all at its end
	Reduce         string  `yaml:"reduce"`          // of several ranks: exact, sums of float32 with the same bits for any number of ranks; or bf16, gradients sent as bfloat16, half as many bytes
	ShardOptimizer bool    `yaml:"shard_optimizer"` // of several ranks: each keeps a part of the optimizer's moments (ZeRO-1), to the same bits, and sends its part of the weights after each step
	Timeout        float64 `yaml:"timeout"`         // of several ranks: seconds to wait for one that does not answer; more than the first one takes to save and draw
}

// EMA is an exponential moving average of the weights. While it is young its
// decay is smaller: 1-(1+n)^-2/3 after n steps beyond UpdateAfter.
type EMA struct {
	Decay       float64 `yaml:"decay"`        // largest decay; 0: no average
	UpdateAfter int     `yaml:"update_after"` // steps before which the average is a copy
	UpdateEvery int     `yaml:"update_every"` // steps between updates
}

// Discriminator configures the optimizer of model.discriminator, whose other settings are
// those of the network.
type Discriminator struct {
	LR       float64    `yaml:"lr"`         // learning rate after the warm-up; 0: train.lr
	Betas    [2]float64 `yaml:"betas,flow"` // decay of the first and second moments; 0, 0: train.betas
	Warmup   int        `yaml:"warmup"`     // steps after model.loss.adversarial.start over which the learning rate rises linearly
	Schedule string     `yaml:"schedule"`   // after the warm-up: cosine, over the whole run, or constant; "": train.schedule
	ClipNorm float64    `yaml:"clip_norm"`  // largest norm of the whole gradient; 0: no clipping
}

// Defaults is what a configuration that names no preset starts from. It has no
// layers and no quantizer levels.
func Defaults() Config {
	return Config{Model: model.Defaults(), Data: data.Defaults(), Train: Train{
		Steps: 10_000, Batch: 8, Accumulate: 1, LR: 1e-3, Betas: [2]float64{.9, .99}, Eps: 1e-8, WeightDecay: 1e-4,
		Warmup: 100, Schedule: "cosine", Final: .02, Extension: "schedule", ClipNorm: 1,
		EMA: EMA{UpdateAfter: 100, UpdateEvery: 10}, Discriminator: Discriminator{Warmup: 20, ClipNorm: 1}, Precision: "f32", Kernels: "auto", Recompute: "none", Seed: 42,
		LogEvery: 10, EvalEvery: 500, EvalClips: 256, Samples: 4, SaveEvery: 500, SaveMinutes: 10, KeepLast: 3, NaNPatience: 10, Bucket: 1, Reduce: "exact", Timeout: 600,
	}}
}

// Resumable are the keys that a resumed run may change: they set how long a run is, what it shows and keeps, and how it
// reads clips, not what a step computes. Of the files of frozen weights only the place may change: checkpoints have their hash.
var Resumable = []string{"preset", "train.steps", "train.epochs", "train.minutes", "train.extension", "train.log_every", "train.eval_every", "train.eval_clips",
	"train.samples", "train.save_every", "train.save_minutes", "train.keep_last", "train.nan_patience", "train.timeout", "train.recompute", "train.bucket", "train.shard_optimizer", "data.workers", "data.strict", "data.cache", "data.cache_mb", "model.loss.perceptual.weights", "train.tokenizer"}
