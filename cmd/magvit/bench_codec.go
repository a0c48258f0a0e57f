package main

import (
	endian "encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"magvit/kernels"
	"magvit/kernels/philox"
	"magvit/model"
	"magvit/model/machine"
	"magvit/trainer/config"
	"magvit/trainer/usage"
)

// benchCodecCommand is bench encode or bench decode.
func benchCodecCommand(name, what string) *cli.Command {
	return &cli.Command{
		Name:  name,
		Usage: what + " with a preset's network: seconds, frames/s, GFLOP/s, memory",
		Description: example("magvit bench "+name+" --preset vidtok-fsq-488 --runs 3",
			"magvit bench "+name+" --preset open-magvit2-video --precision bf16 --plan"),
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "preset", Usage: "the preset `NAME` (magvit presets lists them)"},
			&cli.IntFlag{Name: "batch", Value: 1, Usage: "clips at once"},
			&cli.IntFlag{Name: "frames", DefaultText: "the preset's, or 16", Usage: "frames of a clip"},
			&cli.IntFlag{Name: "size", DefaultText: "the preset's", Usage: "side of a frame in pixels"},
			&cli.IntFlag{Name: "runs", Value: 5, Usage: "runs to measure, after one that is not measured"},
			&cli.BoolFlag{Name: "offload", Usage: "as encode and decode do with --offload: weights are in a file, which is in the page cache"},
			explainFlag(),
			kernelsFlag(),
			jsonFlag(),
		}, append(planFlags(), deviceFlags()...)...),
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
	Parameters      int     `json:"parameters"` // of the half of the network that runs
	Runs            int     `json:"runs"`
	MinSeconds      float64 `json:"min_s"`
	MedianSeconds   float64 `json:"median_s"`
	MinCPUSeconds   float64 `json:"min_cpu_s"`      // of all cores
	FramesPerSecond float64 `json:"frames_per_s"`   // at the median
	GFLOP           float64 `json:"gflop"`          // of a run
	GFLOPS          float64 `json:"gflops"`         // a second, at the median
	PeakBytes       int64   `json:"peak_bytes"`     // buffers of the backend
	ResidentBytes   int64   `json:"resident_bytes"` // largest resident memory of the program
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
	if err := checkPlanFlags(c, []string{"peak", "architecture"}, []string{"runs", "explain", "offload"}); err != nil {
		return err
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
	graph := tok.Decoder
	if encode {
		graph = tok.Encoder
	}
	g, err := graph(s)
	if err != nil {
		return usage.Wrap(err)
	}
	if c.Bool("plan") {
		return planCodec(c, tok, g)
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
	p, parameters, err := withRandomWeights(be, tok, g, c.Bool("offload"))
	if err != nil {
		return err
	}
	if err := randomInput(be, tok, p); err != nil {
		return err
	}
	var times, cpu []float64
	for i := range c.Int("runs") + 1 {
		if err := c.Context.Err(); err != nil {
			return err
		}
		began, used := time.Now(), usedSoFar()
		if err := p.Run(); err != nil {
			return err
		}
		if err := be.Sync(); err != nil {
			return err
		}
		if i > 0 {
			times, cpu = append(times, time.Since(began).Seconds()), append(cpu, usedSoFar().own-used.own)
		}
	}
	slices.Sort(times)
	res := codecResult{Preset: c.String("preset"), Device: describe(device), Precision: kernels.PrecisionOf(device).String(), Clips: s.N, Frames: s.T, Size: size,
		Parameters: parameters, Runs: len(times), MinSeconds: times[0], MedianSeconds: times[len(times)/2], MinCPUSeconds: slices.Min(cpu),
		GFLOP: float64(p.Plan.Stats().FLOPs()) / 1e9, PeakBytes: model.InUse(be), ResidentBytes: usedSoFar().peak}
	res.FramesPerSecond, res.GFLOPS = float64(s.N*s.T)/res.MedianSeconds, res.GFLOP/res.MedianSeconds
	out := c.App.Writer
	if c.Bool("json") {
		out = c.App.ErrWriter
	}
	if c.Bool("explain") {
		profile, err := p.Plan.Profile()
		if err != nil {
			return err
		}
		if err := profile.Explain(out); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return printJSON(c, res)
	}
	_, err = fmt.Fprintf(out, "%s, %s, %s: %d clips of %d frames, %d×%d; %.2f M parameters\n%.4g s a run (least %.4g s, of the CPU %.4g s, %d runs), %.4g frames/s, %.1f GFLOP/s, %s of buffers, %s resident\n",
		res.Preset, res.Device, res.Precision, res.Clips, res.Frames, size, size, float64(res.Parameters)/1e6,
		res.MedianSeconds, res.MinSeconds, res.MinCPUSeconds, res.Runs, res.FramesPerSecond, res.GFLOPS, inBytes(uint64(res.PeakBytes)), inBytes(uint64(res.ResidentBytes)))
	return err
}

// planCodec estimates a run of an encoder or decoder by the cost model.
func planCodec(c *cli.Context, tok *model.Tokenizer, g *model.Graph) error {
	only, err := newCostModel(c)
	if err != nil {
		return err
	}
	at, err := parsePeaks(c.String("peak"))
	if err != nil {
		return err
	}
	p, _, err := withRandomWeights(only, tok, g, false)
	if err != nil {
		return err
	}
	only.ran = nil
	if err := p.Run(); err != nil {
		return err
	}
	r := only.result(c.Command.Name, c.String("preset"), g.Shape, at)
	if c.Bool("json") {
		return printJSON(c, r)
	}
	return r.write(c.App.Writer, at)
}

// withRandomWeights compiles a graph with weights of the size that first values have, and
// returns their number. They repeat, as drawing hundreds of millions takes longer than the
// runs. Weights that the graph does not use have no memory. Offloaded ones are in a temporary file.
func withRandomWeights(be kernels.Backend, tok *model.Tokenizer, g *model.Graph, offload bool) (*model.Program, int, error) {
	const (
		period = 65521
		line   = 16 // values of a cache line: parameters start on one
	)
	offsets, end, parameters := make([]int, len(tok.Params)), 0, 0
	for i, p := range tok.Params {
		if offsets[i] = end; g.Params[i] != nil {
			end += (p.Len() + line - 1) / line * line
			parameters += p.Len()
		}
	}
	params, write, err := benchWeights(be, end, offload)
	if err != nil {
		return nil, 0, err
	}
	table, values := make([]float32, period), make([]float32, period)
	r := philox.New(1, "bench weights", 0, 0)
	for i := range table {
		table[i] = float32(r.Uniform(-1, 1))
	}
	for i, p := range tok.Params {
		if g.Params[i] == nil {
			continue
		}
		bound := float32(1 / math.Sqrt(float64(max(p.Len()/p.Shape[0], 1))))
		for k, v := range table {
			values[k] = bound * v
		}
		for at := 0; at < p.Len(); at += period {
			n := min(period, p.Len()-at)
			if err := write(offsets[i]+at, values[:n]); err != nil {
				return nil, 0, err
			}
		}
	}
	p, err := g.Compile(be, params, nil, offsets)
	return p, parameters, err
}

// benchWeights is an arena of n values, in memory or in a file, and what writes values to it.
func benchWeights(be kernels.Backend, n int, offload bool) (params kernels.Buffer, write func(at int, values []float32) error, err error) {
	if !offload {
		params, err = be.Alloc(n)
		return params, func(at int, values []float32) error { return be.Write(params.Slice(at, at+len(values)), values) }, err
	}
	f, err := os.CreateTemp("", "magvit-bench-*")
	if err != nil {
		return nil, nil, err
	}
	if err := os.Remove(f.Name()); err != nil { // it is there until it is closed
		return nil, nil, err
	}
	raw, part := make([]byte, 1<<18), make([]float32, 1<<16)
	write = func(at int, values []float32) error {
		b, err := endian.Append(raw[:0], endian.LittleEndian, values)
		if err == nil {
			_, err = f.WriteAt(b, 4*int64(at))
		}
		return err
	}
	read := func(at int, to kernels.Buffer) error {
		for from := 0; from < to.Len(); from += len(part) {
			some := part[:min(len(part), to.Len()-from)]
			if _, err := f.ReadAt(raw[:4*len(some)], 4*int64(at+from)); err != nil {
				return err
			}
			for i := range some {
				some[i] = math.Float32frombits(endian.LittleEndian.Uint32(raw[4*i:]))
			}
			if err := be.Write(to.Slice(from, from+len(some)), some); err != nil {
				return err
			}
		}
		return nil
	}
	return machine.NewOffloaded(n, read), write, nil
}

// randomInput writes random clips, or random codes.
func randomInput(be kernels.Backend, tok *model.Tokenizer, p *model.Program) error {
	r := philox.New(1, "bench codec", 0, 0)
	in, encode := p.Buffer("video"), true
	if in == nil {
		in, encode = p.Buffer("codes"), false
	}
	values, codes := make([]float32, in.Len()), float64(tok.CodebookSize())
	for i := range values {
		if values[i] = float32(r.Float64()); !encode {
			values[i] = float32(math.Floor(r.Float64() * codes))
		}
	}
	return be.Write(in, values)
}
