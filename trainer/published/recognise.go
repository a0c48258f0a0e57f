package published

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"magvit/model"
	"magvit/trainer/torchfile"
)

// network is what the names and shapes of tensors say about a network.
type network struct {
	family string // of Families
	width  int
	patch  int // of model.Cosmos
	bits   int // latent channels: bits of a code, or its digits
	size   model.Published
	prefix string // of all names
}

// tensors are a file's tensors by name, without the parts of names that wrappers insert.
type tensors map[string]*torchfile.Tensor

// shape is a tensor's shape, nil if there is none.
func (t tensors) shape(name string) []int {
	if t[name] == nil {
		return nil
	}
	return t[name].Shape
}

// count is how many of the names with numbers 0, 1, ... there are.
func (t tensors) count(format string) (n int) {
	for t[fmt.Sprintf(format, n)] != nil {
		n++
	}
	return n
}

// prefixes are those with which a name occurs in the file, one for each network, the shortest first.
func (t tensors) prefixes(name string) (list []string) {
	for whole := range t {
		if prefix, ok := strings.CutSuffix(whole, name); ok && (prefix == "" || strings.HasSuffix(prefix, ".")) {
			list = append(list, prefix)
		}
	}
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) })
	return list
}

// within are the tensors with a prefix, under their names without it.
func (t tensors) within(prefix string) tensors {
	own := tensors{}
	for name, x := range t {
		if name, ok := strings.CutPrefix(name, prefix); ok {
			own[name] = x
		}
	}
	return own
}

// recognise finds the family and size of a network. ok is false where no family is known.
func recognise(all tensors) (n network, ok bool, err error) {
	for _, first := range []string{"encoder.conv_in.conv_1.weight", "encoder.conv_in.conv.weight", "encoder.conv_in.weight", cosmosFirst} {
		for _, prefix := range all.prefixes(first) {
			own := all.within(prefix)
			rank, adaptive := len(own[first].Shape), own["decoder.adaptive.0.gamma.weight"] != nil
			switch {
			case ownOrder(own):
				n.family = map[bool]string{true: model.OpenMagvit2, false: model.VidTok}[adaptive]
				if first == cosmosFirst {
					n.family = model.Cosmos
				}
				err = fmt.Errorf("weights in the order of this program, as its checkpoints and export --to safetensors have them: train --init takes them; export --to %s writes the project's of a run", n.family)
			case adaptive && (first == "encoder.conv_in.conv_1.weight" && rank == 5 || first == "encoder.conv_in.weight" && rank == 4):
				n, err = openMagvit2(own, rank == 4)
			case first == "encoder.conv_in.conv.weight" && rank == 5 && own["encoder.down_temporal.0.block.0.conv1.conv.weight"] != nil:
				n, err = vidTok(own)
			case first == cosmosFirst && rank == 5:
				n, err = cosmos(own)
			default:
				continue
			}
			n.prefix = prefix
			return n, true, err
		}
	}
	return n, false, nil
}

// ownOrder reports whether the encoder's last convolution has its input channels as the last axis, where the
// projects have a kernel of 1 or 3.
func ownOrder(t tensors) bool {
	for _, name := range []string{"encoder.conv_out.conv_1.weight", "encoder.conv_out.conv.weight", "encoder.conv_out.weight", "encoder.conv_out.0.conv3d.weight"} {
		if s := t.shape(name); len(s) > 3 && s[len(s)-1] > 3 && s[1] <= 3 {
			return true
		}
	}
	return false
}

// multipliers are the widths of levels as multiples of the first one.
func multipliers(t tensors, width, levels int, name func(i int) string) (m []int, err error) {
	for i := range levels {
		s := t.shape(name(i))
		switch {
		case len(s) == 0:
			return nil, fmt.Errorf("%s is missing, of a network of %d levels", name(i), levels)
		case width < 1 || s[0] < width || s[0]%width != 0:
			return nil, fmt.Errorf("%s is %v: want a multiple of %d channels, those of the first convolution", name(i), s, width)
		}
		m = append(m, s[0]/width)
	}
	if len(m) == 0 {
		return nil, fmt.Errorf("no levels: the residual blocks of the encoder are missing")
	}
	return m, nil
}

