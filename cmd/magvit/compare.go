package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"magvit/trainer/data"
	"magvit/trainer/quality"
)

func compareCommand() *cli.Command {
	return &cli.Command{
		Name:      "compare",
		Usage:     "judge reconstructions by any program: two sets of clips, originals and reconstructions",
		ArgsUsage: "ORIGINALS RECONSTRUCTIONS",
		Description: example("magvit compare clips/ recon/", "magvit compare --metrics psnr,ssim clips.npz recon.npz --json",
			"magvit compare --by order 'clips/*.mp4' 'recon/*.mp4'"),
		Flags: []cli.Flag{
			metricsFlag(quality.Default),
			&cli.StringFlag{Name: "by", Value: "name", Usage: "which clips are a pair: those of one name without its extension, or those of one place in the order"},
			&cli.IntFlag{Name: "frames", DefaultText: "all", Usage: "compare the first N frames of each clip"},
			&cli.BoolFlag{Name: "strict", Usage: "stop at a clip that cannot be read, instead of leaving its pair out"},
			jsonFlag(),
		},
		Action: compare,
	}
}

// metricsFlag chooses the metrics of package quality.
func metricsFlag(value string) cli.Flag {
	f := &cli.StringFlag{Name: "metrics", Value: value, Usage: "metrics, separated by commas: psnr, ssim, gradient, sharpness, frechet-pixels"}
	if value == "" {
		f.DefaultText = "none"
		f.Usage = "further metrics with confidence intervals, separated by commas: psnr, ssim, gradient, sharpness, frechet-pixels"
	}
	return f
}

func compare(c *cli.Context) error {
	args, err := arguments(c, 2, 2, "ORIGINALS or RECONSTRUCTIONS")
	if err != nil {
		return err
	}
	by := c.String("by")
	if by != "name" && by != "order" {
		return usagef("--by %s: want name or order", by)
	}
	if c.Int("frames") < 0 {
		return usagef("--frames %d: want 1 or more", c.Int("frames"))
	}
	judge, err := quality.New(c.String("metrics"))
	if err != nil {
		return err
	}
	p := newProgress(c, "compare", 10*time.Second)
	defer p.close()
	var sources [2]data.Source
	for i, path := range args {
		src, err := data.Open(c.Context, []string{path}, data.Options{})
		if err != nil {
			return err
		}
		defer src.Close()
		for _, s := range src.Problems() {
			p.log.Warn("data: " + s)
		}
		sources[i] = src
	}
	pairs, err := quality.Match(sources[0], sources[1], by == "order")
	if err != nil {
		return err
	}
	for k, pair := range pairs {
		if err := c.Context.Err(); err != nil {
			return err
		}
		p.set(float64(k)/float64(len(pairs)), fmt.Sprintf("%d of %d pairs", k, len(pairs)))
		one, err := readPair(c, sources, pair)
		if bad := (*data.ClipError)(nil); errors.As(err, &bad) && !c.Bool("strict") {
			p.log.Warn("pair left out: " + err.Error())
			continue
		}
		if err != nil {
			return err
		}
		if err := judge.Add(one); err != nil {
			return err
		}
	}
	r, err := judge.Report()
	if err != nil {
		return err
	}
	if n := len(pairs) - r.Clips; n > 0 {
		p.log.Warn(fmt.Sprintf("%d of %d pairs could not be read and were left out", n, len(pairs)))
	}
	p.close()
	if c.Bool("json") {
		return printJSON(c, r)
	}
	return quality.WriteText(c.App.Writer, r)
}

// readPair reads an original and its reconstruction, which must have the same shape, and cuts both to --frames.
func readPair(c *cli.Context, sources [2]data.Source, pair [2]int) (p quality.Pair, err error) {
	var clips [2]data.Clip
	for i, src := range sources {
		if clips[i], err = src.Read(c.Context, pair[i]); err != nil {
			return p, err
		}
		if n := c.Int("frames"); n > 0 {
			clips[i].T = min(clips[i].T, n)
		}
	}
	a, b := clips[0], clips[1]
	if a.T != b.T || a.H != b.H || a.W != b.W || a.C != b.C {
		return p, usagef("%s has %d frames of %d×%d pixels with %d channels, its reconstruction %s %d of %d×%d with %d: want the same; nothing is scaled or cut here but by --frames",
			a.Name, a.T, a.H, a.W, a.C, b.Name, b.T, b.H, b.W, b.C)
	}
	size := a.T * a.H * a.W * a.C
	return quality.Pair{Name: a.Name, T: a.T, H: a.H, W: a.W, C: a.C, Original: a.Video[:size], Recon: b.Video[:size]}, nil
}
