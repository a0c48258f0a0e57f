package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"magvit/kernels"
	"magvit/trainer/data"
	"magvit/trainer/pretrained"
	"magvit/trainer/quality"
)

func compareCommand() *cli.Command {
	return &cli.Command{
		Name:      "compare",
		Usage:     "judge reconstructions by any program: two sets of clips, originals and reconstructions",
		ArgsUsage: "ORIGINALS RECONSTRUCTIONS",
		Description: example("magvit compare clips/ recon/", "magvit compare --metrics psnr,ssim clips.npz recon.npz --json",
			"magvit compare --by order 'clips/*.mp4' 'recon/*.mp4'"),
		Flags: append(append(metricsFlags(quality.Default),
			&cli.StringFlag{Name: "by", Value: "name", Usage: "which clips are a pair: those of one name without its extension, or those of one place in the order"},
			&cli.IntFlag{Name: "frames", DefaultText: "all", Usage: "compare the first N frames of each clip"},
			&cli.BoolFlag{Name: "strict", Usage: "stop at a clip that cannot be read, instead of leaving its pair out"},
			jsonFlag()), deviceFlags()...),
		Action: compare,
	}
}

// metricsFlags choose the metrics of package quality.
func metricsFlags(value string) []cli.Flag {
	f := &cli.StringFlag{Name: "metrics", Value: value, Usage: "metrics, separated by commas: " + strings.Join(quality.Names(), ", ")}
	if value == "" {
		f.DefaultText, f.Usage = "none", "further "+f.Usage+"; with confidence intervals"
	}
	return []cli.Flag{f,
		&cli.StringFlag{Name: "lpips-weights", Usage: "`FILES` with the weights of LPIPS, separated by commas; magvit doctor says which"},
		&cli.StringFlag{Name: "fid-weights", Usage: "`FILE` with the weights of FID's Inception V3; magvit doctor says which"}}
}

// checkMetrics checks the flags of metricsFlags, and reports which metrics need a network.
func checkMetrics(c *cli.Context) (lpips, fid bool, err error) {
	names, err := quality.Split(c.String("metrics"))
	if err != nil {
		return false, false, err
	}
	lpips, fid = slices.Contains(names, "lpips"), slices.Contains(names, "fid")
	for _, m := range []struct {
		name, files string
		wanted      bool
	}{{"lpips", pretrained.LPIPSFiles, lpips}, {"fid", pretrained.InceptionFiles, fid}} {
		switch flag := m.name + "-weights"; {
		case m.wanted && !c.IsSet(flag):
			return lpips, fid, usagef("--metrics %s needs --%s: %s", m.name, flag, m.files)
		case !m.wanted && c.IsSet(flag):
			return lpips, fid, usagef("--%s: --metrics does not name %s", flag, m.name)
		}
	}
	return lpips, fid, nil
}

// newJudge prepares the metrics of --metrics on a backend, which only lpips and fid need.
func newJudge(c *cli.Context, be kernels.Backend) (*quality.Judge, error) {
	o := quality.Options{Backend: be}
	lpips, fid, err := checkMetrics(c)
	if err != nil {
		return nil, err
	}
	if lpips {
		if o.LPIPS, err = pretrained.LPIPS(c.String("lpips-weights")); err != nil {
			return nil, usagef("--lpips-weights: %w", err)
		}
	}
	if fid {
		if o.FID, err = pretrained.Inception(c.String("fid-weights")); err != nil {
			return nil, usagef("--fid-weights: %w", err)
		}
	}
	return quality.New(c.String("metrics"), o)
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
	p := newProgress(c, "compare", 10*time.Second)
	defer p.close()
	var be kernels.Backend
	lpips, fid, err := checkMetrics(c)
	if err != nil {
		return err
	}
	if lpips || fid {
		if be, err = openDevice(c, p.log); err != nil {
			return err
		}
		defer be.Close()
	}
	judge, err := newJudge(c, be)
	if err != nil {
		return err
	}
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
