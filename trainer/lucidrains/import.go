package lucidrains

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/atomicfile"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/metrics"
	"magvit/trainer/torchfile"
	"magvit/trainer/usage"
	"magvit/trainer/version"
)

// ImportOptions say what to import.
type ImportOptions struct {
	File   string         // tokenizer or trainer file of magvit2-pytorch, or a file with its state_dict
	Out    string         // run directory to make
	Config *config.Config // nil: that of the file's own arguments
	Set    []string       // assignments that override keys, see Config.Set
}

// Imported says what an import found and made.
type Imported struct {
	Run            string   `json:"run"`
	Checkpoint     string   `json:"checkpoint"` // its name
	Kind           string   `json:"kind"`       // of file: tokenizer, trainer or state_dict
	Tensors        int      `json:"tensors"`    // taken over, of the model
	Parameters     int      `json:"parameters"` // values of these
	Step           int      `json:"step"`
	Updates        int      `json:"updates"`               // of the optimizer whose moments were taken over
	Average        bool     `json:"average"`               // of the weights was taken over
	Discriminators int      `json:"discriminator_tensors"` // left out
	Notes          []string `json:"notes"`                 // what else differs from the file
}

func (r *Imported) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// Import turns a checkpoint of magvit2-pytorch into a run directory with one
// checkpoint, which can be evaluated, used and gone on with. No code in the file is
// executed. A tensor that is unknown, missing or of another shape is an error that
// names it; discriminators are left out. On an error nothing is left behind.
func Import(be kernels.Backend, o ImportOptions) (Imported, error) {
	r := Imported{Run: o.Out, Notes: []string{}}
	if err := checkpoint.EmptyOrAbsent(o.Out); err != nil {
		return r, err
	}
	src, closeFile, err := open(o.File)
	if err != nil {
		return r, usage.Errorf("%s: %w", o.File, err)
	}
	defer closeFile()
	r.Kind = src.kind
	cfg, err := o.config(src, &r)
	if err != nil {
		return r, err
	}
	tok, err := model.New(cfg.Model)
	if err != nil {
		return r, usage.Wrap(err)
	}
	run, err := src.load(newStateDict(tok), &r)
	if err != nil {
		return r, usage.Errorf("%s: %w", o.File, err)
	}
	r.Tensors, r.Parameters = len(tok.Params), tok.NumParams()
	if src.trainer != nil {
		compareOptimizer(cfg.Train, src.trainer.Optimizer, &r)
	}
	if r.Average && cfg.Train.EMA.Decay == 0 {
		r.Average = false
		r.note("the average of the weights is left out: train.ema.decay is 0")
	}
	st, err := checkpoint.NewState(be, tok)
	if err != nil {
		return r, err
	}
	for _, a := range []struct {
		to   kernels.Buffer
		from []float32
	}{{st.Params, run.weights}, {st.EMA, run.average}, {st.M, run.m}, {st.V, run.v}} {
		if err := be.Write(a.to, a.from); err != nil {
			return r, err
		}
	}
	r.Step, r.Updates = run.step, run.updates
	snap := checkpoint.Snapshot{Step: run.step, Skipped: run.step - run.updates, Best: metrics.Number(math.NaN()), Seed: cfg.Train.Seed, Version: version.String()}
	if err := snap.SetConfig(cfg); err != nil {
		return r, err
	}
	text, err := cfg.YAML()
	if err != nil {
		return r, err
	}
	r.Checkpoint = checkpoint.StepName(run.step)
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(o.Out)), 0o777); err != nil {
		return r, usage.Errorf("%s: %w", o.Out, err)
	}
	return r, atomicfile.WriteDir(o.Out, func(dir string) error {
		if err := atomicfile.WriteBytes(filepath.Join(dir, config.FileName), text); err != nil {
			return err
		}
		return checkpoint.NewStore(filepath.Join(dir, "checkpoints")).Save(st, snap, cfg.Train.EMA.Decay > 0)
	})
}

