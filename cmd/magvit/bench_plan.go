package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/config"
)

// costModel is a backend that computes nothing and records the launches of a GPU
// architecture, to estimate the time of a step.
type costModel struct {
	kernels.NullBackend
	precision    kernels.Precision
	architecture string
	scratch      int64 // bytes of workspace
	ran          []costedKernel
}

func newCostModel(c *cli.Context) (*costModel, error) {
	precision, err := kernels.ParsePrecision(c.String("precision"))
	if err != nil {
		return nil, usagef("--precision: %w", err)
	}
	if a := c.String("architecture"); !slices.Contains(kernels.Architectures, a) {
		return nil, usagef("--architecture %s: want one of %s", a, strings.Join(kernels.Architectures, ", "))
	}
	return &costModel{precision: precision, architecture: c.String("architecture")}, nil
}

type costedKernel struct {
	on       *costModel
	spec     kernels.Spec
	launches []kernels.Traffic
}

func (k costedKernel) Run(...kernels.Buffer) { k.on.ran = append(k.on.ran, k) }

func (p *costModel) Name() string                 { return "a plan for " + p.architecture }
func (p *costModel) Precision() kernels.Precision { return p.precision }
func (p *costModel) Allocated() int64             { return p.Bytes + p.scratch }

func (p *costModel) StoresBF16() bool { return p.precision == kernels.BF16 }

func (p *costModel) FusesGradients() bool { return true }

func (p *costModel) Prepare(s kernels.Spec) (kernels.Kernel, error) {
	l, err := kernels.LaunchesOf(s, p.precision, p.architecture)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kernels.Name(s), err)
	}
	p.scratch = max(p.scratch, 4*int64(l.Workspace))
	return costedKernel{p, s, l.Traffic()}, nil
}

// peaks are the peak rates of a device.
type peaks struct{ tensor, float, bytes float64 } // operations of bfloat16 and of float32, bytes a second

// parsePeaks reads TFLOP/s of tensor cores and of float32, and GB/s.
func parsePeaks(s string) (p peaks, err error) {
	parts := strings.Split(s, ",")
	if len(parts) != 3 {
		return p, usagef("--peak %s: want three numbers, TFLOP/s of tensor cores, TFLOP/s of float32, GB/s", s)
	}
	for i, to := range []*float64{&p.tensor, &p.float, &p.bytes} {
		v, err := strconv.ParseFloat(strings.TrimSpace(parts[i]), 64)
		if err != nil || !(v > 0) {
			return p, usagef("--peak %s: %q is no number above 0", s, parts[i])
		}
		*to = v * 1e12
	}
	p.bytes /= 1e3
	return p, nil
}

// planRow is the cost of the kernels of one kind, or of one Spec, in a step.
type planRow struct {
	Kernel   string  `json:"kernel"`
	Specs    int     `json:"specs"` // number of runs
	Launches int     `json:"launches"`
	GFLOP    float64 `json:"gflop"`
	GB       float64 `json:"gb"`       // moved by all launches, each operand once
	PassesGB float64 `json:"pass_gb"`  // of which by launches that only pack operands or sum splits
	Seconds  float64 `json:"least_s"`  // at the peaks
	Memory   float64 `json:"memory_s"` // of which in memory-bound launches
}

func (r *planRow) add(o planRow) {
	r.Specs += o.Specs
	r.Launches += o.Launches
	r.GFLOP += o.GFLOP
	r.GB += o.GB
	r.PassesGB += o.PassesGB
	r.Seconds += o.Seconds
	r.Memory += o.Memory
}

// planResult is what bench step, encode and decode print with --plan --json.
type planResult struct {
	What         string    `json:"what"` // what ran, see Step
	Preset       string    `json:"preset"`
	Precision    string    `json:"precision"`
	Architecture string    `json:"architecture"`
	Batch        int       `json:"batch"`
	Frames       int       `json:"frames"`
	Size         int       `json:"size"`
	PeakBytes    int64     `json:"peak_bytes"`
	Step         planRow   `json:"step"`
	Kinds        []planRow `json:"kinds"`
	Largest      []planRow `json:"largest"` // Specs
	Scaling      []scaling `json:"scaling,omitempty"`
}

