package torchfile

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"magvit/model/reference"
)

// Trainer is what the reference's VideoTokenizerTrainer.save writes.
type Trainer struct {
	Model          []NamedTensor // the tokenizer with its discriminator, in the order of the file; names are unwrapped, see Unwrap
	Average        []NamedTensor // its moving average under the same names
	AverageInitted bool          // the average has been copied from the model at least once
	AverageStep    int64         // calls of the average's update
	Optimizer      *Optimizer    // of the tokenizer
	Discriminator  *Optimizer    // of the discriminator
	Step           int64         // training steps done
	Rest           *Dict         // the other parts in the order of the file: warmup, scheduler, ...; plain values
}

// Optimizer is the state of an AdamW (two groups) or Adam (one group).
type Optimizer struct {
	Names   []string // of parameter 0, 1, ...
	Groups  []Group
	Moments []Moment // by increasing parameter; a parameter that was never updated has none
}

// Group is one of torch's param_groups.
type Group struct {
	Params  []int // numbers of parameters
	Options *Dict // the other keys: lr, betas, eps, weight_decay, ...
}

// Moment is what the optimizer keeps for a parameter.
type Moment struct {
	Param         int
	Step          int64   // updates of this parameter
	ExpAvg        *Tensor // running mean of the gradient; shape of the parameter
	ExpAvgSquared *Tensor // running mean of its square
}

const discriminatorPrefix = "discr."

// ParameterOrder returns the names of the tokenizer's parameters in the order in which the reference's only group numbers
// them (weight decay 0). names are the state_dict's, in its order; buffers, discriminators and unknown names are left out.
func ParameterOrder(names []string) []string {
	var order []string
	for _, part := range reference.Optimizer {
		for _, name := range names {
			if strings.HasPrefix(name, part+".") && name != "quantizers.mask" {
				order = append(order, name)
			}
		}
	}
	return order
}

// OptimizerOrder is ParameterOrder for two groups: parameters with two or more axes are decayed and come first. ndim gives
// the number of axes of every name.
func OptimizerOrder(names []string, ndim map[string]int) []string {
	return decayedFirst(ParameterOrder(names), ndim)
}

// DiscriminatorOrder is OptimizerOrder for the discriminator's own optimizer.
func DiscriminatorOrder(names []string, ndim map[string]int) []string {
	return decayedFirst(discriminatorParameters(names), ndim)
}

func discriminatorParameters(names []string) []string {
	var order []string
	for _, name := range names {
		if strings.HasPrefix(name, discriminatorPrefix) && !strings.HasSuffix(name, ".maybe_blur.f") {
			order = append(order, name)
		}
	}
	return order
}

func decayedFirst(names []string, ndim map[string]int) []string {
	order := make([]string, 0, len(names))
	for _, decayed := range []bool{true, false} {
		for _, name := range names {
			if (ndim[name] >= 2) == decayed {
				order = append(order, name)
			}
		}
	}
	return order
}

// Trainer views the file as a trainer's. It is an error when a part is missing or of another type or shape, and when the
// pickle names any Python object that is not a plain value or a tensor. discr_optimizer may be missing.
func (f *File) Trainer() (*Trainer, error) {
	root, err := f.dict("a trainer file")
	if err != nil {
		return nil, err
	}
	if _, ok := root.Get("model_state_dict"); ok {
		return nil, fmt.Errorf("trainer file: this is a tokenizer file (it holds \"model_state_dict\")")
	}
	t := &Trainer{Rest: NewDict()}
	if err := t.read(root); err != nil {
		return nil, fmt.Errorf("trainer file: %w", err)
	}
	return t, nil
}

func (t *Trainer) read(root *Dict) error {
	model, err := dictValue[*Dict](root, "model", "a dict of tensors")
	if err != nil {
		return err
	}
	if t.Model, err = onlyTensors(model); err == nil {
		t.Model, err = UnwrapAll(t.Model)
	}
	if err != nil {
		return fmt.Errorf("model: %w", err)
	}
	average, err := dictValue[*Dict](root, "ema_model", "a dict of tensors")
	if err != nil {
		return err
	}
	if err := t.readAverage(average); err != nil {
		return fmt.Errorf("ema_model: %w", err)
	}
	if t.Step, err = dictValue[int64](root, "step", "an int"); err != nil {
		return err
	}
	shapes := map[string][]int{}
	var names []string
	for _, named := range t.Model {
		shapes[named.Name] = named.Shape
		names = append(names, named.Name)
	}
	main, err := dictValue[*Dict](root, "optimizer", "a dict")
	if err != nil {
		return err
	}
	if t.Optimizer, err = readOptimizer(main, ParameterOrder(names), shapes); err != nil {
		return fmt.Errorf("optimizer: %w", err)
	}
	if _, ok := root.Get("discr_optimizer"); ok {
		d, err := dictValue[*Dict](root, "discr_optimizer", "a dict")
		if err != nil {
			return err
		}
		if t.Discriminator, err = readOptimizer(d, discriminatorParameters(names), shapes); err != nil {
			return fmt.Errorf("discr_optimizer: %w", err)
		}
	}
	for _, e := range root.Entries {
		switch e.Key {
		case "model", "ema_model", "optimizer", "discr_optimizer", "step":
		default:
			t.Rest.Set(e.Key, e.Value)
		}
	}
	return nil
}

