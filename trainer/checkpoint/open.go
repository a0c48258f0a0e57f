package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"magvit/model"
	"magvit/trainer/atomicfile"
	"magvit/trainer/config"
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

	tensors map[string]Tensor
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
	if o.tensors, err = ReadTensors(filepath.Join(o.Dir, ModelFile)); err != nil {
		return nil, usage.Wrap(err)
	}
	return o, nil
}

// Averaged reports whether the checkpoint holds an average of the weights.
func (o *Opened) Averaged() bool {
	return len(o.Params) > 0 && o.tensors[AveragePrefix+o.Params[0].Name].Name != ""
}

// Weights returns the arena that evaluation uses: the average where there is one.
func (o *Opened) Weights() ([]float32, error) {
	if o.Averaged() {
		return o.Arena(AveragePrefix)
	}
	return o.Arena("")
}

// Arena returns the parameters ("") or their average (AveragePrefix), all of them finite.
func (o *Opened) Arena(prefix string) ([]float32, error) {
	return o.finite(ModelFile, o.tensors, prefix)
}

// Moments returns the optimizer's first and second moments.
func (o *Opened) Moments() (m, v []float32, err error) {
	tensors, err := ReadTensors(filepath.Join(o.Dir, OptimizerFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, usage.Errorf("%s: a checkpoint for use only, without the optimizer's state", o.Dir)
	}
	if err != nil {
		return nil, nil, usage.Wrap(err)
	}
	if m, err = o.finite(OptimizerFile, tensors, firstMoment); err == nil {
		v, err = o.finite(OptimizerFile, tensors, secondMoment)
	}
	return m, v, err
}

func (o *Opened) finite(file string, tensors map[string]Tensor, prefix string) ([]float32, error) {
	own := tensors
	if o.Discriminator.From == o.Discriminator.To {
		own = maps.Clone(tensors)
		maps.DeleteFunc(own, func(name string, _ Tensor) bool { return strings.HasPrefix(name, prefix+model.DiscriminatorPrefix) })
	}
	arena, err := o.Fill(own, prefix)
	if err == nil {
		if bad := o.FirstNonFinite(arena); bad != "" {
			err = usage.Errorf("%s%s is not finite", prefix, bad)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(o.Dir, file), err)
	}
	return arena, nil
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
		return nil, "", usage.Errorf("weights: %w", err)
	case !info.IsDir() && (strings.HasSuffix(path, ".pt") || strings.HasSuffix(path, ".pth") || strings.HasSuffix(path, ".ckpt")):
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
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return usage.Errorf("%s is no file: want the name of a file to write", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return usage.Errorf("%s: %w", path, err)
	}
	meta := map[string]string{"format": "magvit", "step": strconv.Itoa(o.Snapshot.Step), "config": string(text),
		"layout": "names of magvit2-pytorch; convolutions O,KT,KH,KW,C"}
	return atomicfile.Write(path, func(w io.Writer) error { return WriteTensors(w, o.named(weights), meta) })
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
