package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"magvit/kernels"
	"magvit/model"
	"magvit/model/machine"
	"magvit/trainer/atomicfile"
	"magvit/trainer/config"
	"magvit/trainer/torchfile"
	"magvit/trainer/usage"
)

// Opened is a checkpoint that was found, verified and read.
type Opened struct {
	Layout
	Dir      string
	Snapshot Snapshot
	Config   config.Config // the configuration it was trained with
	Net      model.Network
	Skipped  []error // newer checkpoints that do not verify

	averaged bool
}

// Configuration returns the configuration of the checkpoint at a path, see Find.
func Configuration(path string) (config.Config, error) {
	dir, snap, _, err := Find(path)
	if err != nil {
		return config.Config{}, err
	}
	return snap.Configuration(filepath.Join(dir, StateFile))
}

// Open reads the checkpoint at a path, see Find, without the optimizer's state and without a
// discriminator, which only training needs.
func Open(path string) (*Opened, error) { return open(path, model.Config.WithoutDiscriminator) }

// open is Open of the network that of makes of the configuration.
func open(path string, of func(model.Config) model.Config) (*Opened, error) {
	o := &Opened{}
	var err error
	if o.Dir, o.Snapshot, o.Skipped, err = Find(path); err != nil {
		return nil, err
	}
	if o.Config, err = o.Snapshot.Configuration(filepath.Join(o.Dir, StateFile)); err != nil {
		return nil, err
	}
	if o.Net, err = model.Build(of(o.Config.Model)); err != nil {
		return nil, usage.Wrap(err)
	}
	o.Layout = NewLayout(o.Net)
	err = withTensors(filepath.Join(o.Dir, ModelFile), func(list []torchfile.NamedTensor) error {
		o.averaged = slices.ContainsFunc(list, func(x torchfile.NamedTensor) bool { return strings.HasPrefix(x.Name, AveragePrefix) })
		return nil
	})
	if err != nil {
		return nil, usage.Wrap(err)
	}
	return o, nil
}

// Averaged reports whether the checkpoint holds an average of the weights.
func (o *Opened) Averaged() bool { return o.averaged }

// Weights returns the arena that evaluation uses: the average where there is one.
func (o *Opened) Weights() ([]float32, error) { return o.Arena(o.evaluated()) }

// evaluated is the prefix of the weights that evaluation uses.
func (o *Opened) evaluated() string {
	if o.averaged {
		return AveragePrefix
	}
	return ""
}

// Arena returns the parameters ("") or their average (AveragePrefix), all of them finite.
func (o *Opened) Arena(prefix string) ([]float32, error) { return o.arena(ModelFile, prefix) }

// Moments returns the optimizer's first and second moments.
func (o *Opened) Moments() (m, v []float32, err error) {
	if m, err = o.arena(OptimizerFile, firstMoment); err == nil {
		v, err = o.arena(OptimizerFile, secondMoment)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, usage.Errorf("%s: a checkpoint for use only, without the optimizer's state", o.Dir)
	}
	return m, v, err
}

func (o *Opened) arena(file, prefix string) ([]float32, error) {
	arena := make([]float32, o.Len)
	return arena, o.each(file, prefix, func(i, from int, values []float32) error {
		copy(o.Part(arena, i)[from:], values)
		return nil
	})
}

// Load writes the weights that evaluation uses to an arena of a backend and returns their
// Hash. Parameters for which used is false are read and not written. Only a part of a
// parameter is in memory at a time.
func (o *Opened) Load(be kernels.Backend, params kernels.Buffer, used func(i int) bool) (sha256 string, err error) {
	h, end := newWeightHash(), 0
	var gap [16]float32
	err = o.each(ModelFile, o.evaluated(), func(i, from int, values []float32) error {
		at := o.Offsets[i] + from
		h.add(gap[:at-end])
		h.add(values)
		end = at + len(values)
		if !used(i) {
			return nil
		}
		return be.Write(params.Slice(at, end), values)
	})
	h.add(gap[:o.Len-end])
	return h.String(), err
}

// Offload returns the arena of the weights that evaluation uses, and their Hash. They stay in
// the file, which is open as long as the arena is used: values are read when a program runs.
func (o *Opened) Offload(be kernels.Backend) (arena machine.Offloaded, sha256 string, err error) {
	if sha256, err = o.Load(be, nil, func(int) bool { return false }); err != nil {
		return arena, "", err
	}
	path := filepath.Join(o.Dir, ModelFile)
	list, _, err := torchfile.OpenSafetensors(path)
	if err != nil {
		return arena, "", usage.Wrap(err)
	}
	tensors, at := map[string]*torchfile.Tensor{}, map[int]*torchfile.Tensor{}
	for _, t := range list {
		tensors[t.Name] = t.Tensor
	}
	for i, p := range o.Params {
		at[o.Offsets[i]] = tensors[o.evaluated()+p.Name]
	}
	return machine.NewOffloaded(o.Len, func(from int, to kernels.Buffer) error {
		err := at[from].EachFloat32(func(k int, values []float32) error { return be.Write(to.Slice(k, k+len(values)), values) })
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	}), sha256, nil
}