func (t *Trainer) readAverage(d *Dict) error {
	tensors := NewDict()
	for _, e := range d.Entries {
		name, _ := e.Key.(string)
		inner, ok := strings.CutPrefix(name, "ema_model.")
		switch {
		case ok:
			tensors.Set(inner, e.Value)
		case name == "initted" || name == "step":
		default:
			return fmt.Errorf("key %.100q is not known; known: initted, step, ema_model.*", fmt.Sprint(e.Key))
		}
	}
	var err error
	if t.Average, err = onlyTensors(tensors); err == nil {
		t.Average, err = UnwrapAll(t.Average)
	}
	if err != nil {
		return err
	}
	if t.AverageStep, err = scalar(d, "step"); err != nil {
		return err
	}
	initted, err := scalar(d, "initted")
	t.AverageInitted = initted != 0
	return err
}

// scalar reads a whole number or bool, given as a Python value or as a tensor of one element.
func scalar(d *Dict, key string) (int64, error) {
	v, err := dictValue[any](d, key, "a number")
	if err != nil {
		return 0, err
	}
	switch v := v.(type) {
	case bool:
		if v {
			return 1, nil
		}
		return 0, nil
	case int64:
		return v, nil
	case float64:
		return whole(v, key)
	case *Tensor:
		if v.Len() != 1 {
			return 0, fmt.Errorf("%q is a tensor of shape %v, want one number", key, v.Shape)
		}
		if ints, err := v.Int64s(); err == nil {
			return ints[0], nil
		}
		floats, err := v.Float32s()
		if err != nil {
			return 0, fmt.Errorf("%q: %w", key, err)
		}
		return whole(float64(floats[0]), key)
	}
	return 0, fmt.Errorf("%q is %s, want a number", key, kind(v))
}

func whole(v float64, key string) (int64, error) {
	if v != math.Trunc(v) || math.Abs(v) > 1<<53 {
		return 0, fmt.Errorf("%q is %v, want a whole number", key, v)
	}
	return int64(v), nil
}

// readOptimizer names the parameters of {state, param_groups}; names are in the order for one group.
func readOptimizer(d *Dict, names []string, shapes map[string][]int) (*Optimizer, error) {
	groups, err := dictValue[*List](d, "param_groups", "a list")
	if err != nil {
		return nil, err
	}
	o := &Optimizer{Names: names}
	total := 0
	for i, item := range groups.Items {
		g, ok := item.(*Dict)
		if !ok {
			return nil, fmt.Errorf("param_groups[%d] is %s, want a dict", i, kind(item))
		}
		params, err := dictValue[*List](g, "params", "a list of numbers")
		if err != nil {
			return nil, fmt.Errorf("param_groups[%d]: %w", i, err)
		}
		group := Group{Options: NewDict()}
		for _, p := range params.Items {
			if p != any(int64(total)) {
				return nil, fmt.Errorf("param_groups[%d]: parameter %d is not numbered %d", i, len(group.Params), total)
			}
			group.Params = append(group.Params, total)
			total++
		}
		for _, e := range g.Entries {
			if e.Key != "params" {
				group.Options.Set(e.Key, e.Value)
			}
		}
		o.Groups = append(o.Groups, group)
	}
	if len(o.Groups) > 2 {
		return nil, fmt.Errorf("%d param_groups; the reference has two (decayed and not), or one", len(o.Groups))
	}
	if total != len(names) {
		return nil, fmt.Errorf("%d parameters in the groups, %d in the model", total, len(names))
	}
	if len(o.Groups) == 2 {
		ndim := map[string]int{}
		for _, name := range names {
			ndim[name] = len(shapes[name])
		}
		o.Names = decayedFirst(names, ndim)
		if n := len(o.Groups[0].Params); n < total && ndim[o.Names[n]] >= 2 || n > 0 && ndim[o.Names[n-1]] < 2 {
			return nil, fmt.Errorf("the first group's %d parameters are not those with two or more axes", n)
		}
	}
	state, err := dictValue[*Dict](d, "state", "a dict")
	if err != nil {
		return nil, err
	}
	for _, e := range state.Entries {
		number, ok := e.Key.(int64)
		slots, ok2 := e.Value.(*Dict)
		if !ok || !ok2 || number < 0 || number >= int64(total) {
			return nil, fmt.Errorf("state %.100q is %s; want a dict for each of the parameters 0 to %d", fmt.Sprint(e.Key), kind(e.Value), total-1)
		}
		name := o.Names[number]
		m, err := readMoment(slots, int(number), shapes[name])
		if err != nil {
			return nil, fmt.Errorf("state %d (%s): %w", number, name, err)
		}
		o.Moments = append(o.Moments, m)
	}
	slices.SortFunc(o.Moments, func(a, b Moment) int { return a.Param - b.Param })
	return o, nil
}

func readMoment(slots *Dict, param int, shape []int) (Moment, error) {
	m := Moment{Param: param}
	var err error
	if m.Step, err = scalar(slots, "step"); err != nil {
		return m, err
	}
	if m.ExpAvg, err = moment(slots, "exp_avg", shape); err != nil {
		return m, err
	}
	m.ExpAvgSquared, err = moment(slots, "exp_avg_sq", shape)
	return m, err
}

func moment(slots *Dict, key string, shape []int) (*Tensor, error) {
	t, err := dictValue[*Tensor](slots, key, "a tensor")
	if err == nil && !slices.Equal(t.Shape, shape) {
		return nil, fmt.Errorf("%s has shape %v, the parameter %v", key, t.Shape, shape)
	}
	return t, err
}
