package published

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"magvit/model"
)

// theirConfig is what is read of a configuration file of the projects: Open-MAGVIT2's has
// model.init_args, VidTok's model.params.
type theirConfig struct {
	Model struct {
		InitArgs struct {
			Network theirSizes `yaml:"ddconfig"`
			Codes   int        `yaml:"n_embed"`
		} `yaml:"init_args"`
		Params struct {
			Encoder struct {
				Target  string     `yaml:"target"`
				Network theirSizes `yaml:"params"`
			} `yaml:"encoder_config"`
			Regularizer struct {
				Target string `yaml:"target"`
				Params struct {
					Levels []int `yaml:"levels"`
				} `yaml:"params"`
			} `yaml:"regularizer_config"`
		} `yaml:"params"`
	} `yaml:"model"`
}

// theirSizes are the keys of a network in such a file.
type theirSizes struct {
	DoubleZ       bool   `yaml:"double_z"`
	Latents       int    `yaml:"z_channels"`
	In            int    `yaml:"in_channels"`
	Out           int    `yaml:"out_ch"`
	Width         int    `yaml:"ch"`
	Multipliers   []int  `yaml:"ch_mult"`
	Blocks        int    `yaml:"num_res_blocks"`
	TimeDown      []int  `yaml:"tempo_ds"`
	TimeUp        []int  `yaml:"tempo_us"`
	TimeFactor    int    `yaml:"time_downsample_factor"`
	Norm          string `yaml:"norm_type"`
	Padding       string `yaml:"init_pad_mode"`
	Interpolation string `yaml:"interpolation_mode"`
}

// fromYAML holds a configuration file of the project against the network that the tensors
// have, and takes VidTok's version and levels from it. Options that are given and say
// otherwise are errors, too.
func (o *ImportOptions) fromYAML(n network, r *Imported) error {
	text, err := os.ReadFile(o.Config)
	if err != nil {
		return err
	}
	var c theirConfig
	if err := yaml.Unmarshal(text, &c); err != nil {
		return fmt.Errorf("%s: %w", o.Config, err)
	}
	vid := c.Model.Params
	s := vid.Encoder.Network
	if n.family == model.OpenMagvit2 {
		s = c.Model.InitArgs.Network
	}
	if s.Width == 0 || len(s.Multipliers) == 0 {
		want := map[string]string{model.OpenMagvit2: "model.init_args.ddconfig", model.VidTok: "model.params.encoder_config.params"}[n.family]
		return fmt.Errorf("%s: %s has no ch and ch_mult: want a configuration file of the project that made the tensors, %s", o.Config, want, n.family)
	}
	var misfits []string
	hold := func(key string, theirs, tensors any) {
		if fmt.Sprint(theirs) != fmt.Sprint(tensors) {
			misfits = append(misfits, fmt.Sprintf("%s is %v, the tensors have %v", key, theirs, tensors))
		}
	}
	hold("ch", s.Width, n.width)
	hold("ch_mult", s.Multipliers, n.size.Multipliers)
	hold("num_res_blocks", s.Blocks, n.size.Blocks)
	hold("z_channels", s.Latents, n.bits)
	hold("in_channels", cmp.Or(s.In, 3), 3)
	hold("out_ch", cmp.Or(s.Out, 3), 3)
	hold("double_z", s.DoubleZ, false)
	if n.family == model.OpenMagvit2 {
		if codes := c.Model.InitArgs.Codes; codes != 0 {
			hold("n_embed", codes, 1<<n.bits)
		}
		return refused(o.Config, misfits, r)
	}
	version := "1.0"
	if strings.Contains(vid.Encoder.Target, "_v1_1.") {
		version = "1.1"
	}
	hold("time_downsample_factor", cmp.Or(s.TimeFactor, 1<<len(n.size.TimeDown)), 1<<len(n.size.TimeDown))
	down, up := model.VidTokTime(len(n.size.Multipliers))
	hold("tempo_ds", sorted(s.TimeDown, down), n.size.TimeDown)
	hold("tempo_us", sorted(s.TimeUp, up), n.size.TimeUp)
	hold("norm_type", cmp.Or(s.Norm, "groupnorm"), n.size.Norm+"norm")
	for _, u := range []struct{ key, got, want string }{
		{"init_pad_mode", cmp.Or(s.Padding, "replicate"), "replicate"},
		{"interpolation_mode", cmp.Or(s.Interpolation, "nearest"), map[string]string{"1.0": "nearest", "1.1": "trilinear"}[version]},
	} {
		if u.got != u.want {
			misfits = append(misfits, fmt.Sprintf("%s is %s, and only %s can be imported for version %s", u.key, u.got, u.want, version))
		}
	}
	if t := vid.Regularizer.Target; !strings.HasSuffix(t, ".FSQRegularizer") {
		misfits = append(misfits, fmt.Sprintf("regularizer_config.target is %q, the tensors have codes of FSQRegularizer", t))
	}
	if o.Version != "" && o.Version != version {
		misfits = append(misfits, fmt.Sprintf("encoder_config.target is version %s, --version says %s", version, o.Version))
	}
	levels := vid.Regularizer.Params.Levels
	if len(levels) != n.bits {
		misfits = append(misfits, fmt.Sprintf("levels are %v, the tensors have codes of %d digits", levels, n.bits))
	}
	if o.Levels != nil && !slices.Equal(o.Levels, levels) {
		misfits = append(misfits, fmt.Sprintf("levels are %v, --levels says %v", levels, o.Levels))
	}
	o.Version, o.Levels = version, levels
	return refused(o.Config, misfits, r)
}

// sorted is a list of levels in order; without one, those that the project's code chooses.
func sorted(levels, otherwise []int) []int {
	if levels == nil {
		levels = otherwise
	}
	return slices.Sorted(slices.Values(levels))
}

func refused(file string, misfits []string, r *Imported) error {
	if len(misfits) > 0 {
		return fmt.Errorf("%s: %s", file, strings.Join(misfits, "; "))
	}
	r.note("%s describes the network that the tensors have", file)
	return nil
}