// each calls do with the values of the parameters in a file under names with a prefix, all
// of them finite, in the order of the arena: those of parameter i from position from.
func (o *Opened) each(file, prefix string, do func(i, from int, values []float32) error) error {
	err := withTensors(filepath.Join(o.Dir, file), func(list []torchfile.NamedTensor) error {
		own, shapes := map[string]*torchfile.Tensor{}, map[string][]int{}
		for _, x := range list {
			name, ok := strings.CutPrefix(x.Name, prefix)
			if !ok || prefix == "" && strings.HasPrefix(name, AveragePrefix) || o.without(name) {
				continue
			}
			own[name], shapes[name] = x.Tensor, x.Shape
		}
		if err := o.fits(shapes, prefix); err != nil {
			return err
		}
		for _, i := range o.order() {
			p := o.Params[i]
			err := own[p.Name].EachFloat32(func(from int, values []float32) error {
				for k, v := range values {
					if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
						return usage.Errorf("%s%s[%d] = %v is not finite", prefix, p.Name, from+k, v)
					}
				}
				return do(i, from, values)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		err = usage.Wrap(err)
	}
	return err
}

// without reports whether a tensor is of a discriminator that this network is opened without.
func (o *Opened) without(name string) bool {
	return o.Discriminator.From == o.Discriminator.To && strings.HasPrefix(name, model.DiscriminatorPrefix)
}

// named returns the parameters of an arena as tensors.
func (o *Opened) named(arena []float32) (list []Tensor) {
	for i, p := range o.Params {
		list = append(list, Tensor{p.Name, p.Shape, o.Part(arena, i)})
	}
	return list
}

// ReadWeights reads the weights that evaluation uses, of a checkpoint (see Find) or a
// .safetensors file. source names them with the hash of their file.
func ReadWeights(path string) (tensors map[string]Tensor, source string, err error) {
	file := path
	switch info, err := os.Stat(path); {
	case err != nil:
		return nil, "", usage.Errorf("weights: %w; want a run's folder, a checkpoint's, or a .safetensors file of magvit export", err)
	case !info.IsDir() && slices.Contains([]string{".pt", ".pth", ".ckpt", ".jit"}, filepath.Ext(path)):
		return nil, "", usage.Errorf("weights %s: a file of PyTorch: make a run of it with magvit import, and name that run", path)
	case !info.IsDir() && strings.HasSuffix(path, ".safetensors"):
		if tensors, err = ReadTensors(path); err != nil {
			return nil, "", usage.Wrap(err)
		}
	default:
		o, err := open(path, func(c model.Config) model.Config { return c })
		if err != nil {
			return nil, "", err
		}
		arena, err := o.Weights()
		if err != nil {
			return nil, "", err
		}
		tensors, file = map[string]Tensor{}, filepath.Join(o.Dir, ModelFile)
		for _, t := range o.named(arena) {
			tensors[t.Name] = t
		}
	}
	for name, t := range tensors {
		for _, v := range t.Values {
			if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
				return nil, "", usage.Errorf("weights %s: %s holds %v", path, name, v)
			}
		}
	}
	d, err := digestOf(file)
	return tensors, fmt.Sprintf("%s (sha256 %.16s)", file, d.SHA256), err
}

// WriteSafetensors writes one file of the weights that evaluation uses, the configuration in its metadata.
func (o *Opened) WriteSafetensors(path string) error {
	weights, err := o.Weights()
	if err != nil {
		return err
	}
	text, err := json.Marshal(o.Snapshot.Config)
	if err != nil {
		return err
	}
	meta := map[string]string{"format": "magvit", "step": strconv.Itoa(o.Snapshot.Step), "config": string(text),
		"layout": "names of magvit2-pytorch; convolutions O,KT,KH,KW,C"}
	return WriteFile(path, func(w io.Writer) error { return WriteTensors(w, o.named(weights), meta) })
}

// WriteFile makes or replaces a file, and its folder, when all of it is written.
func WriteFile(path string, write func(io.Writer) error) error {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return usage.Errorf("%s is no file: want the name of a file to write", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return usage.Errorf("%s: %w", path, err)
	}
	return atomicfile.Write(path, write)
}

// WriteLean makes a checkpoint's folder without average and optimizer, which cannot be trained on.
func (o *Opened) WriteLean(dir string) error {
	weights, err := o.Weights()
	if err != nil {
		return err
	}
	if err := EmptyOrAbsent(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(dir)), 0o777); err != nil {
		return usage.Errorf("%s: %w", dir, err)
	}
	return atomicfile.WriteDir(dir, func(tmp string) error {
		s, snap := NewStore(tmp), o.Snapshot
		d, err := s.put(filepath.Join(tmp, ModelFile), func(w io.Writer) error {
			return WriteTensors(w, o.named(weights), map[string]string{"format": "magvit", "step": strconv.Itoa(snap.Step)})
		})
		if err != nil {
			return err
		}
		snap.Files = map[string]Digest{ModelFile: d}
		if err := s.putState(tmp, snap); err != nil {
			return err
		}
		_, err = Verify(tmp)
		return err
	})
}

// EmptyOrAbsent returns an error unless a folder can be made at a path: there is nothing, or an empty folder.
func EmptyOrAbsent(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return usage.Errorf("%s: want a folder to make, or an empty one: %w", dir, err)
	case len(entries) > 0:
		return usage.Errorf("%s is not empty: choose another folder", dir)
	}
	return nil
}
