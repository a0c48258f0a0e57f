package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"magvit/gpu"
	"magvit/kernels"
	"magvit/kernels/chance"
	"magvit/model"
	"magvit/trainer"
)

func benchStepCommand() *cli.Command {
	return &cli.Command{
		Name:        "step",
		Usage:       "one whole training step: seconds, clips/s, GFLOP/s, peak memory",
		Description: example("magvit bench step --preset demo", "magvit bench step --preset demo --batch 8 --explain"),
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "preset", Usage: "the preset `NAME` (magvit presets lists them)"},
			&cli.IntFlag{Name: "batch", DefaultText: "the preset's", Usage: "clips in a batch"},
			&cli.IntFlag{Name: "frames", DefaultText: "the preset's, or 16", Usage: "frames of a clip"},
			&cli.IntFlag{Name: "steps", Value: 10, Usage: "how many steps to measure, after one that is not"},
			&cli.BoolFlag{Name: "explain", Usage: "show the plan: nodes, memory, work and time of each kind of kernel"},
			jsonFlag(),
		}, deviceFlags()...),
		Action: benchStep,
	}
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
	cfg, err := trainer.Preset(c.String("preset"))
	if err != nil {
		return err
	}
	for _, f := range []string{"batch", "frames", "steps"} {
		if c.IsSet(f) && c.Int(f) < 1 {
			return usagef("--%s %d: want 1 or more", f, c.Int(f))
		}
	}
	be, _, err := newDevice(c)
	if err != nil {
		return err
	}
	defer be.Close()
	net, err := model.Build(typical(cfg.Model))
	if err != nil {
		return err
	}
	shape := model.Shape{N: cfg.Train.Batch, T: net.Padded(either(c.Int("frames"), cfg.Data.Frames, 16)), H: cfg.Model.ImageSize, W: cfg.Model.ImageSize}
	if n := c.Int("batch"); n > 0 {
		shape.N = n
	}
	if err := net.Check(shape); err != nil {
		return usageError{err}
	}
	on := be
	dev, onGPU := be.(*gpu.Device)
	if !onGPU {
		on = &counted{Backend: be}
	}
	s, err := newBenchStep(on, net, shape)
	if err != nil {
		return err
	}
	r := stepResult{Preset: c.String("preset"), Device: describe(be), Precision: kernels.PrecisionOf(be).String(),
		Batch: shape.N, Frames: shape.T, Size: shape.H, Parameters: net.NumParams(), Steps: c.Int("steps")}
	if r.MinSeconds, r.MedianSeconds, err = s.time(c.Context, r.Steps); err != nil {
		return err
	}
	if onGPU {
		dev.SetGraphs(false)
		if r.ListMinSeconds, r.ListMedianSeconds, err = s.time(c.Context, r.Steps); err != nil {
			return err
		}
		dev.SetGraphs(true)
	}
	stats := s.prog.Plan.Stats()
	r.ClipsPerSecond = float64(shape.N) / r.MedianSeconds
	r.GFLOP = float64(stats.FLOPs()+s.flops) / 1e9
	r.GFLOPS = r.GFLOP / r.MedianSeconds
	r.PeakBytes, r.ArenaBytes, r.ValueBytes = on.(interface{ Allocated() int64 }).Allocated(), stats.ArenaBytes, stats.ValueBytes
	out := c.App.Writer
	if c.Bool("json") {
		out = c.App.ErrWriter
	}
	if c.Bool("explain") {
		profile, err := s.prog.Plan.Profile()
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
	_, err := fmt.Fprintf(w, "%s, %s, %s: %d clips of %d frames, %d×%d; %.2f M parameters\n%.4g s a step (least %.4g s, %d steps), %.3g clips/s, %.1f GFLOP/s, %s of buffers\n",
		r.Preset, r.Device, r.Precision, r.Batch, r.Frames, r.Size, r.Size, float64(r.Parameters)/1e6,
		r.MedianSeconds, r.MinSeconds, r.Steps, r.ClipsPerSecond, r.GFLOPS, inBytes(uint64(r.PeakBytes)))
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

// Storage is the backend's.
func (b *counted) Storage(s kernels.Spec) kernels.Storage { return kernels.StorageOf(b.Backend, s) }

// Precision is the backend's.
func (b *counted) Precision() kernels.Precision { return kernels.PrecisionOf(b.Backend) }

// measured is a training step: the graph's plan and the optimizer.
type measured struct {
	be           kernels.Backend
	prog         *model.Program
	square, adam kernels.Kernel
	norm2, hyper kernels.Buffer
	arenas       [5]kernels.Buffer // parameters, moments, average, gradients: the order of AdamW
	flops        int64             // of the optimizer
}

func newBenchStep(be kernels.Backend, net model.Network, shape model.Shape) (s *measured, err error) {
	s = &measured{be: be}
	offsets, length := []int{}, 0
	for _, p := range net.Declared() {
		offsets = append(offsets, length)
		length += (p.Len() + 15) / 16 * 16
	}
	for i := range s.arenas {
		if s.arenas[i], err = be.Alloc(length); err != nil {
			return nil, err
		}
	}
	if s.norm2, err = be.Alloc(1); err != nil {
		return nil, err
	}
	if s.hyper, err = be.Alloc(kernels.HyperLen); err != nil {
		return nil, err
	}
	first := make([]float32, length)
	for i, p := range net.Declared() {
		net.Init(1, i, first[offsets[i]:][:p.Len()])
	}
	var h [kernels.HyperLen]float32
	h[kernels.HyperLR], h[kernels.HyperRate1], h[kernels.HyperRate2], h[kernels.HyperEps] = 1e-4, .1, .01, 1e-8
	h[kernels.HyperCorrect1], h[kernels.HyperCorrect2], h[kernels.HyperMaxNorm], h[kernels.HyperScale] = .1, .01, 1, 1
	graph, err := net.Training(shape)
	if err != nil {
		return nil, err
	}
	inUse := model.InUse(be)
	if s.prog, err = graph.Compile(be, s.arenas[0], s.arenas[4], offsets); err != nil {
		return nil, model.ExplainMemory(net, be, shape, inUse, err)
	}
	square, adam := kernels.SumSquares{Len: length}, kernels.AdamW{Len: length}
	s.flops = square.FLOPs() + adam.FLOPs()
	if s.square, err = be.Prepare(square); err != nil {
		return nil, err
	}
	if s.adam, err = be.Prepare(adam); err != nil {
		return nil, err
	}
	video := make([]float32, s.prog.Video.Len())
	r := chance.New(1, "bench step", 0, 0)
	for i := range video {
		video[i] = float32(r.Float64())
	}
	for _, in := range []struct {
		to     kernels.Buffer
		values []float32
	}{{s.arenas[0], first}, {s.hyper, h[:]}, {s.prog.Video, video}} {
		if err := be.Write(in.to, in.values); err != nil {
			return nil, err
		}
	}
	for _, counts := range []kernels.Buffer{s.prog.Weight, s.prog.Counts} {
		if counts == nil {
			continue
		}
		if err := be.Write(counts, slices.Repeat([]float32{1}, counts.Len())); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// time makes so many steps after one that is not measured: it fills caches and page
// tables.
func (s *measured) time(ctx context.Context, steps int) (least, median float64, err error) {
	var times []float64
	for i := range steps + 1 {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		start := time.Now()
		if err := s.run(); err != nil {
			return 0, 0, err
		}
		if i > 0 {
			times = append(times, time.Since(start).Seconds())
		}
	}
	slices.Sort(times)
	return times[0], times[len(times)/2], nil
}

// run is one step: loss and gradients, their norm, new parameters.
func (s *measured) run() error {
	if err := s.prog.Run(); err != nil {
		return err
	}
	a := s.arenas
	s.square.Run(s.norm2, a[4])
	s.adam.Run(a[0], a[1], a[2], a[3], a[4], s.norm2, s.hyper)
	return s.be.Sync()
}
