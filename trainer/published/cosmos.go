package published

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"magvit/model"
)

// cosmosFirst is the first convolution's weight in Cosmos DV files.
const cosmosFirst = "encoder.conv_in.0.conv3d.weight"

// cosmosLevels are those of the codes of all published files, 64,000 of them.
var cosmosLevels = []int{8, 8, 8, 5, 5, 5}

// cosmos is what the tensors say; the factors are 0 where the file has convolutions of both space and time at every
// level, as NVIDIA's older code keeps, used or not.
func cosmos(t tensors) (n network, err error) {
	first := t.shape(cosmosFirst)
	n = network{family: model.Cosmos, width: first[0]}
	for p := 1; 3*p*p*p <= first[1]; p *= 2 {
		n.patch = p
	}
	if 3*n.patch*n.patch*n.patch != first[1] {
		return n, fmt.Errorf("%s is %v: want 3, 24, 192 or 1536 input channels, wavelets of 3 colours", cosmosFirst, first)
	}
	n.size.Blocks = t.count("encoder.down.0.block.%d.conv1.0.conv3d.weight")
	out, quantized := t.shape("encoder.conv_out.0.conv3d.weight"), t.shape("quant_conv.conv3d.weight")
	switch {
	case len(out) == 0 || len(quantized) == 0:
		return n, fmt.Errorf("encoder.conv_out.0.conv3d.weight or quant_conv.conv3d.weight is missing")
	case t["decoder.conv_in.0.conv3d.weight"] == nil:
		return n, fmt.Errorf("the encoder without a decoder: want a file with both, such as autoencoder.jit")
	}
	n.size.Latents, n.bits = out[0], quantized[0]
	if back := t.shape("post_quant_conv.conv3d.weight"); len(back) > 1 && back[1] != n.bits {
		return n, fmt.Errorf("the encoder has %d latent channels and the decoder %d: want as many, those of a tokenizer with codes (DV)", n.bits, back[1])
	}
	levels := t.count("encoder.down.%d.block.0.conv1.0.conv3d.weight")
	n.size.Multipliers, err = multipliers(t, n.width, levels, func(i int) string {
		return fmt.Sprintf("encoder.down.%d.block.0.conv1.0.conv3d.weight", i)
	})
	if err != nil {
		return n, err
	}
	space, time, up := n.patch, n.patch, 0
	for i := range levels {
		if t[fmt.Sprintf("encoder.down.%d.downsample.conv1.conv3d.weight", i)] != nil {
			space *= 2
		}
		if t[fmt.Sprintf("encoder.down.%d.downsample.conv2.conv3d.weight", i)] != nil {
			time *= 2
		}
		if t[fmt.Sprintf("decoder.up.%d.upsample.conv1.conv3d.weight", i)] != nil {
			up++
		}
	}
	if everywhere := n.patch << (levels - 1); space < everywhere || time < everywhere || up < levels-1 {
		n.size.SpaceFactor, n.size.TimeFactor = space, time
	}
	return n, nil
}

// cosmosName is how NVIDIA names factors: frames, rows and columns of a code.
var cosmosName = regexp.MustCompile(`DV([0-9]{1,2})x([0-9]{1,2})x([0-9]{1,2})`)

// cosmosFactors sets factors that the tensors leave open: as given, such as 8x16x16, or of a file or folder with a published name.
func (o ImportOptions) cosmosFactors(n *network, r *Imported) error {
	text, where := "DV"+o.Factors, "--factors"
	if o.Factors == "" {
		path, err := filepath.Abs(o.File)
		if err != nil {
			return err
		}
		if named := cosmosName.FindAllString(path, -1); len(named) > 0 {
			text, where = named[len(named)-1], "the path's name"
		}
	}
	m := cosmosName.FindStringSubmatch(text)
	given := n.size
	if m != nil && m[0] == text && m[2] == m[3] {
		given.TimeFactor, _ = strconv.Atoi(m[1])
		given.SpaceFactor, _ = strconv.Atoi(m[2])
	} else if o.Factors != "" {
		return fmt.Errorf("--factors %s: want frames, rows and columns of a code, such as 8x16x16", o.Factors)
	}
	switch {
	case n.size.SpaceFactor != 0 && o.Factors != "" && (given.SpaceFactor != n.size.SpaceFactor || given.TimeFactor != n.size.TimeFactor):
		return fmt.Errorf("--factors %s: the tensors are of %dx%dx%d", o.Factors, n.size.TimeFactor, n.size.SpaceFactor, n.size.SpaceFactor)
	case n.size.SpaceFactor != 0:
		return nil
	case given.SpaceFactor == 0:
		return fmt.Errorf("the file has convolutions for more factors than its network uses: give --factors, frames, rows and columns of a code, such as 8x16x16 of Cosmos-0.1-Tokenizer-DV8x16x16")
	}
	n.size.SpaceFactor, n.size.TimeFactor = given.SpaceFactor, given.TimeFactor
	r.note("codes of %dx%dx%d, by %s", n.size.TimeFactor, n.size.SpaceFactor, n.size.SpaceFactor, where)
	return nil
}

func (n network) cosmosConfig(levels []int) (model.Config, error) {
	if levels == nil {
		levels = cosmosLevels
	}
	if len(levels) != n.bits {
		return model.Config{}, fmt.Errorf("levels %v: the file's codes have %d digits", levels, n.bits)
	}
	return model.CosmosConfig(n.width, n.patch, levels, n.size), nil
}

// leaveUnused sets aside what files of Cosmos hold besides a network's tensors: convolutions of other factors, and
// constants of the wavelets.
func (f *file) leaveUnused(net *model.Tokenizer) {
	own := map[string]bool{}
	for _, p := range net.Params {
		own[p.Name] = true
	}
	convolutions, constants := 0, 0
	for name := range f.tensors {
		switch {
		case own[name]:
			continue
		case strings.Contains(name, ".downsample.conv") || strings.Contains(name, ".upsample.conv"):
			convolutions++
		case strings.HasPrefix(name, "encoder.patcher3d.") || strings.HasPrefix(name, "decoder.unpatcher3d."):
			constants++
		default:
			continue
		}
		delete(f.tensors, name)
	}
	if convolutions > 0 {
		f.rest = append(f.rest, fmt.Sprintf("tensors of convolutions that the network does not use (%d)", convolutions))
	}
	if constants > 0 {
		f.rest = append(f.rest, fmt.Sprintf("constants of wavelets (%d)", constants))
	}
}
