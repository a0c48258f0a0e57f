package task

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/data"
	"magvit/trainer/usage"
)

// coder makes the codes of a batch's clips by the tokenizer of train.tokenizer. It opens the
// tokenizer when it is first used.
type coder struct {
	be     kernels.Backend
	path   string
	sha256 string // the tokenizer's weights must have
	codec  *Codec
}

// codes returns the codes of clips [N,T',H',W',codebooks].
func (c *coder) codes(video []float32, s data.Shape) ([]int32, error) {
	if c.codec == nil {
		if c.path == "" {
			return nil, usage.Errorf("train.tokenizer: \"\": the network gets codes; name the run of the tokenizer that makes them")
		}
		codec, err := OpenCodec(c.be, c.path)
		if err != nil {
			return nil, fmt.Errorf("train.tokenizer: %w", err)
		}
		if codec.SHA256 != c.sha256 {
			return nil, usage.Errorf("train.tokenizer: %s: weights %.12s; the network was trained on codes of the tokenizer %.12s", c.path, codec.SHA256, c.sha256)
		}
		c.codec = codec
	}
	return c.codec.Encode(video, s)
}

// tokenizer reads the network and the hash of the weights that train.tokenizer names, and
// makes its path absolute.
func tokenizer(c config.Config) (config.Config, *model.Tokenizer, string, error) {
	path, err := filepath.Abs(c.Train.Tokenizer)
	if err != nil {
		return c, nil, "", err
	}
	c.Train.Tokenizer = path
	o, err := checkpoint.Open(path)
	if err != nil {
		return c, nil, "", fmt.Errorf("train.tokenizer: %w", err)
	}
	tok, ok := o.Net.(*model.Tokenizer)
	if !ok {
		return c, nil, "", usage.Errorf("train.tokenizer: %s: not a tokenizer; want the run of one", path)
	}
	arena, err := o.Weights()
	if err != nil {
		return c, nil, "", err
	}
	if tok.Config.Channels != c.Data.Channels {
		return c, nil, "", usage.Errorf("train.tokenizer: a tokenizer of %d channels, clips of %d", tok.Config.Channels, c.Data.Channels)
	}
	return c, tok, checkpoint.Hash(arena), nil
}

// causal checks, on a training clip, that the codes of the frames seen do not depend on
// those of the horizon.
func causal(ctx context.Context, c config.Config, src data.Source, train []int, seen int, encode func([]float32, data.Shape) ([]int32, error)) error {
	g := c.Model.Classify.Codes
	_, err := data.Each(ctx, src, spread(train, 1), c.Data, 1, func(b *data.Batch) error {
		whole, err := encode(b.Video, b.Shape())
		if err != nil {
			return err
		}
		changed := slices.Clone(b.Video)
		for i := seen * b.H * b.W * b.C; i < len(changed); i++ {
			changed[i] = 1 - changed[i]
		}
		other, err := encode(changed, b.Shape())
		if err != nil {
			return err
		}
		n := g.Of(seen) * (b.H / g.Side) * (b.W / g.Side) * g.Codebooks
		if !slices.Equal(whole[:n], other[:n]) {
			return usage.Errorf("train.tokenizer: codes of the first %d frames depend on later ones, which a forecast must not see; set model.classify.forecast=none", seen)
		}
		return nil
	})
	return err
}
