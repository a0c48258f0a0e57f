package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"magvit/kernels"
	"magvit/trainer/config"
	"magvit/trainer/lucidrains"
)

func importCommand() *cli.Command {
	return &cli.Command{
		Name:      "import",
		Usage:     "make a run from a magvit2-pytorch checkpoint",
		ArgsUsage: "FILE.pt",
		Description: example(
			"magvit import --from lucidrains tokenizer.pt --out runs/theirs",
			"magvit import --from lucidrains checkpoint.8000.pt --config theirs.yaml --out runs/theirs",
			"magvit train --config runs/theirs/config.yaml --data clips/ --out runs/theirs --resume auto") + `

FILE is what VideoTokenizer.save or VideoTokenizerTrainer.save wrote, or the weights as
other programs save them: a state_dict as .pt or .safetensors, or under "state_dict" and
the like, as Lightning does, with the prefixes of torch.compile (_orig_mod.), DDP
(module.) or of a larger module; these need --config. No code in the file is executed.
A trainer file brings its average and its optimizer along; it holds no configuration,
so that --config must describe the tokenizer (model.compat: lucidrains). Discriminators are left out. Tensors that are unknown, missing or of
another shape are listed and refuse the import.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "from", Usage: "whose checkpoint: lucidrains"},
			&cli.StringFlag{Name: "out", Usage: "the run's directory to make, `RUN`"},
			&cli.StringFlag{Name: "config", DefaultText: "from the arguments in a tokenizer file", Usage: "read the configuration from a YAML `FILE`"},
			&cli.StringSliceFlag{Name: "set", Usage: "override a key of the configuration, `KEY=VALUE`; may be given again"},
			jsonFlag(),
		},
		Action: importCheckpoint,
	}
}

func importCheckpoint(c *cli.Context) error {
	args, err := arguments(c, 1, 1, "the file")
	if err != nil {
		return err
	}
	if err := need(c, "from", "out"); err != nil {
		return err
	}
	if from := c.String("from"); from != lucidrains.ToLucidrains {
		return usagef("--from %s: want %s", from, lucidrains.ToLucidrains)
	}
	if err := checkFolder("--out", c.String("out")); err != nil {
		return err
	}
	if err := protect(c.String("out"), "--out", args[0], c.String("config")); err != nil {
		return err
	}
	o := lucidrains.ImportOptions{File: args[0], Out: c.String("out"), Set: c.StringSlice("set")}
	if c.IsSet("config") {
		cfg, err := config.Load(c.String("config"))
		if err != nil {
			return err
		}
		o.Config = &cfg
	}
	be, err := newCPU(kernels.F32)
	if err != nil {
		return err
	}
	defer be.Close()
	r, err := lucidrains.Import(be, o)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, r)
	}
	with := ""
	if r.Average {
		with += ", with its average"
	}
	if r.Updates > 0 {
		with += fmt.Sprintf(", with its optimizer after %d updates", r.Updates)
	}
	lines := []string{
		fmt.Sprintf("%s: %s file at step %d%s", args[0], r.Kind, r.Step, with),
		fmt.Sprintf("imported: %d tensors, %d values; left out: %d tensors of discriminators", r.Tensors, r.Parameters, r.Discriminators),
	}
	for _, n := range r.Notes {
		lines = append(lines, "note: "+n)
	}
	return printLine(c.App.Writer, "%s\n%s: checkpoint %s", strings.Join(lines, "\n"), r.Run, r.Checkpoint)
}
