package main

import (
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"magvit/trainer/data"
)

func synthCommand() *cli.Command {
	return &cli.Command{
		Name:        "synth",
		Usage:       "make the four-class set of moving dots",
		Description: example("magvit synth --clips 200 --out clips.npz"),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "out", Usage: "the .npz `FILE` to write; an existing one is replaced"},
			&cli.IntFlag{Name: "clips", Value: 200, Usage: "number of clips, a quarter of each class"},
			&cli.Uint64Flag{Name: "seed", Value: 42, Usage: "of the random generator"},
			&cli.IntFlag{Name: "size", Value: 64, Usage: "side of a frame in pixels"},
			&cli.IntFlag{Name: "frames", Value: 16, Usage: "frames of a clip"},
			jsonFlag(),
			&cli.StringFlag{Name: "style", Value: "varied", Usage: "varied: speed, extent, position and direction are independent of the class; seed: the narrower ranges of the original set"},
		},
		Action: synth,
	}
}

func synth(c *cli.Context) error {
	if _, err := arguments(c, 0, 0, ""); err != nil {
		return err
	}
	if err := need(c, "out"); err != nil {
		return err
	}
	cfg := data.SynthConfig{Clips: c.Int("clips"), Seed: c.Uint64("seed"), Size: c.Int("size"), Frames: c.Int("frames"), Style: c.String("style")}
	out := c.String("out")
	if err := checkOut("--out", out, ".npz"); err != nil {
		return err
	}
	set, err := data.Synth(cfg)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o777); err != nil {
		return err
	}
	if err := set.WriteNPZ(c.Context, out); err != nil {
		return err
	}
	return printWritten(c, written{Path: out, Clips: cfg.Clips}, "%d clips of %d frames, %d×%d pixels", cfg.Clips, cfg.Frames, cfg.Size, cfg.Size)
}
