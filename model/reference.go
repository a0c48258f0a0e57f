package model

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// referenceLosses are the arguments of magvit2-pytorch's VideoTokenizer that do not
// change the network: losses by other networks, and how to run.
var referenceLosses = []string{"use_gan", "vgg", "vgg_weights", "discr_kwargs", "multiscale_discrs",
	"adversarial_loss_weight", "grad_penalty_loss_weight", "multiscale_adversarial_loss_weight", "flash_attn", "lfq_activation"}

// ReferenceDefaults is the configuration, with compat lucidrains, of a magvit2-pytorch VideoTokenizer that was made without
// arguments.
func ReferenceDefaults() Config {
	c := Defaults()
	c.Compat, c.SqueezeExcite, c.LatentNorm, c.FirstFrame = Lucidrains, "closed", "none", true
	q := &c.Quantizer
	q.Kind, q.EntropyWeight, q.EntropyBoost, q.CommitmentWeight = "lfq", .1, 1, 1
	q.InvTemperature, q.SoftClamp = 100, 10
	c.Loss.Perceptual.Weight = .1
	c.Layers = []Layer{{Name: Residual}, {Name: Residual}, {Name: Residual}}
	return c
}

// FromReference is the configuration, with compat lucidrains, of a magvit2-pytorch
// VideoTokenizer that was made with these arguments; those left out have its
// defaults. Values are those of JSON: numbers, strings, booleans, nil for None and
// []any for lists and tuples. The error names the argument that is unknown or that
// this program cannot follow.
func FromReference(args map[string]any) (Config, error) {
	c := ReferenceDefaults()
	q := &c.Quantizer
	dropout := 0.
	to := map[string]any{
		"image_size": &c.ImageSize, "channels": &c.Channels, "init_dim": &c.InitDim, "max_dim": &c.MaxDim,
		"dim_cond": &c.DimCond, "dim_cond_expansion_factor": &c.CondExpansion, "layers": &c.Layers,
		"residual_conv_kernel_size": &c.ResidualKernel, "input_conv_kernel_size": &c.InputKernel, "output_conv_kernel_size": &c.OutputKernel,
		"pad_mode": &c.PadMode, "separate_first_frame_encoding": &c.SeparateFirstFrame,
		"attn_heads": &c.Attention.Heads, "attn_dim_head": &c.Attention.Dim, "attn_dropout": &dropout,
		"linear_attn_heads": &c.LinearAttention.Heads, "linear_attn_dim_head": &c.LinearAttention.Dim,
		"num_codebooks": &q.Codebooks, "codebook_size": &q.CodebookSize, "fsq_levels": &q.Levels, "use_fsq": (*quantizerKind)(&q.Kind),
		"lfq_entropy_loss_weight": &q.EntropyWeight, "lfq_commitment_loss_weight": &q.CommitmentWeight, "lfq_diversity_gamma": &q.DiversityGamma,
		"lfq_spherical": &q.Spherical, "lfq_soft_clamp_input_value": &q.SoftClamp, "quantizer_aux_loss_weight": &q.AuxWeight,
		"perceptual_loss_weight": &c.Loss.Perceptual.Weight,
	}
	for _, name := range slices.Sorted(maps.Keys(args)) {
		dst, ok := to[name]
		switch {
		case slices.Contains(referenceLosses, name):
			continue
		case !ok:
			return c, fmt.Errorf("model: argument %s of VideoTokenizer: unknown; known: %v and %v", name, slices.Sorted(maps.Keys(to)), referenceLosses)
		}
		if err := assign(dst, args[name]); err != nil {
			return c, fmt.Errorf("model: argument %s of VideoTokenizer: %v: %w", name, args[name], err)
		}
	}
	if dropout != 0 {
		return c, fmt.Errorf("model: argument attn_dropout of VideoTokenizer: %v: there is no dropout here, want 0", dropout)
	}
	if !c.conditional() {
		c.DimCond = 0 // the reference builds nothing for it
	}
	return c, c.Validate()
}

// quantizerKind is set by use_fsq.
type quantizerKind string

// UsesFSQ is the reference's argument use_fsq. The error says that the reference has no
// such quantizer.
func (q Quantizer) UsesFSQ() (bool, error) {
	kind, err := q.of()
	if err != nil {
		return false, err
	}
	switch kind.(type) {
	case fsq:
		return true, nil
	case lfq:
		return false, nil
	}
	return false, fmt.Errorf("model.quantizer.kind: %s: magvit2-pytorch has fsq and lfq", q.Kind)
}

// ReferenceMask is the reference's buffer quantizers.mask: the value of each bit of a
// code of LFQ, nil for other quantizers.
func (t *Tokenizer) ReferenceMask() (values []int64) {
	kind, _ := t.Config.Quantizer.of()
	if q, ok := kind.(lfq); ok {
		for i := range q.bits() {
			values = append(values, 1<<(q.bits()-1-i))
		}
	}
	return values
}

// assign sets *dst from a value of JSON; nil is the zero value.
func assign(dst, v any) error {
	number, isNumber := 0., true
	switch n := v.(type) {
	case float64:
		number = n
	case int:
		number = float64(n)
	case int64:
		number = float64(n)
	case nil:
	default:
		isNumber = false
	}
	list, isList := v.([]any)
	switch dst := dst.(type) {
	case *int:
		if math.IsInf(number, 1) { // max_dim
			number = 0
		}
		if !isNumber || number != math.Trunc(number) || math.Abs(number) > math.MaxInt32 {
			return fmt.Errorf("want a whole number")
		}
		*dst = int(number)
	case *float64:
		if !isNumber {
			return fmt.Errorf("want a number")
		}
		*dst = number
	case *bool:
		b, ok := v.(bool)
		if !ok {
			return fmt.Errorf("want true or false")
		}
		*dst = b
	case *quantizerKind:
		b, ok := v.(bool)
		if !ok {
			return fmt.Errorf("want true or false")
		}
		if *dst = "lfq"; b {
			*dst = "fsq"
		}
	case *string:
		s, ok := v.(string)
		if !ok {
			return fmt.Errorf("want a string")
		}
		*dst = s
	case *[]int:
		*dst = nil
		if v != nil && !isList {
			return fmt.Errorf("want a list of numbers")
		}
		for _, e := range list {
			var n int
			if err := assign(&n, e); err != nil {
				return err
			}
			*dst = append(*dst, n)
		}
	case *Kernel:
		if !isList {
			list = []any{v, v, v}
		}
		if len(list) != 3 {
			return fmt.Errorf("want one number or three")
		}
		for i, e := range list {
			if err := assign(&dst[i], e); err != nil {
				return err
			}
		}
	case *[]Layer:
		if *dst = nil; !isList {
			return fmt.Errorf("want a list of layers")
		}
		for _, e := range list {
			l, err := referenceLayer(e)
			if err != nil {
				return err
			}
			*dst = append(*dst, l)
		}
	}
	return nil
}

// referenceLayer reads a layer's name, or its name and number.
func referenceLayer(v any) (l Layer, err error) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	if len(list) < 1 || len(list) > 2 {
		return l, fmt.Errorf("a layer of %d values: want a name, or a name and a number", len(list))
	}
	if err = assign(&l.Name, list[0]); err != nil || len(list) == 1 {
		return l, err
	}
	if l.Name == ConsecutiveResidual {
		return l, assign(&l.N, list[1])
	}
	return l, assign(&l.Dim, list[1])
}
