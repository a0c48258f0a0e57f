package trainer

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"magvit/trainer/checkpoint"
	"magvit/trainer/data"
)

// averaged has all that is sharded: moments, and an average of the weights.
var averaged = append(slices.Clone(fewSteps), "train.ema.decay=0.9", "train.ema.update_after=0", "train.ema.update_every=1")

// TestShardedOptimizerHasTheSameBits interrupts a run of 3 ranks that keep a shard each, goes on
// with one process, and ends it with 2 ranks. Its checkpoint is that of one process.
func TestShardedOptimizerHasTheSameBits(t *testing.T) {
	for _, variant := range []string{"vq", "gan"} {
		sets := append(slices.Clone(averaged), variants[variant]...)
		straight, errs := runRanks(t, 1, time.Minute, nil, sets...)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		out := interruptedTwice(t, append(slices.Clone(sets), "train.shard_optimizer=true")...)
		if !bytes.Equal(tensorsOf(t, out), tensorsOf(t, straight.Out)) {
			t.Errorf("%s: another checkpoint than that of one process", variant)
		}
	}
}

// A rank that fails takes its shard along: the last checkpoint is the one to go on with.
func TestShardedOptimizerLostWithARank(t *testing.T) {
	o, errs := runRanks(t, 2, time.Minute, onRank(t, 1, 30, func(*data.Clip) error { return errors.New("the disk is gone") }),
		append(slices.Clone(averaged), "train.steps=40", "data.strict=true", "train.save_every=2", "train.shard_optimizer=true")...)
	if errs[0] == nil || !strings.Contains(errs[0].Error(), "the disk is gone") || strings.Contains(errs[0].Error(), "was saved as") {
		t.Errorf("%v, want what rank 1 met, and no checkpoint of a step whose state is lost", errs[0])
	}
	tensorsOf(t, o.Out)
}

func TestShardsCoverTheArena(t *testing.T) {
	for size := 1; size < 9; size++ {
		for _, n := range []int{16, 48, 160, 16016} {
			at, most := 0, 0
			for rank := range size {
				from, to := checkpoint.Shard{Rank: rank, Size: size}.Of(rank, n)
				if from != at || to < from || from%16 != 0 {
					t.Errorf("%d values on %d ranks: rank %d has %d to %d", n, size, rank, from, to)
				}
				at, most = to, max(most, to-from)
			}
			if at != n || most > (n+size-1)/size+15 {
				t.Errorf("%d values on %d ranks: the shards end at %d, the largest is of %d", n, size, at, most)
			}
		}
	}
}
