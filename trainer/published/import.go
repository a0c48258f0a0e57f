package published

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"magvit/model"
	"magvit/trainer/atomicfile"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/metrics"
	"magvit/trainer/torchfile"
	"magvit/trainer/usage"
	"magvit/trainer/version"
)

// Weights to import.
const (
	Averaged = "ema"   // the average of the generator's weights, with which the projects evaluate
	Plain    = "plain" // the weights themselves
)

// ImportOptions say what to import.
type ImportOptions struct {
	File    string
	Out     string   // run directory to make
	Family  string   // of Families
	Weights string   // Averaged, Plain; "": the average where the file has one
	Version string   // of VidTok, "1.0" or "1.1"; "": by a published file's name
	Levels  []int    // of the codes of VidTok, nil: 8 each, and of Cosmos, nil: 8, 8, 8, 5, 5, 5
	Factors string   // of Cosmos: frames, rows and columns of a code, such as 8x16x16; "": by the tensors, or by the path's name
	Config  string   // configuration file of the project, held against the tensors; "": none
	Inflate bool     // makes a video network of an image network of Open-MAGVIT2
	Set     []string // assignments that override keys, see config.Set

	Progress func(done, of int) // values imported so far; may be nil
}

// Imported says what an import found and made.
type Imported struct {
	Run        string   `json:"run"`
	Checkpoint string   `json:"checkpoint"` // its name
	Family     string   `json:"family"`
	Version    string   `json:"version,omitempty"`
	Weights    string   `json:"weights"`    // ema or plain
	Tensors    int      `json:"tensors"`    // taken over
	Parameters int      `json:"parameters"` // values of these
	LeftOut    []string `json:"left_out"`   // groups of tensors and parts of the file, with their number
	Notes      []string `json:"notes"`
}

func (r *Imported) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// Import turns a file of Open-MAGVIT2, VidTok or Cosmos into a run directory with one checkpoint of
// weights, for use and for train --init. No code in the file is executed; one tensor at a time
// is in memory. On an error nothing is left behind.
func Import(o ImportOptions) (r Imported, err error) {
	r = Imported{Run: o.Out, Notes: []string{}, LeftOut: []string{}}
	if err := checkpoint.EmptyOrAbsent(o.Out); err != nil {
		return r, err
	}
	f, err := open(o.File)
	if err != nil {
		return r, usage.Errorf("%s: %w", o.File, err)
	}
	defer f.close()
	cfg, net, err := o.config(f, &r)
	if err != nil {
		return r, usage.Errorf("%s: %w", o.File, err)
	}
	l := checkpoint.NewLayout(net)
	found, err := o.match(f, l, &r)
	if err != nil {
		return r, usage.Errorf("%s: %w", o.File, err)
	}
	r.Tensors, r.Parameters = len(l.Params), net.NumParams()
	r.Checkpoint = checkpoint.StepName(0)
	snap := checkpoint.Snapshot{Best: metrics.Number(math.NaN()), Seed: cfg.Train.Seed, Version: version.String()}
	if err := snap.SetConfig(cfg); err != nil {
		return r, err
	}
	text, err := cfg.YAML()
	if err != nil {
		return r, err
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(o.Out)), 0o777); err != nil {
		return r, usage.Errorf("%s: %w", o.Out, err)
	}
	return r, atomicfile.WriteDir(o.Out, func(dir string) error {
		if err := atomicfile.WriteBytes(filepath.Join(dir, config.FileName), text); err != nil {
			return err
		}
		done := 0
		return checkpoint.NewStore(filepath.Join(dir, "checkpoints")).SaveWeights(l, snap, func(i int, dst []float32) error {
			err := o.read(l.Params[i], found[i], dst)
			if at := slices.IndexFunc(dst, notFinite); err == nil && at >= 0 {
				err = fmt.Errorf("it holds %v, and weights must be finite", dst[at])
			}
			if err != nil {
				return usage.Errorf("%s: %s: %w", o.File, l.Params[i].Name, err)
			}
			if done += len(dst); o.Progress != nil {
				o.Progress(done, r.Parameters)
			}
			return nil
		})
	})
}

func notFinite(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) }

// large is the size in bytes of a tensor whose memory is given back before the next is read.
const large = 16 << 20

// read is a parameter's values; without a tensor they are 0.
func (o ImportOptions) read(p model.Param, t *torchfile.Tensor, dst []float32) error {
	if t == nil {
		clear(dst)
		return nil
	}
	values, err := t.Float32s()
	if err != nil {
		return err
	}
	if o.Inflate && !p.Discriminator {
		wide := make([]float32, len(dst))
		inflate(p, wide, values)
		values = wide
	}
	p.FromReference(dst, values)
	if 4*len(dst) >= large {
		runtime.GC()
	}
	return nil
}