// referenceFile is one of the kinds of files.
type referenceFile struct {
	kind      string
	key       string                  // of a state_dict in a file of another program
	tokenizer *torchfile.Tokenizer    // or
	trainer   *torchfile.Trainer      // or
	state     []torchfile.NamedTensor // of a bare state_dict
}

// open reads the structure of a file; tensors are read later, until it is closed.
func open(path string) (r referenceFile, closeFile func() error, err error) {
	if torchfile.IsSafetensors(path) {
		r.kind = "state_dict"
		r.state, err = torchfile.ReadSafetensors(path)
		return r, func() error { return nil }, err
	}
	f, err := torchfile.Open(path, torchfile.Limits{})
	if err != nil {
		return r, nil, err
	}
	if r, err = openReference(f); err != nil {
		return r, nil, errors.Join(err, f.Close())
	}
	return r, f.Close, nil
}

func openReference(f *torchfile.File) (r referenceFile, err error) {
	root, _ := f.Root.(*torchfile.Dict)
	has := func(keys ...string) bool {
		return root != nil && !slices.ContainsFunc(keys, func(k string) bool { _, ok := root.Get(k); return !ok })
	}
	switch {
	case has("model_state_dict", "config"):
		r.kind = "tokenizer"
		r.tokenizer, err = f.Tokenizer()
	case has("model", "ema_model"), has("model", "optimizer", "step"):
		r.kind = "trainer"
		r.trainer, err = f.Trainer()
	default:
		r.kind = "state_dict"
		var s torchfile.State
		if s, err = f.StateDict(); err == nil {
			err = s.OnlyTensors()
		}
		r.state, r.key = s.Tensors, s.Key
	}
	return r, err
}

// restored is what a run needs to go on: arenas and counts.
type restored struct {
	weights, average, m, v []float32
	step, updates          int
}

// load reads a file's tensors.
func (f referenceFile) load(in *stateDict, r *Imported) (run restored, err error) {
	if f.tokenizer != nil {
		found := in.match("", f.tokenizer.State)
		r.Discriminators = in.discriminators
		if err := in.err(); err != nil {
			return run, err
		}
		if run.weights, err = in.arena("", found); err != nil {
			return run, err
		}
		run.average, run.m, run.v = run.weights, make([]float32, in.Len), make([]float32, in.Len)
		return run, f.finish(in, r)
	}
	if f.trainer == nil {
		return f.loadState(in, r)
	}
	weights := in.match("", f.trainer.Model)
	r.Discriminators = in.discriminators
	average := in.match("ema_model.", f.trainer.Average)
	m, v := f.moments(in, &run, r)
	if err := in.err(); err != nil {
		return run, err
	}
	for _, a := range []struct {
		prefix string
		from   []*torchfile.Tensor
		to     *[]float32
	}{{"", weights, &run.weights}, {"ema_model.", average, &run.average}, {"exp_avg of ", m, &run.m}, {"exp_avg_sq of ", v, &run.v}} {
		if *a.to, err = in.arena(a.prefix, a.from); err != nil {
			return run, err
		}
	}
	if r.Average = f.trainer.AverageInitted; !r.Average {
		run.average = run.weights
		r.note("the file's average was never updated: the weights stand in for it")
	}
	return run, f.finish(in, r)
}

// loadState reads the tensors of a bare state_dict.
func (f referenceFile) loadState(in *stateDict, r *Imported) (run restored, err error) {
	state, err := torchfile.UnwrapAll(f.state)
	if err != nil {
		return run, err
	}
	state, prefix, others := in.ownTensors(state)
	if prefix != "" {
		r.note("the tensors of %q are imported; %d others are left out", prefix, others)
	}
	found := in.match("", state)
	r.Discriminators = in.discriminators
	if err := in.err(); err != nil {
		return run, err
	}
	if run.weights, err = in.arena("", found); err != nil {
		return run, err
	}
	run.average, run.m, run.v = run.weights, make([]float32, in.Len), make([]float32, in.Len)
	return run, f.finish(in, r)
}

func (f referenceFile) finish(in *stateDict, r *Imported) error {
	if in.converted > 0 {
		r.note("tensors that were not float32 and have been converted: %d", in.converted)
	}
	return in.err()
}

