package trainer

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"magvit/model"
	"magvit/trainer/torchfile"
	"magvit/trainer/usage"
)

// Checkpoints of magvit2-pytorch, the reference, come in two kinds:
//
//	tokenizer file   VideoTokenizer.save: weights, constructor's arguments
//	trainer file     VideoTokenizerTrainer.save: weights, their average, optimizer, step; no arguments
//
// A tokenizer with compat lucidrains has the parameters of the reference's, by
// name. Besides these a reference file holds discriminators, which have no place
// here, and LFQ's constant mask of bits.
const (
	referenceVersion = "0.5.1" // of magvit2-pytorch, whose files are written
	maskName         = "quantizers.mask"
	largestStep      = 1 << 24 // the reference keeps an optimizer's steps in float32
)

func discriminator(name string) bool {
	return strings.HasPrefix(name, "discr.") || strings.HasPrefix(name, "multiscale_discrs.")
}

// intake takes the tensors of reference files into arenas.
type intake struct {
	table
	mask           []int64
	index          map[string]int // of params, by name
	wrong          []string       // what does not fit, by tensor
	discriminators int            // tensors left out
	converted      int            // tensors that were not float32
}

func newIntake(tok *model.Tokenizer) *intake {
	in := &intake{table: newTable(tok), mask: tok.ReferenceMask(), index: map[string]int{}}
	for i, p := range in.params {
		in.index[p.Name] = i
	}
	return in
}

func (in *intake) refuse(format string, args ...any) {
	in.wrong = append(in.wrong, fmt.Sprintf(format, args...))
}

// match finds each parameter's tensor, by index of params, among those of a
// state_dict. It reads no values: sizes are checked before memory is taken.
func (in *intake) match(prefix string, state []torchfile.NamedTensor) []*torchfile.Tensor {
	found := make([]*torchfile.Tensor, len(in.params))
	masked := false
	for _, t := range state {
		i, known := in.index[t.Name]
		switch {
		case known:
			found[i] = t.Tensor
			in.fits(prefix+t.Name, t.Tensor, in.params[i].Reference)
		case t.Name == maskName && in.mask != nil:
			masked = true
			in.checkMask(prefix+t.Name, t.Tensor)
		case discriminator(t.Name):
			in.discriminators++
		default:
			in.refuse("%.100q %v is unknown to the model", prefix+t.Name, t.Shape)
		}
	}
	for i, t := range found {
		if t == nil {
			in.refuse("%s is missing", prefix+in.params[i].Name)
		}
	}
	if in.mask != nil && !masked {
		in.refuse("%s is missing", prefix+maskName)
	}
	return found
}

func (in *intake) fits(name string, t *torchfile.Tensor, shape []int) {
	switch t.Dtype {
	case torchfile.Float32:
	case torchfile.Float64, torchfile.Float16, torchfile.BFloat16:
		in.converted++
	default:
		in.refuse("%s is %s, want a floating point type", name, t.Dtype)
	}
	if !slices.Equal(t.Shape, shape) {
		in.refuse("%s is %v, the model has %v", name, t.Shape, shape)
	}
}

func (in *intake) checkMask(name string, t *torchfile.Tensor) {
	if !slices.Equal(t.Shape, []int{len(in.mask)}) {
		in.refuse("%s is %v, the model has %v", name, t.Shape, []int{len(in.mask)})
	} else if v, err := t.Int64s(); err != nil || !slices.Equal(v, in.mask) {
		in.refuse("%s holds %v, the model has %v", name, v, in.mask)
	}
}

// fill is the arena of matched tensors; nil ones leave zeros.
func (in *intake) fill(prefix string, found []*torchfile.Tensor) ([]float32, error) {
	arena := make([]float32, in.len)
	for i, t := range found {
		if t == nil {
			continue
		}
		p := in.params[i]
		values, err := t.Float32s()
		if err != nil {
			return nil, fmt.Errorf("%s%s: %w", prefix, p.Name, err)
		}
		p.FromReference(in.part(arena, i), values)
	}
	for i, p := range in.params {
		for k, v := range in.part(arena, i) {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				in.refuse("%s%s has values that are not finite: [%d] = %v", prefix, p.Name, k, v)
				break
			}
		}
	}
	return arena, nil
}

// fault is the error for what does not fit, nil if all did.
func (in *intake) fault() error {
	const most = 1000
	switch n := len(in.wrong); {
	case n == 0:
		return nil
	case n > most:
		in.wrong = append(in.wrong[:most], fmt.Sprintf("and %d more", n-most))
	}
	return usage.Errorf("tensors of another configuration, or damaged: %s", strings.Join(in.wrong, "; "))
}

// aside makes a folder by way of one beside it, which is renamed when write is
// done: on an error nothing is left behind. An empty folder may be in its place.
func aside(dir string, write func(dir string) error) error {
	if err := vacant(dir); err != nil {
		return err
	}
	dir = filepath.Clean(dir)
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
		return usage.Errorf("%s: %w", dir, err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".tmp-"+filepath.Base(dir)+"-")
	if err != nil {
		return usage.Errorf("%s: %w", dir, err)
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := write(tmp); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil && !os.IsNotExist(err) {
		return usage.Errorf("%s: %w", dir, err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// vacant says whether a folder can be made there: nothing is in its place, or an
// empty one.
func vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case os.IsNotExist(err):
		return nil
	case err != nil:
		return usage.Errorf("%s: want a folder to make, or an empty one: %w", dir, err)
	case len(entries) > 0:
		return usage.Errorf("%s is not empty: choose another folder", dir)
	}
	return nil
}
