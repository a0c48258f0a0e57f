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
		Description: example("magvit report runs/demo"),
		Flags:       []cli.Flag{jsonFlag()},
		Action:      makeReport,
	}
}

func makeReport(c *cli.Context) error {
	args, err := arguments(c, 1, 1, "RUN")
	if err != nil {
		return err
	}
	dir := args[0]
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
	path, err := report.Write(dir)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, map[string]string{"path": path})
	}
	return printLine(c.App.Writer, "%s", path)
}
