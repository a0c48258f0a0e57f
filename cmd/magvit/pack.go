package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"magvit/trainer/data"
)

func packCommand() *cli.Command {
	return &cli.Command{
		Name:        "pack",
		Usage:       "decode, cut and scale a set once, for training at the speed of memory",
		Description: example("magvit pack films/ --out packed --size 64 --frames 17 --windows all", "magvit train --preset small --data packed --out runs/a"),
		Flags: []cli.Flag{
			dataFlag(),
			&cli.StringFlag{Name: "out", Usage: "the `FOLDER` to write .npz shards to; shards that are there are kept"},
			&cli.IntFlag{Name: "size", DefaultText: "as the first clip", Usage: "side of a frame in pixels"},
			&cli.IntFlag{Name: "frames", DefaultText: "as many as the first clip has", Usage: "frames of a clip"},
			&cli.Float64Flag{Name: "fps", DefaultText: "as filmed", Usage: "frames a second"},
			&cli.IntFlag{Name: "stride", Value: 1, Usage: "every n-th frame"},
			&cli.StringFlag{Name: "windows", Value: "all", Usage: "windows of longer clips: all (without gaps), first, or a number"},
			&cli.StringFlag{Name: "fit", Value: "crop", Usage: "frames of other proportions: crop (the middle), letterbox or stretch"},
			indexFlag(),
			jsonFlag(),
		},
		Action: pack,
	}
}

func pack(c *cli.Context) error {
	if err := need(c, "data", "out"); err != nil {
		return err
	}
	paths, out := c.StringSlice("data"), c.String("out")
	if err := protectFrom(data.IsPacked, out, "--out", paths...); err != nil {
		return err
	}
	if err := checkFolder("--out", out); err != nil {
		return err
	}
	cfg := data.Config{Size: c.Int("size"), Frames: c.Int("frames"), FPS: c.Float64("fps"), Stride: c.Int("stride"),
		Windows: c.String("windows"), Fit: c.String("fit"), ValShare: .2}
	src, closeData, err := openData(c, logger(c.App.ErrWriter), paths, "", data.Options{})
	if err != nil {
		return err
	}
	defer closeData()
	p := setProgress(c, "pack", src)
	defer p.close()
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
	packed := src.Len() - len(skipped)
	return printWritten(c, written{Path: out, Clips: packed}, "%d clips packed, %d left out", packed, len(skipped))
}