// benchPlan estimates a step of the network by the cost model.
func benchPlan(c *cli.Context, p *costModel, net model.Network, cfg config.Config, shape model.Shape, between link) error {
	at, err := parsePeaks(c.String("peak"))
	if err != nil {
		return err
	}
	s, err := newMeasured(p, net, cfg, shape, nil)
	if err != nil {
		return err
	}
	p.ran = nil
	if err := s.run(c.Context); err != nil {
		return err
	}
	r := p.result("a step", c.String("preset"), shape, at)
	var launches []float64
	for _, k := range p.ran {
		launches = append(launches, k.row(at).Seconds)
	}
	for n := 1; n <= c.Int("ranks"); n *= 2 {
		r.Scaling = append(r.Scaling, predict(launches, s.steps.Program().Plan.Launches(), s.steps.Buckets(), between, n, true))
	}
	if c.Bool("json") {
		return printJSON(c, r)
	}
	if err := r.write(c.App.Writer, at); err != nil || r.Scaling == nil {
		return err
	}
	return writeScaling(c.App.Writer, r.Scaling, between)
}

// result sums up what ran, which is what, such as a step.
func (p *costModel) result(what, preset string, shape model.Shape, at peaks) planResult {
	r := planResult{What: what, Preset: preset, Precision: p.precision.String(), Architecture: p.architecture,
		Batch: shape.N, Frames: shape.T, Size: shape.H, PeakBytes: p.Allocated()}
	r.Step, r.Kinds, r.Largest = p.rows(at)
	r.Largest = r.Largest[:min(20, len(r.Largest))]
	return r
}

// rows sums the recorded launches: in total, by kind, and by Spec.
func (p *costModel) rows(at peaks) (step planRow, kinds, specs []planRow) {
	byKind, bySpec := map[string]*planRow{}, map[string]*planRow{}
	add := func(rows map[string]*planRow, name string, one planRow) {
		if rows[name] == nil {
			rows[name] = &planRow{Kernel: name}
		}
		rows[name].add(one)
	}
	for _, k := range p.ran {
		one, name := k.row(at), kernels.Name(k.spec)
		kind, _, _ := strings.Cut(name, "{")
		step.add(one)
		add(byKind, kind, one)
		add(bySpec, name, one)
	}
	sorted := func(rows map[string]*planRow) (all []planRow) {
		for _, r := range rows {
			all = append(all, *r)
		}
		slices.SortFunc(all, func(x, y planRow) int {
			return cmp.Or(cmp.Compare(y.Seconds, x.Seconds), strings.Compare(x.Kernel, y.Kernel))
		})
		return all
	}
	step.Kernel = "all"
	return step, sorted(byKind), sorted(bySpec)
}

// row is the cost of a Spec. Its operations are divided evenly among its launches, except
// those that only pack or sum.
func (k costedKernel) row(at peaks) planRow {
	r := planRow{Specs: 1, Launches: len(k.launches), GFLOP: float64(k.spec.FLOPs()) / 1e9}
	peak, working := at.float, 0
	if k.on.precision == kernels.BF16 && kernels.RoundedArgs(k.spec) != nil {
		peak = at.tensor
	}
	for _, l := range k.launches {
		if !l.Passes {
			working++
		}
	}
	for _, l := range k.launches {
		seconds, compute := float64(l.Bytes)/at.bytes, 0.
		r.GB += float64(l.Bytes) / 1e9
		if l.Passes {
			r.PassesGB += float64(l.Bytes) / 1e9
		} else {
			compute = float64(k.spec.FLOPs()) / float64(working) / peak
		}
		if seconds > compute {
			r.Memory += seconds
		}
		r.Seconds += max(seconds, compute)
	}
	return r
}

// write prints the tables, of Specs only the largest.
func (r planResult) write(w io.Writer, at peaks) error {
	fmt.Fprintf(w, "%s, %s on %s: %s of %d clips of %d frames, %d×%d, at %.0f TFLOP/s of tensor cores, %.0f of float32, %.0f GB/s: at least %.1f ms, %s of buffers\n",
		r.Preset, r.Precision, r.Architecture, r.What, r.Batch, r.Frames, r.Size, r.Size, at.tensor/1e12, at.float/1e12, at.bytes/1e9, 1e3*r.Step.Seconds, inBytes(uint64(r.PeakBytes)))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "run\tlaunches\tGFLOP\tGB\tpacking\tms\tof memory\t  kernel")
	table := func(rows []planRow) {
		for _, k := range rows {
			fmt.Fprintf(t, "%d\t%d\t%.1f\t%.2f\t%.2f\t%.2f\t%.2f\t  %s\n", k.Specs, k.Launches, k.GFLOP, k.GB, k.PassesGB, 1e3*k.Seconds, 1e3*k.Memory, k.Kernel)
		}
	}
	table(r.Kinds)
	table([]planRow{r.Step})
	table(r.Largest)
	return t.Flush()
}