// latents is the number of latent channels, the second axis of the decoder's first convolution.
func latents(t tensors, name string) (int, error) {
	s := t.shape(name)
	if len(s) < 2 {
		return 0, fmt.Errorf("%s is missing, or of shape %v", name, s)
	}
	return s[1], nil
}

func openMagvit2(t tensors, images bool) (n network, err error) {
	conv := ".conv_1.weight"
	if images {
		conv = ".weight"
	}
	n = network{family: model.OpenMagvit2, width: t.shape("encoder.conv_in" + conv)[0]}
	n.size.Images = images
	n.size.Blocks = t.count("encoder.mid_block.%d.norm1.weight")
	if n.bits, err = latents(t, "decoder.conv_in"+conv); err != nil {
		return n, err
	}
	n.size.Multipliers, err = multipliers(t, n.width, t.count("decoder.adaptive.%d.gamma.weight"), func(i int) string {
		return fmt.Sprintf("encoder.down.%d.block.0.conv1", i) + conv
	})
	return n, err
}

func vidTok(t tensors) (n network, err error) {
	n = network{family: model.VidTok, width: t.shape("encoder.conv_in.conv.weight")[0]}
	n.size.Blocks = t.count("encoder.down.0.block.%d.conv1.weight")
	n.size.Norm = "group"
	if t["encoder.norm_out.norm.weight"] != nil {
		n.size.Norm = "layer"
	}
	if n.bits, err = latents(t, "decoder.conv_in.conv.weight"); err != nil {
		return n, err
	}
	if out := t.shape("encoder.conv_out.conv.weight"); len(out) > 0 && out[0] != n.bits {
		return n, fmt.Errorf("the encoder has %d latent channels and the decoder %d: a continuous (KL) tokenizer, which has no codes", out[0], n.bits)
	}
	levels := t.count("encoder.down.%d.block.0.conv1.weight")
	n.size.Multipliers, err = multipliers(t, n.width, levels, func(i int) string {
		return fmt.Sprintf("encoder.down.%d.block.0.conv1.weight", i)
	})
	for i := range levels {
		if t[fmt.Sprintf("encoder.down_temporal.%d.downsample.mix_factor", i)] != nil {
			n.size.TimeDown = append(n.size.TimeDown, i)
		}
		if t[fmt.Sprintf("decoder.up_temporal.%d.upsample.mix_factor", i)] != nil {
			n.size.TimeUp = append(n.size.TimeUp, i)
		}
	}
	return n, err
}

// config is the model's configuration. levels are VidTok's, nil: 8 each, and Cosmos', nil: those of all published files.
func (n network) config(version string, levels []int) (model.Config, error) {
	if n.family == model.Cosmos {
		return n.cosmosConfig(levels)
	}
	if n.family == model.OpenMagvit2 {
		if n.bits < 1 || n.bits > 18 {
			return model.Config{}, fmt.Errorf("codes of %d bits: want 1 to 18", n.bits)
		}
		return model.OpenMagvit2Config(n.width, n.bits, n.size), nil
	}
	if levels == nil {
		if n.bits > 6 {
			return model.Config{}, fmt.Errorf("%d latent channels: the published files with codes have 4, 5 or 6 digits of 8 levels: give --levels, unless it is a continuous (KL) tokenizer, which has no codes and cannot be imported", n.bits)
		}
		levels = slices.Repeat([]int{8}, n.bits)
	}
	if len(levels) != n.bits {
		return model.Config{}, fmt.Errorf("levels %v: the file's codes have %d digits", levels, n.bits)
	}
	n.size.Version = version
	return model.VidTokConfig(n.width, levels, n.size), nil
}

// averages is the prefix of the names of averages.
const averages = "model_ema."

// averageName is the name of a parameter's average.
func averageName(name string) string { return averages + strings.ReplaceAll(name, ".", "") }

// unknownAverages are the names of averages of tensors that the file does not have.
func (f *file) unknownAverages() (names []string) {
	known := map[string]bool{averages + "decay": true, averages + "num_updates": true}
	for name := range f.tensors {
		known[averageName(name)] = true
	}
	for _, name := range slices.Sorted(maps.Keys(f.tensors)) {
		if strings.HasPrefix(name, averages) && !known[name] {
			names = append(names, name)
		}
	}
	return names
}
