package main

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"magvit/kernels"
	"magvit/kernels/philox"
	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/usage"
)

// benchCodecCommand is bench encode or bench decode.
func benchCodecCommand(name, what string) *cli.Command {
	return &cli.Command{
		Name:        name,
		Usage:       what + " with a preset's network: seconds, frames/s, GFLOP/s, memory",
		Description: example("magvit bench " + name + " --preset vidtok-fsq-488 --runs 3"),
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "preset", Usage: "the preset `NAME` (magvit presets lists them)"},
			&cli.IntFlag{Name: "batch", Value: 1, Usage: "clips at once"},
			&cli.IntFlag{Name: "frames", DefaultText: "the preset's, or 16", Usage: "frames of a clip"},
			&cli.IntFlag{Name: "size", DefaultText: "the preset's", Usage: "side of a frame in pixels"},
			&cli.IntFlag{Name: "runs", Value: 5, Usage: "runs to measure, after one that is not measured"},
			kernelsFlag(),
			jsonFlag(),
		}, deviceFlags()...),
		Action: func(c *cli.Context) error { return benchCodec(c, name == "encode") },
	}
}

// codecResult is what bench encode and bench decode print with --json.
type codecResult struct {
	Preset          string  `json:"preset"`
	Device          string  `json:"device"`
	Precision       string  `json:"precision"`
	Clips           int     `json:"clips"`
	Frames          int     `json:"frames"`
	Size            int     `json:"size"`
	Parameters      int     `json:"parameters"`
	Runs            int     `json:"runs"`
	MinSeconds      float64 `json:"min_s"`
	MedianSeconds   float64 `json:"median_s"`
	FramesPerSecond float64 `json:"frames_per_s"` // at the median
	GFLOP           float64 `json:"gflop"`        // of a run
	GFLOPS          float64 `json:"gflops"`       // a second, at the median
	PeakBytes       int64   `json:"peak_bytes"`   // buffers of the backend
}

func benchCodec(c *cli.Context, encode bool) error {
	if _, err := arguments(c, 0, 0, ""); err != nil {
		return err
	}
	if err := need(c, "preset"); err != nil {
		return err
	}
	for _, f := range []string{"batch", "frames", "size", "runs"} {
		if c.IsSet(f) && c.Int(f) < 1 {
			return usagef("--%s %d: want 1 or more", f, c.Int(f))
		}
	}
	cfg, err := config.Preset(c.String("preset"))
	if err != nil {
		return err
	}
	tok, err := model.New(typical(cfg.Model))
	if err != nil {
		return usage.Wrap(err)
	}
	size := either(c.Int("size"), cfg.Model.ImageSize)
	s := model.Shape{N: c.Int("batch"), T: tok.Padded(either(c.Int("frames"), cfg.Data.Frames, 16)), H: size, W: size}
	graph, input := tok.Decoder, "codes"
	if encode {
		graph, input = tok.Encoder, "video"
	}
	g, err := graph(s)
	if err != nil {
		return usage.Wrap(err)
	}
	device, _, err := newDevice(c)
	if err != nil {
		return err
	}
	defer device.Close()
	if err := useKernels(c, device); err != nil {
		return err
	}
	be := &counted{Backend: device}
	p, err := withRandomWeights(be, tok, g)
	if err != nil {
		return err
	}
	values, codes := make([]float32, p.Buffer(input).Len()), float64(tok.CodebookSize())
	r := philox.New(1, "bench codec", 0, 0)
	for i := range values {
		if values[i] = float32(r.Float64()); !encode {
			values[i] = float32(math.Floor(r.Float64() * codes))
		}
	}
	if err := be.Write(p.Buffer(input), values); err != nil {
		return err
	}
	var times []float64
	for i := range c.Int("runs") + 1 {
		if err := c.Context.Err(); err != nil {
			return err
		}
		began := time.Now()
		if err := p.Run(); err != nil {
			return err
		}
		if err := be.Sync(); err != nil {
			return err
		}
		if i > 0 {
			times = append(times, time.Since(began).Seconds())
		}
	}
	slices.Sort(times)
	stats := p.Plan.Stats()
	res := codecResult{Preset: c.String("preset"), Device: describe(device), Precision: kernels.PrecisionOf(device).String(), Clips: s.N, Frames: s.T, Size: size,
		Parameters: tok.NumParams(), Runs: len(times), MinSeconds: times[0], MedianSeconds: times[len(times)/2], GFLOP: float64(stats.FLOPs()) / 1e9, PeakBytes: model.InUse(be)}
	res.FramesPerSecond, res.GFLOPS = float64(s.N*s.T)/res.MedianSeconds, res.GFLOP/res.MedianSeconds
	if c.Bool("json") {
		return printJSON(c, res)
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s, %s, %s: %d clips of %d frames, %d×%d; %.2f M parameters\n%.4g s a run (least %.4g s, %d runs), %.4g frames/s, %.1f GFLOP/s, %s of buffers\n",
		res.Preset, res.Device, res.Precision, res.Clips, res.Frames, size, size, float64(res.Parameters)/1e6,
		res.MedianSeconds, res.MinSeconds, res.Runs, res.FramesPerSecond, res.GFLOPS, inBytes(uint64(res.PeakBytes)))
	return err
}

// withRandomWeights compiles a graph with weights of the size that first values have. They
// repeat, as drawing hundreds of millions takes longer than the runs.
func withRandomWeights(be kernels.Backend, tok *model.Tokenizer, g *model.Graph) (*model.Program, error) {
	l := checkpoint.NewLayout(tok)
	params, err := be.Alloc(l.Len)
	if err != nil {
		return nil, err
	}
	const period = 65521
	table := make([]float32, period)
	r := philox.New(1, "bench weights", 0, 0)
	for i := range table {
		table[i] = float32(r.Uniform(-1, 1))
	}
	var values []float32
	for i, p := range l.Params {
		values = slices.Grow(values[:0], p.Len())[:p.Len()]
		bound := float32(1 / math.Sqrt(float64(max(p.Len()/p.Shape[0], 1))))
		for k := range values {
			values[k] = bound * table[k%period]
		}
		if err := be.Write(params.Slice(l.Offsets[i], l.Offsets[i]+p.Len()), values); err != nil {
			return nil, err
		}
	}
	return g.Compile(be, params, nil, l.Offsets)
}
