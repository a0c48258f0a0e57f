package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"magvit/gpu"
	"magvit/kernels"
	"magvit/kernels/philox"
	"magvit/model"
	"magvit/model/machine"
	"magvit/trainer"
	"magvit/trainer/config"
	"magvit/trainer/data"
	"magvit/trainer/ranks"
	"magvit/trainer/usage"
)

func benchStepCommand() *cli.Command {
	return &cli.Command{
		Name:  "step",
		Usage: "one whole training step: seconds, clips/s, GFLOP/s, peak memory",
		Description: example("magvit bench step --preset demo", "magvit bench step --preset demo --batch 8 --explain",
			"magvit bench step --preset magvit2-128 --batch 4 --precision bf16 --plan"),
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "preset", Usage: "the preset `NAME` (magvit presets lists them)"},
			&cli.IntFlag{Name: "batch", DefaultText: "the preset's", Usage: "clips in a batch"},
			&cli.IntFlag{Name: "frames", DefaultText: "the preset's, or 16", Usage: "frames of a clip"},
			&cli.IntFlag{Name: "size", DefaultText: "the preset's", Usage: "side of a frame in pixels, of crops or clips"},
			&cli.IntFlag{Name: "steps", Value: 10, Usage: "steps to measure, after one that is not measured"},
			&cli.IntFlag{Name: "ranks", Usage: "predict the step of `N` ranks on CPUs that share the batch, and measure it under mpirun; with --plan, of 1, 2, 4 … up to N GPUs with the same batch each"},
			&cli.StringFlag{Name: "link", Usage: "`LATENCY,RATE` between ranks: µs of an exchange, and GB/s that each sends; magvit bench reduce measures them"},
			explainFlag(),
			kernelsFlag(),
			&cli.StringFlag{Name: "recompute", Value: "none", Usage: "values that the backward pass makes again to save memory: none, auto or max"},
			jsonFlag(),
		}, append(planFlags(), deviceFlags()...)...),
		Action: benchStep,
	}
}

func explainFlag() cli.Flag {
	return &cli.BoolFlag{Name: "explain", Usage: "show the plan: nodes, memory, work and time of each kind of kernel"}
}

// planFlags belong to benchmarks that a cost model can estimate.
func planFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "plan", Usage: "only estimate operations and least time on a GPU; needs none"},
		&cli.StringFlag{Name: "architecture", Value: "sm_90", Usage: "of that GPU"},
		&cli.StringFlag{Name: "peak", Value: "790,60,3015", Usage: "`TENSOR,FLOAT,MEMORY`: its TFLOP/s of tensor cores and of float32, and GB/s; those of an H100 SXM, nine tenths of its memory's"},
	}
}

// checkPlanFlags refuses flags of --plan without it, and flags of what runs with it.
func checkPlanFlags(c *cli.Context, ofPlan, ofRuns []string) error {
	for _, f := range ofPlan {
		if c.IsSet(f) && !c.Bool("plan") {
			return usagef("--%s is for --plan, which is not given", f)
		}
	}
	for _, f := range ofRuns {
		if c.IsSet(f) && c.Bool("plan") {
			return usagef("--%s is for what runs; --plan runs nothing", f)
		}
	}
	return nil
}

// stepResult is what bench step --json prints. Work is that of the kernels,
// forward, backward and optimizer.
type stepResult struct {
	Preset            string  `json:"preset"`
	Device            string  `json:"device"`
	Precision         string  `json:"precision"`
	Batch             int     `json:"batch"`
	Frames            int     `json:"frames"`
	Size              int     `json:"size"`
	Parameters        int     `json:"parameters"`
	Steps             int     `json:"steps"`
	MinSeconds        float64 `json:"min_s"`
	MedianSeconds     float64 `json:"median_s"`
	CPUSeconds        float64 `json:"cpu_s"`                // of all cores, the mean
	ListMinSeconds    float64 `json:"list_min_s,omitempty"` // on a GPU, of steps that are launched kernel by kernel instead of as a graph
	ListMedianSeconds float64 `json:"list_median_s,omitempty"`
	ClipsPerSecond    float64 `json:"clips_per_s"` // at the median
	GFLOP             float64 `json:"gflop"`       // of a step
	GFLOPS            float64 `json:"gflops"`      // a second, at the median
	PeakBytes         int64   `json:"peak_bytes"`  // buffers of the backend
	ArenaBytes        int64   `json:"arena_bytes"` // of which intermediate values
	ValueBytes        int64   `json:"value_bytes"` // what these would take side by side
}

