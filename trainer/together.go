package trainer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"magvit/kernels"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/ranks"
	"magvit/trainer/usage"
)

// Several ranks train as one. Rank 0 alone writes the run directory; the others keep a copy of
// the weights, and take from it what it knows of the run. What follows are the points where
// all ranks meet, in the order of a run.

// errStopped ends the steps of all ranks, one of which was interrupted.
var errStopped = errors.New("interrupted on one of the ranks")

// patient is the context of work that other ranks wait for: an interruption does not end it,
// but is agreed on before the next step.
func (t *training) patient(ctx context.Context) context.Context {
	if t.group.Size() > 1 {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

// division is how a step's clips are divided into batches.
type division struct {
	batches      int // of a step
	clips, crops int // of a batch of whole clips, or of crops; 0 without crops
}

// of is the division into times as many batches.
func (d division) of(times int) division {
	return division{d.batches * times, d.clips / times, d.crops / times}
}

// times is by how many times more batches than d has e has the same clips; 0: it has other ones.
func (d division) times(e division) int {
	if n := e.batches / d.batches; n > 0 && d.clips%n == 0 && d.crops%n == 0 && d.of(n) == e {
		return n
	}
	return 0
}

// divide makes a step's batches at least as many as there are ranks, of fewer clips each. A
// run keeps the division it began with, so that it has the same bits with other ranks.
func (t *training) divide(ctx context.Context) error {
	n := t.group.Size()
	d := division{t.cfg.Train.Accumulate, t.cfg.Train.Batch, t.cfg.Data.Crop.Batch}
	if t.dir != nil {
		if was, ok, err := t.dir.Config(); err == nil && ok {
			w := division{was.Train.Accumulate, was.Train.Batch, was.Data.Crop.Batch}
			if d.times(w) > 1 {
				t.log.Info("the run's steps are of more, smaller batches than configured", w.words()...)
				d = w
			} else if n > 1 && d.batches < n && w.batches == d.batches {
				n = 1 // its batches are as they were
			}
		}
	}
	if n > 1 && d.batches < n {
		for times := 2; times <= d.clips; times++ {
			if more := d.of(times); d.times(more) == times && more.batches%n == 0 {
				t.log.Info("a step's batches are divided among the ranks", more.words()...)
				d = more
				break
			}
		}
	}
	d, err := t.fromFirst(ctx, d)
	if err != nil {
		return err
	}
	t.cfg.Train.Accumulate, t.cfg.Train.Batch, t.cfg.Data.Crop.Batch = d.batches, d.clips, d.crops
	if n := t.group.Size(); n > 1 && d.batches%n != 0 {
		t.log.Warn(fmt.Sprintf("%d batches a step on %d ranks: some ranks wait for others; train.accumulate=%d with a train.batch to match uses all", d.batches, n, n))
	}
	return nil
}

// words are a division for a log.
func (d division) words() []any {
	words := []any{"batches", d.batches, "clips", d.clips}
	if d.crops > 0 {
		words = append(words, "crops", d.crops)
	}
	return words
}

// fromFirst is the division of rank 0.
func (t *training) fromFirst(ctx context.Context, d division) (division, error) {
	v := []int32{int32(d.batches), int32(d.clips), int32(d.crops)}
	err := t.group.Broadcast(t.patient(ctx), 0, ranks.IntBytes(v))
	return division{int(v[0]), int(v[1]), int(v[2])}, err
}

// meet refuses ranks that would not compute the same.
func (t *training) meet(ctx context.Context) error {
	if t.group.Size() == 1 {
		return nil
	}
	ctx = t.patient(ctx)
	return SameWork(ctx, t.group, t.be, t.cfg, fingerprint(t.opt.Source))
}

// SameWork refuses ranks that would not compute the same: with another program, on other devices, of other clips, which a
// short text describes, or by another configuration.
func SameWork(ctx context.Context, group *ranks.Group, be kernels.Backend, c config.Config, clips string) error {
	program, err := programHash()
	if err != nil {
		return err
	}
	for _, of := range []struct{ what, value, advice string }{
		{"program", program, "install one program everywhere"},
		{"instruction set or device", kernels.InstructionsOf(be), "MAGVIT_ISA=avx2 on all ranks chooses one that most processors have"},
		{"clips", clips, "give all ranks the same --data, and the same choice of its clips"},
	} {
		if err := group.Same(ctx, of.what, of.value); errors.Is(err, ranks.ErrDiffer) {
			return usage.Errorf("%w: %s", err, of.advice)
		} else if err != nil {
			return err
		}
	}
	text, err := c.YAML()
	if err != nil {
		return err
	}
	texts, err := group.Gather(ctx, text)
	if err != nil {
		return err
	}
	first, err := config.Parse("configuration of "+group.Name(0), texts[0])
	if err != nil {
		return err
	}
	for i, text := range texts {
		other, err := config.Parse("configuration of "+group.Name(i), text)
		if err != nil {
			return err
		}
		if d := config.Differences(first, other, "data.workers"); len(d) > 0 {
			return usage.Errorf("configuration: on %s it is another one than on %s: %s; want the same on all ranks", group.Name(i), group.Name(0), d)
		}
	}
	return nil
}

// sameClips refuses ranks whose clips have the same names and other pixels, as far as their
// mean frame shows it.
func (t *training) sameClips(ctx context.Context) error {
	if t.group.Size() == 1 || t.clips.Mean == nil {
		return nil
	}
	err := t.group.Same(t.patient(ctx), "mean frame of the training clips", hash(t.clips.Mean))
	if errors.Is(err, ranks.ErrDiffer) {
		return usage.Errorf("%w: clips of the same names differ", err)
	}
	return err
}

// programHash identifies the program that runs.
func programHash() (string, error) {
	name, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return "sha256 " + hex.EncodeToString(h.Sum(nil)[:8]), err
}

func hash(values []float32) string {
	h := sha256.Sum256(ranks.Bytes(values))
	return "sha256 " + hex.EncodeToString(h[:8])
}

// shared is what rank 0 knows of a run that the others take over.
type shared struct {
	From   string              `json:"from"`
	Config []byte              `json:"config"`
	Snap   checkpoint.Snapshot `json:"snap"`
}

// adopt takes over rank 0's checkpoint, configuration and counts.
func (t *training) adopt(ctx context.Context, from string) (string, error) {
	if t.group.Size() == 1 {
		return from, nil
	}
	text, err := t.cfg.YAML()
	if err != nil {
		return "", err
	}
	mine, err := json.Marshal(shared{from, text, t.snap})
	if err != nil {
		return "", err
	}
	if !t.group.First() {
		mine = nil
	}
	all, err := t.group.Gather(t.patient(ctx), mine)
	if err != nil || t.group.First() {
		return from, err
	}
	var b shared
	if err := json.Unmarshal(all[0], &b); err != nil {
		return "", err
	}
	if t.cfg, err = config.Parse("configuration of "+t.group.Name(0), b.Config); err != nil {
		return "", err
	}
	t.snap = b.Snap
	return b.From, t.buildNetwork()
}

// copyState gives all ranks the weights and the optimizer's state of rank 0.
func (t *training) copyState(ctx context.Context) error {
	if t.group.Size() == 1 {
		return nil
	}
	for _, b := range t.common() {
		arena, err := t.state.Read(b)
		if err != nil {
			return err
		}
		if err := t.group.Broadcast(t.patient(ctx), 0, ranks.Bytes(arena)); err != nil {
			return err
		}
		if err := t.be.Write(b, arena); err != nil {
			return err
		}
	}
	if t.state.Shard.Whole() {
		return nil
	}
	return t.scatterMoments(ctx)
}

// common are the arenas that are the same on all ranks: before an evaluation or a checkpoint, see gatherState.
func (t *training) common() []kernels.Buffer {
	all := []kernels.Buffer{t.state.Params}
	if t.state.Shard.Whole() {
		all = append(all, t.state.M, t.state.V)
	}
	if t.state.Average {
		all = append(all, t.state.EMA)
	}
	return all
}

// word is what each rank tells the others of a step before it.
type word struct {
	Stop    bool                 `json:"stop,omitempty"`
	Seconds float64              `json:"seconds"` // of the run
	Counts  []map[string]float64 `json:"counts,omitempty"`
}

// propose tells the other ranks of an interruption and of what this rank's batches of the next step count. It is called
// when these are there, while sums are on their way, so that ranks need not meet once more before that step.
func (t *training) propose(ctx context.Context) error {
	if t.group.Size() == 1 {
		return nil
	}
	mine, err := json.Marshal(word{ctx.Err() != nil, t.elapsed(), t.counts})
	t.words = t.group.StartGather(mine)
	return err
}

// forget takes back what was proposed, before work that is long or the last.
func (t *training) forget(ctx context.Context) error {
	if t.words == nil {
		return nil
	}
	_, err := t.words.Wait(t.patient(ctx))
	t.words = nil
	return err
}

// agree learns what all ranks have proposed for the step. The clock is rank 0's.
func (t *training) agree(ctx context.Context) error {
	if t.group.Size() == 1 {
		if t.counts != nil {
			t.stepper.Weigh(t.counts)
		}
		return nil
	}
	if t.words == nil {
		if err := t.propose(ctx); err != nil {
			return err
		}
	}
	words, err := t.words.Wait(t.patient(ctx))
	if t.words = nil; err != nil {
		return err
	}
	var counts []map[string]float64
	stop := false
	for i, text := range words {
		var w word
		if err := json.Unmarshal(text, &w); err != nil {
			return fmt.Errorf("%s: %w", t.group.Name(i), err)
		}
		if i == 0 {
			t.agreed = w.Seconds
		}
		stop, counts = stop || w.Stop, append(counts, w.Counts...)
	}
	t.stepper.Weigh(counts)
	if stop {
		return errStopped
	}
	return nil
}

// used counts the distinct codes of the step's last batch, and the clips of all ranks since
// the last record.
func (t *training) used(ctx context.Context) (int, error) {
	used, err := t.stepper.used()
	if err != nil || t.group.Size() == 1 {
		return used, err
	}
	mine := binary.LittleEndian.AppendUint64(nil, uint64(used))
	mine = binary.LittleEndian.AppendUint64(mine, uint64(t.loggedClips+t.current.clips))
	all, err := t.group.Gather(ctx, mine)
	if err != nil {
		return 0, err
	}
	clips := 0
	for rank, b := range all {
		if from, to := t.part().tree.Part(rank, len(all)); from < to && to == t.part().tree.Leaves {
			used = int(binary.LittleEndian.Uint64(b))
		}
		clips += int(binary.LittleEndian.Uint64(b[8:]))
	}
	t.loggedClips = clips - t.current.clips
	return used, nil
}

// blame adds the ranks to what was not finite.
func (t *training) blame(ctx context.Context, what string) (string, error) {
	if t.group.Size() == 1 {
		return what, nil
	}
	all, err := t.group.Gather(ctx, []byte(t.stepper.reducer.nonFinite()))
	for i, found := range all {
		if len(found) > 0 {
			what += "; " + string(found) + " on " + t.group.Name(i)
		}
	}
	return what, err
}

// evaluatedBefore reports whether the step was evaluated, perhaps by a run that was interrupted
// then, of which rank 0 has the records.
func (t *training) evaluatedBefore(ctx context.Context) (bool, error) {
	made := []byte{0}
	if t.evaluated == t.snap.Step {
		made[0] = 1
	}
	err := t.group.Broadcast(t.patient(ctx), 0, made)
	return made[0] == 1, err
}

// verify compares the weights of all ranks before what may be a checkpoint.
func (t *training) verify(ctx context.Context) error {
	if t.group.Size() == 1 || t.snap.Step == 0 || t.verified == t.snap.Step {
		return nil
	}
	var b bytes.Buffer
	for _, arena := range t.common() {
		values, err := t.state.Read(arena)
		if err != nil {
			return err
		}
		b.WriteString(hash(values))
	}
	sum := sha256.Sum256(b.Bytes())
	err := t.group.Same(t.patient(ctx), fmt.Sprintf("weights after step %d", t.snap.Step), hex.EncodeToString(sum[:8]))
	if errors.Is(err, ranks.ErrDiffer) {
		t.unsaved = true // what is here is not worth a checkpoint
		return fmt.Errorf("%w: memory or a processor errs; the last checkpoint is that of ranks that agreed", err)
	}
	t.verified = t.snap.Step
	return err
}
