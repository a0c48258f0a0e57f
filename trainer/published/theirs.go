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

// theirConfig is what is read of a configuration file of the projects. The keys of the model are under
// model.init_args (Open-MAGVIT2), under model.params (VidTok), or, as Lightning saves them, at the top.
type theirConfig struct {
	Model struct {
		InitArgs theirModel `yaml:"init_args"`
		Params   theirModel `yaml:"params"`
	} `yaml:"model"`
	theirModel `yaml:",inline"`
}

// theirModel are the keys of a model: Open-MAGVIT2 has the first two, VidTok the others.
type theirModel struct {
	Network theirSizes `yaml:"ddconfig"`
	Codes   int        `yaml:"n_embed"`
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
}

// sizes are the network's of a family.
func (m theirModel) sizes(family string) theirSizes {
	if family == model.OpenMagvit2 {
		return m.Network
	}
	return m.Encoder.Network
}

// readTheirs reads a configuration file.
func readTheirs(path, family string) (m theirModel, s theirSizes, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return m, s, err
	}
	var doc yaml.Node
	var c theirConfig
	if err = yaml.Unmarshal(text, &doc); err == nil && len(doc.Content) > 0 {
		var n *yaml.Node
		if n, err = (&interpolation{root: doc.Content[0]}).expand(doc.Content[0], 0); err == nil {
			err = n.Decode(&c)
		}
	}
	if err != nil {
		return m, s, fmt.Errorf("%s: %w", path, err)
	}
	for _, m := range []theirModel{c.Model.InitArgs, c.Model.Params, c.theirModel} {
		if s := m.sizes(family); s.Width != 0 && len(s.Multipliers) > 0 {
			return m, s, nil
		}
	}
	want := map[string]string{model.OpenMagvit2: "model.init_args.ddconfig", model.VidTok: "model.params.encoder_config.params"}[family]
	return m, s, fmt.Errorf("%s: %s has no ch and ch_mult: want a configuration file of the project that made the tensors, %s", path, want, family)
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
	if n.family == model.Cosmos {
		return fmt.Errorf("--config %s: NVIDIA has no such file of a Cosmos tokenizer; what tensors do not say are --levels and --factors", o.Config)
	}
	vid, s, err := readTheirs(o.Config, n.family)
	if err != nil {
		return err
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
	if n.family == model.OpenMagvit2 { // whose double_z has no effect
		if vid.Codes != 0 {
			hold("n_embed", vid.Codes, 1<<n.bits)
		}
		return refused(o.Config, misfits, r)
	}
	hold("double_z", s.DoubleZ, false)
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