// config is the run's configuration: that of the preset of its kind with the file's network.
func (o *ImportOptions) config(f *file, r *Imported) (cfg config.Config, net *model.Tokenizer, err error) {
	n, ok, err := recognise(f.tensors)
	switch {
	case err != nil:
		return cfg, nil, err
	case !ok:
		return cfg, nil, unknown(f)
	case n.family != o.Family:
		return cfg, nil, fmt.Errorf("these are tensors of %s: give --from %s", n.family, n.family)
	}
	f.narrow(n.prefix)
	if o.Config != "" {
		if err := o.fromYAML(n, r); err != nil {
			return cfg, nil, err
		}
	}
	if o.Inflate {
		if !n.size.Images {
			return cfg, nil, fmt.Errorf("--inflate makes a video network of an image network; these are tensors of a video network")
		}
		n.size.Images = false
		r.note("a video network that begins as the file's image network: train it before use on clips")
	}
	if n.family == model.Cosmos {
		err = o.cosmosFactors(&n, r)
	} else if o.Factors != "" {
		err = fmt.Errorf("--factors are Cosmos'; the file is of %s", n.family)
	}
	if err != nil {
		return cfg, nil, err
	}
	version, err := o.version(n, r)
	if err != nil {
		return cfg, nil, err
	}
	preset := "vidtok-fsq-488"
	switch {
	case n.family == model.Cosmos:
		preset = "cosmos-dv8x8x8"
	case n.family == model.OpenMagvit2 && !n.size.Images:
		preset = "open-magvit2-video"
	case n.family == model.OpenMagvit2 && len(n.size.Multipliers) > 4:
		preset = "open-magvit2-image-256"
	case n.family == model.OpenMagvit2:
		preset = "open-magvit2-image-128"
	}
	if cfg, err = config.Preset(preset); err != nil {
		return cfg, nil, err
	}
	size := cfg.Model.ImageSize
	if cfg.Model, err = n.config(version, o.Levels); err != nil {
		return cfg, nil, err
	}
	cfg.Preset, cfg.Model.ImageSize = "", size
	r.Family, r.Version = n.family, version
	for _, s := range o.Set {
		if err := cfg.Set(s); err != nil {
			return cfg, nil, err
		}
	}
	if err := cfg.Validate(); err != nil {
		return cfg, nil, err
	}
	if net, err = model.New(cfg.Model); err != nil {
		return cfg, nil, err
	}
	whole := cfg.Data.Whole(1)
	if whole.H == 0 {
		whole.H, whole.W = cfg.Data.Size, cfg.Data.Size
	}
	if err := net.Check(model.Shape{N: 1, T: net.Padded(whole.T), H: whole.H, W: whole.W}); err != nil && whole.H > 0 {
		return cfg, nil, fmt.Errorf("data.size: %w", err)
	}
	if n.family == model.Cosmos {
		f.leaveUnused(net)
	}
	return cfg, net, nil
}

// version is VidTok's: as given, or of a file with a published name.
func (o ImportOptions) version(n network, r *Imported) (string, error) {
	if n.family != model.VidTok {
		if o.Version != "" {
			return "", fmt.Errorf("--version is VidTok's; the file is of %s", n.family)
		}
		if o.Levels != nil && n.family == model.OpenMagvit2 {
			return "", fmt.Errorf("--levels are VidTok's and Cosmos'; the file is of %s", n.family)
		}
		return "", nil
	}
	name := filepath.Base(o.File)
	if strings.HasPrefix(name, "vidtok_kl_") && o.Levels == nil {
		return "", fmt.Errorf("a continuous (KL) tokenizer by the file's name, which has no codes and cannot be imported; if it does have codes, give their --levels")
	}
	if o.Levels == nil && n.bits <= 6 {
		r.note("%d digits of 8 levels, as in all published files; if these have others, give --levels", n.bits)
	}
	if o.Version != "" {
		return o.Version, nil
	}
	if strings.HasPrefix(name, "vidtok_fsq_causal_") {
		v := map[bool]string{false: "1.0", true: "1.1"}[strings.Contains(name, "v1_1")]
		r.note("version %s, by the file's name", v)
		return v, nil
	}
	return "", fmt.Errorf("VidTok 1.0 and 1.1 have the same tensors and compute different things: give --version 1.0 or --version 1.1")
}

