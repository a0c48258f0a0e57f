package published

import (
	"math"
	"path/filepath"
	"testing"

	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/metrics"
	"magvit/trainer/trainertest"
)

// What only this program's own small networks have is refused by name.
func TestExportRefusesWhatTheProjectsDoNotHave(t *testing.T) {
	size := model.Published{Multipliers: []int{1, 2}, Blocks: 1}
	for want, change := range map[string]func(c *model.Config){
		"patch 2":                 func(c *model.Config) { c.Patch = 2 },
		"background 1":            func(c *model.Config) { c.Background = 1 },
		`published.norm "layer"`:  func(c *model.Config) { c.Published.Norm = "layer" },
		`published.time_kernel 1`: func(c *model.Config) { c.Published.TimeKernel = 1 },
	} {
		cfg := config.Defaults()
		cfg.Model = model.OpenMagvit2Config(32, 6, size)
		change(&cfg.Model)
		net, err := model.New(cfg.Model)
		trainertest.Check(t, err)
		snap := checkpoint.Snapshot{Best: metrics.Number(math.NaN())}
		trainertest.Check(t, snap.SetConfig(cfg))
		dir := t.TempDir()
		trainertest.Check(t, checkpoint.NewStore(filepath.Join(dir, "checkpoints")).SaveWeights(checkpoint.NewLayout(net), snap, func(i int, dst []float32) error {
			net.Init(1, i, dst)
			return nil
		}))
		_, err = Export(dir, filepath.Join(dir, "theirs.ckpt"), model.OpenMagvit2)
		trainertest.Refused(t, err, want, "want 1, 0, lfq")
	}
}
