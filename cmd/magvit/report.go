package main

import (
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"magvit/trainer/report"
)

func reportCommand() *cli.Command {
	return &cli.Command{
		Name:        "report",
		Usage:       "rewrite report.html of a run",
		ArgsUsage:   "RUN",
		Description: example("magvit report runs/demo", "magvit report runs/film-64 --beside runs/film-64-gan"),
		Flags:       []cli.Flag{&cli.StringFlag{Name: "beside", Usage: "also show the numbers and pictures of another run, `OTHER`, and the differences"}, jsonFlag()},
		Action:      makeReport,
	}
}

func makeReport(c *cli.Context) error {
	args, err := arguments(c, 1, 1, "RUN")
	if err != nil {
		return err
	}
	for _, dir := range []string{args[0], c.String("beside")} {
		if dir == "" {
			continue
		}
		if st, err := os.Stat(dir); err != nil {
			return usagef("report: %w", err)
		} else if !st.IsDir() {
			return usagef("report: %s is a file; want a run directory", dir)
		}
		_, noConfig := os.Stat(filepath.Join(dir, "config.yaml"))
		_, noMetrics := os.Stat(filepath.Join(dir, "metrics.jsonl"))
		if noConfig != nil && noMetrics != nil {
			return usagef("report: %s is no run directory: it holds neither config.yaml nor metrics.jsonl", dir)
		}
	}
	path, err := report.WriteBeside(args[0], c.String("beside"))
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, map[string]string{"path": path})
	}
	return printLine(c.App.Writer, "%s", path)
}
