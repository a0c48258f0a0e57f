package published

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"magvit/trainer/trainertest"
)

// Files with the keys of the projects' own, of the cases' networks.
const (
	vidTokYAML = `
model:
  base_learning_rate: 1e-5
  target: vidtok.models.autoencoder_v1_1.AutoencodingEngine
  params:
    encoder_config:
      target: vidtok.modules.model_3dcausal_v1_1.EncoderCausal3DPadding
      params: {double_z: false, z_channels: 5, in_channels: 3, out_ch: 3, ch: 4, ch_mult: [1, 2, 4, 4], time_downsample_factor: 4,
        num_res_blocks: 1, dropout: 0.0, init_pad_mode: replicate, norm_type: layernorm, interpolation_mode: trilinear}
    decoder_config:
      params: ${model.params.encoder_config.params}
    regularizer_config:
      target: vidtok.modules.regularizers.FSQRegularizer
      params: {levels: [8, 8, 8, 8, 8], entropy_loss_weight: 0.1}
`
	openMagvit2YAML = `
seed_everything: true
model:
  class_path: taming.models.lfqgan.VQModel
  init_args:
    ddconfig: {double_z: False, z_channels: 8, resolution: 128, in_channels: 3, out_ch: 3, ch: 32, ch_mult: [1, 1], num_res_blocks: 1}
    n_embed: 256
`
)

// A configuration file of the project says what the tensors do not, and must agree with them.
func TestImportWithTheirConfiguration(t *testing.T) {
	texts := map[string]string{"checkpoint.vidtok_plain.ckpt": vidTokYAML, "checkpoint.om_image.ckpt": openMagvit2YAML}
	for file, text := range texts {
		c := caseOf(t, file)
		with := func(change ...string) ImportOptions {
			o := c.options(t)
			o.Version, o.Levels, o.Config = "", nil, filepath.Join(t.TempDir(), "theirs.yaml")
			trainertest.Check(t, os.WriteFile(o.Config, []byte(strings.NewReplacer(change...).Replace(text)), 0o666))
			return o
		}
		r, err := Import(with())
		trainertest.Check(t, err)
		if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "theirs.yaml describes the network") }) {
			t.Errorf("%s: notes %q", c.Name, r.Notes)
		}
		refused := func(want string, change ...string) {
			t.Helper()
			_, err := Import(with(change...))
			trainertest.Refused(t, err, "theirs.yaml", want)
		}
		refused("has no ch and ch_mult", "model:", "modell:")
		refused("num_res_blocks is 2, the tensors have 1", "num_res_blocks: 1", "num_res_blocks: 2")
		if c.family() != "vidtok" {
			refused("n_embed is 512, the tensors have 256", "n_embed: 256", "n_embed: 512")
			continue
		}
		if r.Version != "1.1" {
			t.Errorf("version %q of a file of version 1.1", r.Version)
		}
		refused("only trilinear can be imported for version 1.1", "interpolation_mode: trilinear", "interpolation_mode: nearest")
		refused("only nearest can be imported for version 1.0", "model_3dcausal_v1_1", "model_3dcausal")
		refused("tempo_ds is [0 1], the tensors have [1 2]", "dropout: 0.0", "tempo_ds: [0, 1]")
		refused("codes of 5 digits", "levels: [8, 8, 8, 8, 8]", "levels: [8, 8, 8, 8]")
		refused("VQRegularizer", "FSQRegularizer", "VQRegularizer")
		o := with()
		o.Version, o.Levels = "1.0", []int{8, 8, 8, 5, 5}
		_, err = Import(o)
		trainertest.Refused(t, err, "version 1.1, --version says 1.0", "--levels says [8 8 8 5 5]")
	}
}
