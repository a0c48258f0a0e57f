package main

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"magvit/trainer/data"
)

// setPreset sets the flags of a command that names no preset as choosePreset says, and logs why. Settings of the user stay.
func setPreset(c *cli.Context, src data.Source, device string, log *slog.Logger) error {
	clip, err := data.First(c.Context, src)
	if err != nil {
		return err
	}
	name, why := choosePreset(clip, device)
	channels := func(set string) bool {
		return strings.HasPrefix(set, "model.channels=") || strings.HasPrefix(set, "data.channels=")
	}
	if clip.C != 3 && !slices.ContainsFunc(c.StringSlice("set"), channels) {
		set := fmt.Sprintf("model.channels=%d", clip.C)
		why += "; its frames are grey: " + set
		if err := c.Set("set", set); err != nil {
			return err
		}
	}
	log.Info("preset " + name + ": " + why)
	return c.Set("preset", name)
}

// choosePreset names the preset for a training that names none, by its first clip and
// the device, and says why.
func choosePreset(c data.Clip, device string) (name, why string) {
	size := fmt.Sprintf("%dx%d pixels", c.W, c.H)
	switch {
	case c.Points != nil || c.Trajectory != nil:
		return "demo", "the clips have the positions of what moves, as those of magvit synth"
	case device == "gpu" && min(c.H, c.W) >= 128:
		return "film-128", "film of " + size + " without positions, on a GPU"
	case min(c.H, c.W) >= 128:
		return "film-64", "film of " + size + " without positions; film-128 takes hours on a CPU: --preset film-128, or --device gpu"
	}
	return "film-64", "film of " + size + " without positions"
}