// moments finds the tensors of the optimizer, by index of Params, and how many
// updates and steps there were.
func (f referenceFile) moments(in *stateDict, run *restored, r *Imported) (m, v []*torchfile.Tensor) {
	o, steps := f.trainer.Optimizer, map[int64]int{}
	m, v = make([]*torchfile.Tensor, len(in.Params)), make([]*torchfile.Tensor, len(in.Params))
	updates := int64(0)
	for _, moment := range o.Moments {
		i, known := in.index[o.Names[moment.Param]]
		if !known {
			continue // refused as a tensor of the model
		}
		m[i], v[i] = moment.ExpAvg, moment.ExpAvgSquared
		in.fits("exp_avg of "+in.Params[i].Name, moment.ExpAvg, in.Params[i].Reference)
		in.fits("exp_avg_sq of "+in.Params[i].Name, moment.ExpAvgSquared, in.Params[i].Reference)
		steps[moment.Step]++
		updates = max(updates, moment.Step)
	}
	if f.trainer.Step < 0 || f.trainer.Step > largestStep || updates > largestStep {
		in.mismatch("step %d with %d updates: want 0 to %d", f.trainer.Step, updates, largestStep)
	}
	run.step, run.updates = int(max(f.trainer.Step, updates)), int(updates)
	if updates > f.trainer.Step {
		r.note("the file's step %d is below its optimizer's %d updates: these count as steps", f.trainer.Step, updates)
	}
	if len(steps) > 1 {
		r.note("not all parameters were updated equally often: %d counts for all of them", updates)
	}
	var never []string
	for i, t := range m {
		if t == nil && updates > 0 {
			never = append(never, in.Params[i].Name)
		}
	}
	if len(never) > 0 {
		r.note("never updated, moments 0: %s", torchfile.Brief(never, ", "))
	}
	if f.trainer.AverageStep != f.trainer.Step {
		r.note("the average was updated %d times in %d steps: the steps count", f.trainer.AverageStep, f.trainer.Step)
	}
	return m, v
}

// compareOptimizer notes where training would go on with other settings than the
// file's optimizer had. The file's learning rate is no guide: by then warm-up and
// schedule have changed it.
func compareOptimizer(t config.Train, o *torchfile.Optimizer, r *Imported) {
	if len(o.Groups) == 0 {
		return
	}
	for _, s := range []struct {
		key  string
		have any
	}{{"betas", torchfile.Tuple{t.Betas[0], t.Betas[1]}}, {"eps", t.Eps}, {"weight_decay", t.WeightDecay}} {
		had, ok := o.Groups[0].Options.Get(s.key)
		if have := fmt.Sprint(s.have); ok && fmt.Sprint(had) != have {
			r.note("train.%s is %s, the file's optimizer had %v", s.key, have, had)
		}
	}
}

// config is the configuration of the run: the given one, or that of the file's
// arguments with the reference's recipe.
func (o ImportOptions) config(f referenceFile, r *Imported) (c config.Config, err error) {
	var own *model.Config
	var reason error
	if f.tokenizer == nil {
		reason = fmt.Errorf("a %s file holds no arguments", f.kind)
	} else if m, err := arguments(f.tokenizer, r); err != nil {
		reason = err
	} else {
		own = &m
	}
	switch {
	case o.Config != nil:
		c = *o.Config
		if c.Model.Compat != model.Lucidrains {
			return c, usage.Errorf("model.compat: %q: want %s, the reference's numbers: a tokenizer of another kind would compute others with the same weights", c.Model.Compat, model.Lucidrains)
		}
		if own != nil {
			if c.Model.Loss.Perceptual.Kind == "none" { // then its weight is of no use
				own.Loss.Perceptual = c.Model.Loss.Perceptual
			}
			for _, d := range config.Differences(config.Config{Model: *own}, config.Config{Model: c.Model}) {
				r.note("the given configuration differs from the file's arguments: %s", d)
			}
		}
	case own != nil:
		c = recipe(*own)
	default:
		return c, usage.Errorf("%s: %w: give the configuration with --config", o.File, reason)
	}
	for _, s := range o.Set {
		if err := c.Set(s); err != nil {
			return c, err
		}
	}
	if c.Model.Compat != model.Lucidrains {
		return c, usage.Errorf("model.compat: %q: want %s for an import", c.Model.Compat, model.Lucidrains)
	}
	if err := c.Validate(); err != nil {
		return c, err
	}
	tok, err := model.New(c.Model)
	if err != nil {
		return c, usage.Wrap(err)
	}
	sized := c.Data
	if sized.Size == 0 && sized.Height == 0 {
		sized.Size = c.Model.ImageSize
	}
	if sized.Size != 0 { // as data.Resolve leaves it, so that a resumed run has the same keys
		sized.Height, sized.Width, sized.Size = sized.Size, sized.Size, 0
	}
	if sized.Channels == 0 && slices.Contains([]int{1, 3}, c.Model.Channels) {
		sized.Channels = c.Model.Channels
	}
	if sized.Frames == 0 {
		sized.Frames = clipFrames
		r.note("clips have %d frames, as the reference's data loader takes them; --set data.frames=N for others", tok.Padded(sized.Frames))
	}
	sized.Frames = tok.Padded(sized.Frames)
	c.Data = sized
	return c, c.Validate()
}

