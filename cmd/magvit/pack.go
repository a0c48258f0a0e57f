package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"magvit/trainer/data"
)

func packCommand() *cli.Command {
	return &cli.Command{
		Name:        "pack",
		Usage:       "decode, cut and scale a set once, for training at the speed of memory",
		ArgsUsage:   "PATH...",
		Description: example("magvit pack films/ --out packed --size 64 --frames 17 --windows all", "magvit train --preset small --data packed --out runs/a"),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "out", Usage: "the `FOLDER` to write .npz shards to; shards that are there are kept"},
			&cli.IntFlag{Name: "size", DefaultText: "as the first clip", Usage: "side of a frame in pixels"},
			&cli.IntFlag{Name: "frames", DefaultText: "as many as the first clip has", Usage: "frames of a clip"},
			&cli.Float64Flag{Name: "fps", DefaultText: "as filmed", Usage: "frames a second"},
			&cli.IntFlag{Name: "stride", Value: 1, Usage: "every n-th frame"},
			&cli.StringFlag{Name: "windows", Value: "all", Usage: "windows of longer clips: all (without gaps), first, or a number"},
			&cli.StringFlag{Name: "fit", Value: "crop", Usage: "frames of other proportions: crop (the middle), letterbox or stretch"},
			indexFlag(),
		},
		Action: pack,
	}
}

func pack(c *cli.Context) error {
	paths, err := arguments(c, 1, 1<<30, "PATH")
	if err != nil {
		return err
	}
	if err := need(c, "out"); err != nil {
		return err
	}
	out := c.String("out")
	if err := checkFolder("--out", out); err != nil {
		return err
	}
	if err := protect(out, "--out", paths...); err != nil {
		return err
	}
	cfg := data.Config{Size: c.Int("size"), Frames: c.Int("frames"), FPS: c.Float64("fps"), Stride: c.Int("stride"),
		Windows: c.String("windows"), Fit: c.String("fit"), ValShare: .2}
	p := newProgress(c, "pack", 10*time.Second)
	defer p.close()
	src, closeData, err := openData(c, p.log, paths, "", data.Options{})
	if err != nil {
		return err
	}
	defer closeData()
	for _, s := range src.Problems() {
		p.log.Warn("data: " + s)
	}
	skipped, err := data.Pack(c.Context, src, cfg, out, func(n, of int) {
		p.set(float64(n)/float64(of), fmt.Sprintf("%d of %d clips", n, of))
	})
	for _, s := range skipped {
		p.log.Warn("clip left out: " + s.Error())
	}
	if err != nil {
		return err
	}
	p.close()
	return printLine(c.App.Writer, "%s: %d clips packed, %d left out", out, src.Len()-len(skipped), len(skipped))
}