func benchStep(c *cli.Context) error {
	if _, err := arguments(c, 0, 0, ""); err != nil {
		return err
	}
	if err := need(c, "preset"); err != nil {
		return err
	}
	cfg, err := config.Preset(c.String("preset"))
	if err != nil {
		return err
	}
	for _, f := range []string{"batch", "frames", "size", "steps"} {
		if c.IsSet(f) && c.Int(f) < 1 {
			return usagef("--%s %d: want 1 or more", f, c.Int(f))
		}
	}
	if n := c.Int("ranks"); c.IsSet("ranks") && (n < 1 || n > 4096) {
		return usagef("--ranks %d: want 1 to 4096", n)
	}
	var between link
	if c.IsSet("ranks") || c.IsSet("link") {
		if between, err = parseLink(c.String("link")); err != nil {
			return err
		}
	}
	if err := checkPlanFlags(c, []string{"peak", "architecture"}, []string{"steps", "explain"}); err != nil {
		return err
	}
	var only *costModel
	var be kernels.Backend
	var group *ranks.Group
	if c.Bool("plan") {
		only, err = newCostModel(c)
		be = only
	} else {
		if c.IsSet("ranks") {
			if group, err = openRanks(c); err != nil {
				return err
			}
		}
		be, _, err = newDevice(c)
	}
	if err != nil {
		return err
	}
	defer be.Close()
	cfg.Model, cfg.Train.Accumulate, cfg.Train.Recompute = typical(cfg.Model), 1, c.String("recompute")
	if _, err := machine.ParseRecompute(cfg.Train.Recompute); err != nil {
		return usagef("--%w", err)
	}
	net, err := model.Build(cfg.Model)
	if err != nil {
		return err
	}
	size := either(c.Int("size"), cfg.Model.ImageSize)
	shape := model.Shape{N: cfg.Train.Batch, T: net.Padded(either(c.Int("frames"), cfg.Data.Frames, 16)), H: size, W: size}
	if g := cfg.Model.Prior.Grid; cfg.Model.IsPrior() {
		if c.IsSet("size") {
			return usagef("--size is for networks that read frames; %s reads codes", c.String("preset"))
		}
		shape.H, shape.W = g[1], g[2]
	}
	if n := c.Int("batch"); n > 0 {
		shape.N = n
	}
	if err := net.Check(shape); err != nil {
		return usage.Wrap(err)
	}
	if only != nil {
		return benchPlan(c, only, net, cfg, shape, between)
	}
	on := be
	if err := useKernels(c, be); err != nil {
		return err
	}
	dev, onGPU := be.(*gpu.Device)
	if c.IsSet("ranks") {
		if onGPU {
			return usagef("--ranks without --plan: is for --device cpu; bench step --plan --ranks predicts GPUs")
		}
		return benchRankStep(c, be, net, cfg, shape, group, between)
	}
	if !onGPU {
		on = &counted{Backend: be}
	}
	s, err := newMeasured(on, net, cfg, shape, nil)
	if err != nil {
		return err
	}
	r := stepResult{Preset: c.String("preset"), Device: describe(be), Precision: kernels.PrecisionOf(be).String(),
		Batch: shape.N, Frames: shape.T, Size: shape.H, Parameters: net.NumParams(), Steps: c.Int("steps")}
	took, err := s.time(c.Context, r.Steps)
	if err != nil {
		return err
	}
	r.MinSeconds, r.MedianSeconds, r.CPUSeconds = took.least, took.median, took.cpu
	if onGPU {
		dev.SetGraphs(false)
		if took, err = s.time(c.Context, r.Steps); err != nil {
			return err
		}
		r.ListMinSeconds, r.ListMedianSeconds = took.least, took.median
		dev.SetGraphs(true)
	}
	plan := s.steps.Program().Plan
	stats := plan.Stats()
	r.ClipsPerSecond = float64(shape.N) / r.MedianSeconds
	r.GFLOP = float64(s.steps.FLOPs()) / 1e9
	r.GFLOPS = r.GFLOP / r.MedianSeconds
	r.PeakBytes, r.ArenaBytes, r.ValueBytes = model.InUse(on), stats.ArenaBytes, stats.ValueBytes
	out := c.App.Writer
	if c.Bool("json") {
		out = c.App.ErrWriter
	}
	if c.Bool("explain") {
		profile, err := plan.Profile()
		if err != nil {
			return err
		}
		if err := profile.Explain(out); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return printJSON(c, r)
	}
	return r.write(out)
}

func (r stepResult) write(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s, %s, %s: %d clips of %d frames, %d×%d; %.2f M parameters\n%.4g s a step (least %.4g s, of the CPU %.4g s, %d steps), %.3g clips/s, %.1f GFLOP/s, %s of buffers\n",
		r.Preset, r.Device, r.Precision, r.Batch, r.Frames, r.Size, r.Size, float64(r.Parameters)/1e6,
		r.MedianSeconds, r.MinSeconds, r.CPUSeconds, r.Steps, r.ClipsPerSecond, r.GFLOPS, inBytes(uint64(r.PeakBytes)))
	if err == nil && r.ListMinSeconds > 0 {
		_, err = fmt.Fprintf(w, "that was with each step captured as a graph; without: %.4g s a step (least %.4g s)\n", r.ListMedianSeconds, r.ListMinSeconds)
	}
	return err
}

