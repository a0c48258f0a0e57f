package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"magvit/trainer/data"
	"magvit/trainer/metrics"
)

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name:        "inspect",
		Usage:       "show the clips of files: count, sizes, range, labels, problems; or what a file of weights is",
		Description: example("magvit inspect clips.npz", "magvit inspect --limit 50 'videos/*/*.mp4'", "magvit inspect video_128_262144.ckpt"),
		Flags: []cli.Flag{
			dataFlag(),
			&cli.IntFlag{Name: "limit", Value: 200, Usage: "clips to decode, evenly spread; 0: all"},
			indexFlag(),
			jsonFlag(),
		},
		Action: inspect,
	}
}

func inspect(c *cli.Context) error {
	if err := need(c, "data"); err != nil {
		return err
	}
	paths := c.StringSlice("data")
	if c.Int("limit") < 0 {
		return usagef("--limit %d: want 0 (all clips) or more", c.Int("limit"))
	}
	if file := weightsOf(paths[0]); len(paths) == 1 && file != "" {
		return inspectCheckpoint(c, file)
	}
	if i := slices.IndexFunc(paths, isCheckpointFile); i >= 0 {
		return usagef("%s: a file of weights, among %d arguments: inspect it alone", paths[i], len(paths))
	}
	src, closeData, err := openData(c, nil, paths, "", data.Options{})
	if err != nil {
		return err
	}
	defer closeData()
	info, err := data.Inspect(c.Context, src, c.Int("limit"))
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = printJSON(c, info)
	} else {
		err = writeInfo(c.App.Writer, info)
	}
	if err == nil && info.Read == 0 {
		err = usagef("none of %d clips can be read", info.Clips)
	}
	return err
}

func writeInfo(w io.Writer, info data.Info) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "clips\t%d\n", info.Clips)
	if tried := info.Read + info.Unread; tried < info.Clips {
		fmt.Fprintf(t, "decoded\t%d of them, evenly spread (--limit 0: all)\n", tried)
	}
	if info.Unread > 0 {
		fmt.Fprintf(t, "cannot be read\t%s, named below\n", metrics.Plural(info.Unread, "clip"))
	}
	var shapes []string
	for _, s := range info.Shapes {
		shapes = append(shapes, fmt.Sprintf("%d×%d×%d×%d (%s)", s.Frames, s.Height, s.Width, s.Channels, metrics.Plural(s.Clips, "clip")))
	}
	if info.Read > 0 {
		fmt.Fprintf(t, "frames×height×width×channels\t%s\n", strings.Join(shapes, ", "))
		fmt.Fprintf(t, "values\t%.3g to %.3g, mean %.3f\n", info.Min, info.Max, info.Mean)
	}
	for i, name := range info.Classes {
		n := 0
		if i < len(info.PerClass) {
			n = info.PerClass[i]
		}
		fmt.Fprintf(t, "class %s\t%s\n", printable(name), metrics.Plural(n, "clip"))
	}
	if info.Windowed > 0 {
		fmt.Fprintf(t, "films\t%d, read by windows; values of a few frames each\n", info.Windowed)
	}
	for _, part := range []string{"train", "val", "test"} {
		if n := info.Parts[part]; n > 0 {
			fmt.Fprintf(t, "part %s\t%s\n", part, metrics.Plural(n, "clip"))
		}
	}
	if info.Unlabelled > 0 {
		fmt.Fprintf(t, "without a label\t%s\n", metrics.Plural(info.Unlabelled, "clip"))
	}
	if len(info.Problems) == 0 {
		fmt.Fprintf(t, "problems\tnone\n")
	}
	for _, p := range info.Problems {
		fmt.Fprintf(t, "problem\t%s\n", printable(p))
	}
	return t.Flush()
}
