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
		&cli.StringFlag{Name: "fid-weights", Usage: "`FILE` with the weights of FID's Inception V3; magvit doctor says which"},
		&cli.StringFlag{Name: "fvd-weights", Usage: "`FILE` with the weights of FVD's I3D; magvit doctor says which"},
		&cli.IntFlag{Name: "fvd-frames", Value: 16, Usage: "frames of a window of FVD, 16 or 17"}}
}

// networks are the metrics that need a network, and what files hold its weights.
var networks = []struct{ name, files string }{{"lpips", pretrained.LPIPSFiles}, {"fid", pretrained.InceptionFiles}, {"fvd", pretrained.I3DFiles}}

// checkMetrics checks the flags of metricsFlags, and returns the metrics that need a network.
func checkMetrics(c *cli.Context) (needed []string, err error) {
	names, err := quality.Split(c.String("metrics"))
	if err != nil {
		return nil, err
	}
	for _, m := range networks {
		wanted := slices.Contains(names, m.name)
		switch flag := m.name + "-weights"; {
		case wanted && !c.IsSet(flag):
			return nil, usagef("--metrics %s needs --%s: %s", m.name, flag, m.files)
		case !wanted && c.IsSet(flag):
			return nil, usagef("--%s: --metrics does not name %s", flag, m.name)
		case wanted:
			needed = append(needed, m.name)
		}
	}
	if n := c.Int("fvd-frames"); n != 16 && n != 17 {
		return nil, usagef("--fvd-frames %d: want 16 or 17", n)
	}
	if c.IsSet("fvd-frames") && !slices.Contains(needed, "fvd") {
		return nil, usagef("--fvd-frames: --metrics does not name fvd")
	}
	return needed, nil
}

// newJudge prepares the metrics of --metrics on a backend, which only those with a network need.
func newJudge(c *cli.Context, be kernels.Backend) (*quality.Judge, error) {
	o := quality.Options{Backend: be, FVDFrames: c.Int("fvd-frames")}
	needed, err := checkMetrics(c)
	if err != nil {
		return nil, err
	}
	for _, name := range needed {
		flag := name + "-weights"
		switch name {
		case "lpips":
			o.LPIPS, err = pretrained.LPIPS(c.String(flag))
		case "fid":
			o.FID, err = pretrained.Inception(c.String(flag))
		case "fvd":
			o.FVD, err = pretrained.I3D(c.String(flag))
		}
		if err != nil {
			return nil, usagef("--%s: %w", flag, err)
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
	needed, err := checkMetrics(c)
	if err != nil {
		return err
	}
	if len(needed) > 0 {
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
