package trainer

import (
	"os"
	"runtime/debug"
	"sort"

	"magvit/kernels"
	"magvit/model"
	"magvit/model/machine"
	"magvit/trainer/usage"
)

// checkMemory refuses a batch that does not fit into the memory of this machine, before any of it is allocated: Go ends a
// program that runs out of memory, with nothing saved. A GPU's memory is checked where it is allocated; the batches of the
// reader are in this machine's memory for every backend.
func (t *training) checkMemory() error {
	free := availableMemory()
	if free <= 0 {
		return nil // the system does not tell
	}
	_, onCPU := t.be.(*kernels.CPU)
	recompute, err := machine.ParseRecompute(t.cfg.Train.Recompute)
	if err != nil {
		return err
	}
	state := shardOf(t.cfg.Train, t.group).Bytes(t.net.NumParams(), t.cfg.Train.EMA.Decay > 0)
	need := func(batch int) int64 {
		bytes := t.cfg.Data.LoaderBytes(batch)
		if !onCPU {
			return bytes
		}
		bytes += state
		for _, s := range t.cfg.Data.Shapes(batch) {
			b, err := model.TrainingBytes(t.net, t.be, model.Shape{N: s.N, T: s.T, H: s.H, W: s.W}, recompute)
			if err != nil {
				return bytes // compiling it will return the error
			}
			bytes += b
		}
		return bytes
	}
	batch := t.cfg.Train.Batch
	if need(batch) <= free {
		return nil
	}
	d := t.cfg.Data
	fits := sort.Search(batch-1, func(i int) bool { return need(i+1) > free })
	if fits == 0 {
		return usage.Errorf("train.batch: not even one clip of %d frames, %d×%d, fits: it needs %s, and %s are free; shorter or smaller clips, or a narrower model, do",
			d.Frames, d.Width, d.Height, kernels.Size(need(1)), kernels.Size(free))
	}
	return usage.Errorf("train.batch: %d clips of %d frames, %d×%d, need %s, and %s are free; a batch of %d fits (train.accumulate adds up several)",
		batch, d.Frames, d.Width, d.Height, kernels.Size(need(batch)), kernels.Size(free), fits)
}

// gcPercent is how much the heap of a run grows between two collections of garbage, in percent of what is in use. Most of it is
// buffers without pointers, which the collector does not search: collecting often costs little (92 times in 40 steps of
// film-64, less than 1 % of its CPU time), and Go's default of 100 would let garbage take as much memory as they do.
const gcPercent = 10

// collectOften sets gcPercent, unless the user has set GOGC. restore sets what was before.
func collectOften() (restore func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	before := debug.SetGCPercent(gcPercent)
	return func() { debug.SetGCPercent(before) }
}