// mostLayers keeps 2 to the power of the layers, by which some shrink the clip, in
// an int.
const mostLayers = 60

// clipFrames is the reference's default length of a clip.
const clipFrames = 17

// recipe is the reference's way to train: its trainer's defaults, the plain loss,
// clips as they are.
func recipe(m model.Config) config.Config {
	c := config.Defaults()
	c.Model = m
	c.Data.Flip, c.Data.ForegroundWeight, c.Data.ValShare = false, 0, .05
	t := &c.Train
	t.LR, t.Betas, t.Eps, t.WeightDecay, t.Warmup = 1e-5, [2]float64{.9, .99}, 1e-8, 1e-2, 1000
	t.Schedule, t.ClipNorm, t.EMA = "constant", 0, config.EMA{Decay: .9999, UpdateAfter: 100, UpdateEvery: 10}
	return c
}

// arguments is the configuration that a tokenizer file's arguments describe.
// Library objects among them reach model.FromReference as they are: it passes over
// those that shape no network and refuses the others by name.
func arguments(t *torchfile.Tokenizer, r *Imported) (model.Config, error) {
	d, _, err := t.Arguments(torchfile.Limits{})
	if err != nil {
		return model.Config{}, err
	}
	args := map[string]any{}
	for _, e := range d.Entries {
		name, _ := e.Key.(string) // Arguments checked it
		args[name] = plain(e.Value)
	}
	layers, isList := args["layers"].([]any)
	if args["layers"] != nil && !isList { // FromReference takes it for none
		return model.Config{}, fmt.Errorf("argument layers of VideoTokenizer: %v: want a list", args["layers"])
	}
	if len(layers) > mostLayers {
		return model.Config{}, fmt.Errorf("argument layers of VideoTokenizer: %d layers: want at most %d", len(layers), mostLayers)
	}
	c, err := model.FromReference(args)
	if err != nil {
		return c, err
	}
	units := 0
	for _, l := range c.Layers {
		units += l.N
	}
	if units > len(t.State) { // else listing their parameters takes long
		return c, fmt.Errorf("argument layers of VideoTokenizer: %d residual units, and the file holds %d tensors", units, len(t.State))
	}
	gan, given := args["use_gan"].(bool)
	if gan || !given {
		r.note("use_gan: the adversarial loss is left out")
	}
	if w := c.Loss.Perceptual.Weight; w != 0 {
		r.note("perceptual_loss_weight: the perceptual loss is left out; set model.loss.perceptual.kind=vgg16 and .weights to train with it at %v", w)
	}
	return c, nil
}

// plain turns lists and tuples of a file into those of JSON.
func plain(v any) any {
	switch v := v.(type) {
	case torchfile.Tuple:
		list := []any{}
		for _, item := range v {
			list = append(list, plain(item))
		}
		return list
	case *torchfile.List:
		return plain(torchfile.Tuple(v.Items))
	}
	return v
}
