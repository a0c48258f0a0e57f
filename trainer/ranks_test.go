package trainer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"magvit/kernels"
	"magvit/trainer/ranks"
)

// runRanks trains on n ranks that are goroutines, each with a backend of its own. change, if not
// nil, changes a rank's options. It returns rank 0's result, and the errors of all.
func runRanks(t *testing.T, n int, timeout time.Duration, change func(rank int, o *Options) context.Context, sets ...string) (Options, []error) {
	t.Helper()
	first, _ := small(t, sets...)
	errs := make([]error, n)
	var all sync.WaitGroup
	transports := ranks.InProcess(n)
	for i := range n {
		o := first
		o.Backend, o.Log = kernels.NewCPU(1), first.Log.With("rank", i)
		t.Cleanup(func() { o.Backend.Close() })
		ctx := t.Context()
		if change != nil {
			ctx = change(i, &o)
		}
		if i == 0 {
			first = o
		}
		all.Go(func() {
			g, err := ranks.NewGroup(ctx, transports[i], timeout)
			if err == nil {
				if n > 1 {
					o.Ranks = g
				}
				_, err = Run(ctx, o)
			}
			if err != nil && !errors.Is(err, ErrInterrupted) {
				g.Fail(err, 1)
			}
			errs[i] = err
		})
	}
	all.Wait()
	return first, errs
}

// tensorsOf is the checkpoint files of a run's last step that do not depend on the time.
func tensorsOf(t *testing.T, dir string) (all []byte) {
	t.Helper()
	latest, err := os.ReadFile(filepath.Join(dir, "checkpoints", "latest"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"model.safetensors", "optimizer.safetensors"} {
		b, err := os.ReadFile(filepath.Join(dir, "checkpoints", strings.TrimSpace(string(latest)), name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// variants are configurations of all that is added up over a step's batches.
var variants = map[string][]string{
	"fsq":               nil,
	"lfq":               {"model.quantizer={kind: lfq, levels: [], codebook_size: 64, entropy_weight: 0.5, diversity_gamma: 1, commitment_weight: 0.25}"},
	"bsq":               {"model.quantizer={kind: bsq, levels: [], codebook_size: 64, entropy_weight: 0.5, diversity_gamma: 1, commitment_weight: 0.25}"},
	"vq":                {"model.quantizer={kind: vq, levels: [], codebook_size: 32, code_dim: 4, commitment_weight: 0.25, decay: 0.9, dead_threshold: 0.01}"},
	"gan":               append(slices.Clone(against), "model.loss.adversarial.start=1"),
	"gan with averages": append(slices.Clone(against), "model.loss.adversarial.start=1", "model.loss.adversarial.lecam=0.1", "model.loss.adversarial.penalty=none", "model.discriminator.kind=patchgan3d"),
	"short":             {"data.frames=4", "train.clip_norm=0.01"},
}

// TestRanksHaveTheSameBits trains on 1, 3 and 4 ranks, fsq also on 2 and on more than there are batches: weights,
// moments, averages and records are the same.
func TestRanksHaveTheSameBits(t *testing.T) {
	for name, more := range variants {
		t.Run(name, func(t *testing.T) {
			var want []byte
			var records []map[string]any
			for _, n := range []int{1, 2, 4, 3, 5} {
				if (n == 2 || n > 4) && name != "fsq" {
					continue
				}
				o, errs := runRanks(t, n, time.Minute, func(_ int, o *Options) context.Context {
					if name == "short" {
						o.Source = uneven{o.Source}
					}
					return t.Context()
				}, append([]string{"train.batch=1", "train.accumulate=4", "train.steps=3", "train.eval_every=0", "train.eval_clips=1", "train.samples=0"}, more...)...)
				if err := errors.Join(errs...); err != nil {
					t.Fatalf("%d ranks: %v", n, err)
				}
				got := tensorsOf(t, o.Out)
				steps, _ := logged(t, o.Out)
				for _, s := range steps {
					for _, clock := range []string{"time", "seconds", "clips_per_s", "waiting"} {
						delete(s, clock)
					}
				}
				if want == nil {
					want, records = got, steps
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%d ranks: other weights than one", n)
				}
				if fmt.Sprint(steps) != fmt.Sprint(records) {
					t.Errorf("%d ranks: other records:\n%v\nof one:\n%v", n, steps, records)
				}
			}
		})
	}
}