// unknown is the error for a file of no known family.
func unknown(f *file) error {
	names := slices.Sorted(maps.Keys(f.tensors))
	if len(names) > 0 && !slices.ContainsFunc(names, func(name string) bool { return !strings.Contains(name, averages) }) {
		return fmt.Errorf("averages alone (%s*), whose names have no dots: the tensors that they are of must be in the file, too", averages)
	}
	return fmt.Errorf("tensors of no known family: it holds %s; known are Open-MAGVIT2 (encoder.conv_in.conv_1.weight or encoder.conv_in.weight, decoder.adaptive.*), VidTok's causal tokenizers"+
		" (encoder.conv_in.conv.weight, encoder.down_temporal.*) and Cosmos DV (encoder.conv_in.0.conv3d.weight); for files of magvit2-pytorch give --from lucidrains", torchfile.Brief(groups(names), ", "))
}

// readTypes are the types that weights may have.
var readTypes = []torchfile.Dtype{torchfile.Float32, torchfile.Float64, torchfile.Float16, torchfile.BFloat16}

const readTypesText = "float32, float64, float16 or bfloat16"

// match finds each parameter's tensor and names what is left out.
func (o ImportOptions) match(f *file, l checkpoint.Layout, r *Imported) (found []*torchfile.Tensor, err error) {
	nameOf := func(p model.Param) string {
		if p.Discriminator {
			return "loss.discriminator." + strings.TrimPrefix(p.Name, model.DiscriminatorPrefix)
		}
		if o.Inflate {
			return imageName(p.Name)
		}
		return p.Name
	}
	averaged := f.tensors[averageName(nameOf(l.Params[0]))] != nil
	if o.Weights == "" && !averaged {
		if unknown := f.unknownAverages(); len(unknown) > 0 {
			return nil, fmt.Errorf("averages of other names than the network's: %s; --weights %s takes the weights that are not averaged", torchfile.Brief(unknown, ", "), Plain)
		}
	}
	switch {
	case o.Weights == "" && averaged, o.Weights == Averaged:
		r.Weights = Averaged
	default:
		r.Weights = Plain
	}
	if o.Weights == "" && averaged {
		r.note("the averaged weights are imported, with which the project evaluates; --weights plain takes the others")
	}
	if r.Weights == Averaged && !averaged {
		return nil, fmt.Errorf("--weights %s: the file has no averages (model_ema.*); give --weights %s", Averaged, Plain)
	}
	var misfits []string
	used, converted := map[string]bool{}, 0
	for _, p := range l.Params {
		name := nameOf(p)
		if r.Weights == Averaged && !p.Discriminator {
			name = averageName(name)
			if used[name] {
				return nil, fmt.Errorf("%s is the average of two parameters", name)
			}
		}
		t := f.tensors[name]
		used[name] = true
		switch {
		case t == nil && strings.HasPrefix(p.Name, "loss."), // not part of the network
			t == nil && strings.HasPrefix(p.Name, model.DiscriminatorPrefix+"lecam."): // neither project saves the averages
		case t == nil && f.others[name] != "":
			misfits = append(misfits, fmt.Sprintf("%s is %s, want a tensor", name, f.others[name]))
		case t == nil:
			misfits = append(misfits, name+" is missing")
		case o.Inflate && !p.Discriminator:
			if err := inflates(p, t.Shape); err != nil {
				misfits = append(misfits, err.Error())
			}
		case !slices.Equal(t.Shape, p.Reference):
			misfits = append(misfits, fmt.Sprintf("%s is %v, the network has %v", name, t.Shape, p.Reference))
		case !slices.Contains(readTypes, t.Dtype):
			misfits = append(misfits, fmt.Sprintf("%s is of %s, want %s", name, t.Dtype, readTypesText))
		case t.Dtype != torchfile.Float32:
			converted++
		}
		found = append(found, t)
	}
	var left []string
	for _, name := range slices.Sorted(maps.Keys(f.tensors)) {
		if used[name] {
			continue
		}
		left = append(left, name)
		if strings.HasPrefix(name, "encoder.") || strings.HasPrefix(name, "decoder.") {
			if r.Weights == Plain || f.tensors[averageName(name)] == nil {
				misfits = append(misfits, name+" is unknown to the network")
			}
		}
	}
	if len(misfits) > 0 {
		return nil, fmt.Errorf("%d tensors do not fit: %s", len(misfits), torchfile.Brief(misfits, "; "))
	}
	if converted > 0 {
		r.note("tensors that were not float32 and have been converted: %d", converted)
	}
	r.LeftOut = append(append(r.LeftOut, groups(left)...), f.rest...)
	r.LeftOut = append(r.LeftOut, f.otherEntries()...)
	return found, nil
}
