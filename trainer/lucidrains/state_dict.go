package lucidrains

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/torchfile"
	"magvit/trainer/usage"
)

const (
	referenceVersion = "0.5.1" // of magvit2-pytorch, whose files are written
	maskName         = "quantizers.mask"
	largestStep      = 1 << 24 // the reference keeps an optimizer's steps in float32
)

func discriminator(name string) bool {
	return strings.HasPrefix(name, "discr.") || strings.HasPrefix(name, "multiscale_discrs.")
}

// stateDict loads the tensors of reference files into arenas.
type stateDict struct {
	checkpoint.Layout
	mask           []int64
	index          map[string]int // of Params, by name
	mismatches     []string       // tensors that do not fit, and why
	discriminators int            // tensors left out
	converted      int            // tensors that were not float32
}

func newStateDict(tok *model.Tokenizer) *stateDict {
	in := &stateDict{Layout: checkpoint.NewLayout(tok), mask: tok.ReferenceMask(), index: map[string]int{}}
	for i, p := range in.Params {
		in.index[p.Name] = i
	}
	return in
}

func (in *stateDict) mismatch(format string, args ...any) {
	in.mismatches = append(in.mismatches, fmt.Sprintf(format, args...))
}

// match returns each parameter's tensor, by index of Params, among those of a
// state_dict. It reads no values: sizes are checked before memory is allocated.
func (in *stateDict) match(prefix string, state []torchfile.NamedTensor) []*torchfile.Tensor {
	found := make([]*torchfile.Tensor, len(in.Params))
	masked := false
	for _, t := range state {
		i, known := in.index[t.Name]
		switch {
		case known:
			found[i] = t.Tensor
			in.fits(prefix+t.Name, t.Tensor, in.Params[i].Reference)
		case t.Name == maskName && in.mask != nil:
			masked = true
			in.checkMask(prefix+t.Name, t.Tensor)
		case discriminator(t.Name):
			in.discriminators++
		default:
			in.mismatch("%.100q %v is unknown to the model", prefix+t.Name, t.Shape)
		}
	}
	for i, t := range found {
		if t == nil {
			in.mismatch("%s is missing", prefix+in.Params[i].Name)
		}
	}
	if in.mask != nil && !masked {
		in.mismatch("%s is missing", prefix+maskName)
	}
	return found
}

func (in *stateDict) fits(name string, t *torchfile.Tensor, shape []int) {
	switch t.Dtype {
	case torchfile.Float32:
	case torchfile.Float64, torchfile.Float16, torchfile.BFloat16:
		in.converted++
	default:
		in.mismatch("%s is %s, want float32 (.float() converts)", name, t.Dtype)
	}
	if !slices.Equal(t.Shape, shape) {
		in.mismatch("%s is %v, the model has %v", name, t.Shape, shape)
	}
}

func (in *stateDict) checkMask(name string, t *torchfile.Tensor) {
	if !slices.Equal(t.Shape, []int{len(in.mask)}) {
		in.mismatch("%s is %v, the model has %v", name, t.Shape, []int{len(in.mask)})
	} else if v, err := t.Int64s(); err != nil || !slices.Equal(v, in.mask) {
		in.mismatch("%s holds %v, the model has %v", name, v, in.mask)
	}
}

// arena returns the arena of matched tensors; nil ones leave zeros.
func (in *stateDict) arena(prefix string, found []*torchfile.Tensor) ([]float32, error) {
	arena := make([]float32, in.Len)
	for i, t := range found {
		if t == nil {
			continue
		}
		p := in.Params[i]
		values, err := t.Float32s()
		if err != nil {
			return nil, fmt.Errorf("%s%s: %w", prefix, p.Name, err)
		}
		p.FromReference(in.Part(arena, i), values)
	}
	for i, p := range in.Params {
		for k, v := range in.Part(arena, i) {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				in.mismatch("%s%s has values that are not finite: [%d] = %v", prefix, p.Name, k, v)
				break
			}
		}
	}
	return arena, nil
}

// ownTensors returns the tensors of the model among those of a larger one (Lightning's "tokenizer.conv_in.weight"), under
// their own names, with their prefix and the number of other tensors. Of several prefixes it chooses the one with the most
// parameters, the first of equal ones. A state_dict that has no prefix is returned as it is.
func (in *stateDict) ownTensors(state []torchfile.NamedTensor) (own []torchfile.NamedTensor, prefix string, others int) {
	count, best := map[string]int{}, ""
	for _, t := range state {
		for i := range t.Name {
			if i > 0 && t.Name[i-1] != '.' {
				continue
			}
			if _, known := in.index[t.Name[i:]]; known {
				p := t.Name[:i]
				if count[p]++; count[p] > count[best] || count[best] == 0 {
					best = p
				}
			}
		}
	}
	if best == "" {
		return state, "", 0
	}
	for _, t := range state {
		if name, ok := strings.CutPrefix(t.Name, best); ok {
			own = append(own, torchfile.NamedTensor{Name: name, Tensor: t.Tensor})
		} else {
			others++
		}
	}
	return own, best, others
}

// err summarizes the mismatches, nil if there are none.
func (in *stateDict) err() error {
	if len(in.mismatches) == 0 {
		return nil
	}
	return usage.Errorf("%d tensors do not fit the configuration: %s: give the configuration that the weights were trained with (--config, --set)",
		len(in.mismatches), torchfile.Brief(in.mismatches, "; "))
}
