package lucidrains

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/torchfile"
	"magvit/trainer/usage"
)

// toTokenizer writes a tokenizer file.
func (x export) toTokenizer(out string, r *Exported) error {
	args, err := x.arguments(r)
	if err != nil {
		return err
	}
	weights, err := x.Weights()
	if err != nil {
		return err
	}
	state, err := x.reference(weights)
	if err != nil {
		return err
	}
	return checkpoint.WriteFile(out, func(w io.Writer) error { return torchfile.WriteTokenizer(w, state, referenceVersion, args) })
}

// reference is an arena as a state_dict in the reference's order, with the
// placeholder of a discriminator that its constructor builds in any case.
func (x export) reference(arena []float32) (state []torchfile.NamedTensor, err error) {
	add := func(name string, t *torchfile.Tensor, bad error) {
		state, err = append(state, torchfile.NamedTensor{Name: name, Tensor: t}), errors.Join(err, bad)
	}
	masked := false
	for _, i := range x.tok.ReferenceOrder() {
		p := x.Params[i]
		if m := x.tok.ReferenceMask(); m != nil && !masked && strings.HasPrefix(p.Name, "quantizers.") {
			masked = true
			t, bad := torchfile.FromInt64([]int{len(m)}, m)
			add(maskName, t, bad)
		}
		values := make([]float32, p.Len())
		p.ToReference(values, x.Part(arena, i))
		t, bad := torchfile.FromFloat32(p.Reference, values)
		add(p.Name, t, bad)
	}
	if m := x.tok.ReferenceMask(); m != nil && !masked {
		t, bad := torchfile.FromInt64([]int{len(m)}, m)
		add(maskName, t, bad)
	}
	for _, p := range placeholder(x.Config.Model) {
		t, bad := torchfile.FromFloat32(p.Shape, p.Values)
		add(p.Name, t, bad)
	}
	return state, err
}

// arguments are those of the reference's constructor. The error names the keys of
// the configuration that they cannot express.
func (x export) arguments(r *Exported) (*torchfile.Dict, error) {
	c := x.Config.Model.WithoutDiscriminator()
	args, err := referenceArguments(c)
	if err != nil {
		return nil, usage.Errorf("export: magvit2-pytorch cannot express this configuration: %w", err)
	}
	inGo := map[string]any{}
	for _, e := range args.Entries {
		inGo[e.Key.(string)] = plain(e.Value)
	}
	back, err := model.FromReference(inGo)
	if err != nil {
		return nil, usage.Errorf("export: magvit2-pytorch cannot express this configuration: %w", err)
	}
	c.Loss.Perceptual = back.Loss.Perceptual // turned off
	training := []string{"model.first_frame", "model.quantizer.entropy_boost", "model.quantizer.entropy_boost_steps"}
	if d := config.Differences(config.Config{Model: c}, config.Config{Model: back}, training...); len(d) > 0 {
		return nil, usage.Errorf("export: magvit2-pytorch cannot express this configuration; it needs %s", strings.ReplaceAll(d.String(), ", was ", ", not "))
	}
	if !c.FirstFrame {
		r.note("first_frame is false: call the reference with video_contains_first_frame=False")
	}
	if c.Quantizer.EntropyBoostSteps > 0 {
		r.note("the reference has no entropy_boost: it trains with entropy_weight as it is")
	}
	r.note("the reference builds a discriminator in any case: the file holds a small one that was never trained (discr_kwargs), with use_gan=False")
	return args, nil
}

