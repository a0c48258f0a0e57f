package main

import (
	"fmt"
	"slices"
	"strings"

	"magvit/trainer/lucidrains"
	"magvit/trainer/published"

	"github.com/urfave/cli/v2"
)

func exportCommand() *cli.Command {
	return &cli.Command{
		Name:      "export",
		Usage:     "write a checkpoint for magvit2-pytorch, Open-MAGVIT2, VidTok or Cosmos, as ONNX, or for inference only",
		ArgsUsage: "PATH",
		Description: example(
			"magvit export --to lucidrains --checkpoint runs/theirs tokenizer.pt",
			"magvit export --to lucidrains-trainer --checkpoint runs/theirs checkpoint.pt",
			"magvit export --to open-magvit2 --checkpoint runs/om theirs.ckpt",
			"magvit export --to safetensors --checkpoint runs/demo model.safetensors",
			"magvit export --to lean --checkpoint runs/demo lean/",
			"magvit export --to onnx --checkpoint runs/demo onnx/") + `

PATH must be a new or empty folder for lean and onnx; an existing file is replaced.

lucidrains          a file for VideoTokenizer.init_and_load_from, strict or not; only of
                    a configuration with compat: lucidrains
lucidrains-trainer  a file for VideoTokenizerTrainer.load: weights, average, optimizer
open-magvit2, vidtok, cosmos
                    the network's tensors under their names, {"state_dict": ...}, or by the
                    extension .safetensors; only of such a network
safetensors         one file; the configuration is in its metadata
lean                a checkpoint's directory, for every --checkpoint
onnx                encoder.onnx, clips to codes, and decoder.onnx, codes to clips; of any
                    tokenizer (model/onnx/README.md)

All but lucidrains-trainer hold the weights that eval uses: their average, if there
is one. The reference always builds a discriminator: its files get a small untrained one, described by discr_kwargs, and use_gan=False.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "to", Usage: "lucidrains, lucidrains-trainer, open-magvit2, vidtok, cosmos, safetensors, lean or onnx"},
			checkpointFlag(),
			jsonFlag(),
		},
		Action: exportCheckpoint,
	}
}

func exportCheckpoint(c *cli.Context) error {
	args, err := arguments(c, 1, 1, "the path to write to")
	if err != nil {
		return err
	}
	if err := need(c, "to", "checkpoint"); err != nil {
		return err
	}
	if err := protect(args[0], "export", checkpointInputs(c.String("checkpoint"))...); err != nil {
		return err
	}
	if c.String("to") == toONNX {
		return exportONNX(c, c.String("checkpoint"), args[0])
	}
	if slices.Contains(published.Families(), c.String("to")) {
		return exportPublished(c, args[0])
	}
	r, err := lucidrains.Export(c.String("checkpoint"), args[0], c.String("to"))
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, r)
	}
	return printExported(c, r.From, r.Path, r.Step, r.Tensors, r.Average, r.Notes)
}

// printExported says what an export wrote.
func printExported(c *cli.Context, from, path string, step, tensors int, average bool, notes []string) error {
	weights := "its weights"
	if average {
		weights = "the average of its weights"
	}
	lines := []string{fmt.Sprintf("%s: step %d, %d tensors, %s", from, step, tensors, weights)}
	for _, n := range notes {
		lines = append(lines, "note: "+n)
	}
	return printLine(c.App.Writer, "%s\n%s: written", strings.Join(lines, "\n"), path)
}
