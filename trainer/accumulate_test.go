package trainer

import (
	"context"
	"math"
	"testing"

	"magvit/trainer/data"
	"magvit/trainer/trainertest"
)

// uneven cuts every second clip to 2 frames.
type uneven struct{ data.Source }

func (u uneven) Read(ctx context.Context, i int) (data.Clip, error) {
	c, err := u.Source.Read(ctx, i)
	if i%2 == 0 && err == nil {
		c.T = 2
		c.Video = c.Video[:2*c.H*c.W*c.C]
	}
	return c, err
}

// One step of 4 clips, of 2 and of 6 frames, has the mean gradient and the terms of 4 times one clip.
func TestAccumulateEqualsOneBatch(t *testing.T) {
	set := []string{"train.steps=1", "train.warmup=0", "train.clip_norm=0", "train.eval_every=0", "train.samples=0", "train.save_every=0",
		"data.frames=6", "data.shift=0", "data.flip=false", "data.foreground_weight=0"}
	for name, more := range map[string][]string{
		"fsq": nil,
		"lfq": {"model.quantizer={kind: lfq, levels: [], codebook_size: 64, entropy_weight: 0.5, diversity_gamma: 2, commitment_weight: 0.25}"},
		"bsq": {"model.quantizer={kind: bsq, levels: [], codebook_size: 64, entropy_weight: 0.5, diversity_gamma: 2, commitment_weight: 0.25}"},
	} {
		t.Run(name, func(t *testing.T) {
			var moments [2][]float32
			var records [2]map[string]any
			for i, split := range [][]string{{"train.batch=4", "train.accumulate=1"}, {"train.batch=1", "train.accumulate=4"}} {
				o, _ := small(t, append(append(append([]string{}, set...), more...), split...)...)
				o.Source = uneven{trainertest.Squares{Clips: 16, Frames: 6, Side: 16}}
				tr := begun(t, o)
				if _, err := tr.end(tr.train(t.Context())); err != nil {
					t.Fatal(err)
				}
				var err error
				if moments[i], err = tr.state.Read(tr.state.M); err != nil {
					t.Fatal(err)
				}
				steps, _ := logged(t, o.Out)
				records[i] = steps[0]
			}
			off, size := 0., 0.
			for k, v := range moments[0] {
				off += math.Pow(float64(v)-float64(moments[1][k]), 2)
				size += math.Pow(float64(v), 2)
			}
			if d := math.Sqrt(off / size); !(d < 1e-4) { // sums of float32 in another order
				t.Errorf("the mean gradients differ by %.3g of their size", d)
			}
			for _, key := range []string{"loss", "recon", "sample_entropy", "codebook_entropy", "commitment", "entropy", "grad_norm"} {
				a, isA := records[0][key].(float64)
				b, isB := records[1][key].(float64)
				if isA != isB || math.Abs(a-b) > 1e-4*math.Abs(a) {
					t.Errorf("%s is %v of one batch, %v of four", key, records[0][key], records[1][key])
				}
			}
		})
	}
}