// referenceArguments is the inverse of model.FromReference, with losses beside the
// reconstruction's turned off.
func referenceArguments(c model.Config) (*torchfile.Dict, error) {
	q := c.Quantizer
	fsq, err := q.UsesFSQ()
	if err != nil {
		return nil, err
	}
	ints := func(v ...int) (t torchfile.Tuple) {
		for _, n := range v {
			t = append(t, int64(n))
		}
		return t
	}
	layers := torchfile.Tuple{}
	for _, l := range c.Layers {
		switch {
		case l.Name == model.ConsecutiveResidual:
			layers = append(layers, torchfile.Tuple{l.Name, int64(l.N)})
		case l.Dim != 0:
			layers = append(layers, torchfile.Tuple{l.Name, int64(l.Dim)})
		default:
			layers = append(layers, l.Name)
		}
	}
	orNone := func(set bool, v any) any {
		if !set {
			return nil
		}
		return v
	}
	var maxDim any = math.Inf(1)
	if c.MaxDim != 0 {
		maxDim = int64(c.MaxDim)
	}
	discr := torchfile.NewDict()
	for _, e := range placeholderArguments(c) {
		discr.Set(e.name, int64(e.value))
	}
	residual := any(ints(c.ResidualKernel[:]...))
	if k := c.ResidualKernel; k[0] == k[1] && k[1] == k[2] {
		residual = int64(k[0])
	}
	d := torchfile.NewDict()
	for _, a := range []torchfile.Entry{
		{Key: "image_size", Value: int64(c.ImageSize)}, {Key: "layers", Value: layers}, {Key: "residual_conv_kernel_size", Value: residual},
		{Key: "num_codebooks", Value: int64(q.Codebooks)}, {Key: "codebook_size", Value: orNone(!fsq, int64(q.CodebookSize))},
		{Key: "channels", Value: int64(c.Channels)}, {Key: "init_dim", Value: int64(c.InitDim)}, {Key: "max_dim", Value: maxDim},
		{Key: "dim_cond", Value: orNone(c.DimCond != 0, int64(c.DimCond))}, {Key: "dim_cond_expansion_factor", Value: c.CondExpansion},
		{Key: "input_conv_kernel_size", Value: ints(c.InputKernel[:]...)}, {Key: "output_conv_kernel_size", Value: ints(c.OutputKernel[:]...)},
		{Key: "pad_mode", Value: c.PadMode}, {Key: "lfq_entropy_loss_weight", Value: q.EntropyWeight},
		{Key: "lfq_commitment_loss_weight", Value: q.CommitmentWeight}, {Key: "lfq_diversity_gamma", Value: q.DiversityGamma},
		{Key: "lfq_spherical", Value: q.Spherical}, {Key: "quantizer_aux_loss_weight", Value: q.AuxWeight},
		{Key: "lfq_soft_clamp_input_value", Value: orNone(q.SoftClamp != 0, q.SoftClamp)},
		{Key: "use_fsq", Value: fsq}, {Key: "fsq_levels", Value: orNone(fsq, &torchfile.List{Items: ints(q.Levels...)})},
		{Key: "attn_dim_head", Value: int64(c.Attention.Dim)}, {Key: "attn_heads", Value: int64(c.Attention.Heads)},
		{Key: "linear_attn_dim_head", Value: int64(c.LinearAttention.Dim)}, {Key: "linear_attn_heads", Value: int64(c.LinearAttention.Heads)},
		{Key: "perceptual_loss_weight", Value: 0.}, {Key: "discr_kwargs", Value: discr}, {Key: "use_gan", Value: false},
		{Key: "separate_first_frame_encoding", Value: c.SeparateFirstFrame},
	} {
		d.Set(a.Key, a.Value)
	}
	return d, nil
}

// toTrainer writes a trainer file: weights, average, optimizer and step. What the
// reference keeps about warm-up and schedule is as if its trainer had been made
// with this run's learning rate and warm-up.
func (x export) toTrainer(out string, r *Exported) error {
	if _, err := x.arguments(r); err != nil {
		return err
	}
	r.note("a trainer file holds no configuration: make the VideoTokenizer with the arguments of the tokenizer file (--to lucidrains)")
	t := &torchfile.Trainer{AverageInitted: true, AverageStep: int64(x.Snapshot.Step), Step: int64(x.Snapshot.Step)}
	weights, err := x.Arena("")
	if err != nil {
		return err
	}
	average := weights
	if x.Averaged() {
		if average, err = x.Arena(checkpoint.AveragePrefix); err != nil {
			return err
		}
	}
	if t.Model, err = x.reference(weights); err != nil {
		return err
	}
	if t.Average, err = x.reference(average); err != nil {
		return err
	}
	if t.Optimizer, err = x.optimizer(t.Model); err != nil {
		return err
	}
	names, axes := statistics(t.Model)
	t.Discriminator = x.groups(torchfile.DiscriminatorOrder(names, axes), axes)
	t.Rest = x.schedules()
	return checkpoint.WriteFile(out, func(w io.Writer) error { return torchfile.WriteTrainer(w, t) })
}

