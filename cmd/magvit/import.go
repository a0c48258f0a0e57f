package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"magvit/kernels"
	"magvit/trainer/config"
	"magvit/trainer/lucidrains"
	"magvit/trainer/published"
)

func importCommand() *cli.Command {
	return &cli.Command{
		Name:      "import",
		Usage:     "make a run from a checkpoint of magvit2-pytorch, Open-MAGVIT2, VidTok or Cosmos",
		ArgsUsage: "FILE.pt",
		Description: example(
			"magvit import --from lucidrains tokenizer.pt --out runs/theirs",
			"magvit import --from lucidrains checkpoint.8000.pt --config theirs.yaml --out runs/theirs",
			"magvit train --config runs/theirs/config.yaml --data clips/ --out runs/theirs --resume auto",
			"magvit import --from open-magvit2 video_128_262144.ckpt --out runs/om",
			"magvit import --from vidtok --version 1.1 vidtok.ckpt --out runs/vidtok",
			"magvit import --from cosmos Cosmos-0.1-Tokenizer-DV8x8x8/autoencoder.jit --out runs/cosmos",
			"magvit train --init runs/om --set train.lr=1e-5 --data clips/ --out runs/mine") + `

FILE is what VideoTokenizer.save or VideoTokenizerTrainer.save wrote, or the weights as
other programs save them: a state_dict as .pt or .safetensors, or under "state_dict" and
the like, as Lightning does, with the prefixes of torch.compile (_orig_mod.), DDP
(module.) or of a larger module; these need --config. No code in the file is executed.
A trainer file brings its average and its optimizer along; it holds no configuration,
so that --config must describe the tokenizer (model.compat: lucidrains). Discriminators are left out. Tensors that are unknown, missing or of
another shape are listed and refuse the import.

Of Open-MAGVIT2, VidTok and Cosmos DV the network follows from names and shapes, and the run holds
weights alone: use it, or train on from it with --init. Averages are taken where the file has
them. What VidTok's files do not say must be given: --version, unless the file has its
published name, and --levels, unless all are 8; or --config, the project's own YAML file, which
is held against the tensors. Of Cosmos the file is the whole tokenizer, autoencoder.jit, or its
state_dict; older ones need --factors, unless the path has a published name (DV8x16x16).`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "from", Usage: "whose checkpoint: lucidrains, open-magvit2, vidtok or cosmos"},
			&cli.StringFlag{Name: "out", Usage: "the run's directory to make, `RUN`"},
			&cli.StringFlag{Name: "config", DefaultText: "from the arguments in a tokenizer file", Usage: "read the configuration from a YAML `FILE`; of open-magvit2 and vidtok the project's own"},
			&cli.StringFlag{Name: "weights", DefaultText: "ema where there is one", Usage: "open-magvit2, vidtok: ema or plain"},
			&cli.BoolFlag{Name: "inflate", Usage: "open-magvit2: make a video network that begins as the file's image network"},
			&cli.StringFlag{Name: "version", Usage: "vidtok: 1.0 or 1.1"},
			&cli.StringFlag{Name: "levels", DefaultText: "as in all published files", Usage: "vidtok, cosmos: `LEVELS` of the codes' digits, such as 8,8,5,5"},
			&cli.StringFlag{Name: "factors", DefaultText: "by the tensors, or the path's name", Usage: "cosmos: frames, rows and columns of a code, `TxHxW`, such as 8x16x16"},
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
	theirs := slices.Contains(published.Families(), c.String("from"))
	if from := c.String("from"); from != lucidrains.ToLucidrains && !theirs {
		return usagef("--from %s: want %s", from, strings.Join(append([]string{lucidrains.ToLucidrains}, published.Families()...), ", "))
	}
	if err := checkFolder("--out", c.String("out")); err != nil {
		return err
	}
	if err := protect(c.String("out"), "--out", args[0], c.String("config")); err != nil {
		return err
	}
	if theirs {
		return importPublished(c, args[0])
	}
	for _, name := range publishedFlags {
		if c.IsSet(name) {
			return usagef("--%s: only with --from %s", name, strings.Join(published.Families(), ", "))
		}
	}
	switch d, err := published.Describe(args[0]); {
	case err != nil || c.IsSet("config"):
	case d.Own != "":
		return usagef("%s: %s", args[0], d.Own)
	case d.Family != "":
		return usagef("%s: these are tensors of %s: give --from %s", args[0], d.Family, d.Family)
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
