package task

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/data"
	"magvit/trainer/quality"
	"magvit/trainer/ranks"
	"magvit/trainer/trainertest"
)

// TestAnswersComputeEachClipOnce has each clip computed by one rank, and none in addition: a batch that is not full has as
// many clips as remain.
func TestAnswersComputeEachClipOnce(t *testing.T) {
	src := trainertest.Squares{Clips: 12, Frames: 2, Side: 16}
	cfg := config.Defaults().Data
	for _, clips := range []int{1, 5, 8, 11} {
		for size := 1; size <= 3; size++ {
			var computed atomic.Int64
			var used []string // by rank 0
			var group sync.WaitGroup
			for _, transport := range ranks.InProcess(size) {
				group.Go(func() {
					g, err := ranks.NewGroup(t.Context(), transport, time.Minute)
					if err != nil {
						t.Errorf("rank of %d: %v", size, err)
						return
					}
					indices := make([]int, clips)
					for i := range indices {
						indices[i] = i
					}
					_, err = Answers(t.Context(), g, src, indices, cfg, 4, func(b *data.Batch) ([]byte, error) {
						computed.Add(int64(b.N))
						var answer []byte
						for _, i := range b.Index {
							answer = append(answer, byte(i), byte(2*i))
						}
						return answer, nil
					}, func(b *data.Batch, answer []byte) error {
						for n := range b.N {
							used = append(used, fmt.Sprint(b.Names[n], answer[2*n:2*n+2]))
						}
						if len(answer) != 2*b.N {
							t.Errorf("%d bytes for %d clips", len(answer), b.N)
						}
						return nil
					})
					if err != nil {
						t.Errorf("%d clips, rank %d of %d: %v", clips, g.Rank(), size, err)
					}
				})
			}
			group.Wait()
			var want []string
			for i := range clips {
				want = append(want, fmt.Sprint(src.Name(i), []byte{byte(i), byte(2 * i)}))
			}
			if computed.Load() != int64(clips) || !slices.Equal(used, want) {
				t.Errorf("%d clips on %d ranks: %d were computed; %v, want %v", clips, size, computed.Load(), used, want)
			}
		}
	}
}

// TestEvaluationComputesTheClipsAlone compares the reconstructions of 5 clips, evaluated together, with those of each clip
// evaluated alone. The batches that are computed have 4 clips and 1.
func TestEvaluationComputesTheClipsAlone(t *testing.T) {
	c, err := config.Parse("test", []byte(trainertest.Mini))
	trainertest.Check(t, err)
	c.Data.Frames, c.Data.Height, c.Data.Width, c.Data.Channels = 4, 16, 16, 3
	tok, err := model.New(c.Model)
	trainertest.Check(t, err)
	layout := checkpoint.NewLayout(tok)
	weights := make(kernels.Host, layout.Len)
	for i, p := range tok.Declared() {
		tok.Init(1, i, weights[layout.Offsets[i]:][:p.Len()])
	}
	be := kernels.NewCPU(1)
	defer be.Close()
	src := trainertest.Squares{Clips: 5, Frames: 4, Side: 16}
	evaluate := func(indices ...int) (recon [][]float32, batches []int) {
		codec := newCodec(be, tok, Trained{Config: c}, weights)
		e, err := codec.Evaluate(t.Context(), Clips{Source: src, Indices: indices, Data: c.Data, Judge: func(p quality.Pair) error {
			recon = append(recon, slices.Clone(p.Recon))
			return nil
		}}, nil)
		trainertest.Check(t, err)
		if e.Val.Clips != len(indices) {
			t.Errorf("%d clips, want %d", e.Val.Clips, len(indices))
		}
		for s := range codec.encoders {
			batches = append(batches, s.N)
		}
		slices.Sort(batches)
		return recon, batches
	}
	together, batches := evaluate(0, 1, 2, 3, 4)
	if !slices.Equal(batches, []int{1, 4}) {
		t.Errorf("batches of %v clips, want 1 and 4", batches)
	}
	for i, recon := range together {
		alone, batches := evaluate(i)
		if !slices.Equal(batches, []int{1}) {
			t.Errorf("clip %d: batches of %v clips, want 1", i, batches)
		}
		for k, v := range alone[0] {
			if math.Float32bits(v) != math.Float32bits(recon[k]) {
				t.Fatalf("clip %d: value %d is %v, alone %v", i, k, recon[k], v)
			}
		}
	}
}