// statistics is the names of a state_dict and how many axes each tensor has.
func statistics(state []torchfile.NamedTensor) (names []string, axes map[string]int) {
	axes = map[string]int{}
	for _, t := range state {
		names, axes[t.Name] = append(names, t.Name), len(t.Shape)
	}
	return names, axes
}

// optimizer is AdamW's state under the reference's numbers. Parameters whose
// moments are all zero were never updated: they have none.
func (x export) optimizer(state []torchfile.NamedTensor) (*torchfile.Optimizer, error) {
	m, v, err := x.Moments()
	if err != nil {
		return nil, usage.Errorf("%w: a trainer file needs the optimizer's state; --to lucidrains does not", err)
	}
	arenas := [2][]float32{m, v}
	names, axes := statistics(state)
	o := x.groups(torchfile.OptimizerOrder(names, axes), axes)
	index := map[string]int{}
	for i, p := range x.Params {
		index[p.Name] = i
	}
	for number, name := range o.Names {
		i, ok := index[name]
		if !ok {
			return nil, fmt.Errorf("export: the optimizer's parameter %s is not the tokenizer's", name)
		}
		p := x.Params[i]
		m := torchfile.Moment{Param: number, Step: int64(x.Snapshot.Step - x.Snapshot.Skipped)}
		updated := false
		for k, to := range []**torchfile.Tensor{&m.ExpAvg, &m.ExpAvgSquared} {
			values := make([]float32, p.Len())
			p.ToReference(values, x.Part(arenas[k], i))
			updated = updated || slices.ContainsFunc(values, func(v float32) bool { return v != 0 })
			if *to, err = torchfile.FromFloat32(p.Reference, values); err != nil {
				return nil, err
			}
		}
		if updated {
			o.Moments = append(o.Moments, m)
		}
	}
	return o, nil
}

// groups is the settings of the reference's optimizer for parameters in its order.
func (x export) groups(names []string, axes map[string]int) *torchfile.Optimizer {
	t := x.Config.Train
	o := &torchfile.Optimizer{Names: names}
	options := func(decay float64) *torchfile.Dict {
		return torchfile.NewDict().Set("lr", t.LR).Set("betas", torchfile.Tuple{t.Betas[0], t.Betas[1]}).Set("eps", t.Eps).
			Set("weight_decay", decay).Set("amsgrad", false).Set("maximize", false).Set("foreach", nil).Set("capturable", false).
			Set("differentiable", false).Set("fused", nil).Set("decoupled_weight_decay", true).Set("initial_lr", t.LR)
	}
	first := len(names) // not decayed
	if i := slices.IndexFunc(names, func(n string) bool { return axes[n] < 2 }); i >= 0 {
		first = i
	}
	numbers := make([]int, len(names))
	for i := range numbers {
		numbers[i] = i
	}
	o.Groups = []torchfile.Group{{Params: numbers[:first], Options: options(t.WeightDecay)}, {Params: numbers[first:], Options: options(0)}}
	return o
}

// schedules is the reference's state of warm-up and schedule, of the tokenizer and
// of the discriminator.
func (x export) schedules() *torchfile.Dict {
	t, step := x.Config.Train, int64(x.Snapshot.Step)
	rates := func() *torchfile.List { return &torchfile.List{Items: []any{t.LR, t.LR}} }
	rest := torchfile.NewDict()
	for _, prefix := range []string{"", "discr_"} {
		period := func() any { return torchfile.NewDict().Set("warmup_period", int64(max(t.Warmup, 1))) }
		rest.Set(prefix+"warmup", torchfile.NewDict().Set("warmup_params", &torchfile.List{Items: []any{period(), period()}}).
			Set("last_step", step).Set("lrs", rates()))
		rest.Set(prefix+"scheduler", torchfile.NewDict().Set("base_lrs", rates()).Set("last_epoch", step).Set("_step_count", step+1).
			Set("_is_initial", false).Set("_get_lr_called_within_step", false).Set("_last_lr", rates()).
			Set("lr_lambdas", &torchfile.List{Items: []any{nil, nil}}))
	}
	return rest
}
