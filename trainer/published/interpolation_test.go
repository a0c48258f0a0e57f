package published

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"magvit/model"
	"magvit/trainer/trainertest"
)

// The forms in which the projects' configuration files say the same network.
func TestReadTheirs(t *testing.T) {
	const vidTok = "{z_channels: 5, ch: 4, ch_mult: [1, 2, 4, 4], num_res_blocks: 1}"
	const openMagvit2 = "{z_channels: 5, double_z: True, ch: 4, ch_mult: !!python/tuple [1, 2, 4, 4], num_res_blocks: 1}"
	for name, c := range map[string]struct{ family, text string }{
		"interpolated network": {model.VidTok, `
model:
  params:
    encoder_config: {target: a_v1_1.E, params: "${model.params.decoder_config.params}"}
    decoder_config: {target: a_v1_1.D, params: ` + vidTok + `}
    regularizer_config: {params: {levels: [8, 8, 8, 8, 8]}}`},
		"interpolated values": {model.VidTok, `
width: 4
all: {mult: [1, 2, 4, 4], level: [8, 5]}
network: {blocks: {n: 1}}
alias: ${network}
model:
  params:
    encoder_config:
      params: {z_channels: 5, ch: "${ width }", ch_mult: "${all.mult}", num_res_blocks: "${alias.blocks.n}"}
    loss_config: {path: "${oc.env:HOME}/x", device: !!python/object/apply:torch.device [cuda]}
    regularizer_config: {params: {levels: ["${all.level[0]}", 8, "${all.level.0}", 8, 8]}}`},
		"lists on lines, anchors": {model.VidTok, `
model:
  params:
    decoder_config:
      params: &network
        z_channels: 5
        ch: 4
        ch_mult:
        - 1
        - 2
        - 4
        - 4
        num_res_blocks: 1
    encoder_config:
      params: {<<: *network}
    regularizer_config: {params: {levels: !!python/tuple [8, 8, 8, 8, 8]}}`},
		"Lightning":         {model.OpenMagvit2, "model: {class_path: x, init_args: {ddconfig: " + openMagvit2 + ", n_embed: 32}}"},
		"model.params":      {model.OpenMagvit2, "model: {target: x, params: {ddconfig: " + openMagvit2 + ", n_embed: 32}}"},
		"hyper parameters":  {model.OpenMagvit2, "ddconfig: " + openMagvit2 + "\nn_embed: 32"},
		"VidTok at the top": {model.VidTok, "encoder_config: {params: " + vidTok + "}\nregularizer_config: {params: {levels: [8, 8, 8, 8, 8]}}"},
	} {
		path := filepath.Join(t.TempDir(), "theirs.yaml")
		trainertest.Check(t, os.WriteFile(path, []byte(c.text), 0o666))
		m, s, err := readTheirs(path, c.family)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := fmt.Sprint(s.Width, s.Multipliers, s.Latents, s.Blocks, m.Codes, m.Regularizer.Params.Levels)
		want := map[string]string{model.VidTok: "4 [1 2 4 4] 5 1 0 [8 8 8 8 8]", model.OpenMagvit2: "4 [1 2 4 4] 5 1 32 []"}[c.family]
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	for text, want := range map[string]string{
		"model: {params: {encoder_config: {params: {ch: '${a}', ch_mult: [1]}}}}":             "cannot",
		"width: 4\nmodel: {params: {encoder_config: {params: {ch: 'width}', ch_mult: [1]}}}}": "cannot",
		"a: ${b}\nb: ${a}":                        "line 1: interpolations or aliases that contain themselves",
		"a: {b: '${a}'}":                          "contain themselves",
		"a: ${b.c}\nb: ${a.c}\nmodel: {params: }": "has no ch and ch_mult",
		"[1]": "cannot",
		"":    "has no ch and ch_mult",
	} {
		path := filepath.Join(t.TempDir(), "theirs.yaml")
		trainertest.Check(t, os.WriteFile(path, []byte(text), 0o666))
		if _, _, err := readTheirs(path, model.VidTok); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "theirs.yaml: ") {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		}
	}
}
