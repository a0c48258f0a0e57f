// Package task turns a network's answers on clips into evaluations, and batches into what it learns from.
//
// A Codec is a tokenizer, which reconstructs clips through integer codes; a Predictor is a classifier, which predicts
// their classes and forecasts positions; a Prior predicts and samples codes. The training loop knows all as Task.
package task

import (
	"context"
	"fmt"
	"log/slog"

	"magvit/kernels"
	"magvit/kernels/philox"
	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/data"
	"magvit/trainer/metrics"
	"magvit/trainer/report"
	"magvit/trainer/usage"
)

// Task is what a network is trained for. It is used by one goroutine at a time.
type Task interface {
	// Describe returns attributes for the log, keys and values in turn.
	Describe() []any
	// Feed writes what the network learns from a batch, beyond its video, to a training program.
	Feed(p *model.Program, b *data.Batch) error
	// Counts returns what the terms of the loss are means over, by name: a batch's part of
	// a step's gradient. Terms that are not named are means over all that a batch holds.
	Counts(b *data.Batch) map[string]float64
	// Evaluate compares the network's answers on clips with the truth. progress, if not
	// nil, is called after each batch. Clips that cannot be read are listed.
	Evaluate(ctx context.Context, clips Clips, progress func() error) (Evaluation, error)
	// Pictures draws an evaluation of clips.
	Pictures(ctx context.Context, clips Clips, e Evaluation) ([]Picture, error)
}

// Trained describes the checkpoint that a task was opened from.
type Trained struct {
	Config  config.Config // the configuration it was trained with
	Step    int           // of the checkpoint
	Skipped []error       // newer checkpoints that were passed over, and why

	Parameters int      // values of the network
	Classes    []string // that the network knows, by number; nil: unknown
	SHA256     string   // of the weights: float32, little-endian, in the order of the parameters
}

// Evaluation is the result of Task.Evaluate.
type Evaluation struct {
	metrics.EvalRecord
	Unread []*data.ClipError // clips that cannot be read

	shown []report.Pair // clips with their reconstructions
}

// Picture is a drawing of an evaluation.
type Picture struct {
	Name     string
	PNG, GIF []byte // GIF is nil for what does not move
}

// New returns the task of a network, whose parameters are in an arena of the backend.
func New(be kernels.Backend, net model.Network, c config.Config, params kernels.Buffer) Task {
	return newTask(be, net, Trained{Config: c}, params)
}

func newTask(be kernels.Backend, net model.Network, of Trained, params kernels.Buffer) Task {
	switch net := net.(type) {
	case *model.Tokenizer:
		return newCodec(be, net, of, params)
	case *model.Classifier:
		return newPredictor(be, net, of, params)
	case *model.Transformer:
		return newPrior(be, net, of, params)
	}
	panic(fmt.Sprintf("task: no task for a %T", net))
}

// Open reads a checkpoint, see checkpoint.Find. The average of the weights is used where there is one.
func Open(be kernels.Backend, path string) (Task, Trained, error) {
	o, params, hash, err := openWeights(be, path, wholeNetwork, false)
	if err != nil {
		return nil, Trained{}, err
	}
	of := trained(o)
	of.SHA256 = hash
	return newTask(be, o.Net, of, params), of, nil
}

// openWeights reads a checkpoint and puts the weights that evaluation uses on a backend, of
// a tokenizer those of the parts that are wanted; offloaded weights stay in the file. hash is
// that of all weights.
func openWeights(be kernels.Backend, path string, part networkPart, offload bool) (o *checkpoint.Opened, params kernels.Buffer, hash string, err error) {
	if o, err = checkpoint.Open(path); err != nil {
		return nil, nil, "", err
	}
	if offload {
		params, hash, err = o.Offload(be)
		return o, params, hash, err
	}
	used, err := part.of(o.Net)
	if err != nil {
		return nil, nil, "", err
	}
	if params, err = be.Alloc(o.Len); err != nil {
		return nil, nil, "", fmt.Errorf("memory for %d parameters: %w", o.Net.NumParams(), err)
	}
	hash, err = o.Load(be, params, used)
	return o, params, hash, err
}

func trained(o *checkpoint.Opened) Trained {
	return Trained{Config: o.Config, Step: o.Snapshot.Step, Skipped: o.Skipped, Parameters: o.Net.NumParams(), Classes: o.Snapshot.Classes}
}

// Resolve fills what a configuration leaves to the clips, and refuses what its task cannot use.
func Resolve(ctx context.Context, src data.Source, train []int, c config.Config, log *slog.Logger) (config.Config, error) {
	if c.Data.Background == data.MeanBackground {
		var err error
		if c.Model.Background, err = background(ctx, src, train, c.Data); err != nil {
			return c, err
		}
		log.Info("model.background is the mean of the training clips", "background", c.Model.Background)
	}
	if c.Model.IsPrior() {
		return resolvePrior(src, c)
	}
	if c.Train.Tokenizer != "" && !c.Model.Classify.OnCodes() {
		what := "a tokenizer is trained on clips, and takes its first weights by --init"
		if c.Model.Classifies() {
			what = "the classifier is on pixels (model.classify.input); legal for one on codes: codes, fused"
		}
		return c, usage.Errorf("train.tokenizer: %s: it would not be used: %s", c.Train.Tokenizer, what)
	}
	if !c.Model.Classifies() {
		return c, nil
	}
	return resolveClassifier(ctx, src, train, c, log)
}

// Renumbered returns the clips with the classes numbered as the network knows them. Old checkpoints do not say: numbers are kept.
func (t Trained) Renumbered(src data.Source) (data.Source, error) {
	if t.Classes == nil {
		return src, nil
	}
	return data.WithClasses(src, t.Classes)
}

// Labelled returns the clips with permuted labels where the configuration wants that control experiment.
func Labelled(src data.Source, c config.Config) data.Source {
	if !c.Train.ShuffleLabels {
		return src
	}
	return data.ShuffleLabels(src, philox.New(c.Train.Seed, "shuffle labels", 0, 0).Perm(src.Len()))
}
