package task

import (
	"context"
	"fmt"
	"math"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/config"
	"magvit/trainer/data"
)

// FitCodec measures, in at most meanSample training clips, what the first weights of
// model.initial_weights codec-fitted depend on. Weights of another kind need nothing.
func FitCodec(ctx context.Context, be kernels.Backend, net model.Network, src data.Source, train []int, c config.Config) error {
	tok, ok := net.(*model.Tokenizer)
	if !ok || !tok.Config.FitsCodec() {
		return nil
	}
	programs := map[data.Shape]*model.Program{}
	var squares []float64
	count := 0
	_, err := data.Each(ctx, src, spread(train, meanSample), c.Data, EvalBatch, func(b *data.Batch) error {
		p := programs[b.Shape()]
		if p == nil {
			g, err := tok.Patches(model.Shape{N: b.N, T: b.T, H: b.H, W: b.W})
			if err != nil {
				return err
			}
			if p, err = g.Compile(be, nil, nil, nil); err != nil {
				return err
			}
			programs[b.Shape()] = p
		}
		if err := be.Write(p.Buffer("video"), b.Video); err != nil {
			return err
		}
		if err := p.Run(); err != nil {
			return err
		}
		patches := make([]float32, p.Buffer("patches").Len())
		if err := be.Read(patches, p.Buffer("patches")); err != nil {
			return err
		}
		if squares == nil {
			squares = make([]float64, c.Model.Channels*c.Model.Patch*c.Model.Patch*c.Model.PatchTime)
		}
		of := len(patches) / b.N
		for n := range b.N {
			for k, v := range patches[n*of:][:of] {
				squares[k%len(squares)] += float64(v) * float64(v)
			}
			count += of / len(squares)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("model.initial_weights: %s: %w", c.Model.InitialWeights, err)
	}
	if count == 0 {
		return nil
	}
	for i := range squares {
		squares[i] = math.Sqrt(squares[i] / float64(count))
	}
	tok.Amplitudes = squares
	return nil
}
