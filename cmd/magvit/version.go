package main

import (
	"fmt"
	"runtime"

	"github.com/urfave/cli/v2"

	"magvit/trainer/version"
)

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:        "version",
		Usage:       "print the release or commit of this program, and its Go",
		Description: example("magvit version"),
		Flags:       []cli.Flag{jsonFlag()},
		Action:      showVersion,
	}
}

func showVersion(c *cli.Context) error {
	if _, err := arguments(c, 0, 0, ""); err != nil {
		return err
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	if c.Bool("json") {
		return printJSON(c, map[string]string{"version": version.String(), "go": runtime.Version(), "platform": platform})
	}
	_, err := fmt.Fprintf(c.App.Writer, "magvit %s, %s, %s\n", version.String(), runtime.Version(), platform)
	return err
}