// either is the first of the numbers that is not 0.
func either(numbers ...int) int {
	for _, n := range numbers {
		if n != 0 {
			return n
		}
	}
	return 0
}

// counted is a backend that counts what it is asked for. Nothing is given back
// before the end, so the sum is the peak.
type counted struct {
	kernels.Backend
	bytes int64
}

func (b *counted) Alloc(n int) (kernels.Buffer, error) {
	b.bytes += 4 * int64(n)
	return b.Backend.Alloc(n)
}

// Allocated is the sum in bytes.
func (b *counted) Allocated() int64 { return b.bytes }

// StoresBF16 is the backend's.
func (b *counted) StoresBF16() bool { return kernels.StoresBF16(b.Backend) }

// FusesGradients is the backend's.
func (b *counted) FusesGradients() bool { return kernels.FusesGradients(b.Backend) }

// Work is the backend's.
func (b *counted) Work(s kernels.Spec) int64 { return kernels.WorkOf(b.Backend, s) }

// Precision is the backend's.
func (b *counted) Precision() kernels.Precision { return kernels.PrecisionOf(b.Backend) }

// measured makes the steps of a training, all of one batch.
type measured struct {
	steps *trainer.Stepper
	batch *data.Batch
	rank  int // number of the batch in its step
	done  int
}

// newMeasured is the part of a rank, which has one batch of a step; of all of it where g is nil.
func newMeasured(be kernels.Backend, net model.Network, cfg config.Config, shape model.Shape, g *ranks.Group) (*measured, error) {
	cfg.Train.Accumulate = g.Size()
	steps, err := trainer.NewRankStepper(be, net, cfg, g)
	if err != nil {
		return nil, err
	}
	s := data.Shape{N: shape.N, T: shape.T, H: shape.H, W: shape.W, C: cfg.Model.Channels}
	m := &measured{steps: steps, rank: g.Rank(), batch: &data.Batch{N: s.N, T: s.T, H: s.H, W: s.W, C: s.C, Video: make([]float32, s.Values()),
		Weight: slices.Repeat([]float32{1}, s.Pixels()), Points: make([]float32, s.N*s.T*2), HasPoints: slices.Repeat([]bool{true}, s.N),
		Frames: slices.Repeat([]int{s.T}, s.N), Labels: make([]int, s.N), Index: make([]int, s.N)}}
	r := philox.New(1, "bench step", 0, 0)
	for i := range m.batch.Video {
		m.batch.Video[i] = float32(r.Float64())
	}
	return m, steps.Feed(m.batch)
}

// stepSeconds are those of steps: the least and the median, and what all cores spent on one, in the mean.
type stepSeconds struct{ least, median, cpu float64 }

// time measures n steps after one that is not measured: it fills caches and page
// tables, and is recorded. A step's time is that from the end of the one before it.
func (m *measured) time(ctx context.Context, steps int) (stepSeconds, error) {
	var times []float64
	var last time.Time
	var used resources
	for i := range steps + 1 {
		if err := ctx.Err(); err != nil {
			return stepSeconds{}, err
		}
		if err := m.run(ctx); err != nil {
			return stepSeconds{}, err
		}
		now := time.Now()
		if i > 0 {
			times = append(times, now.Sub(last).Seconds())
		} else {
			used = usedSoFar()
		}
		last = now
	}
	cpu := (usedSoFar().own - used.own) / float64(steps)
	slices.Sort(times)
	return stepSeconds{times[0], times[len(times)/2], cpu}, nil
}

// run is one step as the trainer makes it: the next batch goes up while it is at work.
func (m *measured) run(ctx context.Context) error {
	at := trainer.Position{Step: m.done, Updates: m.done}
	if m.steps.Measures() {
		if err := errors.Join(m.steps.Measure(m.rank, at), m.steps.Average(ctx)); err != nil {
			return err
		}
	}
	if err := m.steps.Run(m.rank, at); err != nil {
		return err
	}
	m.done++
	if err := m.steps.Feed(m.batch); err != nil {
		return err
	}
	o, err := m.steps.Wait(ctx)
	if err == nil && !o.Applied() {
		err = fmt.Errorf("step %d: the loss is %v, the gradient's norm %v: such a step is not applied, and its time means nothing", m.done, o.Loss, o.Norm)
	}
	return err
}
